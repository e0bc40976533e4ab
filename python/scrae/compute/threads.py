"""The number of threads, which decides speed and the last bits of a result."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise

import torch

from scrae.compute.turns import one_at_a_time


@contextmanager
def threads_of_torch_kept() -> Iterator[None]:
    """Keep torch's number of threads while scanpy works.

    numba, which scanpy uses, sets the number of OpenMP threads of the whole process, torch's included. Sums in torch
    then run in another order (other last bits), and on a busy machine many times more slowly. A training in another
    thread would see the change, and numba's loops must not run in two threads at once: they wait for each other.
    """
    with one_at_a_time():
        number = torch.get_num_threads()
        try:
            yield
        finally:
            torch.set_num_threads(number)


@contextmanager
def at_most(number: int) -> Iterator[None]:
    """Let torch use so many threads at most meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, number))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def over_rows(n_rows: int, kernel: Callable[..., None], *given: object) -> None:
    """Call ``kernel(first, last, *given)`` for consecutive ranges of rows, one for each of torch's threads.

    For compiled functions that release the interpreter's lock and whose rows do not depend on each other. (numba's own
    parallel loops would bring a second set of OpenMP threads, see above.)
    """
    number = max(1, min(torch.get_num_threads(), n_rows))
    edges = [n_rows * part // number for part in range(number + 1)]
    (first, last), *others = pairwise(edges)
    running = [_workers(number - 1).submit(kernel, *range_, *given) for range_ in others]
    kernel(first, last, *given)
    for part in running:
        part.result()


@lru_cache(maxsize=1)
def _workers(number: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(number, "scrae")


os.register_at_fork(after_in_child=_workers.cache_clear)  # a forked process has none of its parent's threads
