"""Counts that stay on disk: CSR whose entries are in files, mapped, so that numpy and torch see arrays like any others.

What is made of such counts, entry by entry, is on disk again. The files have no name and are gone when nobody uses
them; they are made where temporary files are (``TMPDIR``), which must not be a disk in memory. What is read of them is
kept in memory by the operating system as long as there is room, so that minibatches in any order cost little.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import scipy.sparse as sp

from scrae.data.blocks import consecutive
from scrae.data.blocks import edges as edges_of
from scrae.data.index_types import index_type, rows_of_arrays

BLOCK = 2**21  # stored entries in hand at once


class ArrayOnDisk:
    """An array that grows at its end, in a file without a name, which is open within ``with``.

    Parameters
    ----------
    dtype
        Type of its entries.
    """

    def __init__(self, dtype: type[np.generic]) -> None:
        self.dtype = dtype
        self._file = tempfile.TemporaryFile(prefix="scrae-")  # noqa: SIM115 (closed by __exit__)
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

    def array(self) -> np.ndarray:
        """All of it, (n,), mapped; it stays when the file is closed."""
        if self._size == 0:
            return np.zeros(0, dtype=self.dtype)
        self._file.flush()
        return np.memmap(self._file, dtype=self.dtype, mode="r+", shape=(self._size,))


def is_on_disk(counts: sp.csr_array | sp.csr_matrix) -> bool:
    """Whether the entries are on disk."""
    return _mapping(counts.data) is not None


def _mapping(array: Any) -> mmap.mmap | None:
    while isinstance(array, np.ndarray):
        array = array.base
    return array if isinstance(array, mmap.mmap) else None


def read_only_what_is_asked_for(array: np.ndarray) -> None:
    """Of an array that is read here and there: a page that is missing shall not bring megabytes around it along."""
    mapping = _mapping(array)
    if mapping is not None and hasattr(mapping, "madvise"):
        with suppress(OSError):  # it is advice
            mapping.madvise(mmap.MADV_RANDOM)


def read_ahead(array: np.ndarray, starts: Sequence[int], stops: Sequence[int]) -> None:
    """Have the operating system read what stands from each start to its stop, while the caller goes on.

    Without this it reads what is asked for page by page, each of them when somebody waits for it. Of arrays of
    :class:`ArrayOnDisk`, whole; of others, and where the system cannot be told, nothing is done.
    """
    mapping = _mapping(array)
    if mapping is None or not hasattr(mapping, "madvise"):
        return
    with suppress(OSError):
        for start, stop in zip(starts, stops, strict=True):
            first = start * array.itemsize // mmap.PAGESIZE * mmap.PAGESIZE
            if stop > start:
                mapping.madvise(mmap.MADV_WILLNEED, first, stop * array.itemsize - first)


def edges(indptr: np.ndarray) -> np.ndarray:
    """Where to cut cells into blocks of about :data:`BLOCK` stored entries: 0, ..., n_cells."""
    return edges_of(indptr, BLOCK)


def blocks(counts: sp.csr_array) -> Iterator[sp.csr_array]:
    """Consecutive cells, with about :data:`BLOCK` stored entries together."""
    for block in consecutive(counts, BLOCK):
        yield block.matrix(counts.shape[1])


def on_disk(parts: Iterator[sp.csr_array], n_genes: int, at_most: int = 0) -> sp.csr_array:
    """Put consecutive cells together on disk.

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
    lengths = [np.zeros(1, dtype=np.int64)]
    with ArrayOnDisk(np.float32) as data, ArrayOnDisk(index_type(at_most)) as indices:
        for part in parts:
            data.append(part.data)
            indices.append(part.indices)
            lengths.append(np.diff(part.indptr).astype(np.int64))
        indptr = np.cumsum(np.concatenate(lengths))
        kind = index_type(int(indptr[-1]))
        positions = indices.array() if indices.dtype is kind else _written_as(kind, indices.array())
        return rows_of_arrays(data.array(), positions, indptr.astype(kind, copy=False), (len(indptr) - 1, n_genes))


def _written_as(kind: type[np.generic], indices: np.ndarray) -> np.ndarray:
    """scipy has one type for both index arrays; it would make the other one in memory."""
    with ArrayOnDisk(kind) as written:
        for start in range(0, len(indices), BLOCK):
            written.append(indices[start : start + BLOCK])
        return written.array()


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
