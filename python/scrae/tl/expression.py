"""Log-normalised expression of cells, and its principal components, for what is judged outside the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from scrae.data.counts import looks_like_counts
from scrae.data.covariates import Covariates
from scrae.data.layers import matrix_of, rows_in_blocks
from scrae.metrics.principal_components import components_of_scaled_genes
from scrae.posthoc.integration import without_covariates

if TYPE_CHECKING:
    from anndata import AnnData

N_COMPONENTS = 30


def log_expression(adata: AnnData, layer: str | None, cells: np.ndarray) -> sp.csr_array:
    """Log of 1 + counts scaled to their median total; a matrix that holds no counts is taken for such logs.

    Parameters
    ----------
    adata
        Cells x genes.
    layer
        Where; None: ``adata.X``. Where the layer has gone meanwhile, ``adata.X`` is taken.
    cells
        Positions of the cells wanted, int (n,).

    Returns
    -------
    float64 (n, n_genes).
    """
    part: Any = matrix_of(adata, layer)[cells]
    if hasattr(part, "compute"):
        part = part.compute()
    values = sp.csr_array(part, dtype=np.float64, copy=True)
    if looks_like_counts(values):
        totals = values.sum(1)
        scale = np.median(totals) / np.maximum(totals, 1.0)
        values.data = np.log1p(values.data * np.repeat(scale, np.diff(values.indptr)))
    return values


def log_expression_of_genes(adata: AnnData, layer: str | None, genes: np.ndarray) -> np.ndarray:
    """The same of some genes alone, at positions (n_genes,), in all cells: float64 (n_cells, n_genes), dense.

    Cells are read in blocks, so that no second matrix of all genes is made.
    """
    matrix = matrix_of(adata, layer)
    counts = looks_like_counts(matrix)
    values, totals = [np.zeros((0, len(genes)))], [np.zeros(0)]
    for rows in rows_in_blocks(matrix):
        values.append(rows[:, genes].toarray().astype(np.float64))
        totals.append(np.asarray(rows.sum(1, dtype=np.float64)).ravel())
    found, total = np.concatenate(values), np.concatenate(totals)
    return np.log1p(found * (np.median(total) / np.maximum(total, 1.0))[:, None]) if counts else found


def principal_components(expression: sp.csr_array, batch: np.ndarray | None, random_state: int) -> np.ndarray:
    """Principal components of scaled genes, without what batches add: float64 (n_cells, at most 30)."""
    n_components = min(N_COMPONENTS, *(size - 1 for size in expression.shape))
    components = components_of_scaled_genes(expression.toarray(), n_components, random_state).astype(np.float64)
    return components if batch is None else without_batches(components, batch, random_state)


def without_batches(components: np.ndarray, batch: np.ndarray, random_state: int) -> np.ndarray:
    """Components of cells, (n_cells, n_components), without what their batches, (n_cells,), add to them."""
    names, codes = np.unique(batch, return_inverse=True)
    covariates = Covariates.categorical(codes[:, None], (len(names),))
    return without_covariates(components, covariates, random_state)
