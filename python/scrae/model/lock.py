"""One writer at a time: a file in a model's folder that says which process trains or saves there."""

from __future__ import annotations

import json
import os
import socket
import threading
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from scrae._errors import Notice
from scrae.compute.atomic import NotWritten, is_alive, started
from scrae.model.stored import ModelFolderError

LOCK = ".scrae.lock"
_held: dict[Path, int] = {}  # by folder, the thread of this process that writes there


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Keep others from writing into a folder; who writes there already may do so again within.

    The lock of a process of this machine that has died is taken over, with a warning. Whether one of another machine
    still runs cannot be known from here.

    Raises
    ------
    scrae.ModelFolderError
        Another process, or another thread of this one, is writing there.
    OSError
        The lock cannot be written; the message names the folder.
    """
    place = folder.resolve()
    if _held.get(place) == threading.get_ident():
        yield
        return
    ours = _locked(folder, place in _held)
    _held[place] = threading.get_ident()
    try:
        yield
    finally:
        del _held[place]
        if _read(folder / LOCK) == ours:
            (folder / LOCK).unlink(missing_ok=True)


def _locked(folder: Path, by_this_process: bool) -> bytes:
    process = os.getpid()
    owner = {"process": process, "started": started(process), "host": socket.gethostname(), "id": uuid.uuid4().hex}
    ours = json.dumps(owner).encode()
    try:
        while not _created(folder / LOCK, ours):
            _take_away(folder, by_this_process)
    except OSError as error:
        raise NotWritten(folder, error) from error
    return ours


def _created(path: Path, content: bytes) -> bool:
    """Make a file where none is, never seen without its content where the system has hard links; False: one is."""
    aside = _aside(path)
    try:
        with open(aside, "xb") as file:
            file.write(content)
        try:
            os.link(aside, path)
        except (PermissionError, NotImplementedError):  # no hard links here
            with open(path, "xb") as file:
                file.write(content)
    except FileExistsError:
        return False
    finally:
        aside.unlink(missing_ok=True)
    return True


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}")


def _take_away(folder: Path, by_this_process: bool) -> None:
    """Take away the lock of a process that has died; refuse if it may be alive."""
    lock = folder / LOCK
    found = _read(lock)
    if found is None and not os.path.lexists(lock):
        return  # its owner has just removed it
    owner = _owner(found or b"")
    process, host = owner.get("process"), owner.get("host")
    if type(process) is not int or not isinstance(host, str):
        raise ModelFolderError(
            f"{str(lock)!r} is damaged, so that nobody knows which process is writing into the folder; if none is, "
            "delete that file",
            "damaged_file",
            file=LOCK,
        )
    if by_this_process or host != socket.gethostname() or _runs(process, owner.get("started")):
        raise ModelFolderError(
            f"process {process} on {host} is writing into {str(folder)!r}: wait for it, or choose another folder. If "
            f"it does not run any more, delete {str(lock)!r}.",
            "other_writer",
            path=str(folder),
            process=process,
            host=host,
            file=LOCK,
        )
    aside = _aside(lock)
    with suppress(FileNotFoundError):  # somebody else has taken it away
        lock.rename(aside)
        if _read(aside) != found:  # and has locked the folder anew
            aside.rename(lock)
            return
        aside.unlink()
        text = (
            f"process {process} ended without finishing what it was writing into {str(folder)!r}; this one takes over"
        )
        warnings.warn(Notice(text, "writer_died", path=str(folder), process=process), stacklevel=2)


def _runs(process: int, start: Any) -> bool:
    if process == os.getpid():  # it is not this process that holds the lock, or it would be known: an earlier one
        return False
    return is_alive(process) and (start is None or started(process) in (None, start))


def _owner(text: bytes) -> dict[str, Any]:
    try:
        owner = json.loads(text)
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _read(path: Path) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        return file.read(4096)
