"""Consecutive cells of a CSR matrix, a block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from scrae.data.mapped_arrays import read_ahead


class Block(NamedTuple):
    """Consecutive cells: their positions, and their part of CSR.

    They are bare arrays, because scipy copies slices when it makes a matrix of them. ``data`` and ``indices`` may be
    views: they are not to be changed.
    """

    rows: slice
    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray

    def matrix(self, n_genes: int) -> sp.csr_array:
        """The cells as a matrix, cells x ``n_genes``."""
        shape = (len(self.indptr) - 1, n_genes)
        return sp.csr_array((self.data, self.indices, self.indptr), shape=shape)


def edges(indptr: np.ndarray, n_entries: int) -> np.ndarray:
    """Where to cut cells into blocks of about ``n_entries`` stored entries: 0, ..., n_cells."""
    ends = np.searchsorted(indptr, np.arange(indptr[0] + n_entries, indptr[-1], n_entries), side="left")
    return np.unique(np.concatenate([[0], ends, [len(indptr) - 1]]))


def consecutive(counts: sp.csr_array, n_entries: int, cells: slice | None = None) -> Iterator[Block]:
    """Cells in their order, in blocks of about ``n_entries`` stored entries: a run of ``cells``, or all of them."""
    first, last = (0, counts.shape[0]) if cells is None else (cells.start, cells.stop)
    cuts = first + edges(counts.indptr[first : last + 1], n_entries)
    for start, stop, end_of_next in zip(cuts[:-1], cuts[1:], [*cuts[2:], cuts[-1]], strict=False):
        stored = slice(counts.indptr[start], counts.indptr[stop])
        for entries in (counts.data, counts.indices):  # those of the next block, while this one is in hand
            read_ahead(entries, [stored.stop], [counts.indptr[end_of_next]])
        indptr = counts.indptr[start : stop + 1] - stored.start
        yield Block(slice(start, stop), counts.data[stored], counts.indices[stored], indptr)
