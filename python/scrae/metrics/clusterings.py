"""Clusterings of an embedding that embeddings are compared by: k-means and Leiden."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from scrae.compute.compilation import dispensable_caches
from scrae.compute.threads import threads_of_torch_kept
from scrae.compute.turns import one_at_a_time

RESOLUTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.3)
"""The resolutions that ``leiden`` tries if it is given none."""
SILHOUETTE_CELLS = 2000
"""The number of cells, at most, whose silhouette chooses among these resolutions."""


def kmeans(embedding: np.ndarray, n_clusters: int, random_state: int = 0) -> np.ndarray:
    """Find k-means clusters of an embedding, the best of 50 starts.

    With ten starts a third of the seeds miss the best clusters of a pancreas with six unequal types (docs/TRIED.md), so
    that a comparison would be one of luck.

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions).
    n_clusters
        Number of clusters.
    random_state
        Seed of the starts.

    Returns
    -------
    Number of the cluster of each cell, int (n_cells,).

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> clusters = scrae.metrics.kmeans(scrae.metrics.scaled_pca(adata, 10), 8)
    >>> clusters.shape
    (700,)
    """
    result: np.ndarray = KMeans(n_clusters, n_init=50, random_state=random_state).fit_predict(embedding)
    return result


def leiden(
    embedding: np.ndarray, resolution: float | None = 1.0, n_neighbors: int = 15, random_state: int = 0
) -> np.ndarray:
    """Find Leiden clusters on the neighbour graph of an embedding, with scanpy's defaults.

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions).
    resolution
        A higher number gives more clusters. None: the one of ``scrae.metrics.RESOLUTIONS`` whose clusters have the
        largest mean silhouette (Rousseeuw 1987) in the embedding, over at most ``scrae.metrics.SILHOUETTE_CELLS``
        cells.
    n_neighbors
        Number of neighbours of each cell in the graph.
    random_state
        Seed of the graph, the clustering and the choice of cells.

    Returns
    -------
    Name of the cluster of each cell, str (n_cells,).

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> clusters = scrae.metrics.leiden(scrae.metrics.scaled_pca(adata, 10))
    >>> clusters.shape
    (700,)
    """
    import anndata
    import scanpy as sc

    cells = anndata.AnnData(np.zeros((len(embedding), 1), dtype=np.float32), obsm={"embedding": embedding})
    with threads_of_torch_kept(), dispensable_caches():
        sc.pp.neighbors(cells, use_rep="embedding", n_neighbors=n_neighbors, random_state=random_state)

    def clusters(at: float) -> np.ndarray:
        with one_at_a_time():  # igraph has one source of random numbers
            sc.tl.leiden(
                cells, resolution=at, random_state=random_state, flavor="igraph", n_iterations=2, directed=False
            )
        return np.asarray(cells.obs["leiden"].astype(str))

    if resolution is not None:
        return clusters(resolution)
    rng = np.random.default_rng(random_state)
    judged = rng.permutation(len(embedding))[:SILHOUETTE_CELLS]

    def silhouette(found: np.ndarray) -> float:
        apart = 1 < len(set(found[judged])) < len(judged)
        return float(silhouette_score(embedding[judged], found[judged])) if apart else -1.0

    return max(map(clusters, RESOLUTIONS), key=silhouette)
