"""A difference that several types share is a batch, a treatment or a state of the cells, and no type."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

LENGTH = 2.0  # times as long as what is the pair's own has the shared difference to be
NEAREST = 5  # clusters around each one that it may share a type with


def crossed_pairs(spaces: Sequence[np.ndarray | sp.csr_array], clusters: np.ndarray) -> list[tuple[int, int]]:
    """Clusters that differ by the same in every pair: two types or more, crossed with one factor of two levels.

    With the means a, a' and b, b' of two pairs of clusters this is an analysis of variance in two ways:

        factor      = [(a' - a) + (b' - b)] / 2
        interaction = [(a' - a) - (b' - b)] / 2
        type        = [(a + a') - (b + b')] / 2

    A factor crosses two types if it is at least twice as long as the interaction, and shorter than the type is.
    A parallelogram has two pairs of sides: so there have to be three pairs, each of which is crossed with each other
    one, or the type has to be at least twice as long as the factor. All of this has to hold in each of the spaces: a
    batch that adds a little to every gene is long where genes are scaled, and a few markers of a type are long where
    they are not. Squared lengths come from the means of two halves of a cluster's cells, so that noise adds nothing to
    them.

    Parameters
    ----------
    spaces
        Coordinates of the cells, float (n_cells, n_dimensions) each, linear in the expression. Which clusters lie near
        each other is seen in the first.
    clusters
        Cluster of each cell, int (n_cells,), from 0.

    Returns
    -------
    For the clearest factor the pairs of clusters that it parts, the same level of it first in each; none: there is no
    factor.
    """
    products = [_products_of_means(space, clusters) for space in spaces]
    pairs = _near(products[0])
    crossings = [_crossings(of_means, pairs) for of_means in products]
    crossed = np.all([(f > LENGTH**2 * i) & (t > f) for f, i, t in crossings], axis=0)
    far = np.all([t > LENGTH**2 * f for f, _, t in crossings], axis=0)
    factor, interaction, _ = crossings[0]
    unlike = np.where(crossed, interaction / np.where(crossed, factor, 1.0), np.inf)
    ones, others = np.nonzero(np.triu(crossed))
    for i in np.argsort(unlike[ones, others], kind="stable"):
        one, other = int(ones[i]), int(others[i])
        chosen = _all_crossed([one, other], crossed, unlike)
        if len(chosen) > 2 or far[one, other]:
            return [(int(pairs[pair, 0]), int(pairs[pair, 1])) for pair in chosen]
    return []


def _products_of_means(coordinates: np.ndarray | sp.csr_array, clusters: np.ndarray) -> np.ndarray:
    """Inner products of the clusters' means, (k, k); on the diagonal, of the means of two halves of the cells."""
    k = int(clusters.max()) + 1
    rng = np.random.default_rng(0)
    halves: np.ndarray = np.empty((2, k, coordinates.shape[1]))
    for cluster in range(k):
        cells = rng.permutation(np.flatnonzero(clusters == cluster))
        for half in (0, 1):
            part = coordinates[cells[half::2] if len(cells) > 1 else cells]
            halves[half, cluster] = np.asarray(part.mean(0)).ravel()
    means = halves.mean(0)
    products: np.ndarray = means @ means.T
    np.fill_diagonal(products, (halves[0] * halves[1]).sum(1))
    return products


def _near(products: np.ndarray) -> np.ndarray:
    """Pairs of clusters of which one is among the nearest of the other, either way round, int (m, 2)."""
    size = np.diag(products)
    distance = size[:, None] - 2 * products + size
    np.fill_diagonal(distance, np.inf)
    near = np.argsort(distance, axis=1, kind="stable")[:, : min(NEAREST, len(size) - 1)]
    there = sorted({(min(i, j), max(i, j)) for i, row in enumerate(near.tolist()) for j in row})
    return np.asarray([*there, *((j, i) for i, j in there)], dtype=int).reshape(-1, 2)


def _crossings(products: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Squared factor, interaction and type of any two pairs, (m, m) each.

    NaN where two pairs have a cluster in common, or noise alone parts the clusters of one.
    """
    a, b = pairs.T
    aa, ab, ba, bb = (products[np.ix_(one, other)] for one, other in ((a, a), (a, b), (b, a), (b, b)))
    difference, total = aa - ab - ba + bb, aa + ab + ba + bb
    length, size = np.diag(difference), np.diag(total)
    apart = (a[:, None] != a) & (a[:, None] != b) & (b[:, None] != a) & (b[:, None] != b)
    apart &= (length[:, None] > 0) & (length > 0)
    lengths = np.where(apart, length[:, None] + length, np.nan)
    of_type = np.where(apart, size[:, None] + size - 2 * total, np.nan) / 4
    return (lengths + 2 * difference) / 4, (lengths - 2 * difference) / 4, of_type


def _all_crossed(chosen: list[int], crossed: np.ndarray, unlike: np.ndarray) -> list[int]:
    """These pairs and others, the most alike first, of which each is crossed with each."""
    left = np.flatnonzero(crossed[chosen].all(0))
    while len(left):
        best = int(left[unlike[left][:, chosen].mean(1).argmin()])
        chosen = [*chosen, best]
        left = left[crossed[left, best]]
    return chosen
