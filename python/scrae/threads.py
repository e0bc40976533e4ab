"""The number of threads, which decides speed and the last bits of a result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def threads_of_torch_kept() -> Iterator[None]:
    """Keep torch's number of threads while scanpy works.

    numba, which scanpy uses, sets the number of OpenMP threads of the whole process, torch's included. Sums in torch
    then run in another order (other last bits), and on a busy machine many times more slowly.
    """
    number = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(number)
