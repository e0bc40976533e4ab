"""Counts on their way to the networks: CSR on the device, and minibatches of them.

On a processor these are sparse until the last moment. On a GPU they are whole blocks of cells x genes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from scrae.compute import distributed
from scrae.compute.compilation import compiled
from scrae.compute.device import refuse_more_than_free
from scrae.compute.rows import ALL_ROWS, Rows, rows_of
from scrae.data.count_rows import CountRows
from scrae.data.covariates import AVERAGE, Covariates
from scrae.data.dense import DenseRows
from scrae.data.links import Links
from scrae.data.mapped_arrays import read_ahead, read_only_what_is_asked_for
from scrae.data.on_disk import is_on_disk, room
from scrae.data.sparse import SparseRows

BLOCK, BUFFER = 256, 2**17  # cells, see shuffled
EVALUATION_CELLS = 1024  # cells decoded at once outside training
CHUNK = 2**13  # cells that are read ahead where they are taken in their order


@dataclass(frozen=True)
class Minibatch:
    """A few cells: their counts and what is known of each.

    Attributes
    ----------
    counts
        Counts of the modelled genes; of the own rows only where several processes share the minibatch.
    covariates
        One-hot codes of batch and further covariates (shares of the levels for one that is not known), then continuous
        ones, float (n_cells, width of the coding); of
        the own rows, too.
    batch
        Code of the batch, int64 (n_cells,); zero without batches.
    cells
        Positions of the cells among all cells, int64 (n_cells,).
    rows
        Which of its rows are the own ones.
    linked
        Pairs of cells that somebody knows something of, for a step of training; None: there are none.
    """

    counts: CountRows
    covariates: Tensor
    batch: Tensor
    cells: Tensor
    rows: Rows = ALL_ROWS
    linked: LinkedCells | None = None
    _transformed: dict[Callable[[CountRows], CountRows], CountRows] = field(default_factory=dict, repr=False)

    @property
    def n_cells(self) -> int:
        """All cells of the minibatch, whichever process has their counts."""
        return len(self.cells)

    def transformed(self, transform: Callable[[CountRows], CountRows]) -> CountRows:
        """``transform`` of the counts; what one phase of an iteration has had made is there for the others."""
        if transform not in self._transformed:
            self._transformed[transform] = transform(self.counts)
        return self._transformed[transform]


@dataclass(frozen=True)
class LinkedCells:
    """Some pairs of linked cells.

    Attributes
    ----------
    minibatch
        The first cells of must-link pairs, their partners, the first cells of cannot-link pairs, their partners.
    n_must, n_cannot
        Numbers of these pairs.
    """

    minibatch: Minibatch
    n_must: int
    n_cannot: int

    @property
    def kinds(self) -> list[str]:
        """Which kinds of pairs there are: ``"must_link"``, ``"cannot_link"``, or both."""
        return [kind for kind, number in (("must_link", self.n_must), ("cannot_link", self.n_cannot)) if number]

    def pairs(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A row for each cell as the four parts of the minibatch: one, other (must), one, other (cannot)."""
        one, other, apart, from_other = torch.split(rows, [self.n_must, self.n_must, self.n_cannot, self.n_cannot])
        return one, other, apart, from_other


