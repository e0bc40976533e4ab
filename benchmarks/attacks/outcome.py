"""What came of one try, and whether an exception is one of scRAE's own."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import scrae
from scrae._errors import Coded

PACKAGE = Path(scrae.__file__).parent

REFUSED, RIGHT = "refused", "right"
WRONG, NEEDLESS, CRASH, FOREIGN, LOST = "silently wrong", "refused though sound", "crashed", "foreign exception", "lost"
OUTCOMES = (REFUSED, RIGHT, WRONG, NEEDLESS, CRASH, FOREIGN, LOST)
FAULTS = (WRONG, NEEDLESS, CRASH, FOREIGN, LOST)


@dataclass(frozen=True)
class Outcome:
    """Of one try.

    Attributes
    ----------
    kind
        One of :data:`OUTCOMES`.
    said
        The message of the error, or what was found wrong.
    """

    kind: str
    said: str = ""


class Lost(Exception):
    """Something that was there before is gone or another."""


def outcome(what: str, act: Callable[[], Any], is_right: Callable[[Any], bool], sound: bool = False) -> Outcome:
    """What comes of ``act``: its result is judged by ``is_right``.

    Parameters
    ----------
    what
        How the input was changed, for the reader of a fault.
    act
        The call under attack.
    is_right
        Whether what it gives is what it has to be.
    sound
        Whether it must not be refused.
    """
    try:
        found = act()
    except Lost as error:
        return Outcome(LOST, f"{what}: {error}")
    except Exception as error:
        said = f"{what}: {type(error).__name__}: {str(error)[:300]}"
        if not is_own(error):
            place = traceback.extract_tb(error.__traceback__)[-1]
            return Outcome(FOREIGN, f"{said} ({place.filename}:{place.lineno})")
        return Outcome(NEEDLESS if sound else REFUSED, said)
    return Outcome(RIGHT, what) if is_right(found) else Outcome(WRONG, what)


def is_own(error: BaseException) -> bool:
    """Whether scRAE has raised it: by its class, or because the last line that ran is a ``raise`` of the package."""
    if isinstance(error, Coded):
        return True
    if hasattr(error, "is_own"):
        return bool(error.is_own)  # it was raised in another process, which has said so
    if not isinstance(error, ValueError | TypeError | OSError | RuntimeError):
        return False
    place = traceback.extract_tb(error.__traceback__)[-1]
    line = linecache.getline(place.filename, place.lineno or 0).strip()
    return Path(place.filename).is_relative_to(PACKAGE) and line.startswith("raise ")
