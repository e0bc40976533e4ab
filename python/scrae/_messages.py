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
    return f"{of} has no {kind} {name!r}; {hint}"


def some(names: Iterable[Any], n: int = 3) -> str:
    """The first ``n`` names in quotes, and three dots where there are more."""
    listed = [repr(str(name)) for name in names]
    return ", ".join(listed[:n]) + (", ..." if len(listed) > n else "")