class CountData:
    """All counts as CSR tensors on one device, and the covariates beside them.

    How many entries a minibatch has is known to the processor alone. To a GPU all minibatches of so many cells look the
    same: it is told positions of cells, looks for as many entries in each as the cell with the most has, and puts them
    into a block.

    Parameters
    ----------
    counts
        Cells x genes, checked (:func:`scrae.data.counts.as_counts`).
    covariates
        Covariates of the cells.
    device
        Where the tensors live and where minibatches are made.
    has_batch
        Whether the first covariate is the batch.
    links
        Pairs of cells that somebody knows something of; None: there are none.
    """

    def __init__(
        self,
        counts: sp.csr_array,
        covariates: Covariates,
        device: torch.device,
        has_batch: bool = False,
        links: Links | None = None,
    ) -> None:
        refuse_more_than_free(room_of(counts), device)
        self.n_cells, self.n_genes = counts.shape
        self.device = device
        self._indptr = torch.as_tensor(counts.indptr.astype(np.int64))
        if device.type != "cpu":
            self._bounds = self._indptr.to(device)
            self._most = int(self._indptr.diff().max()) if self.n_cells else 0
        self._indices = torch.as_tensor(np.ascontiguousarray(counts.indices), device=device)
        self._values = torch.as_tensor(np.ascontiguousarray(counts.data), device=device)
        self._on_disk = [counts.indices, counts.data] if is_on_disk(counts) and device.type == "cpu" else []
        for entries in self._on_disk:
            read_only_what_is_asked_for(entries)
        self._codes = torch.as_tensor(covariates.codes, device=device)
        self._shares = None
        if covariates.shares is not None:
            self._shares = [
                torch.as_tensor(shares, device=device).to(self._values.dtype) for shares in covariates.shares
            ]
        self._levels, self.kept = covariates.levels, covariates.kept
        self._continuous = torch.as_tensor(covariates.values, device=device)
        self._has_batch = has_batch
        self.links = Links.none() if links is None else links

    def minibatch(self, cells: Tensor, shared: bool = False) -> Minibatch:
        """The cells with the given positions, in that order.

        Parameters
        ----------
        cells
            int64 (n,), positions among all cells, on the processor.
        shared
            Whether the processes that train together share it (:mod:`scrae.compute.rows`).
        """
        rows: Rows = ALL_ROWS
        if shared and distributed.n_processes() > 1:
            rows = rows_of(self._indptr[cells + 1] - self._indptr[cells])
        if self.device.type == "cpu":
            counts: CountRows = self._sparse(rows.own(cells))
        else:
            cells = cells.to(self.device, non_blocking=True)
            counts = self._dense(rows.own(cells))
        codes, continuous = self._codes[cells], self._continuous[cells]
        batch = codes[:, 0] if self._has_batch else torch.zeros(len(cells), dtype=torch.int64, device=self.device)
        if self._has_batch and self._shares is not None:  # a dispersion per batch has no average
            batch = torch.where(batch == AVERAGE, self._shares[0].argmax(), batch)
        codes, continuous = rows.own(codes), rows.own(continuous)
        told = [self._told(codes[:, j], j) for j in range(len(self._levels))]
        covariates = torch.cat([*told, continuous.to(self._values.dtype)], 1)
        return Minibatch(counts, covariates, batch, cells, rows)

    def _told(self, codes: Tensor, j: int) -> Tensor:
        """What the decoder is told of the j-th covariate, (n_cells, n_levels): 1 for the level, or shares of all."""
        levels = self._levels[j]
        if self._shares is None:
            return torch.nn.functional.one_hot(codes, levels).to(self._values.dtype)
        known = torch.nn.functional.one_hot(codes.clamp(min=0), levels).to(self._values.dtype)
        return torch.where((codes == AVERAGE)[:, None], self._shares[j], known)

    def _sparse(self, cells: Tensor) -> SparseRows:
        """Entries of the cells, one after the other."""
        start = self._indptr[cells]
        length = self._indptr[cells + 1] - start
        first, n_entries = torch.cumsum(length, 0) - length, int(length.sum())
        row, column = (torch.empty(n_entries, dtype=torch.int64) for _ in range(2))
        values = self._values.new_empty(n_entries)
        arrays = start, length, first, self._indices, self._values, row, column, values
        _gather(*(tensor.numpy() for tensor in arrays))
        return SparseRows(row, column, values, len(cells), self.n_genes)

    def _dense(self, cells: Tensor) -> DenseRows:
        """The same in a block, by operations whose shapes follow from the number of cells."""
        start, end = self._bounds[cells], self._bounds[cells + 1]
        place = torch.arange(self._most, device=cells.device)
        entry = start[:, None] + place
        missing = entry >= end[:, None]
        entry.masked_fill_(missing, 0)
        column = torch.where(missing, place, torch.take(self._indices, entry).long())  # zeros are added, here and there
        values = torch.take(self._values, entry).masked_fill_(missing, 0.0)
        return DenseRows.of(values.new_zeros(len(cells), self.n_genes).scatter_add_(1, column, values))

    def covariates(self, cells: Tensor) -> Covariates:
        """Those of the cells with the given positions."""
        codes, continuous = self._codes.cpu()[cells], self._continuous.cpu()[cells]
        kept = None if self.kept is None else self.kept[cells.numpy()]
        return Covariates(codes.numpy(), self._levels, continuous.numpy(), kept=kept)

    def in_order(self, batch_size: int, cells: Tensor | None = None, shared: bool = False) -> Iterator[Minibatch]:
        """Minibatches of all cells (or of those given), in their order; ``shared`` as in :meth:`minibatch`."""
        order = torch.arange(self.n_cells) if cells is None else cells
        yield from self._minibatches(list(torch.split(order, CHUNK)), batch_size, shared)

    def in_random_order(self, batch_size: int, cells: Tensor) -> Iterator[Minibatch]:
        """Minibatches of the cells with these ascending positions, :func:`shuffled`."""
        yield from self._minibatches(shuffled(cells), batch_size, shared=False)

    def for_training(self, batch_size: int, cells: Tensor) -> Iterator[Tensor]:
        """Positions of the cells of each minibatch, in the same order."""
        pieces = shuffled(cells)
        if self.device.type == "cpu" or distributed.n_processes() > 1:
            yield from self._read_in_turn(pieces, batch_size)
        else:  # told to a GPU at once, which would wait for each of them
            yield from even_batches(torch.cat(pieces).to(self.device), batch_size)

    def for_step(self, cells: Tensor, batch_size: int) -> Minibatch:
        """The minibatch of these cells, shared by the processes that train together, with linked cells if there are."""
        return replace(self.minibatch(cells, shared=True), linked=self._linked(batch_size // 2) if self.links else None)

    def _linked(self, number: int) -> LinkedCells:
        """So many pairs of either kind that there is, drawn at random, a pair more than once where there are fewer."""
        known = [torch.as_tensor(pairs) for pairs in (self.links.must, self.links.cannot)]
        drawn = [pairs[torch.randint(len(pairs), (number,))] if len(pairs) else pairs for pairs in known]
        cells = torch.cat([pairs.T.flatten() for pairs in drawn])
        return LinkedCells(self.minibatch(cells, shared=True), *map(len, drawn))

    def row_of_each(
        self, of: Callable[[Minibatch], Tensor], batch_size: int, cells: Tensor | None = None, shared: bool = False
    ) -> Tensor:
        """What ``of`` says of minibatches taken :meth:`in_order`, one below the other, a row for each cell.

        Each part is put in its place at once. Small pieces that stay between the large arrays of the moment would have
        the C library ask for new memory for these time and again: gigabytes for a million cells. What is said of
        counts on disk is on disk, too, where it is large.
        """
        n = self.n_cells if cells is None else len(cells)
        result, done = torch.empty(0), 0
        for minibatch in self.in_order(batch_size, cells, shared):
            part = of(minibatch)
            if done == 0:
                shape = n, *part.shape[1:]
                result = torch.as_tensor(room(shape, part.numpy().dtype)) if self._on_disk else part.new_empty(shape)
            result[done : done + len(part)] = part
            done += len(part)
            del part
        return result

    def row_of_every(self, of: Callable[[Minibatch], Tensor], batch_size: int) -> Tensor:
        """:meth:`row_of_each` of all cells; processes that divide their work take a run of them each."""
        share = distributed.own_share(self.n_cells)
        own = self.row_of_each(of, batch_size, torch.arange(share.start, share.stop))
        return distributed.put_together(own, share, self.n_cells)

    def _minibatches(self, pieces: list[Tensor], batch_size: int, shared: bool) -> Iterator[Minibatch]:
        """Minibatches of pieces, one after the other."""
        for cells in self._read_in_turn(pieces, batch_size):
            yield self.minibatch(cells, shared)

    def _read_in_turn(self, pieces: list[Tensor], batch_size: int) -> Iterator[Tensor]:
        """Positions of each minibatch; each piece is read ahead while the one before it is in use."""
        begin = np.cumsum([0, *map(len, pieces)])
        done = announced = 0
        for part in even_batches(torch.cat(pieces), batch_size):
            done += len(part)
            while announced < len(pieces) and (announced < 2 or begin[announced - 1] < done):
                self._read_ahead(pieces[announced])
                announced += 1
            yield part

    def _read_ahead(self, cells: Tensor) -> None:
        """Of counts on disk: stretches of the file in which these cells are no further apart than a block."""
        if not self._on_disk or len(cells) == 0:
            return
        ascending = cells.sort().values
        ends = torch.nonzero(ascending.diff() > BLOCK).squeeze(1)
        first = self._indptr[ascending[torch.cat([ends.new_zeros(1), ends + 1])]].tolist()
        last = self._indptr[ascending[torch.cat([ends, ends.new_tensor([len(ascending) - 1])])] + 1].tolist()
        for entries in self._on_disk:
            read_ahead(entries, first, last)


@compiled()
def _gather(
    start: np.ndarray,
    length: np.ndarray,
    first: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
    values: np.ndarray,
) -> None:  # pragma: no cover (compiled)
    for cell in range(len(start)):
        for entry in range(length[cell]):
            to, stored = first[cell] + entry, start[cell] + entry
            row[to], column[to], values[to] = cell, indices[stored], data[stored]


def room_of(counts: sp.csr_array) -> int:
    """Bytes of these counts as :class:`CountData` has them on a device, and where the entries of each cell begin."""
    return int(counts.indices.nbytes + counts.data.nbytes) + 8 * len(counts.indptr)


def shuffled(cells: Tensor, block: int = BLOCK, buffer: int = BUFFER) -> list[Tensor]:
    """The cells in random order, in buffers, so that those of many can be read from a disk in pieces that it likes.

    Up to a buffer of cells: any order is as probable as any other. More: blocks of neighbours in random order, and
    random order within each run of blocks that fills a buffer. What a buffer holds is read block by block and stays in
    memory while its minibatches are drawn, even where all counts do not fit there. Counts in memory are shuffled in the
    same way, so that they train to the same bits.

    Parameters
    ----------
    cells
        Ascending positions, int64 (n,).
    block, buffer
        Cells that are read together, and those among which minibatches are drawn.
    """
    n = len(cells)
    if n <= buffer:
        return [cells[torch.randperm(n)]]
    blocks = torch.randperm(math.ceil(n / block))
    order = (blocks[:, None] * block + torch.arange(block)).flatten()
    buffers = torch.split(order[order < n], buffer)
    return [cells[part[torch.randperm(len(part))]] for part in buffers]


def even_batches(order: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Cut ``order`` into minibatches whose sizes differ by at most one.

    There are as many as sizes of at most ``batch_size`` need, unless that would leave a minibatch of one
    cell, which batch normalisation cannot take: then one fewer.
    """
    n = len(order)
    number = max(1, min(math.ceil(n / batch_size), n // 2))
    return torch.tensor_split(order, number)
