"""What the encoder sees of a count and what the decoder must explain: maps of counts that keep zeros zero.

A map that keeps zeros can be applied to the stored entries alone, so counts stay sparse to the last moment.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from scrae.data import SparseRows


class CountTransform(nn.Module):
    """One of the maps below, with the constant it needs from the training data.

    ================ =====================================================================================
    ``"counts"``      x
    ``"log1p"``       log(1 + x): the encoder can read off the library size
    ``"lognorm"``     log(1 + x * s / library), s the median library size of the training cells
    ``"log2_max"``    log2(1 + x) / max over all entries of log2(1 + x): what the published code uses
    ================ =====================================================================================
    """

    KINDS = ("counts", "log1p", "lognorm", "log2_max")
    scale: Tensor

    def __init__(self, kind: str) -> None:
        super().__init__()
        if kind not in self.KINDS:
            raise ValueError(f"unknown transform {kind!r}; choose one of {', '.join(self.KINDS)}")
        self.kind = kind
        self.register_buffer("scale", torch.ones((), dtype=torch.float32))

    def fit(self, counts: sp.csr_array) -> CountTransform:
        """Take the constant of the map from the training counts."""
        if self.kind == "lognorm":
            library_size = np.maximum(counts.sum(axis=1), 1.0)
            self.scale.fill_(float(np.median(library_size)))
        elif self.kind == "log2_max":
            self.scale.fill_(float(np.log2(1.0 + counts.data.max(initial=1.0))))
        return self

    def forward(self, rows: SparseRows) -> SparseRows:
        """Transformed entries, at the same places."""
        if self.kind == "counts":
            return rows
        if self.kind == "log1p":
            return rows.with_values(torch.log1p(rows.values))
        if self.kind == "lognorm":
            size_factor = self.scale / rows.sums().clamp_min(1.0)
            return rows.with_values(torch.log1p(rows.values * size_factor[rows.row]))
        return rows.with_values(torch.log2(1.0 + rows.values) / self.scale)

    def inverse(self, values: torch.Tensor) -> torch.Tensor:
        """Counts of transformed values. Of "lognorm" the likelihood itself gives counts, so nothing is left to do."""
        if self.kind == "log1p":
            return torch.expm1(values)
        if self.kind == "log2_max":
            return torch.exp2(values * self.scale) - 1.0
        return values
