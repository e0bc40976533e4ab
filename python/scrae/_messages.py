"""Words that several error messages share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


def unknown(kind: str, name: str, known: Iterable[Any], of: str) -> str:
    """Message for a name that is not known, with the nearest that is."""
    names = sorted(map(str, known))
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}."
    return f"{of} has no {kind} {str(name)!r}; {hint}"


def some(names: Iterable[Any], n: int = 3) -> str:
    """The first ``n`` names in quotes, and three dots where there are more."""
    listed = [repr(str(name)) for name in names]
    return ", ".join(listed[:n]) + (", ..." if len(listed) > n else "")


def first_few(names: Iterable[Any], n: int = 4) -> list[str]:
    """The first ``n`` names as plain text: one more than :func:`some` shows, so that more can be told from no more."""
    return [str(name) for name in names][:n]


def shown(value: Any) -> str:
    """A value as a user would type it: ``np.float64(0.5)`` is 0.5."""
    return repr(value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value)
