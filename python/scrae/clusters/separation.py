"""How far apart two groups of cells lie, in units of one group that is cut in two."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

SHRINKAGE = 0.1  # share of the pooled covariance that is replaced by one of equal variances


def separation(one: np.ndarray, other: np.ndarray, random_state: int = 0) -> float:
    """Distance of two groups along the direction that parts them best, over that of one group cut at the same share.

        s = d' / d'_cut(p),  d' = (mean(a) - mean(b)) / sqrt((var(a) + var(b)) / 2)

    a and b are the projections of the cells on Fisher's discriminant, found on the other half of the cells: a direction
    that parts only the cells that it was found on parts nothing. The two parts of a normal distribution that is cut
    lie d'_cut apart, p being the share of the smaller part; so 1 means that nothing but a cut is seen. It is an effect
    and no p value: with more cells it becomes more exact, not larger.

    Parameters
    ----------
    one, other
        Coordinates of the cells of either group, float (n, n_dimensions), linear in the expression: a walk on a graph
        draws cells of one group together and apart from the next, so that a smoothed embedding always shows a gap.
    random_state
        Seed of the halves.

    Returns
    -------
    The separation; 0 where a group has a single cell.
    """
    if min(len(one), len(other)) < 2:
        return 0.0
    rng = np.random.default_rng(random_state)
    a, b = _crosswise(one, other, rng)
    spread = np.sqrt((a.var() + b.var()) / 2)
    if spread == 0:
        return np.inf if a.mean() > b.mean() else 0.0
    share = min(len(one), len(other)) / (len(one) + len(other))
    return float((a.mean() - b.mean()) / spread / distance_of_a_cut(share))


def distance_of_a_cut(share: float) -> float:
    """d' of the two parts of a normal distribution, of which the upper one has this share, between 0 and 1."""
    at = norm.isf(share)
    height = norm.pdf(at)
    upper, lower = height / share, -height / (1 - share)
    variances = 1 + at * height / share - upper**2, 1 - at * height / (1 - share) - lower**2
    return float((upper - lower) / np.sqrt(sum(variances) / 2))


def _crosswise(one: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Projections of each half of the cells by the other half: 1/2 and -1/2 are the means there."""
    orders = rng.permutation(len(one)), rng.permutation(len(other))
    projected = np.empty(len(one)), np.empty(len(other))
    for half in (0, 1):
        learned = [group[order[half::2]] for group, order in zip((one, other), orders, strict=True)]
        direction = _discriminant(*learned)
        means = [group.mean(0) @ direction for group in learned]
        length = abs(means[0] - means[1]) or 1.0
        for values, group, order in zip(projected, (one, other), orders, strict=True):
            judged = order[1 - half :: 2]
            values[judged] = (group[judged] @ direction - (means[0] + means[1]) / 2) / length
    return projected


def _discriminant(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Fisher's, with a covariance that is shrunk; the difference of the means where there are too few cells."""
    difference: np.ndarray = one.mean(0) - other.mean(0)
    n = len(one) + len(other) - 2
    if n < 2:
        return difference
    residuals = np.concatenate([one - one.mean(0), other - other.mean(0)])
    covariance = residuals.T @ residuals / n
    level = np.trace(covariance) / len(covariance)
    if level == 0:
        return difference
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * level * np.eye(len(covariance))
    return np.linalg.solve(covariance, difference)
