"""Coordinates without what batches and other covariates add to them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scrae.data.covariates import Covariates
from scrae.data.kept_groups import FEWEST

CELLS_A_CLUSTER = 30  # Harmony's own defaults, said here because few cells would otherwise get one cluster
CLUSTERS = (2, 100)
CLUSTERS_OF_TREND = (2, 20)
ROUNDS_OF_TREND = 10
THETA = 2.0  # Harmony's own weight of mixing in its clusters
TAU = 2.0  # cells of a level for each cluster: with fewer it cannot be in all clusters, and mixing counts less
MILD = 1.0  # the same where little is left to mix: types that one batch holds alone are drawn to others less


def without_covariates(
    coordinates: np.ndarray, covariates: Covariates, random_state: int = 0, mild: bool = False
) -> np.ndarray:
    """What continuous covariates add is taken out as a line, then what levels add, by Harmony.

    Parameters
    ----------
    coordinates
        float (n_cells, n_dimensions).
    covariates
        Of the same cells; covariates of one level change nothing. Where groups of cells are to be kept, each is
        corrected by itself, so that no difference between them is seen or changed.
    random_state
        Seed of the clusters.
    mild
        Whether the first covariate, the batch, has been taken out gene by gene already.

    Returns
    -------
    float64 (n_cells, n_dimensions); the coordinates themselves where nothing varies, or where there are fewer than 30
    cells, too few to say what is type and what is covariate.
    """
    coordinates = np.asarray(coordinates, dtype=np.float64)
    if covariates.kept is not None:
        corrected = coordinates.copy()
        for group in np.unique(covariates.kept):
            cells = covariates.kept == group
            own = replace(covariates, codes=covariates.codes[cells], values=covariates.values[cells], kept=None)
            corrected[cells] = without_covariates(coordinates[cells], own, random_state, mild)
        return corrected
    if len(coordinates) < FEWEST:
        return coordinates
    varying = [j for j in range(covariates.codes.shape[1]) if len(np.unique(covariates.codes[:, j])) > 1]
    if covariates.values.shape[1]:
        coordinates = without_trend(coordinates, covariates.values, random_state)
    if not varying:
        return coordinates
    theta = [MILD if mild and j == 0 else THETA for j in varying]
    return without_levels(coordinates, covariates.codes[:, varying], random_state, theta)


def without_trend(coordinates: np.ndarray, values: np.ndarray, random_state: int = 0) -> np.ndarray:
    """y = x - (v - mean(v)) B, B the least-squares slopes of x on v *within* clusters of y.

    One line through all cells would take what differs between types along with the covariate, where types differ in
    it. Slopes within clusters do not see that; but clusters of x may be cut along v, so clusters and slopes are found
    in turn.

    Parameters
    ----------
    coordinates
        x, float64 (n_cells, n_dimensions).
    values
        v, float (n_cells, n_continuous).
    random_state
        Seed of the clusters.
    """
    from sklearn.cluster import KMeans

    values = values.astype(np.float64) - values.mean(0, dtype=np.float64)
    n_clusters = int(np.clip(round(len(values) / CELLS_A_CLUSTER), *CLUSTERS_OF_TREND))
    corrected = coordinates
    for _ in range(ROUNDS_OF_TREND):
        cluster = KMeans(n_clusters, n_init=1, random_state=random_state).fit_predict(corrected)
        member = np.eye(n_clusters)[cluster]
        share = member / np.maximum(member.sum(0), 1.0)
        within_x, within_v = (part - member @ (share.T @ part) for part in (coordinates, values))
        before, corrected = corrected, coordinates - values @ np.linalg.lstsq(within_v, within_x, rcond=None)[0]
        if np.array_equal(before, corrected):
            break
    return corrected


def without_levels(
    coordinates: np.ndarray, codes: np.ndarray, random_state: int = 0, theta: Sequence[float] | None = None
) -> np.ndarray:
    """Harmony (Korsunsky et al. 2019): soft clusters with as much of every level, then a linear correction in each.

    Parameters
    ----------
    coordinates
        float64 (n_cells, n_dimensions).
    codes
        Level of each covariate, int (n_cells, n_covariates), two levels or more in each.
    random_state
        Seed of the clusters.
    theta
        How much mixing of each covariate counts; None: :data:`THETA`.
    """
    import harmonypy
    import pandas as pd

    names = [str(j) for j in range(codes.shape[1])]
    levels = pd.DataFrame(codes.astype(str), columns=names)
    n_clusters = int(np.clip(round(len(codes) / CELLS_A_CLUSTER), *CLUSTERS))
    level = logging.getLogger("harmonypy").level
    logging.getLogger("harmonypy").setLevel(logging.ERROR)
    try:
        found = harmonypy.run_harmony(
            coordinates,
            levels,
            names,
            theta=[THETA] * len(names) if theta is None else list(theta),
            tau=TAU,
            nclust=n_clusters,
            random_state=random_state,
            verbose=False,
        ).Z_corr
    finally:
        logging.getLogger("harmonypy").setLevel(level)
    corrected = np.asarray(found, dtype=np.float64)
    return corrected if corrected.shape == coordinates.shape else corrected.T  # versions differ
