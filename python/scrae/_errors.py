"""Errors and warnings that can be worded again: each has a text, a code that names its meaning, and plain fields.

Python shows the text. Who speaks to users of another language, as the R package does, words code and fields instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_KEPT: ContextVar[list[str] | None] = ContextVar("kept", default=None)


class Coded(Exception):
    """What errors and warnings of the core have in common.

    Parameters
    ----------
    text
        The message, in words of Python.
    code
        Names what is wrong; the same in every version. (Only unpickling leaves it out: it sets attributes afterwards.)
    **fields
        Names and numbers that the message speaks of.
    """

    code: str
    fields: dict[str, Any]

    def __init__(self, text: str, code: str = "", /, **fields: Any) -> None:
        super().__init__(text)
        self.code = code
        self.fields = fields


class Refusal(Coded, ValueError):
    """What was given cannot be used; the message says where, how many, and what to do."""


class CountsError(Refusal):
    """The matrix does not hold raw counts, or holds nothing to learn from.

    The message says what is wrong, where, how often, and what to do. ``code`` names the meaning of the message.

    Examples
    --------
    >>> import numpy as np
    >>> import scrae
    >>> scrae.SCRAE().fit(np.full((100, 20), 0.5))
    Traceback (most recent call last):
    scrae.CountsError: ...
    """


class UnknownName(Coded, TypeError):
    """An argument has a name that nobody knows."""


class Told(Coded):
    """A warning. Its text is kept as well where :func:`warnings_kept` is waiting for it."""

    def __init__(self, text: str, code: str = "", /, **fields: Any) -> None:
        super().__init__(text, code, **fields)
        kept = _KEPT.get()
        if kept is not None and text not in kept:
            kept.append(text)


class Notice(Told, UserWarning):
    """The result may not be what was meant."""


class TrainingNotice(Told, RuntimeWarning):
    """Something went wrong in training, which goes on."""


@contextmanager
def warnings_kept() -> Iterator[list[str]]:
    """The texts of the warnings of this package that are given in the block, whoever else sees them."""
    kept: list[str] = []
    before = _KEPT.set(kept)
    try:
        yield kept
    finally:
        _KEPT.reset(before)
