"""Progress: a bar in a terminal and in notebooks that have one, a line now and then in a log."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any

from tqdm.auto import tqdm

SECONDS_BETWEEN_LINES = 30.0
SECONDS_WITHOUT_A_LINE = 5.0  # what is over by then needs none
LINE = "{desc}: {n_fmt}/{total_fmt} {unit}s, {elapsed} gone, {remaining} left{postfix}"


class Bar(tqdm):  # type: ignore[type-arg]
    """tqdm's bar with a lock between threads alone.

    tqdm's own is one between processes, too. For that, Python 3.14 starts a process that lives as long as this one, and
    that imports ``json`` from the working directory if there is one.
    """


Bar.set_lock(threading.RLock())


class ProgressLines:
    """A bar's stand-in where standard error is no terminal: a line every 30 seconds at most, and one at the end.

    It has those methods of a bar that are used here.
    """

    def __init__(self, total: int, title: str, unit: str, initial: int) -> None:
        self.n = initial
        self._facts: dict[str, Any] = {"total": total, "prefix": title, "unit": unit, "initial": initial}
        self._postfix = ""
        self._started = self._last = time.monotonic()

    def update(self, n: int = 1) -> None:
        """So many steps more are done."""
        self.n += n
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._say()

    def set_postfix_str(self, text: str, refresh: bool = False) -> None:
        """What the next line says besides."""
        self._postfix = text

    def refresh(self) -> None:
        """A bar would be drawn anew; a line comes when it is time."""

    def __enter__(self) -> ProgressLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if time.monotonic() - self._started >= SECONDS_WITHOUT_A_LINE:
            self._say()

    def _say(self) -> None:
        self._last = time.monotonic()
        elapsed = self._last - self._started
        line = tqdm.format_meter(self.n, elapsed=elapsed, postfix=self._postfix, bar_format=LINE, **self._facts)
        with suppress(OSError, ValueError):  # a log that is full or closed must not end the work
            print(line, file=sys.stderr, flush=True)


def progress_bar(total: int, title: str, unit: str, show: bool | None, initial: int = 0) -> Bar | ProgressLines:
    """A bar or what stands in for one, to be used with ``with``.

    Parameters
    ----------
    total, initial
        Number of steps, and of those that are done already.
    title, unit
        What is done, and what a step is.
    show
        True: a bar; False: nothing; None: a bar where standard error is a terminal, otherwise lines.
    """
    if show is None and sys.stderr is not None and not sys.stderr.isatty():
        return ProgressLines(total, title, unit, initial)
    return Bar(total=total, initial=initial, desc=title, unit=unit, disable=None if show is None else not show)
