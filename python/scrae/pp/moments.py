"""Sums over cells for every gene, in one pass over CSR; nothing dense but one number per gene."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from tqdm.auto import tqdm

BLOCK = 2**20  # stored counts in hand at once


def row_blocks(counts: sp.csr_array, title: str, verbose: bool | None) -> Iterator[tuple[slice, sp.csr_array]]:
    """Consecutive cells with about a million stored counts together, with a progress bar.

    A block is a view of ``counts``: not to be changed. ``verbose`` None shows the bar in a terminal only.
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


def cells_and_totals(counts: sp.csr_array, title: str, verbose: bool | None) -> tuple[np.ndarray, np.ndarray]:
    """For each gene the number of cells that have it, and the sum of its counts (exact)."""
    n_genes = counts.shape[1]
    detected, totals = np.zeros(n_genes, dtype=np.int64), np.zeros(n_genes)
    for _, block in row_blocks(counts, title, verbose):
        detected += np.bincount(block.indices, minlength=n_genes)
        totals += np.bincount(block.indices, weights=block.data, minlength=n_genes)
    return detected, totals


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
        Pairs of a power (1 or 2) and a weight per cell.

    Returns
    -------
    float64 (terms, genes): the sum over cells i of weight[i] * counts[i, j] ** power. Sums of whole numbers below 2^53
    are exact.
    """
    sums = np.zeros((len(terms), counts.shape[1]))
    for rows, block in row_blocks(counts, title, verbose):
        first = sp.csr_array((block.data.astype(np.float64), block.indices, block.indptr), shape=block.shape)
        powers = {1: first, 2: first.power(2)}
        for total, (power, weight) in zip(sums, terms, strict=True):
            total += powers[power].T @ weight[rows]
    return sums
