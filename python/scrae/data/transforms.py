"""What the encoder sees of a count and what the decoder must explain: maps of counts that send zeros to one value.

A map that keeps zeros, or sends those of a gene to one value, can be applied to the stored entries alone: counts stay
sparse to the last moment.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from scrae.compute import distributed
from scrae.data.blocks import consecutive
from scrae.data.count_rows import CountRows
from scrae.data.on_disk import BLOCK


class CountTransform(nn.Module):
    """One of the maps below, with the constant it needs from the training data.

    ================ =====================================================================================
    ``"counts"``      x
    ``"log1p"``       log(1 + x): the encoder can read off the library size
    ``"lognorm"``     log(1 + x * s / library), s the median library size of the training cells
    ``"log2_max"``    log2(1 + x) / max over all entries of log2(1 + x): what the published code uses
    ``"scaled"``      "lognorm" with mean 0 and variance 1 per gene, at most 10: what scaled PCA sees
    ================ =====================================================================================

    Parameters
    ----------
    kind
        One of the above.
    n_genes
        Number of modelled genes.
    """

    KINDS = ("counts", "log1p", "lognorm", "log2_max", "scaled")
    LARGEST_SCALED = 10.0  # as in scanpy's and Seurat's tutorials: a gene seen in few cells would rule the distances
    scale: Tensor
    gene_mean: Tensor
    gene_sd: Tensor

    def __init__(self, kind: str, n_genes: int) -> None:
        super().__init__()
        if kind not in self.KINDS:
            raise ValueError(f"unknown transform {kind!r}; choose one of {', '.join(self.KINDS)}")
        self.kind = kind
        self.register_buffer("scale", torch.ones((), dtype=torch.float32))
        if kind == "scaled":
            self.register_buffer("gene_mean", torch.zeros(n_genes))
            self.register_buffer("gene_sd", torch.ones(n_genes))

    def fit(self, counts: sp.csr_array) -> CountTransform:
        """Take the constant of the map from the training counts."""
        if self.kind in ("lognorm", "scaled"):
            library_size = np.maximum(_totals(counts), 1.0)
            self.scale.fill_(float(np.median(library_size)))
            if self.kind == "scaled":
                self._fit_genes(counts, library_size)
        elif self.kind == "log2_max":
            self.scale.fill_(float(np.log2(1.0 + counts.data.max(initial=1.0))))
        return self

    def _fit_genes(self, counts: sp.csr_array, library_size: np.ndarray) -> None:
        """Mean and standard deviation (n - 1) of each gene's log-normalised values; 1 where a gene is constant."""
        n_cells, n_genes = counts.shape
        size_factor = float(self.scale) / library_size
        both = np.zeros((2, n_genes))  # in double: a sum over millions of cells in float32 stands still
        for block in consecutive(counts, BLOCK, distributed.own_share(n_cells)):
            lognorm = np.log1p(block.data * np.repeat(size_factor[block.rows], np.diff(block.indptr)))
            both[0] += np.bincount(block.indices, lognorm, n_genes)
            both[1] += np.bincount(block.indices, lognorm**2, n_genes)
        sums, squares = distributed.added_up(both, n_cells)
        mean = sums / n_cells
        variance = np.maximum(squares - n_cells * mean**2, 0.0) / max(n_cells - 1, 1)
        self.gene_mean.copy_(torch.as_tensor(mean))
        self.gene_sd.copy_(torch.as_tensor(np.where(variance > 1e-12, np.sqrt(variance), 1.0)))

    def forward(self, rows: CountRows) -> CountRows:
        """Transformed entries, at the same places."""
        if self.kind == "counts":
            return rows
        if self.kind == "log1p":
            return rows.with_values(torch.log1p(rows.values))
        if self.kind in ("lognorm", "scaled"):
            size_factor = self.scale / rows.sums.clamp_min(1.0)
            lognorm = rows.with_values(torch.log1p(rows.values * rows.by_row(size_factor)))
            return self._scaled(lognorm) if self.kind == "scaled" else lognorm
        return rows.with_values(torch.log2(1.0 + rows.values) / self.scale)

    def _scaled(self, lognorm: CountRows) -> CountRows:
        mean, sd = (lognorm.by_column(of_gene) for of_gene in (self.gene_mean, self.gene_sd))
        scaled = (lognorm.values - mean) / sd
        return lognorm.with_values(scaled.clamp_max(self.LARGEST_SCALED), -self.gene_mean / self.gene_sd)

    def inverse(self, values: torch.Tensor) -> torch.Tensor:
        """Counts of transformed values. Of "lognorm" and "scaled" the likelihood itself gives counts."""
        if self.kind == "log1p":
            return torch.expm1(values)
        if self.kind == "log2_max":
            return torch.exp2(values * self.scale) - 1.0
        return values


def _totals(counts: sp.csr_array) -> np.ndarray:
    """Sum of the counts of each cell, float32 (n_cells,); processes that divide their work go through some each."""
    n_cells, n_genes = counts.shape
    share = distributed.own_share(n_cells)
    own = [block.matrix(n_genes).sum(axis=1) for block in consecutive(counts, BLOCK, share)]
    return distributed.put_together(torch.from_numpy(np.concatenate(own)), share, n_cells).numpy()
