"""Agreement of clusterings with known labels, as published for scRAE (Mondal et al. 2021, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    completeness_score,
    homogeneity_score,
    normalized_mutual_info_score,
)

SCORES = ("NMI", "ARI", "AMI", "homogeneity", "completeness")
"""The names of the scores that ``scores`` returns."""


def scores(labels: Sequence[Any] | np.ndarray, clusters: Sequence[Any] | np.ndarray) -> dict[str, float]:
    """Compare a clustering with known labels.

    Parameters
    ----------
    labels, clusters
        Known type and found cluster of each cell, of the same length.

    Returns
    -------
    Five scores by name: ``NMI`` (normalised by the geometric mean, as published), ``ARI``, ``AMI`` (arithmetic mean),
    ``homogeneity`` and ``completeness``. 1 is perfect. ARI and AMI are 0 for a random clustering.

    Examples
    --------
    >>> import scrae
    >>> float(scrae.metrics.scores(["B", "B", "T", "T"], [0, 0, 1, 1])["ARI"])
    1.0
    """
    labels, clusters = np.asarray(labels).astype(str), np.asarray(clusters).astype(str)
    if len(labels) != len(clusters):
        raise ValueError(f"{len(labels)} labels and {len(clusters)} clusters: one of each per cell is needed")
    return {
        "NMI": float(normalized_mutual_info_score(labels, clusters, average_method="geometric")),
        "ARI": float(adjusted_rand_score(labels, clusters)),
        "AMI": float(adjusted_mutual_info_score(labels, clusters, average_method="arithmetic")),
        "homogeneity": float(homogeneity_score(labels, clusters)),
        "completeness": float(completeness_score(labels, clusters)),
    }
