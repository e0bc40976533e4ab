"""Loops that are compiled at their first call, and kept for the next process where there is a place for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[Function], Function]:
    """``numba.njit`` that keeps what it compiled beside the source or in the user's cache folder.

    Where neither can be written to (a container without a home), numba would refuse; here each process compiles anew.
    """

    def of(function: Function) -> Function:
        try:
            result: Function = njit(cache=True, **options)(function)
        except RuntimeError:
            result = njit(**options)(function)
        return result

    return of
