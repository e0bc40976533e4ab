"""Cells with a part of their entries hidden, as the encoder sees them in training: drawn, and built, in one go."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from scrae.compute.compilation import compiled
from scrae.compute.rows import rows_in_hand
from scrae.data.count_rows import CountRows
from scrae.data.sparse import SparseRows

LEVELS = 2**16  # of what is drawn for an entry; the share that is hidden is a whole number of them
ZERO = np.float32(0.0)


def masked(cells: CountRows, rate: float) -> CountRows | Tensor:
    """Set each entry to zero with probability ``rate``, and scale up what is left, as dropout does.

    Entries that are not stored stay zero; where they have a background they are hidden like all others.

    Parameters
    ----------
    cells
        Transformed counts, (n_cells, n_genes).
    rate
        In [0, 1).

    Returns
    -------
    Entries at the same places, or with a background the dense block, (n_cells, n_genes). Random by torch's random
    state; several processes draw what one would.
    """
    rows = rows_in_hand()
    if isinstance(cells, SparseRows) and cells.background is None:
        drawn = rows.draw_like_entries(_draw, cells.values)
    else:
        drawn = rows.draw_like(_draw, cells.values.new_empty(1).expand(cells.n_rows, cells.n_columns))
    least, scale = round(rate * LEVELS) - LEVELS // 2, 1.0 / (1.0 - rate)
    if cells.background is None:
        return cells.with_values((cells.values * (drawn >= least)).mul_(scale))
    if not isinstance(cells, SparseRows) or cells.values.dtype != torch.float32:
        return (cells.dense() * (drawn >= least)).mul_(scale)
    result = cells.values.new_empty(cells.n_rows, cells.n_columns)
    background, genes, values = cells.background.numpy(), cells.column.numpy(), cells.values.numpy()
    _masked(background, genes, values, cells.start.numpy(), drawn.numpy(), least, scale, result.numpy())
    return result


def _draw(like: Tensor) -> Tensor:
    """Whole numbers from -LEVELS / 2 to LEVELS / 2 - 1, int16, in the shape of ``like``."""
    if like.device.type != "cpu":
        return torch.empty_like(like, dtype=torch.int16).random_(-LEVELS // 2, LEVELS // 2)
    # numpy's fastest generator gives four of them at once, in a tenth of the time that torch's takes for each.
    seed = int(torch.empty((), dtype=torch.int64).random_())
    words = np.random.SFC64(seed).random_raw(math.ceil(like.numel() / 4))
    return torch.from_numpy(words.view(np.int16)[: like.numel()].reshape(like.shape))


@compiled()
def _masked(
    background: np.ndarray,
    genes: np.ndarray,
    values: np.ndarray,
    start: np.ndarray,
    drawn: np.ndarray,
    least: int,
    scale: float,
    result: np.ndarray,
) -> None:  # pragma: no cover (compiled)
    factor = np.float32(scale)
    scaled = background * factor
    for cell in range(len(result)):
        of_cell, seen = drawn[cell], result[cell]
        for gene in range(len(scaled)):
            seen[gene] = scaled[gene] if of_cell[gene] >= least else ZERO
        for place in range(start[cell], start[cell + 1]):
            gene = genes[place]
            seen[gene] = values[place] * factor if of_cell[gene] >= least else ZERO
