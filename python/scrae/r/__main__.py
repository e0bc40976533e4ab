"""Jobs in a process of its own: the worker of the R package."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scrae.r.answers import plain
from scrae.r.conversion import bridge
from scrae.r.events import carry_out
from scrae.r.jobs import CELLS, Emit

POLL_SECONDS = 0.02


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the job in a folder as a process of its own; the exit status is 0, or 1 after an event "error".

    With ``--check`` instead of a folder: print findings and problems as JSON.
    """
    (typed,) = sys.argv[1:] if arguments is None else arguments
    emit = _events()
    if typed == "--check":
        emit("status", **_status())
        return 0
    folder = Path(typed)
    done = _end_with_parent(folder)

    def given() -> Any:
        ro, _ = bridge()
        # Before a matrix of this package is there: R would attach the package then, and say so.
        ro.r('suppressPackageStartupMessages(loadNamespace("Matrix"))')
        while not (folder / CELLS).exists():  # the R session takes the counts out of its object meanwhile
            time.sleep(POLL_SECONDS)
        cells = ro.r["readRDS"](str(folder / CELLS))
        (folder / CELLS).unlink()  # a copy of the counts that nobody needs from here on
        # R may have put its own handler in place. Until training takes over there is nothing worth keeping, and the
        # R package ends the process; afterwards the results are on their way.
        signal.signal(signal.SIGINT, _ignore)
        return cells

    signal.signal(signal.SIGINT, _ignore)
    try:
        return 0 if carry_out(folder, given, emit) else 1
    finally:
        done.set()


def _status() -> dict[str, Any]:
    """What is installed, and what stops scRAE from working from R."""
    from scrae import doctor

    findings = doctor.report()
    problems = doctor.problems(findings)
    try:
        bridge()
    except ImportError as error:
        problems.append(str(error))
    return {"findings": findings, "problems": problems}


def _ignore(number: int, frame: Any) -> None:
    pass


def _events() -> Emit:
    """A function that prints events where standard output was; what others print goes to standard error from now on."""
    stream = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)

    def emit(event: str, **facts: Any) -> None:
        stream.write(json.dumps({"event": event} | plain(facts)) + "\n")
        stream.flush()

    return emit


def _end_with_parent(folder: Path) -> threading.Event:
    """End this process when the R session is gone: its end of our standard input closes then.

    The job's folder goes with it, unless the event that is given back is set: it holds counts, which may be patients',
    and nobody is left who would read the answer or delete it.
    """
    done = threading.Event()

    def watch() -> None:
        while os.read(0, 4096):
            pass
        if not done.is_set():
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(3)

    threading.Thread(target=watch, daemon=True).start()
    return done


if __name__ == "__main__":
    sys.exit(main())
