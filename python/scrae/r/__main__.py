"""``python -m scrae.r``: the worker of the R package; with ``--check`` or ``--look``, findings and problems as JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scrae.r.answers import plain

if TYPE_CHECKING:
    from scrae.r.job import Emit


def main(arguments: Sequence[str] | None = None) -> int:
    """Wait for jobs and do them (:mod:`scrae.r.worker`); the exit status is 0.

    A number of seconds: wait for a job no longer than that. ``--check``: say what is installed and what is wrong;
    ``--look``: the same without importing it.
    """
    typed = sys.argv[1:] if arguments is None else arguments
    emit = _events()
    if typed and typed[0] in ("--check", "--look"):
        from scrae.r.check import status

        emit("status", **status(quick=typed[0] == "--look"))
        return 0
    from scrae.r.worker import IDLE_SECONDS, Worker

    return Worker(emit, float(typed[0]) if typed else IDLE_SECONDS).stand()


def _events() -> Emit:
    """A function that prints events where standard output was; what others print goes to standard error from now on."""
    stream = os.dup(1)
    os.dup2(2, 1)

    def emit(event: str, **facts: Any) -> None:
        line = (json.dumps({"event": event} | plain(facts)) + "\n").encode()
        if event == "ended":  # on a line of its own: who did the job may have been killed in the middle of one
            line = b"\n" + line
        while line:
            line = line[os.write(stream, line) :]

    return emit


if __name__ == "__main__":
    sys.exit(main())
