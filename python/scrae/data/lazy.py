"""Counts that dask would compute: a block of cells at a time, to disk, so that they are never in memory as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import Any

import scipy.sparse as sp

from scrae.data.counts import Rounding, as_counts
from scrae.data.on_disk import on_disk


def is_lazy(matrix: Any) -> bool:
    """Whether it is an array of dask."""
    return hasattr(matrix, "dask") and hasattr(matrix, "compute")


def edges(matrix: Any) -> list[int]:
    """Where its blocks of cells begin, and the number of cells at the end."""
    return list(accumulate(matrix.chunks[0], initial=0))


def computed(
    matrix: Any,
    where: str,
    cell_names: Any = None,
    gene_names: Any = None,
    rounding: Rounding | None = None,
) -> sp.csr_array:
    """Compute the blocks of an array one after the other, check them, and put them together on disk.

    Parameters
    ----------
    matrix
        Array of dask, cells x genes, with dense or sparse blocks. A block of its cells has to fit into memory.
    where, cell_names, gene_names, rounding
        As for :func:`scrae.data.counts.as_counts`.

    Raises
    ------
    scrae.CountsError
        The values are not raw counts.
    """

    def blocks() -> Iterator[sp.csr_array]:
        for start, stop in pairwise(edges(matrix)):
            names: Any = range(start, stop) if cell_names is None else cell_names[start:stop]
            yield as_counts(matrix[start:stop].compute(), where, names, gene_names, copy=False, rounding=rounding)

    return on_disk(blocks(), matrix.shape[1])
