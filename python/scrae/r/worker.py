"""The worker of the R package: a process that stays, loaded, and does each job in a copy of itself.

A copy (``fork``) begins as the worker is: everything is imported, nothing has been computed. So a job cannot tell
whether others were done before, and what it held goes with it, the counts of patients above all. Where a process cannot
be copied safely (macOS, Windows) the worker does one job itself and ends; R starts the next one ahead of its job.

R writes one line of JSON for each job, ``{"folder": ...}``, and ends the worker by closing its standard input.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import mmap
import os
import re
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from scrae.r.events import carry_out
from scrae.r.handed import take_cells
from scrae.r.models import KEPT

if TYPE_CHECKING:
    from scrae.r.job import Emit

IDLE_SECONDS = 600.0
IN_A_MOMENT = 2.0  # within this many seconds the next job of a program comes
LOADED = ("scrae.model", "anndata")  # what nearly every job needs
LEARNED = "modules.json"  # in the folder of a job: what it has imported besides
OUTPUT = "stderr.txt"  # in the folder of a job: what it has printed
GIVEN = "given"  # in the folder of a job: the model that R hands over with it
MOST_OWN_MB, MOST_LEARNED_MB = 400, 300  # memory of a worker without a job, and up to which it imports more
MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (?:r-[x-]p \S+ \S+ \d+ +(/.*)|.*)")  # the last: a file, only read
CAN_FORK = sys.platform == "linux"


class Worker:
    """Waits for jobs, has them done, and ends when R is gone, or after a while without any.

    Parameters
    ----------
    emit
        Tells R of events.
    idle_seconds
        How long to wait for a job.
    forks
        Whether each job is done in a copy of this process; otherwise one is done here, and that is all.
    """

    def __init__(self, emit: Emit, idle_seconds: float = IDLE_SECONDS, forks: bool | None = None) -> None:
        self.emit, self.idle_seconds, self.forks = emit, idle_seconds, CAN_FORK if forks is None else forks
        self._read = b""
        self._job: int | None = None  # the process that does one
        self._told_to_end = False

    def stand(self) -> int:
        """Do jobs until there are no more; the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._pass_on)
        for name in LOADED:
            _import(name)
        _ready_compiled_loops()
        _let_be()
        for folder in self._folders():
            self.emit("begun")
            if not self.forks:
                return self._do_here(folder)
            self._do_in_a_copy(folder)
            if not self._stays():
                break
        return 0

    def _stays(self) -> bool:
        return self.forks and not self._told_to_end and own_memory_mb() < MOST_OWN_MB

    def _end_job(self, status: int) -> None:
        """Tell R how a job ended: by its exit status, or below 0 by a signal."""
        self.emit("ended", status=status, stays=self._stays())

    # -- what R wants --------------------------------------------------------------------------------------------------

    def _folders(self) -> Iterator[Path]:
        """Folders with jobs, as R names them, until it is gone or says nothing for a while."""
        until = time.monotonic() + self.idle_seconds
        while True:
            while b"\n" not in self._read:
                if not self._readable(min(IN_A_MOMENT, self.idle_seconds)):
                    give_back_files()
                if not self._readable(until - time.monotonic()):
                    return
                more = os.read(0, 4096)
                if not more:
                    return
                self._read += more
            line, self._read = self._read.split(b"\n", 1)
            yield Path(json.loads(line)["folder"])
            until = time.monotonic() + self.idle_seconds

    def _readable(self, seconds: float) -> bool:
        """Whether R writes, or closes its end, before that; Windows cannot wait for a pipe but by reading."""
        return os.name == "nt" or bool(select.select([0], [], [], max(0.0, seconds))[0])

    def _pass_on(self, number: int, frame: Any) -> None:
        """What R or a user tells the worker is meant for its job."""
        if self._job is not None:
            with suppress(ProcessLookupError):
                os.kill(self._job, number)
        if number == signal.SIGTERM:
            self._told_to_end = True
            if self._job is None:
                os._exit(0)

    # -- a job ---------------------------------------------------------------------------------------------------------

    def _do_in_a_copy(self, folder: Path) -> None:
        """Have a job done; what it has imported, the next one shall find."""
        KEPT.keep(folder / GIVEN)
        # Who reads a pipe learns when the other end is closed, as by the end of who has it.
        end_of_worker, worker_end = os.pipe()
        end_of_copy, copy_end = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(worker_end)
            os.close(end_of_copy)
            _as_the_copy(folder, end_of_worker, self.emit)
        self._job = process
        os.close(end_of_worker)
        os.close(copy_end)
        status = self._see_through(process, end_of_copy, folder)
        self._job = None
        os.close(worker_end)
        os.close(end_of_copy)
        names = _learned(folder)
        self._end_job(status)
        for name in names:
            if self._readable(0) or own_memory_mb() > MOST_LEARNED_MB:
                break
            _import(name)
        _let_be()

    def _see_through(self, process: int, end_of_copy: int, folder: Path) -> int:
        """Wait for the end of the copy; where R ends before, end it, with all that the job has left."""
        while end_of_copy not in select.select([0, end_of_copy], [], [])[0]:
            more = os.read(0, 4096)
            if not more:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                _leave(folder)
            self._read += more
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    def _do_here(self, folder: Path) -> int:
        """Do a job in this process, of which nothing else can be asked then."""

        done = threading.Event()

        def watch() -> None:
            while os.read(0, 4096):
                pass
            if not done.is_set():  # afterwards the folder is R's, with the answer in it
                _leave(folder)

        threading.Thread(target=watch, daemon=True).start()
        status = _carry_out(folder, self.emit)
        done.set()
        self._end_job(status)
        return 0


