"""One thread at a time, for what torch and numba have only one of in a process.

That is the random state that training draws from, the number of threads, the precision of products. Two threads that
changed it in turns would spoil each other's results, and the state that their caller gets back.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

SECONDS_WITHOUT_A_WORD = 2.0  # most questions to a model are answered by then

_turn = threading.RLock()
_threads_outside: int | None = None  # torch's number of threads as it was when the turn began; None: nobody's turn


@contextmanager
def one_at_a_time(show: bool | None = None) -> Iterator[None]:
    """Wait until no other thread of this process is within; the same thread may enter again.

    What is within must not wait for another thread that wants to enter, such as one that ``on_epoch`` starts.

    Parameters
    ----------
    show
        False: wait without a word.
    """
    global _threads_outside
    turn = _turn  # a forked process has another one, and this one to give back
    number = torch.get_num_threads()
    if _threads_outside is not None:  # a thread that first uses torch meanwhile is given the limit of the other one
        number = _threads_outside
    if not turn.acquire(timeout=SECONDS_WITHOUT_A_WORD):
        if show is not False and sys.stderr is not None:
            with suppress(OSError, ValueError):  # a closed stream
                print("scRAE: another thread of this process is training; waiting for it", file=sys.stderr, flush=True)
        turn.acquire()
    try:
        if _threads_outside is not None:  # this thread is within already
            yield
            return
        if torch.get_num_threads() != number:
            torch.set_num_threads(number)
        _threads_outside = number
        try:
            yield
        finally:
            _threads_outside = None
    finally:
        turn.release()


def _begin_anew() -> None:
    global _turn, _threads_outside
    _turn, _threads_outside = threading.RLock(), None


os.register_at_fork(after_in_child=_begin_anew)  # the thread whose turn it was does not exist there
