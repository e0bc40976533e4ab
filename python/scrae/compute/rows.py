"""The rows of a minibatch that this process takes through the networks: all of them, or its share.

Model code asks one object and need not know which: what losses are made of is gathered from all processes, and what is
random is drawn for the whole minibatch everywhere, so that every process computes what one would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scrae.compute import distributed

Draw = Callable[[Tensor], Tensor]
"""Gives random numbers in the shape of its argument, whose values do not matter: ``torch.rand_like``."""


class AllRows:
    """The whole minibatch, for a process on its own: everything is what it was given."""

    def own(self, whole: Tensor) -> Tensor:
        """Rows of this process, (n_own, ...), from all rows of the minibatch, (n_rows, ...)."""
        return whole

    def gather(self, own: Tensor) -> Tensor:
        """All rows of the minibatch, (n_rows, ...), from those of this process, (n_own, ...), differentiable."""
        return own

    def draw_like(self, draw: Draw, own: Tensor) -> Tensor:
        """Random numbers of the shape of ``own``, (n_own, ...), as one process would draw them for all rows."""
        return draw(own)

    def draw_like_entries(self, draw: Draw, own: Tensor) -> Tensor:
        """The same for the stored entries of the rows of this process, (n_own_entries,)."""
        return draw(own)


@dataclass(frozen=True)
class SharedRows:
    """A run of rows of a minibatch that several processes share; the methods are those of :class:`AllRows`.

    Attributes
    ----------
    sizes
        How many rows each process takes, in the order of the processes.
    rows
        Those of this one.
    n_entries, entries
        Stored entries of the whole minibatch, and the run of them that its rows hold.
    """

    sizes: tuple[int, ...]
    rows: slice
    n_entries: int
    entries: slice

    @property
    def n_rows(self) -> int:
        """Rows of the whole minibatch."""
        return sum(self.sizes)

    def own(self, whole: Tensor) -> Tensor:
        return whole[self.rows]

    def gather(self, own: Tensor) -> Tensor:
        whole: Tensor = _Gather.apply(own, self.rows, self.n_rows)  # type: ignore[no-untyped-call]
        return whole

    def gather_processes(self, own: Tensor) -> Tensor:
        """One tensor of each process, (n_processes, ...), from the own one, differentiable."""
        place = slice(distributed.rank(), distributed.rank() + 1)
        whole: Tensor = _Gather.apply(own[None], place, len(self.sizes))  # type: ignore[no-untyped-call]
        return whole

    def draw_like(self, draw: Draw, own: Tensor) -> Tensor:
        return draw(own.new_empty((self.n_rows, *own.shape[1:])))[self.rows]

    def draw_like_entries(self, draw: Draw, own: Tensor) -> Tensor:
        return draw(own.new_empty(self.n_entries))[self.entries]


Rows = AllRows | SharedRows
ALL_ROWS = AllRows()

_in_hand: Rows = ALL_ROWS


def rows_of(n_entries: Tensor) -> Rows:
    """What this process takes of a minibatch whose cells have so many stored entries each, int64 (n_cells,).

    Raises
    ------
    ValueError
        There are more processes than cells.
    """
    number, n_cells = distributed.n_processes(), len(n_entries)
    if number == 1:
        return ALL_ROWS
    if n_cells < number:
        raise ValueError(
            f"{number} processes cannot share a minibatch of {n_cells} cells; take fewer processes, or a larger "
            "batch_size"
        )
    sizes = tuple(n_cells // number + (other < n_cells % number) for other in range(number))
    first = sum(sizes[: distributed.rank()])
    last = first + sizes[distributed.rank()]
    ends = [0, *torch.cumsum(n_entries, 0).tolist()]
    return SharedRows(sizes, slice(first, last), ends[-1], slice(ends[first], ends[last]))


@contextmanager
def working_on(rows: Rows) -> Iterator[None]:
    """Within it, :func:`rows_in_hand` gives ``rows``: for layers, which see tensors and no minibatch."""
    global _in_hand
    before, _in_hand = _in_hand, rows
    try:
        yield
    finally:
        _in_hand = before


def rows_in_hand() -> Rows:
    """What :func:`working_on` was given; all rows outside of it."""
    return _in_hand


class _Gather(torch.autograd.Function):
    """Rows of all processes from the own ones; the adjoint sums what all processes ask of the own rows."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, rows: slice, n_rows: int) -> Tensor:
        ctx.rows = rows
        whole = own.new_zeros((n_rows, *own.shape[1:]))
        whole[rows] = own
        return distributed.sum_over_processes(whole)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        gradient = grad_outputs[0].clone(memory_format=torch.contiguous_format)
        return distributed.sum_over_processes(gradient)[ctx.rows], None, None
