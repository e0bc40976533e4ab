"""Agreement of clusterings with known labels, as published for scRAE (Mondal et al. 2021, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from sklearn.cluster import KMeans
from sklearn.metrics import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    completeness_score,
    homogeneity_score,
    normalized_mutual_info_score,
    silhouette_score,
)

from scrae.threads import threads_of_torch_kept

if TYPE_CHECKING:
    from anndata import AnnData

SCORES = ("NMI", "ARI", "AMI", "homogeneity", "completeness")
RESOLUTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.3)
SILHOUETTE_CELLS = 2000


def scores(labels: Sequence[Any] | np.ndarray, clusters: Sequence[Any] | np.ndarray) -> dict[str, float]:
    """Five scores of a clustering.

    Parameters
    ----------
    labels, clusters
        Known class and found cluster of each cell, same length.

    Returns
    -------
    ``NMI`` (normalised by the geometric mean, as published), ``ARI``, ``AMI`` (arithmetic mean), ``homogeneity`` and
    ``completeness``; 1 is perfect, ARI and AMI are 0 for a random clustering.
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


def kmeans(embedding: np.ndarray, n_clusters: int, random_state: int = 0) -> np.ndarray:
    """k-means clusters of an embedding (n_cells, n_dimensions), best of 50 starts: int (n_cells,).

    With ten starts, a third of the seeds miss the best clusters of the pancreas of Baron et al., 6 unequal types
    (docs/TRIED.md); what is compared is then luck.
    """
    result: np.ndarray = KMeans(n_clusters, n_init=50, random_state=random_state).fit_predict(embedding)
    return result


def leiden(
    embedding: np.ndarray, resolution: float | None = 1.0, n_neighbors: int = 15, random_state: int = 0
) -> np.ndarray:
    """Leiden clusters of an embedding on its neighbour graph, with scanpy's defaults: str (n_cells,).

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions).
    resolution
        None: that of :data:`RESOLUTIONS` whose clusters have the largest mean silhouette (Rousseeuw 1987) in the
        embedding, over at most :data:`SILHOUETTE_CELLS` cells.
    n_neighbors
        Of the graph.
    random_state
        Seed of the graph, the clustering and the choice of cells.
    """
    import anndata
    import scanpy as sc

    cells = anndata.AnnData(np.zeros((len(embedding), 1), dtype=np.float32), obsm={"embedding": embedding})
    with threads_of_torch_kept():
        sc.pp.neighbors(cells, use_rep="embedding", n_neighbors=n_neighbors, random_state=random_state)

    def clusters(at: float) -> np.ndarray:
        sc.tl.leiden(cells, resolution=at, random_state=random_state, flavor="igraph", n_iterations=2, directed=False)
        return np.asarray(cells.obs["leiden"].astype(str))

    if resolution is not None:
        return clusters(resolution)
    rng = np.random.default_rng(random_state)
    judged = rng.permutation(len(embedding))[:SILHOUETTE_CELLS]

    def silhouette(found: np.ndarray) -> float:
        apart = 1 < len(set(found[judged])) < len(judged)
        return float(silhouette_score(embedding[judged], found[judged])) if apart else -1.0

    return max(map(clusters, RESOLUTIONS), key=silhouette)


def scaled_pca(adata: AnnData, n_components: int, random_state: int = 0) -> np.ndarray:
    """What embeddings are compared with: principal components of log-normalised, scaled counts (scanpy's tutorial).

    Parameters
    ----------
    adata
        Cells x genes with raw counts in ``X``; left as it is.
    n_components
        Number of components.
    random_state
        Seed of the solver.

    Returns
    -------
    float (n_cells, n_components).
    """
    import scanpy as sc

    work = adata.copy()
    with threads_of_torch_kept():
        sc.pp.normalize_total(work)
        sc.pp.log1p(work)
        work.X = sp.csr_matrix(work.X).toarray()  # scaling makes it dense anyway, with a warning
        sc.pp.scale(work, max_value=10)
        sc.pp.pca(work, n_comps=n_components, random_state=random_state)
    return np.asarray(work.obsm["X_pca"])
