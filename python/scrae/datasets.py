"""Data to try the package on without any download."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from anndata import AnnData

ROUNDING = 0.25  # further than this from a whole number is no rounding error of the stored values


def pbmc() -> AnnData:
    """Load 700 peripheral blood mononuclear cells x 765 genes: raw counts, with the published cell types.

    The data set ``pbmc68k_reduced`` that ships inside scanpy (Zheng et al. 2017, 10x Genomics) stores log1p of counts
    scaled by one factor per cell. The smallest non-zero value of a cell is one count, so dividing by it gives the
    counts back; that they are whole is checked.

    Returns
    -------
    AnnData with counts in ``X`` (CSR, float32), ``obs["cell_type"]`` and UMAP coordinates of the publication's
    pipeline in ``obsm["X_umap_published"]``.

    Raises
    ------
    RuntimeError
        The file of the installed version of scanpy is not the one described.

    Examples
    --------
    >>> import scrae
    >>> scrae.datasets.pbmc().shape
    (700, 765)
    """
    import scanpy as sc
    from anndata import AnnData

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the file is old, and anndata says so
        stored = sc.datasets.pbmc68k_reduced()
    counts = unscaled_counts(stored.raw.X)
    obs = stored.obs[["bulk_labels"]].rename(columns={"bulk_labels": "cell_type"})
    adata = AnnData(counts, obs=obs, var=stored.raw.var[[]].copy())
    adata.obsm["X_umap_published"] = np.asarray(stored.obsm["X_umap"])
    return adata


def unscaled_counts(logged: sp.csr_matrix) -> sp.csr_matrix:
    """Counts (CSR, float32) from log1p(counts * factor of the cell), if every cell has a gene with one count."""
    scaled = sp.csr_matrix(logged, dtype=np.float64, copy=True)
    scaled.data = np.expm1(scaled.data)
    per_cell = np.diff(scaled.indptr)
    if scaled.shape[0] == 0 or per_cell.min() == 0:
        raise RuntimeError("a cell without any count has no smallest count to divide by")
    smallest = np.minimum.reduceat(scaled.data, scaled.indptr[:-1])
    exact = scaled.data / np.repeat(smallest, per_cell)
    counts = np.rint(exact)
    off = np.abs(exact - counts).max()
    if off > ROUNDING:
        raise RuntimeError(f"values are not log1p of scaled counts: up to {off:.2f} from a whole number")
    return sp.csr_matrix((counts.astype(np.float32), scaled.indices, scaled.indptr), shape=scaled.shape)
