"""Sums over cells for every gene, in one pass over CSR; nothing dense but one number per gene and sum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from tqdm.auto import tqdm

BLOCK = 2**16  # stored counts in hand at once: what is made of them stays in the cache


def row_blocks(counts: sp.csr_array, title: str, verbose: bool | None) -> Iterator[tuple[slice, sp.csr_array]]:
    """Consecutive cells with about ``BLOCK`` stored counts together, with a progress bar.

    A block may be a view of ``counts``: not to be changed. ``verbose`` None shows the bar in a terminal only.
    """
    n_cells = counts.shape[0]
    ends = np.searchsorted(counts.indptr, np.arange(BLOCK, counts.nnz, BLOCK), side="left")
    edges = np.unique(np.concatenate([[0], ends, [n_cells]]))
    with tqdm(total=n_cells, desc=title, unit="cell", disable=None if verbose is None else not verbose) as bar:
        for start, stop in pairwise(edges):
            first, last = counts.indptr[start], counts.indptr[stop]
            parts = (counts.data[first:last], counts.indices[first:last], counts.indptr[start : stop + 1] - first)
            yield slice(start, stop), sp.csr_array(parts, shape=(stop - start, counts.shape[1]))
            bar.update(stop - start)


def cells_with(counts: sp.csr_array, verbose: bool | None) -> np.ndarray:
    """Number of cells that have each gene, int64."""
    sums = weighted_sums(counts, [(0, np.ones(counts.shape[0]))], "genes: cells", verbose)
    return np.asarray(sums[0], dtype=np.int64)


def means(counts: sp.csr_array, verbose: bool | None) -> np.ndarray:
    """Mean count of each gene per cell, float64."""
    n_cells = counts.shape[0]
    return np.asarray(weighted_sums(counts, [(1, np.ones(n_cells))], "genes: means", verbose)[0] / n_cells)


def cell_totals(counts: sp.csr_array, genes: np.ndarray | None = None) -> np.ndarray:
    """Sum of the counts of each cell over all genes or over those at the positions ``genes``, float64 and exact.

    Every cell has a count.
    """
    blocks = row_blocks(counts, "cells", False)
    if genes is None:
        return np.concatenate([np.add.reduceat(b.data, b.indptr[:-1], dtype=np.float64) for _, b in blocks])
    weight = np.zeros(counts.shape[1])
    weight[genes] = 1
    return np.concatenate([np.add.reduceat(weight[b.indices] * b.data, b.indptr[:-1]) for _, b in blocks])


def weighted_sums(
    counts: sp.csr_array, terms: Sequence[tuple[int, np.ndarray]], title: str, verbose: bool | None
) -> np.ndarray:
    """Sums of weighted powers of the counts of each gene.

    Parameters
    ----------
    counts
        Cells x genes.
    terms
        Pairs of a power (0, 1 or 2) and a weight per cell; of the power 0 stored counts are 1, the others 0.

    Returns
    -------
    float64 (terms, genes): the sum over cells i of weight[i] * counts[i, j] ** power. Sums of whole numbers below 2^53
    are exact.
    """
    sums = np.zeros((len(terms), counts.shape[1]))
    for rows, block in row_blocks(counts, title, verbose):
        values = block.data.astype(np.float64)
        by_gene = {
            power: sp.csc_array((values**power, block.indices, block.indptr), shape=block.shape[::-1])
            for power in {power for power, _ in terms}
        }
        for total, (power, weight) in zip(sums, terms, strict=True):
            total += by_gene[power] @ weight[rows]
    return sums
