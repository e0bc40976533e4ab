"""Coordinates without what batches and other covariates add to them."""

from __future__ import annotations

import logging

import numpy as np

CELLS_A_CLUSTER = 30  # Harmony's own defaults, said here because few cells would otherwise get one cluster
CLUSTERS = (2, 100)


def without_covariates(coordinates: np.ndarray, codes: np.ndarray, random_state: int = 0) -> np.ndarray:
    """Harmony (Korsunsky et al. 2019): soft clusters with as much of every level, then a linear correction in each.

    Parameters
    ----------
    coordinates
        float (n_cells, n_dimensions).
    codes
        Level of each covariate, int (n_cells, n_covariates); covariates of one level change nothing.
    random_state
        Seed of the clusters.

    Returns
    -------
    float64 (n_cells, n_dimensions); the coordinates themselves where no covariate has two levels, or where there are
    fewer than 30 cells, too few to say what is type and what is batch.
    """
    coordinates = np.asarray(coordinates, dtype=np.float64)
    varying = [j for j in range(codes.shape[1]) if len(np.unique(codes[:, j])) > 1]
    if not varying or len(coordinates) < CELLS_A_CLUSTER:
        return coordinates
    import harmonypy
    import pandas as pd

    names = [str(j) for j in varying]
    levels = pd.DataFrame(codes[:, varying].astype(str), columns=names)
    n_clusters = int(np.clip(round(len(codes) / CELLS_A_CLUSTER), *CLUSTERS))
    level = logging.getLogger("harmonypy").level
    logging.getLogger("harmonypy").setLevel(logging.ERROR)
    try:
        found = harmonypy.run_harmony(
            coordinates, levels, names, nclust=n_clusters, random_state=random_state, verbose=False
        ).Z_corr
    finally:
        logging.getLogger("harmonypy").setLevel(level)
    corrected = np.asarray(found, dtype=np.float64)
    return corrected if corrected.shape == coordinates.shape else corrected.T  # versions differ
