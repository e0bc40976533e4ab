"""A command that may use so much time of the processor and no more, with all processes that it starts (Linux)."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
EVERY = 0.2  # seconds between two looks at the processes


class OverLimit(Exception):
    """The command was ended, since it had used all the time it may use."""


def limited(command: Sequence[str], limit: float) -> tuple[str, float]:
    """What a command prints, and the seconds of the processor that it and its children took.

    On a machine that others use as well these are the same, whereas elapsed time is not.

    Parameters
    ----------
    command
        Program and arguments.
    limit
        Seconds of the processor.

    Raises
    ------
    OverLimit
        It took longer.
    subprocess.CalledProcessError
        It failed; what it had to say is in ``stderr``.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        leader = subprocess.Popen(command, stdout=output, stderr=errors, start_new_session=True)
        used: dict[int, float] = {}
        try:
            while leader.poll() is None:
                time.sleep(EVERY)
                used |= seconds_of_session(leader.pid)  # those that have ended keep what they had
                if sum(used.values()) > limit:
                    raise OverLimit(f"over {limit:g} s of the processor")
        finally:
            for process in seconds_of_session(leader.pid):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            leader.wait()
        for file in (output, errors):
            file.seek(0)
        printed = output.read()
        if leader.returncode:
            raise subprocess.CalledProcessError(leader.returncode, list(command), printed, errors.read())
        return printed, sum(used.values())


def seconds_of_session(session: int) -> dict[int, float]:
    """Seconds of the processor of each process of a session, by its number."""
    used = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            facts = path.read_text().rpartition(")")[2].split()  # the name before it may hold anything
        except OSError:  # it has ended meanwhile
            continue
        if int(facts[3]) == session:
            used[int(path.parent.name)] = (int(facts[11]) + int(facts[12])) / TICKS
    return used
