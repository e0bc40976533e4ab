"""The call that repeats another one, as lines of Python."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

WIDTH = 88  # a call that is longer has a line for each argument


class Expression(str):
    """A value that stands in a call as it is."""


def call_text(name: str, first: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Lines of code that make the call again.

    Parameters
    ----------
    name, first
        Name of the function, and its first argument as it is written.
    given, defaults
        The other arguments by name, and what they are where nothing is given. What is the default is left out.
    """
    typed = {key: as_typed(value) for key, value in given.items() if not _same(value, defaults.get(key))}
    return laid_out(name, first, typed)


def laid_out(name: str, first: str, typed: Mapping[str, str], sign: str = "=") -> str:
    """A call with arguments as they are typed, on one line where there is room."""
    named = [f"{key}{sign}{value}" for key, value in typed.items()]
    one_line = f"{name}({', '.join([first, *named])})"
    if len(one_line) <= WIDTH:
        return one_line
    end = "," if sign == "=" else ""  # R has none after the last
    return f"{name}(\n" + ",\n".join(f"    {part}" for part in (first, *named)) + f"{end}\n)"


def as_typed(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, Expression):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if hasattr(value, "tolist"):  # of numpy
        return as_typed(value.tolist())
    if isinstance(value, list):
        return f"[{', '.join(map(as_typed, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(as_typed, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{as_typed(key)}: {as_typed(entry)}' for key, entry in value.items())}}}"
    return repr(value)


def default_arguments(function: Callable[..., Any]) -> dict[str, Any]:
    """What each argument is where nothing is given."""
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


def _same(value: Any, default: Any) -> bool:
    return not isinstance(value, Expression) and as_typed(value) == as_typed(default)
