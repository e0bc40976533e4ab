"""How many counts and genes each cell has, and which genes are seen at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from scrae.data.counts import looks_like_counts

if TYPE_CHECKING:
    from anndata import AnnData

CELLS = 4096  # that are looked at at once


@dataclass(frozen=True)
class Quality:
    """Counts of each cell, genes of each cell, (n_cells,), and the number of cells of each gene, (n_genes,)."""

    counts: np.ndarray
    genes: np.ndarray
    seen_in: np.ndarray

    @classmethod
    def of(cls, adata: AnnData, layer: str | None) -> Quality | None:
        """Of raw counts in a layer (None: ``adata.X``); None where no such counts stand there."""
        if layer is not None and layer not in adata.layers:
            return None
        matrix: Any = adata.X if layer is None else adata.layers[layer]
        if matrix is None or not looks_like_counts(matrix):
            return None
        counts, genes, seen_in = [np.zeros(0)], [np.zeros(0)], np.zeros(adata.n_vars)
        for start in range(0, adata.n_obs, CELLS):
            part: Any = matrix[start : start + CELLS]
            rows = sp.csr_array(part.compute() if hasattr(part, "compute") else part)
            rows.eliminate_zeros()
            counts.append(np.asarray(rows.sum(1, dtype=np.float64)).ravel())
            genes.append(np.diff(rows.indptr))
            seen_in += np.bincount(rows.indices, minlength=adata.n_vars)
        return cls(np.concatenate(counts), np.concatenate(genes), seen_in)
