"""What networks and likelihoods ask of the counts of a few cells, however these are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from torch import Tensor


class CountRows(ABC):
    """The stored entries of a few cells: counts above zero, or what a transform made of them.

    A function of entries has one value for each, in a tensor that is shaped like ``values``. Dense blocks are
    (n_rows, n_columns), cells x genes.

    Attributes
    ----------
    values
        The entries.
    n_rows, n_columns
        Shape of the dense block they come from (cells, genes).
    background
        What stands in each column where no entry is stored, (n_columns,); None: zero.
    """

    values: Tensor
    n_rows: int
    n_columns: int
    background: Tensor | None

    @abstractmethod
    def with_values(self, values: Tensor, background: Tensor | None = None) -> Self:
        """Other values at the same places, and what is in between; None: as before."""

    @abstractmethod
    def by_row(self, of_rows: Tensor) -> Tensor:
        """For each entry what (n_rows,) has for its row."""

    @abstractmethod
    def by_column(self, of_columns: Tensor) -> Tensor:
        """For each entry what (n_columns,) has for its column."""

    @abstractmethod
    def by_group(self, of_groups: Tensor, group: Tensor) -> Tensor:
        """For each entry what (n_groups, n_columns) has for the group of its row, int64 (n_rows,), and its column."""

    @abstractmethod
    def take(self, block: Tensor) -> Tensor:
        """For each entry what stands at its place in a dense block. Differentiable."""

    @abstractmethod
    def put(self, block: Tensor, value: float) -> None:
        """Let ``value`` stand at the place of each entry in a dense block that is contiguous."""

    @abstractmethod
    def add_to(self, block: Tensor, of_entries: Tensor) -> None:
        """Add a number to what stands at the place of each entry in a dense block that is contiguous."""

    @abstractmethod
    def add_sums(self, to: Tensor, of_entries: Tensor) -> Tensor:
        """``to`` (n_rows,) and, of each row, the sum of a number of each entry. Differentiable."""

    @property
    @abstractmethod
    def sums(self) -> Tensor:
        """Sum of each row's values, (n_rows,)."""

    @abstractmethod
    def dense(self) -> Tensor:
        """The dense block."""

    def product(self, matrix: Tensor) -> Tensor:
        """That of the dense block with a dense (n_columns, width): (n_rows, width)."""
        return self.dense() @ matrix
