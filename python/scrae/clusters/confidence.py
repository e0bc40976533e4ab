"""How far clusters are found again when a fifth of the cells is left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scrae.clusters.graph import communities

RESAMPLINGS = 10
SHARE = 0.8  # of the cells, in each resampling
RESOLUTION = 1.5  # of the communities there: small ones, that clusters of any level can be put together of


@dataclass(frozen=True)
class Agreement:
    """Of clusters with those of resampled cells.

    Attributes
    ----------
    of_cells
        Share of the resamplings with a cell in which the community that it came to lie in is mostly of its own cluster,
        float (n_cells,), from 0 to 1.
    of_clusters
        Mean Jaccard index of each cluster and what it was found again as (Hennig 2007), float (n_clusters,), from 0 to
        1; above 0.75 it may be called stable.
    """

    of_cells: np.ndarray
    of_clusters: np.ndarray


def agreement(graph: sp.csr_array, clusters: np.ndarray, random_state: int = 0) -> Agreement:
    """Look for communities among parts of the cells, each put to the cluster that most of its cells are of.

    Parameters
    ----------
    graph
        Of all cells (:func:`scrae.clusters.graph.neighbour_graph`).
    clusters
        Cluster of each cell, int (n_cells,), from 0.
    random_state
        Seed.
    """
    n_cells, n_clusters = len(clusters), int(clusters.max()) + 1
    rng = np.random.default_rng(random_state)
    seen, right = np.zeros(n_cells), np.zeros(n_cells)
    overlap = np.zeros(n_clusters)
    for _ in range(RESAMPLINGS):
        cells = np.sort(rng.permutation(n_cells)[: max(2, round(SHARE * n_cells))])
        found = communities(graph[cells][:, cells], RESOLUTION, int(rng.integers(2**31)))
        table = np.zeros((found.max() + 1, n_clusters))
        np.add.at(table, (found, clusters[cells]), 1.0)
        again = table.argmax(1)[found]
        seen[cells] += 1
        right[cells] += again == clusters[cells]
        for cluster in range(n_clusters):
            either = np.sum((again == cluster) | (clusters[cells] == cluster))
            both = np.sum((again == cluster) & (clusters[cells] == cluster))
            overlap[cluster] += both / either if either else 1.0
    return Agreement(right / np.maximum(seen, 1), overlap / RESAMPLINGS)
