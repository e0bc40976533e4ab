"""Loops that are compiled at their first call, and kept for the next process where there is a place for them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from numba import njit
from numba.core.caching import FunctionCache

Function = TypeVar("Function", bound=Callable[..., Any])


class DispensableCache(FunctionCache):
    """numba's files of compiled code, without which a loop runs just as well.

    An empty or damaged file (a full disk, a machine that lost power) or a folder that can no longer be written ends a
    call of numba's own. Here the loop is compiled as if nothing had been kept, and what was damaged is replaced.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled code of a signature; None: there is none, or none that can be read."""
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception:  # unpickling can come to anything
            self._begin_anew()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the compiled code of a signature, if that can be done."""
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except Exception:
            self._begin_anew()

    def _begin_anew(self) -> None:
        # Where this fails, too, the next process is where this one was.
        with suppress(Exception):
            self.flush()  # type: ignore[no-untyped-call]


def compiled(**options: Any) -> Callable[[Function], Function]:
    """``numba.njit`` that keeps what it compiled beside the source or in the user's cache folder.

    Where neither can be written to (a container without a home), each process compiles anew. numba would refuse.
    """

    def of(function: Function) -> Function:
        result = njit(**options)(function)
        with suppress(RuntimeError):  # there is no place to keep it
            result._cache = DispensableCache(function)  # type: ignore[no-untyped-call]
        compiled_function: Function = result
        return compiled_function

    return of
