"""A phase: one optimiser's part of an iteration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from scrae.data.minibatches import Minibatch


@dataclass(frozen=True)
class Phase:
    """One row of the table that the training loop works through in every iteration.

    Attributes
    ----------
    name
        Name in the history.
    parameters
        What the phase's own Adam moves; nothing else changes.
    learning_rate, betas
        Settings of that Adam.
    due
        Whether the phase runs in iteration number ``i`` (0, 1, ...).
    loss
        Losses of a minibatch, each a scalar. The first is minimised; all are recorded.
    eps, weight_decay
        Further settings of that Adam.
    clip_gradient
        Largest size of one entry of the gradient; None: no limit.
    """

    name: str
    parameters: list[nn.Parameter]
    learning_rate: float
    betas: tuple[float, float]
    due: Callable[[int], bool]
    loss: Callable[[Minibatch], dict[str, Tensor]]
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip_gradient: float | None = None


def always(iteration: int) -> bool:
    """Due in every iteration."""
    return True
