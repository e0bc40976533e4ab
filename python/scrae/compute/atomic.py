"""Files and folders that are whole or absent: written aside, then moved into place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scrae._errors import Coded


class NotWritten(Coded, OSError):
    """A file or folder could not be written.

    Parameters
    ----------
    path
        Its name.
    error
        What the system said; ``errno`` is the same.
    """

    def __init__(self, path: Path, error: OSError) -> None:
        self.reason = error.strerror or str(error)
        super().__init__(
            f"could not write {str(path)!r}: {self.reason}", "not_written", path=str(path), reason=self.reason
        )
        self.errno = error.errno


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Where to write the file or folder that gets the name ``path`` at the end, so that it never names half of it.

    If the block raises, what it has written is deleted and what ``path`` named before is still there.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield aside
        if path.is_dir():
            shutil.rmtree(path)
        aside.replace(path)
    finally:
        if aside.is_dir():
            shutil.rmtree(aside)
        aside.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` in one move, on the disk before it has its name.

    Raises
    ------
    OSError
        It could not be written; the message names the file.
    """
    try:
        with written_aside(path) as aside, open(aside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise NotWritten(path, error) from error
