"""How many counts and genes each cell has, and which genes are seen at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scrae.data.counts import looks_like_counts
from scrae.data.layers import named_layers, rows_in_blocks

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Quality:
    """Counts of each cell, genes of each cell, (n_cells,), and the number of cells of each gene, (n_genes,)."""

    counts: np.ndarray
    genes: np.ndarray
    seen_in: np.ndarray

    @classmethod
    def of(cls, adata: AnnData, layer: str | None) -> Quality | None:
        """Of raw counts in a layer (None: ``adata.X``); None where no such counts stand there."""
        matrix = adata.X if layer is None else named_layers(adata).get(layer)
        if matrix is None or not looks_like_counts(matrix):
            return None
        counts, genes, seen_in = [np.zeros(0)], [np.zeros(0)], np.zeros(adata.n_vars)
        for rows in rows_in_blocks(matrix):
            rows.eliminate_zeros()
            counts.append(np.asarray(rows.sum(1, dtype=np.float64)).ravel())
            genes.append(np.diff(rows.indptr))
            seen_in += np.bincount(rows.indices, minlength=adata.n_vars)
        return cls(np.concatenate(counts), np.concatenate(genes), seen_in)
