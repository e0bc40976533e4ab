"""How far the nearest neighbours of two cells are the same: the weights of a graph, as in Seurat."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from scrae.compute.compilation import compiled
from scrae.compute.threads import over_rows

PRUNED = 1 / 15  # overlap below which two cells are not joined


def shared_neighbours(near: np.ndarray) -> sp.csr_array:
    """Weights between cells: how far their nearest neighbours are the same (Jaccard index), as in Seurat.

    Parameters
    ----------
    near
        Positions of the nearest cells of each, itself among them, int (n_cells, k).

    Returns
    -------
    Symmetric, from 1/15 to 1, float64 (n_cells, n_cells), without a diagonal.
    """
    n, k = near.shape
    near = np.ascontiguousarray(near)
    held_by = sp.csr_array((np.ones(near.size, bool), near.ravel(), np.arange(0, near.size + 1, k)), (n, n)).tocsc()
    shared = np.arange(k + 1)
    weights = shared / (2 * k - shared)
    graph = near, held_by.indptr, held_by.indices, int(np.argmax(weights >= PRUNED))

    number = np.zeros(n + 1, np.int64)
    over_rows(n, _count, *graph, number[1:])
    begin = np.cumsum(number)
    others = np.empty(begin[-1], sp.get_index_dtype(maxval=max(int(begin[-1]), n)))
    overlaps = np.empty(begin[-1])
    over_rows(n, _fill, *graph, weights, begin, others, overlaps)
    return sp.csr_array((overlaps, others, begin.astype(others.dtype)), shape=(n, n))


@compiled(nogil=True)
def _overlapping(
    cell: int, near: np.ndarray, begin: np.ndarray, holders: np.ndarray, shared: np.ndarray, touched: np.ndarray
) -> int:  # pragma: no cover (compiled)
    """Count the neighbours that each cell shares with this one, and put those that share any into ``touched``."""
    n_touched = 0
    for neighbour in near[cell]:
        for place in range(begin[neighbour], begin[neighbour + 1]):
            other = holders[place]
            if shared[other] == 0:
                touched[n_touched] = other
                n_touched += 1
            shared[other] += 1
    shared[cell] = 0  # no cell is joined to itself
    return n_touched


@compiled(nogil=True)
def _count(
    first: int, last: int, near: np.ndarray, begin: np.ndarray, holders: np.ndarray, least: int, number: np.ndarray
) -> None:  # pragma: no cover (compiled)
    """How many cells share ``least`` neighbours or more with each of the cells ``first`` to ``last``."""
    shared, touched = np.zeros(len(near), np.int32), np.empty(len(near), np.int64)
    for cell in range(first, last):
        for other in touched[: _overlapping(cell, near, begin, holders, shared, touched)]:
            number[cell] += shared[other] >= least
            shared[other] = 0


@compiled(nogil=True)
def _fill(
    first: int,
    last: int,
    near: np.ndarray,
    begin: np.ndarray,
    holders: np.ndarray,
    least: int,
    weights: np.ndarray,
    row: np.ndarray,
    others: np.ndarray,
    overlaps: np.ndarray,
) -> None:  # pragma: no cover (compiled)
    """These cells, in their order, and the weights of so many shared neighbours."""
    shared, touched = np.zeros(len(near), np.int32), np.empty(len(near), np.int64)
    for cell in range(first, last):
        n_touched, n_kept = _overlapping(cell, near, begin, holders, shared, touched), 0
        for other in touched[:n_touched]:
            if shared[other] >= least:
                others[row[cell] + n_kept] = other
                n_kept += 1
        joined = others[row[cell] : row[cell + 1]]
        joined.sort()
        for place in range(n_kept):
            overlaps[row[cell] + place] = weights[shared[joined[place]]]
        for other in touched[:n_touched]:
            shared[other] = 0
