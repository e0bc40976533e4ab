"""Loops that are compiled at their first call, and kept for the next process where there is a place for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from numba import njit
from numba.core.caching import Cache, FunctionCache

Function = TypeVar("Function", bound=Callable[..., Any])


class DispensableCache(FunctionCache):
    """numba's files of compiled code, without which a loop runs just as well.

    An empty or damaged file (a full disk, a machine that lost power) or a folder that can no longer be written ends a
    call of numba's own. Here the loop is compiled as if nothing had been kept, and what was damaged is replaced.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled code of a signature; None: there is none, or none that can be read."""
        return _or_begin_anew(self, FunctionCache.load_overload, sig, target_context)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the compiled code of a signature, if that can be done."""
        _or_begin_anew(self, FunctionCache.save_overload, sig, data)


def _or_begin_anew(cache: Cache, act: Callable[..., Any], *given: Any) -> Any:
    """What ``act`` of a cache gives; None where it fails, and then the cache is emptied."""
    try:
        return act(cache, *given)
    except Exception:  # unpickling can come to anything
        with suppress(Exception):  # where this fails, too, the next process is where this one was
            cache.flush()  # type: ignore[no-untyped-call]
        return None


@contextmanager
def dispensable_caches() -> Iterator[None]:
    """Meanwhile, what numba keeps of the loops of all packages is as dispensable: for scanpy, umap and pynndescent.

    Only one thread may be within (:mod:`scrae.compute.turns`).
    """
    load, save = Cache.load_overload, Cache.save_overload
    Cache.load_overload = lambda *given: _or_begin_anew(given[0], load, *given[1:])  # type: ignore[method-assign]
    Cache.save_overload = lambda *given: _or_begin_anew(given[0], save, *given[1:])  # type: ignore[method-assign]
    try:
        yield
    finally:
        Cache.load_overload, Cache.save_overload = load, save  # type: ignore[method-assign]


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
