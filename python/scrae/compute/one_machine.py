"""What the processes of one training have in common where they run on the same machine: what one made serves all.

A process finds what another has made by its number and by an open file of it, so this is for processes that see each
other in /proc (Linux). Elsewhere every process makes its own.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from scrae.compute import distributed

Made = TypeVar("Made")

FAILED = b"failed:"  # before the error that ended the making

_number = 0  # of things made so far: processes come to the same ones in the same order


def made_once(make: Callable[[], Made], lend: Callable[[Made], str], borrow: Callable[[str], Made]) -> Made:
    """What the first process on this machine makes, in all of its processes.

    All of them call this at the same point, within :func:`scrae.compute.distributed.divided_work`; a process outside of
    it, or alone on its machine, makes its own.

    Parameters
    ----------
    make
        Makes it; what this raises in the first process is raised in all.
    lend
        How others find what was made, as text. It has to stay there until this function returns.
    borrow
        Finds it; where it cannot (``OSError``), the process makes its own.
    """
    if not distributed.divides_work():
        return make()
    global _number
    _number += 1
    rank = distributed.rank()
    processes = distributed.beside()
    first, *others = processes
    if not others:
        return make()
    made, taken = f"made {_number} {first}", f"taken {_number}"
    if rank == first:
        try:
            own = make()
        except Exception as error:
            distributed.say(made, FAILED + pickle.dumps(error))
            raise
        distributed.say(made, lend(own).encode())
        for other in others:
            distributed.said(f"{taken} {other}", processes[other].exists)
        return own
    found = distributed.said(made, processes[first].exists)
    if found.startswith(FAILED):
        raise pickle.loads(found.removeprefix(FAILED))
    with suppress(OSError):
        try:
            return borrow(found.decode())
        finally:
            distributed.say(f"{taken} {rank}", b"")
    return make()
