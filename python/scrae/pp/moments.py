"""Sums over cells for every gene, in one pass over CSR; nothing dense but one number per gene and sum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from tqdm.auto import tqdm

BLOCK = 2**17  # stored counts in hand at once: what is made of them stays in the cache, and blocks are few


class Block(NamedTuple):
    """Consecutive cells: their positions, and their part of CSR. The first two may be views: not to be changed."""

    rows: slice
    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray

    def matrix(self, n_genes: int) -> sp.csr_array:
        """The cells as a matrix, cells x ``n_genes``."""
        shape = (len(self.indptr) - 1, n_genes)
        return sp.csr_array((self.data, self.indices, self.indptr), shape=shape)


def row_blocks(counts: sp.csr_array, title: str, verbose: bool | None) -> Iterator[Block]:
    """Consecutive cells with about ``BLOCK`` stored counts together, with a progress bar.

    They come as bare arrays, because scipy copies slices when it makes a matrix of them. ``verbose`` None shows the
    bar in a terminal only.
    """
    n_cells = counts.shape[0]
    ends = np.searchsorted(counts.indptr, np.arange(BLOCK, counts.nnz, BLOCK), side="left")
    edges = np.unique(np.concatenate([[0], ends, [n_cells]]))
    with tqdm(total=n_cells, desc=title, unit="cell", disable=None if verbose is None else not verbose) as bar:
        for start, stop in pairwise(edges):
            stored = slice(counts.indptr[start], counts.indptr[stop])
            indptr = counts.indptr[start : stop + 1] - stored.start
            yield Block(slice(start, stop), counts.data[stored], counts.indices[stored], indptr)
            bar.update(stop - start)


def cells_with(counts: sp.csr_array, verbose: bool | None) -> np.ndarray:
    """Number of cells that have each gene, int64."""
    number = torch.zeros(counts.shape[1], dtype=torch.int64)
    for block in row_blocks(counts, "genes: cells", verbose):
        genes = block.indices if block.indices.flags.writeable else block.indices.copy()  # torch warns of the others
        number += torch.bincount(torch.from_numpy(genes), minlength=len(number))  # numpy's wants int64, and copies
    return number.numpy()


def means(counts: sp.csr_array, verbose: bool | None) -> np.ndarray:
    """Mean count of each gene per cell, float64."""
    n_cells = counts.shape[0]
    return np.asarray(weighted_sums(counts, [(1, np.ones(n_cells))], "genes: means", verbose)[0] / n_cells)


def cell_totals(counts: sp.csr_array, genes: np.ndarray | None = None) -> np.ndarray:
    """Sum of the counts of each cell over all genes or over those at the positions ``genes``, float64 and exact.

    Every cell has a count.
    """
    if genes is None:
        totals = np.add.reduceat(counts.data, counts.indptr[:-1])
        if totals.max() >= 2**24:  # from there on float32 rounds; below it, it has not
            totals = np.add.reduceat(counts.data, counts.indptr[:-1], dtype=np.float64)
        return totals.astype(np.float64)
    weight = np.zeros(counts.shape[1])
    weight[genes] = 1
    blocks = row_blocks(counts, "cells", False)
    return np.concatenate([np.add.reduceat(weight[b.indices] * b.data, b.indptr[:-1]) for b in blocks])


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
    powers = sorted({power for power, _ in terms})
    places = [[i for i, (other, _) in enumerate(terms) if other == power] for power in powers]
    weights = [np.stack([terms[i][1] for i in of_power], 1) for of_power in places]
    for block in row_blocks(counts, title, verbose):
        values = block.data.astype(np.float64)
        by_gene = sp.csc_array((values, block.indices, block.indptr), shape=(counts.shape[1], len(block.indptr) - 1))
        for power, of_power, weight in zip(powers, places, weights, strict=True):
            if power == 2:
                np.square(by_gene.data, out=by_gene.data)
            sums[of_power] += (by_gene @ weight[block.rows]).T
    return sums
