"""Progress bars: when there is one, and how it looks."""

from __future__ import annotations

from typing import Any

from tqdm.auto import tqdm


def progress_bar(total: int, title: str, unit: str, show: bool | None, initial: int = 0) -> tqdm[Any]:
    """A bar, to be used with ``with``.

    Parameters
    ----------
    total, initial
        Number of steps, and of those that are done already.
    title, unit
        What is done, and what a step is.
    show
        True, False, or None for a bar where standard error is a terminal.
    """
    return tqdm(total=total, initial=initial, desc=title, unit=unit, disable=None if show is None else not show)
