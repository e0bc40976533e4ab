"""Children that a try starts by forking, so that they need not load torch again: to be killed, or to be asked."""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from attacks.outcome import is_own

PATIENCE = 60.0  # seconds that a child may take to answer


class Child:
    """A process that runs ``act`` from the moment it is made; its standard output and error go nowhere.

    Parameters
    ----------
    act
        What it does. Its result is passed back.
    at_event
        Kill it by SIGKILL at this move, deletion or change of mode that it makes; None: it may end.
    """

    def __init__(self, act: Callable[[], Any], at_event: int | None = None) -> None:
        self._result, writing = os.pipe()
        self.process = os.fork()
        if self.process:
            os.close(writing)
            return
        status = 1
        try:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            if at_event is not None:
                _die_at(at_event)
            try:
                answer: tuple[bool, Any] = (True, act())
            except BaseException as error:
                error.is_own = is_own(error)  # type: ignore[attr-defined]
                answer = (False, error)
            with open(writing, "wb") as file:
                file.write(_pickled(answer))
            status = 0
        finally:
            sys.stdout.flush()
            os._exit(status)

    def kill(self) -> bool:
        """Kill it, unless it has ended; whether it was killed."""
        os.kill(self.process, signal.SIGKILL)
        return self._ended() == -signal.SIGKILL

    def answer(self) -> Any:
        """What ``act`` gave; what it raised is raised here.

        Raises
        ------
        Died
            A signal has ended it, or it has not answered in time.
        """
        content, limit = b"", time.monotonic() + PATIENCE
        while select.select([self._result], [], [], max(0.0, limit - time.monotonic()))[0]:
            part = os.read(self._result, 2**20)
            content += part
            if not part:
                break
        else:
            self.kill()
            raise Died(f"no answer within {PATIENCE:.0f} s")
        status = self._ended()
        if not content:
            raise Died(f"it ended with status {status}")
        ended_well, found = pickle.loads(content)
        if ended_well:
            return found
        raise found

    def _ended(self) -> int:
        os.close(self._result)
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


class Died(Exception):
    """A child that nobody killed has ended without an answer."""


def _pickled(answer: tuple[bool, Any]) -> bytes:
    try:
        return pickle.dumps(answer)
    except Exception:
        return pickle.dumps((False, RuntimeError(str(answer[1]))))


def _die_at(at: int) -> None:
    counted = 0

    def happened(name: str, _: object) -> None:
        nonlocal counted
        if name in ("os.rename", "shutil.rmtree", "os.rmdir", "os.remove", "os.chmod", "os.link", "os.mkdir"):
            counted += 1
            if counted == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(happened)
