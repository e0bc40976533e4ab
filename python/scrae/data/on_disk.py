"""Counts that stay on disk: CSR whose entries are in files, mapped, so that numpy and torch see arrays like any others.

What is made of such counts, entry by entry, is on disk again. The files have no name and are gone when nobody uses
them; they are made where temporary files are (``TMPDIR``), which must not be a disk in memory. What is read of them is
kept in memory by the operating system as long as there is room, so that minibatches in any order cost little.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import scipy.sparse as sp

from scrae.compute.one_machine import made_once
from scrae.data.blocks import consecutive
from scrae.data.blocks import edges as edges_of
from scrae.data.index_types import index_type, rows_of_arrays
from scrae.data.mapped_arrays import is_mapped

BLOCK = 2**21  # stored entries in hand at once
SMALL = 2**25  # bytes of an array that is not worth a file


class ArrayOnDisk:
    """An array that grows at its end, in a file without a name, which is open within ``with``.

    Parameters
    ----------
    dtype
        Type of its entries.
    file
        Where they are; None: a new one.
    """

    def __init__(self, dtype: type[np.generic], file: IO[bytes] | None = None) -> None:
        self.dtype = dtype
        self._file = tempfile.TemporaryFile(prefix="scrae-") if file is None else file  # noqa: SIM115 (by __exit__)
        self._size = 0

    def __enter__(self) -> ArrayOnDisk:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def append(self, values: np.ndarray) -> None:
        """Add ``values`` (n,) at the end.

        Raises
        ------
        OSError
            The disk is full.
        """
        try:
            self._file.write(np.ascontiguousarray(values, dtype=self.dtype).data)
        except OSError as error:
            raise OSError(
                error.errno,
                f"no room for the counts in {tempfile.gettempdir()} ({error.strerror}): set TMPDIR to a larger disk",
            ) from error
        self._size += len(values)

    def lent(self) -> tuple[str, int, str]:
        """What :meth:`borrowed` has to know in another process of this machine, as long as the file is open here."""
        self._file.flush()
        return np.dtype(self.dtype).name, self._size, f"/proc/{os.getpid()}/fd/{self._file.fileno()}"

    @classmethod
    def borrowed(cls, dtype: str, size: int, path: str) -> ArrayOnDisk:
        """The array that another process has :meth:`lent`.

        Raises
        ------
        OSError
            It cannot be opened from here.
        """
        array = cls(np.dtype(dtype).type, Path(path).open("r+b"))  # noqa: SIM115 (closed by __exit__)
        array._size = size
        return array

    def array(self) -> np.ndarray:
        """All of it, (n,), mapped; it stays when the file is closed."""
        if self._size == 0:
            return np.zeros(0, dtype=self.dtype)
        self._file.flush()
        return np.memmap(self._file, dtype=self.dtype, mode="r+", shape=(self._size,))


def room(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """An array that is to be filled, in a file without a name; in memory where it is small or the disk has no room.

    The room is taken at once: a process that writes to a mapped page for which a disk has no room left is killed.
    """
    size = math.prod(shape) * dtype.itemsize
    if size < SMALL:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(prefix="scrae-") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except (OSError, AttributeError):  # there is none, or the system (macOS, Windows) cannot be asked for it
            return np.empty(shape, dtype)
        return np.asarray(np.memmap(file, dtype=dtype, mode="r+", shape=shape))


def is_on_disk(counts: sp.csr_array | sp.csr_matrix) -> bool:
    """Whether the entries are on disk."""
    return is_mapped(counts.data)


def edges(indptr: np.ndarray) -> np.ndarray:
    """Where to cut cells into blocks of about :data:`BLOCK` stored entries: 0, ..., n_cells."""
    return edges_of(indptr, BLOCK)


def blocks(counts: sp.csr_array) -> Iterator[sp.csr_array]:
    """Consecutive cells, with about :data:`BLOCK` stored entries together."""
    for block in consecutive(counts, BLOCK):
        yield block.matrix(counts.shape[1])


def on_disk(parts: Iterator[sp.csr_array], n_genes: int, at_most: int = 0) -> sp.csr_array:
    """Put consecutive cells together on disk.

    Processes on one machine that divide their work put them there once (:mod:`scrae.compute.one_machine`).

    Parameters
    ----------
    parts
        Cells x ``n_genes``, float32.
    n_genes
        Number of genes.
    at_most
        How many stored entries there will be, as far as that is known: positions of many have 64 bits, and are written
        so at once where that is foreseen.

    Returns
    -------
    All cells x ``n_genes``.
    """
    with ExitStack() as opened:
        files = made_once(
            lambda: _written(parts, index_type(at_most), opened), _lent, lambda text: _borrowed(text, opened)
        )
        data, genes, lengths = (file.array() for file in files)
    indptr = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    return rows_of_arrays(data, genes, indptr.astype(genes.dtype, copy=False), (len(lengths), n_genes))


def _written(parts: Iterator[sp.csr_array], kind: type[np.generic], opened: ExitStack) -> list[ArrayOnDisk]:
    """Stored entries, the gene of each, and how many each cell has; they are closed with ``opened``."""
    data, genes, lengths = (opened.enter_context(ArrayOnDisk(of)) for of in (np.float32, kind, np.int64))
    n_entries = 0
    for part in parts:
        data.append(part.data)
        genes.append(part.indices)
        lengths.append(np.diff(part.indptr))
        n_entries += len(part.data)
    if kind is not index_type(n_entries):
        genes = _written_as(index_type(n_entries), genes.array(), opened)
    return [data, genes, lengths]


def _written_as(kind: type[np.generic], genes: np.ndarray, opened: ExitStack) -> ArrayOnDisk:
    """scipy has one type for both index arrays; it would make the other one in memory."""
    written = opened.enter_context(ArrayOnDisk(kind))
    for start in range(0, len(genes), BLOCK):
        written.append(genes[start : start + BLOCK])
    return written


def _lent(files: list[ArrayOnDisk]) -> str:
    return json.dumps([file.lent() for file in files])


def _borrowed(text: str, opened: ExitStack) -> list[ArrayOnDisk]:
    return [opened.enter_context(ArrayOnDisk.borrowed(*of_file)) for of_file in json.loads(text)]


def by_rows(counts: sp.csr_array, of: Callable[[sp.csr_array], sp.csr_array], n_genes: int) -> sp.csr_array:
    """``of(counts)``, cells x ``n_genes``, where ``of`` looks at each cell by itself; on disk if the counts are."""
    if not is_on_disk(counts):
        return of(counts)
    return on_disk(map(of, blocks(counts)), n_genes)


def entries(counts: sp.csr_array, of: Callable[[sp.csr_array], np.ndarray]) -> np.ndarray:
    """``of`` of each block of cells, float64 (stored entries,), one after the other; on disk if the counts are."""
    if not is_on_disk(counts):
        return np.concatenate([of(block) for block in blocks(counts)])
    with ArrayOnDisk(np.float64) as result:
        for block in blocks(counts):
            result.append(of(block))
        return result.array()
