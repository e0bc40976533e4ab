"""Files and folders that are whole or absent: written aside, then moved into place."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from scrae._errors import Coded, Refusal

ASIDE = re.compile(r"\.scrae-([0-9a-f]{8})-(\d+)-\w+")  # host, process, and what nobody can guess
NEW, OLD = "new", "old"  # in a folder of that name: what is being written, and what it has replaced


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

    def __reduce__(self) -> tuple[Any, ...]:
        """By what it is made of: its text alone, which exceptions keep, is not enough to make it in another process."""
        return type(self), (Path(self.fields["path"]), OSError(self.errno, self.reason))


@contextmanager
def written_aside(path: Path, like: Path | None = None) -> Iterator[Path]:
    """Where to write the file or folder that gets the name ``path`` at the end, so that it never names half of it.

    That is in a folder beside it, which only its owner may enter and whose name nobody can guess: no link can wait
    there to be followed. What is written is on the disk before it gets its name, and takes the permissions of what it
    replaces (or of ``like``, where that exists). A file replaces a file and a folder a folder, nothing else. If the
    block raises, what it has written is deleted, and what ``path`` named before is still there. What processes that
    have died have left is swept first.
    """
    sweep(path.parent)
    aside = Path(tempfile.mkdtemp(prefix=f".scrae-{_host()}-{os.getpid()}-", dir=path.parent))
    try:
        for part in (NEW, OLD):
            (aside / part).mkdir()
        new = aside / NEW / path.name
        yield new
        _to_disk(new)
        model = like or path
        if model.exists() and not model.is_symlink():
            new.chmod(stat.S_IMODE(model.stat().st_mode))
        _replace(path, new, aside / OLD / path.name)
        _entries_to_disk(path.parent)
    finally:
        _restore(aside)
        shutil.rmtree(aside, ignore_errors=True)


def write_bytes(path: Path, content: bytes, like: Path | None = None) -> None:
    """Put ``content`` at ``path`` in one move, on the disk before it has its name; ``like`` as above.

    Raises
    ------
    OSError
        It could not be written; the message names the file.
    """
    try:
        with written_aside(path, like) as aside:
            aside.write_bytes(content)
    except OSError as error:
        raise NotWritten(path, error) from error


def refuse_unwritable(folder: Path) -> None:
    """Show now, and not after hours, that nothing can be written into a folder: make something there and remove it.

    Raises
    ------
    OSError
        Nothing can; the message names the folder.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"probe")
            file.flush()
    except OSError as error:
        raise NotWritten(folder, error) from error


def refuse_without_room(path: Path, needed: int) -> None:
    """Show the same of a disk that is too full.

    Parameters
    ----------
    path
        The file that shall be written, or the folder that files shall be written into.
    needed
        Bytes that will be taken, or a part of them.

    Raises
    ------
    scrae.Refusal
        There are not as many.
    """
    free = shutil.disk_usage(path if path.is_dir() else path.parent).free
    if free < needed:
        raise Refusal(
            f"there is no room for {str(path)!r}: it takes {needed / 1e9:,.3g} GB or more, and {free / 1e9:,.3g} GB "
            "are free. Make room, or choose another disk.",
            "no_room",
            path=str(path),
            needed=needed,
            free=free,
        )


def sweep(folder: Path) -> None:
    """Delete what processes of this machine that have died were writing into ``folder``; put back what they moved."""
    try:
        names = [entry.name for entry in os.scandir(folder)]
    except OSError:
        return  # whoever writes there will say it
    for name in names:
        found = ASIDE.fullmatch(name)
        if found and found[1] == _host() and not is_alive(int(found[2])):
            _restore(folder / name)
            shutil.rmtree(folder / name, ignore_errors=True)


def is_alive(process: int) -> bool:
    """Whether this machine runs a process of that number; one that has ended and is only still listed does not run."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # somebody else's
    return _state_and_start(process)[0] != "Z"


def started(process: int) -> str | None:
    """When a process was started, in the system's words: of two with one number it is another; None: it says nothing.

    Numbers come back, in containers soon.
    """
    return _state_and_start(process)[1]


def _state_and_start(process: int) -> tuple[str | None, str | None]:
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:  # no Linux
        return None, None
    return fields[0], fields[19]


def _host() -> str:
    return hashlib.blake2b(socket.gethostname().encode(), digest_size=4).hexdigest()


def _replace(path: Path, new: Path, old: Path) -> None:
    """Give ``new`` the name ``path``. Where that is a folder, the two are exchanged, and it ends as ``old``."""
    if not path.is_dir() or path.is_symlink() or not new.is_dir():
        new.replace(path)
    elif _exchange(new, path):
        new.replace(old)
    else:  # between these two moves neither has the name: sweep() puts the old one back
        path.replace(old)
        new.replace(path)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one move, so that both lead to something whole at any time; False: not possible here."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # an old C library
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    done: int = renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange)
    return done == 0


def _restore(aside: Path) -> None:
    """Put back what was moved away while nothing has taken its place."""
    with suppress(OSError):
        for old in (aside / OLD).iterdir():
            path = aside.parent / old.name
            if not os.path.lexists(path):
                old.replace(path)


def _to_disk(path: Path) -> None:
    """Wait until a file, or all of a folder, is on the disk."""
    if path.is_dir():
        for entry in path.iterdir():
            _to_disk(entry)
        _entries_to_disk(path)
        return
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _entries_to_disk(folder: Path) -> None:
    """The same for the names in a folder, where the system knows how to."""
    with suppress(OSError):  # Windows opens no folder, and some network file systems cannot do this
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
