"""The stored entries of a few cells: counts stay sparse until a network needs them whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from scrae.data.count_rows import CountRows

SPARSE_BELOW = 0.25  # share of entries that are stored


@dataclass(frozen=True)
class SparseRows(CountRows):
    """One after the other, each with its place: what a processor goes through fastest, since most counts are zero.

    Attributes
    ----------
    row, column
        Where each entry stands, int64 (n_entries,), ordered by row.
    values
        The entries, float (n_entries,).
    n_rows, n_columns, background
        As in :class:`CountRows <scrae.data.count_rows.CountRows>`.
    """

    row: Tensor
    column: Tensor
    values: Tensor
    n_rows: int
    n_columns: int
    background: Tensor | None = None

    @classmethod
    def from_dense(cls, block: Tensor) -> SparseRows:
        """The non-zero entries of a dense block (cells, genes)."""
        row, column = block.nonzero(as_tuple=True)
        return cls(row, column, block[row, column], block.shape[0], block.shape[1])

    @cached_property
    def flat(self) -> Tensor:
        """Position of each entry in the flattened dense block, int64 (n_entries,)."""
        return self.row * self.n_columns + self.column

    @cached_property
    def start(self) -> Tensor:
        """Where the entries of each row begin, and at last where they end, int64 (n_rows + 1,)."""
        return torch.searchsorted(self.row, torch.arange(self.n_rows + 1, device=self.row.device))

    def with_values(self, values: Tensor, background: Tensor | None = None) -> SparseRows:
        return replace(self, values=values, background=self.background if background is None else background)

    def by_row(self, of_rows: Tensor) -> Tensor:
        return of_rows.index_select(0, self.row)

    def by_column(self, of_columns: Tensor) -> Tensor:
        return of_columns.index_select(0, self.column)

    def by_group(self, of_groups: Tensor, group: Tensor) -> Tensor:
        return of_groups[group[self.row], self.column]

    def take(self, block: Tensor) -> Tensor:
        return block.reshape(-1).index_select(0, self.flat)

    def put(self, block: Tensor, value: float) -> None:
        block.view(-1).scatter_(0, self.flat, value)

    def add_to(self, block: Tensor, of_entries: Tensor) -> None:
        block.view(-1).scatter_add_(0, self.flat, of_entries)

    def add_sums(self, to: Tensor, of_entries: Tensor) -> Tensor:
        return to.index_add(0, self.row, of_entries)

    def without_zeros(self) -> SparseRows:
        """Without the stored entries that are zero."""
        kept = self.values.nonzero().squeeze(1)
        if len(kept) == len(self.values):
            return self
        row, column, values = (entries.index_select(0, kept) for entries in (self.row, self.column, self.values))
        return replace(self, row=row, column=column, values=values)

    def transposed(self) -> SparseRows:
        """Rows and columns exchanged, (n_columns, n_rows); of entries without a background, on a processor."""
        # In the smallest type that holds them: numpy orders 16 bits in linear time.
        columns = self.column.numpy().astype(np.min_scalar_type(self.n_columns))
        order = torch.from_numpy(np.argsort(columns, kind="stable"))
        row, column, values = (entries.index_select(0, order) for entries in (self.column, self.row, self.values))
        return SparseRows(row, column, values, self.n_columns, self.n_rows)

    @property
    def few(self) -> bool:
        """Whether products with the entries alone are faster than with the dense block."""
        return len(self.values) < SPARSE_BELOW * self.n_rows * self.n_columns

    def product(self, matrix: Tensor) -> Tensor:
        if not self.few:
            return super().product(matrix)
        if self.background is None:
            return self.times(matrix)
        above = replace(self, values=self.values - self.by_column(self.background), background=None)
        return above.times(matrix).add_(self.background @ matrix)

    def times(self, matrix: Tensor) -> Tensor:
        """Product of entries without a background with a dense (n_columns, width): (n_rows, width)."""
        return embedding_bag(self.column, matrix, self.start[:-1], mode="sum", per_sample_weights=self.values)

    @cached_property
    def sums(self) -> Tensor:
        return self.values.new_zeros(self.n_rows).index_add_(0, self.row, self.values)

    def dense(self) -> Tensor:
        if self.background is None:
            block = self.values.new_zeros(self.n_rows * self.n_columns)
        else:
            block = self.background.repeat(self.n_rows)
        return block.scatter_(0, self.flat, self.values).view(self.n_rows, self.n_columns)
