"""Means of the losses of an epoch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Means:
    """Means of named scalars, summed on their device in double precision.

    No scalar is kept: small pieces that stay between the large arrays of a step would have the C library ask for new
    memory for these time and again. The sums stay at their places, as iterations that a GPU replays want them.
    """

    def __init__(self) -> None:
        self._totals: dict[str, Tensor] = {}
        self._numbers: dict[str, Tensor] = {}

    def restart(self) -> None:
        """Forget what was counted in."""
        for total in (*self._totals.values(), *self._numbers.values()):
            total.zero_()

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Count these in."""
        for name, value in values.items():
            if name not in self._totals:
                self._totals[name], self._numbers[name] = torch.zeros(2, dtype=torch.float64, device=value.device)
            self._totals[name] += value
            self._numbers[name] += 1

    def so_far(self) -> dict[str, float]:
        """The mean of each that was counted in."""
        numbers = {name: float(number) for name, number in self._numbers.items()}
        return {name: float(total) / numbers[name] for name, total in self._totals.items() if numbers[name]}
