"""HDF5 files that are written without HDF5 meeting a full disk.

HDF5 writes some of what it holds only when a file is closed. Where that fails the file stays open, and the library ends
the process when it tries again at exit. So it writes through a file object that says yes to everything, keeps the first
error to itself, and lets it be raised when HDF5 has closed the file.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

if TYPE_CHECKING:
    import h5py

MOST_REMEMBERED = 2**26  # bytes that could not be written and HDF5 can read again: more than its own descriptions take


@contextmanager
def hdf5_file(path: Path, mode: Literal["w", "r+"]) -> Iterator[h5py.File]:
    """A new HDF5 file, or one that is there, to write into.

    Raises
    ------
    OSError
        Something could not be written. The block may have been worked through by then; the file is worth nothing.
    """
    import h5py

    with open(path, "w+b" if mode == "w" else "r+b", buffering=0) as file:
        spared = Spared(file)
        try:
            with h5py.File(spared, mode) as opened:
                yield opened
        finally:
            if spared.error is not None:
                raise spared.error


class Spared(io.RawIOBase):
    """A file that can be read and written, whose writing never fails: after the first error it goes nowhere.

    Parameters
    ----------
    file
        The file, unbuffered.

    Attributes
    ----------
    error
        What went wrong first; also Ctrl-C, which must not reach HDF5 in the middle of a write either.
    """

    def __init__(self, file: BinaryIO | io.FileIO) -> None:
        super().__init__()
        self.error: BaseException | None = None
        self._file = file
        self._place = 0
        self._end = file.seek(0, os.SEEK_END)
        self._remembered: list[tuple[int, bytes]] = []
        self._n_remembered = 0

    def seekable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is."""
        return True

    def writable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place; beyond the end, too."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._end}[whence]
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        """The place."""
        return self._place

    def write(self, content: Any, /) -> int:
        """Write all of it, or remember it, or let it go."""
        view = memoryview(content).cast("B")
        if self.error is None:
            try:
                self._file.seek(self._place)
                done = 0
                while done < len(view):
                    done += self._file.write(view[done:]) or 0
            except BaseException as error:
                self.error = error
        if self.error is not None and self._n_remembered + len(view) <= MOST_REMEMBERED:
            self._remembered.append((self._place, bytes(view)))
            self._n_remembered += len(view)
        self._place += len(view)
        self._end = max(self._end, self._place)
        return len(view)

    def readinto(self, buffer: Any, /) -> int:
        """Read what was written, also what was only remembered; zeros where there is nothing."""
        view = memoryview(buffer).cast("B")
        self._file.seek(self._place)
        done = 0
        while done < len(view) and (n := self._file.readinto(view[done:])):  # type: ignore[union-attr]
            done += n
        view[done:] = bytes(len(view) - done)
        for start, content in self._remembered:
            first, last = max(start, self._place), min(start + len(content), self._place + len(view))
            if first < last:
                view[first - self._place : last - self._place] = content[first - start : last - start]
        self._place += len(view)
        return len(view)

    def truncate(self, size: int | None = None, /) -> int:
        """Cut or lengthen it."""
        size = self._place if size is None else size
        if self.error is None:
            try:
                self._file.truncate(size)
            except BaseException as error:
                self.error = error
        self._end = size
        return size
