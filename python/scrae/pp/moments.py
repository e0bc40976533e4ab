"""Sums over cells for every gene, in one pass over CSR; nothing dense but one number per gene and sum.

Processes that divide their work (:mod:`scrae.compute.distributed`) go through a run of the cells each.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch

from scrae.compute import distributed
from scrae.compute.compilation import compiled
from scrae.compute.progress import progress_bar
from scrae.data.blocks import Block, consecutive

BLOCK = 2**17  # stored counts in hand at once: what is made of them stays in the cache, and blocks are few


def row_blocks(counts: sp.csr_array, title: str, verbose: bool | None, cells: slice | None = None) -> Iterator[Block]:
    """Consecutive cells with about :data:`BLOCK` stored counts together, with a progress bar.

    ``cells`` is the run of them to go through, None for all. ``verbose`` None shows the bar in a terminal only.
    """
    n_cells = counts.shape[0] if cells is None else cells.stop - cells.start
    with progress_bar(n_cells, title, "cell", verbose) as bar:
        for block in consecutive(counts, BLOCK, cells):
            yield block
            bar.update(block.rows.stop - block.rows.start)


def cells_with(counts: sp.csr_array, verbose: bool | None) -> np.ndarray:
    """Number of cells that have each gene, int64."""
    number = np.zeros(counts.shape[1], dtype=np.int64)
    for block in row_blocks(counts, "genes: cells", verbose, distributed.own_share(counts.shape[0])):
        _count(number, block.indices)
    return distributed.added_up(number, counts.shape[0])


def means(counts: sp.csr_array, verbose: bool | None) -> np.ndarray:
    """Mean count of each gene per cell, float64."""
    n_cells = counts.shape[0]
    return np.asarray(scaled_sums(counts, np.ones(n_cells), "genes: means", verbose)[0] / n_cells)


def cell_totals(counts: sp.csr_array, genes: np.ndarray | None = None) -> np.ndarray:
    """Sum of the counts of each cell over all genes or over those at the positions ``genes``, float64 and exact.

    Every cell has a count.
    """
    own = distributed.own_share(counts.shape[0])
    if genes is None:
        indptr = counts.indptr[own.start : own.stop + 1]
        data, starts = counts.data[indptr[0] : indptr[-1]], indptr[:-1] - indptr[0]
        totals = np.add.reduceat(data, starts)
        if totals.max() >= 2**24:  # from there on float32 rounds; below it, it has not
            totals = np.add.reduceat(data, starts, dtype=np.float64)
        totals = totals.astype(np.float64)
    else:
        weight = np.zeros(counts.shape[1])
        weight[genes] = 1
        blocks = row_blocks(counts, "cells", False, own)
        totals = np.concatenate([np.add.reduceat(weight[b.indices] * b.data, b.indptr[:-1]) for b in blocks])
    return distributed.put_together(torch.from_numpy(totals), own, counts.shape[0]).numpy()


def scaled_sums(
    counts: sp.csr_array,
    scale: np.ndarray,
    title: str,
    verbose: bool | None,
    weight: np.ndarray | None = None,
) -> np.ndarray:
    """Sums over cells of each gene's counts, scaled by cell: of themselves, of their squares, and weighted.

    Parameters
    ----------
    counts
        Cells x genes.
    scale
        s_i, float64 (n_cells,).
    weight
        w_i, float64 (n_cells,); None: no third sum.

    Returns
    -------
    float64 (2 or 3, genes): of s_i x_ij, of (s_i x_ij)^2 and of w_i s_i x_ij over the cells i. Sums of whole numbers
    below 2^53 are exact.
    """
    sums = np.zeros((counts.shape[1], 2 if weight is None else 3))
    for block in row_blocks(counts, title, verbose, distributed.own_share(counts.shape[0])):
        of_block = None if weight is None else weight[block.rows]
        _add_scaled(sums, block.data, block.indices, block.indptr, scale[block.rows], of_block)
    return distributed.added_up(sums, counts.shape[0]).T


@compiled()
def _count(number: np.ndarray, genes: np.ndarray) -> None:  # pragma: no cover (compiled)
    for place in range(np.uint64(len(genes))):
        number[np.uint64(genes[place])] += 1  # unsigned: an index that might count from the end takes twice as long


@compiled()
def _add_scaled(
    sums: np.ndarray,
    data: np.ndarray,
    indices: np.ndarray,
    indptr: np.ndarray,
    scale: np.ndarray,
    weight: np.ndarray | None,
) -> None:  # pragma: no cover (compiled)
    for cell in range(len(scale)):
        for place in range(np.uint64(indptr[cell]), np.uint64(indptr[cell + 1])):
            gene = np.uint64(indices[place])
            scaled = scale[cell] * np.float64(data[place])
            sums[gene, 0] += scaled
            sums[gene, 1] += scaled * scaled
            if weight is not None:
                sums[gene, 2] += weight[cell] * scaled
