"""Torch's random state, which belongs to the user, and of which a process has one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from scrae.compute.turns import one_at_a_time


@contextmanager
def random_state_kept(device: torch.device, show: bool | None = None) -> Iterator[None]:
    """Let draws on the processor and on ``device`` change a copy of the random state; the user's stays as it was.

    Other threads that want to draw wait meanwhile (:func:`scrae.compute.turns.one_at_a_time`, which ``show`` is for).
    Draws that another thread makes from torch's random state by itself are neither seen nor kept.
    """
    with one_at_a_time(show), torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
