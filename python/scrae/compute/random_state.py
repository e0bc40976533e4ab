"""Torch's random state, which belongs to the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def random_state_kept(device: torch.device) -> Iterator[None]:
    """Let draws on the processor and on ``device`` change a copy of the random state; the user's stays as it was."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