def _as_the_copy(folder: Path, end_of_worker: int, emit: Emit) -> NoReturn:
    """Be the process of one job, to its end."""
    status = 1
    try:

        def watch() -> None:
            os.read(end_of_worker, 1)
            _leave(folder)

        threading.Thread(target=watch, daemon=True).start()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        before = set(sys.modules)
        status = _carry_out(folder, emit)
        names = [name for name in sys.modules if name not in before]
        (folder / LEARNED).write_text(json.dumps(names), encoding="utf-8")
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)  # what is imported, or waits to be undone at the end, is the worker's


def _carry_out(folder: Path, emit: Emit) -> int:
    """Do the job with what it prints, its working directory and its temporary files in its own folder."""
    # Until training takes over there is nothing worth keeping, and the R package ends the process; afterwards the
    # results are on their way.
    signal.signal(signal.SIGINT, _ignore)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    output = os.open(folder / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 2)
    os.dup2(output, 1)
    os.close(output)
    os.chdir(folder)
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None
    return 0 if carry_out(folder, lambda: take_cells(folder), emit) else 1


def _ignore(number: int, frame: Any) -> None:
    pass


def _leave(folder: Path) -> NoReturn:
    """End at once, and the job's folder with it.

    It holds counts, which may be patients', and nobody is left who would read the answer or delete it.
    """
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(3)


# -- what is loaded before it is needed --------------------------------------------------------------------------------


def _learned(folder: Path) -> list[str]:
    """Modules that a job has imported besides: the next one of its kind shall find them."""
    with suppress(OSError, ValueError):
        return [str(name) for name in json.loads((folder / LEARNED).read_text(encoding="utf-8"))]
    return []


def _import(name: str) -> None:
    with suppress(Exception):  # a job that needs it says what is wrong with it
        importlib.import_module(name)


def _ready_compiled_loops() -> None:
    """What numba does before the first compiled loop runs, once for all jobs."""
    with suppress(Exception):
        from numba.core.registry import cpu_target

        cpu_target.typing_context.refresh()
        cpu_target.target_context.refresh()


def _let_be() -> None:
    """What is there now is there for good: a collection of garbage in a copy need not touch, and so copy, it all."""
    gc.collect()
    gc.freeze()


def give_back_files() -> None:
    """Have the system take back memory of this process that it can fill from files again: libraries, for the most part.

    Where it does not say which memory that is, nothing is done.
    """
    with suppress(OSError, ValueError, AttributeError):
        advise = ctypes.CDLL(None, use_errno=True).madvise
        of_file: tuple[int, int] | None = None
        for line in Path("/proc/self/smaps").read_text().splitlines():
            heading = MAPPING.match(line)
            if heading is not None:
                first, end = (int(heading[i], 16) for i in (1, 2))
                of_file = (first, end - first) if heading[3] else None
            elif of_file is not None and line.startswith("Anonymous:") and line.split()[1] == "0":
                advise(ctypes.c_void_p(of_file[0]), ctypes.c_size_t(of_file[1]), mmap.MADV_DONTNEED)


def own_memory_mb() -> float:
    """Memory of this process that is no file's; 0 where the system does not tell."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) / 1024
    return 0.0
