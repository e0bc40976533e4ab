"""Among which cells the contrastive term tells a cell from others: those of its batch, or of similar small batches."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from scrae.data.on_disk import blocks

FEWEST = 8  # cells of a minibatch, in the mean, among which a cell is told from others


def partner_groups(counts: sp.csr_array, batch: np.ndarray, n_batches: int, batch_size: int) -> np.ndarray:
    """The group of each batch: cells are told from cells of their group.

    A batch is a group of its own where minibatches hold :data:`FEWEST` of its cells in the mean. In a smaller one a
    cell would be told from itself or from hardly another, and the term would teach nothing. So the smallest group joins
    the one with the most similar mean m of log-normalised counts until all are large enough: what still tells apart
    the batches of a group is then as little as can be. Similarity is Ward's, |m - m'|^2 n n' / (n + n'), which chance
    makes the same for small and for large groups.

    Parameters
    ----------
    counts
        Of the training cells, (n_cells, n_genes).
    batch
        Code of each cell's batch, int (n_cells,).
    n_batches
        How many there are.
    batch_size
        Cells of a minibatch.

    Returns
    -------
    int64 (n_batches,), each number the first batch of the group; 0, 1, 2, ... where every batch is large enough.
    """
    group = np.arange(n_batches)
    number = np.bincount(batch, minlength=n_batches).astype(np.float64)
    enough = FEWEST * len(batch) / min(batch_size, len(batch))
    if (number >= enough).all():
        return group
    total = _sums_of_logs(counts, batch, n_batches)
    while True:
        own = np.unique(group)
        smallest = own[number[own].argmin()]
        others = own[own != smallest]
        if number[smallest] >= enough or not len(others):
            return group
        means = total[others] / np.maximum(number[others], 1)[:, None]
        apart = np.square(means - total[smallest] / max(number[smallest], 1)).sum(1)
        nearest = others[(apart * number[others] / (number[others] + number[smallest])).argmin()]
        kept, joins = min(smallest, nearest), max(smallest, nearest)
        group[group == joins] = kept
        number[kept] += number[joins]
        total[kept] += total[joins]


def _sums_of_logs(counts: sp.csr_array, batch: np.ndarray, n_batches: int) -> np.ndarray:
    """Sums over each batch of log(1 + x * s / library), s the mean library, float64 (n_batches, n_genes)."""
    total = np.zeros((n_batches, counts.shape[1]))
    scale = counts.sum() / len(batch)
    start = 0
    for block in blocks(counts):
        of_block = batch[start : start + block.shape[0]]
        start += block.shape[0]
        library = np.maximum(block.sum(axis=1), 1.0)
        logs = np.log1p(block.data * np.repeat(scale / library, np.diff(block.indptr)))
        at = np.repeat(of_block, np.diff(block.indptr)) * counts.shape[1] + block.indices
        total += np.bincount(at, logs, total.size).reshape(total.shape)
    return total
