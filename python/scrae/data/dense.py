"""Blocks of a few cells with their zeros: a GPU is fastest with work that has the same shape in each step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from scrae.data.count_rows import CountRows


@dataclass(frozen=True)
class DenseRows(CountRows):
    """Entries at their places in the dense block; nothing asks the processor, or a GPU, how many there are.

    Attributes
    ----------
    values
        The entries, float (n_rows, n_columns); where none is stored the value is not used.
    stored
        Where there is one, bool (n_rows, n_columns).
    background
        As in :class:`CountRows <scrae.data.count_rows.CountRows>`.
    """

    values: Tensor
    stored: Tensor
    background: Tensor | None = None

    @classmethod
    def of(cls, block: Tensor) -> DenseRows:
        """The non-zero entries of a dense block."""
        return cls(block, block != 0)

    @property
    def n_rows(self) -> int:  # type: ignore[override]
        """Number of cells."""
        return self.values.shape[0]

    @property
    def n_columns(self) -> int:  # type: ignore[override]
        """Number of genes."""
        return self.values.shape[1]

    def with_values(self, values: Tensor, background: Tensor | None = None) -> DenseRows:
        return replace(self, values=values, background=self.background if background is None else background)

    def by_row(self, of_rows: Tensor) -> Tensor:
        return of_rows[:, None]

    def by_column(self, of_columns: Tensor) -> Tensor:
        return of_columns

    def by_group(self, of_groups: Tensor, group: Tensor) -> Tensor:
        return of_groups[group]

    def take(self, block: Tensor) -> Tensor:
        return block

    def put(self, block: Tensor, value: float) -> None:
        block.masked_fill_(self.stored, value)

    def add_to(self, block: Tensor, of_entries: Tensor) -> None:
        block.add_(self._where_stored(of_entries))

    def add_sums(self, to: Tensor, of_entries: Tensor) -> Tensor:
        return to + self._where_stored(of_entries).sum(1)

    @cached_property
    def sums(self) -> Tensor:
        return self._where_stored(self.values).sum(1)

    def dense(self) -> Tensor:
        if self.background is None:
            return self._where_stored(self.values)
        return torch.where(self.stored, self.values, self.background)

    def _where_stored(self, of_entries: Tensor) -> Tensor:
        return of_entries.masked_fill(~self.stored, 0.0)
