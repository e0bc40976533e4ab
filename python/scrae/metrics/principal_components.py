"""The embedding that others are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from scrae.compute.compilation import dispensable_caches
from scrae.compute.threads import threads_of_torch_kept

if TYPE_CHECKING:
    from anndata import AnnData


def scaled_pca(adata: AnnData, n_components: int, random_state: int = 0) -> np.ndarray:
    """Compute principal components of log-normalised, scaled counts, as in scanpy's tutorial.

    They are what embeddings are compared with in the benchmarks.

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

    Examples
    --------
    >>> import scrae
    >>> scrae.metrics.scaled_pca(scrae.datasets.pbmc(), 10).shape
    (700, 10)
    """
    import scanpy as sc

    work = adata.copy()
    with threads_of_torch_kept(), dispensable_caches():
        sc.pp.normalize_total(work)
        sc.pp.log1p(work)
    return components_of_scaled_genes(sp.csr_matrix(work.X).toarray(), n_components, random_state)


def components_of_scaled_genes(expression: np.ndarray, n_components: int, random_state: int) -> np.ndarray:
    """Principal components of log expression, its genes scaled to unit variance and cut at 10 standard deviations.

    Parameters
    ----------
    expression
        Log-normalised expression, float (n_cells, n_genes); overwritten.
    n_components
        Number of components.
    random_state
        Seed of the solver.

    Returns
    -------
    float (n_cells, n_components).
    """
    import anndata
    import scanpy as sc

    work = anndata.AnnData(expression)
    with threads_of_torch_kept(), dispensable_caches():
        sc.pp.scale(work, max_value=10)
        sc.pp.pca(work, n_comps=n_components, random_state=random_state)
    return np.asarray(work.obsm["X_pca"])
