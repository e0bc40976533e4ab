"""One training on several processes, which together do what one process would.

Each process sees all cells, and has the same weights and the same random state. Of a minibatch it takes a run of rows
through the networks (:mod:`scrae.compute.rows`); what the losses are made of (codes, log-likelihoods of cells) is
gathered from all, so that every process computes the same losses, in the same order, as one process would.
Differentiated is their mean over the processes: the adjoint of gathering is to sum and take the own rows, and gradients
of parameters are averaged.

For a process on its own every function here returns what it was given.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

TIMEOUT = timedelta(minutes=10)  # after which a process that says nothing is taken for dead
PAUSE = 0.02  # seconds between two looks at whether there is a message


class ProcessLost(RuntimeError):
    """Another process of the same training has died, or this one is told to end."""


_joined = False
_lost = False
_divides = False
_messages: Any = None  # torch's store
_places: list[str] = []  # where each process runs, and its number there


# -- who there is ---------------------------------------------------------------------------------------------------


@contextmanager
def joined() -> Iterator[None]:
    """Train together with the other processes that torchrun has started; nothing changes for one on its own.

    Processes find each other by the variables that torchrun sets (``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``, ...) and
    talk over gloo, with CUDA tensors over NCCL, each process on a GPU of its own (``LOCAL_RANK``). SIGTERM, by which
    torchrun ends the others when one has died, becomes a :class:`ProcessLost`.
    """
    global _joined, _lost, _messages
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    store, rank, n_processes = next(iter(rendezvous("env://", timeout=TIMEOUT)))
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, store=store, rank=rank, world_size=n_processes, timeout=TIMEOUT)
    _joined, _lost, _messages = True, False, store
    _places[:] = [""] * n_processes
    dist.all_gather_object(_places, _place())
    try:
        with _told_to_end():
            yield
    finally:
        if not _lost:
            dist.destroy_process_group()
        _joined, _messages = False, None


@contextmanager
def _told_to_end() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_terminate(number: int, frame: FrameType | None) -> None:
        raise _loss("was told to end (SIGTERM): another process has failed, or the job's time is up")

    before = signal.signal(signal.SIGTERM, on_terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def n_processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _joined else 1


def rank() -> int:
    """The number of this process among them, from 0."""
    return dist.get_rank() if _joined else 0


def in_charge() -> bool:
    """Whether this process shows progress and writes files: the first one, as long as all are there."""
    return rank() == 0 and not _lost


# -- what need not be done by every process -------------------------------------------------------------------------


@contextmanager
def divided_work() -> Iterator[None]:
    """Within it, work may be divided among the processes: all of them make the same calls in the same order."""
    global _divides
    before, _divides = _divides, True
    try:
        yield
    finally:
        _divides = before


def divides_work() -> bool:
    """Whether this is so, and there are several processes."""
    return _divides and n_processes() > 1


def beside() -> dict[int, Path]:
    """Ranks of processes that see each other's open files, this one among them, and where each is in /proc (Linux)."""
    places = [place.rsplit(" ", 1) for place in _places]
    return {other: Path("/proc", number) for other, (place, number) in enumerate(places) if place == places[rank()][0]}


def _place() -> str:
    """The same text for processes that see each other's open files, but for the number of each at its end."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        seen_by = f"{boot} {os.stat('/proc/self/ns/pid').st_ino} {os.getuid()}"
    except OSError:
        seen_by = f"process {dist.get_rank()}"
    return f"{seen_by} {os.getpid()}"


def say(name: str, what: bytes) -> None:
    """Leave a message for the other processes, under a name that nobody has used."""
    _together(_messages.set, f"scrae/{name}", what)


def said(name: str, is_there: Callable[[], bool]) -> bytes:
    """The message of that name, as soon as there is one, however long that takes.

    Raises
    ------
    ProcessLost
        Who shall leave it ``is_there`` no more; or this process is told to end.
    """
    key = f"scrae/{name}"
    while not _together(_messages.check, [key]):
        if not is_there() and not _together(_messages.check, [key]):
            raise _loss("waited for another one, which has died")
        time.sleep(PAUSE)
    return bytes(_together(_messages.get, key))


def own_share(n_rows: int) -> slice:
    """The run of rows that this process works on: all of them, or its part where the work is divided."""
    if not divides_work() or n_rows < 2 * n_processes():
        return slice(0, n_rows)
    return slice(n_rows * rank() // n_processes(), n_rows * (rank() + 1) // n_processes())


def added_up(own: np.ndarray, n_rows: int) -> np.ndarray:
    """Sums over ``n_rows`` rows from the sums over each process's :func:`own_share`, the same bits everywhere."""
    if own_share(n_rows) == slice(0, n_rows):
        return own
    return sum_over_processes(torch.from_numpy(np.ascontiguousarray(own))).numpy()


def put_together(own: Tensor, share: slice, n_rows: int) -> Tensor:
    """All rows, (n_rows, ...), from those of each process's :func:`own_share`, (n_own, ...)."""
    if len(own) == n_rows:
        return own
    whole = own.new_zeros((n_rows, *own.shape[1:]))
    whole[share] = own
    return sum_over_processes(whole)


def _loss(what: str) -> ProcessLost:
    global _lost
    _lost = True
    return ProcessLost(
        f"process {rank()} of {n_processes()} {what}. Nothing more is written; the same command with --resume goes on "
        "from the last checkpoint in --model-dir"
    )


def _together(collective: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Do something that the other processes have to be there for."""
    try:
        return collective(*arguments, **options)
    except ProcessLost:
        raise
    except RuntimeError as error:
        reason = str(error).split("] ", 1)[-1].split(". ")[0]  # without the place in gloo's sources, and its advice
        raise _loss(f"cannot reach the others: one of them has died, or its machine ({reason})") from error


# -- what all must agree on -----------------------------------------------------------------------------------------


def sum_over_processes(tensor: Tensor) -> Tensor:
    """The sum of what each process has, in the place of the own tensor."""
    _together(dist.all_reduce, tensor)
    return tensor


def average_gradients(gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The mean over the processes, in one message."""
    if n_processes() == 1:
        return list(gradients)
    present = [gradient for gradient in gradients if gradient is not None]
    flat = torch.cat([gradient.flatten() for gradient in present])
    _together(dist.all_reduce, flat)
    parts = iter(torch.split(flat.div_(n_processes()), [gradient.numel() for gradient in present]))
    return [None if gradient is None else next(parts).view_as(gradient) for gradient in gradients]


def average(values: Mapping[str, float]) -> dict[str, float]:
    """The mean of each value over the processes, the same bits everywhere."""
    if n_processes() == 1:
        return dict(values)
    means = torch.tensor(list(values.values()), dtype=torch.float64)
    _together(dist.all_reduce, means)
    return dict(zip(values, (means / n_processes()).tolist(), strict=True))


def any_of(value: bool) -> bool:
    """Whether it is so in any process."""
    if n_processes() == 1:
        return value
    number = torch.tensor([int(value)])
    _together(dist.all_reduce, number)
    return bool(number.item())


def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """Give all processes the values that the first one has; shapes are the same everywhere."""
    if n_processes() > 1:
        for tensor in tensors:
            if tensor.numel():
                _together(dist.broadcast, tensor, 0)


def require_same(what: str, value: str) -> None:
    """Refuse to go on with processes that do not agree.

    Raises
    ------
    ValueError
        ``value`` is not the same everywhere.
    """
    if n_processes() == 1:
        return
    digest = int.from_bytes(hashlib.blake2b(value.encode(), digest_size=7).digest(), "big")
    least_and_minus_most = torch.tensor([digest, -digest])
    _together(dist.all_reduce, least_and_minus_most, op=dist.ReduceOp.MIN)
    if least_and_minus_most.tolist() != [digest, -digest]:
        raise ValueError(
            f"the {n_processes()} processes do not have the same {what}: give all of them the same command, and files "
            "and --model-dir that all of them see"
        )
