"""The best epoch by the labels: how published figures are made, and what no user can have.

While a model trains there are only its codes to score; the default reads its embedding out of them at the end, so that
its final model can be ahead of its best epoch by more than luck.
"""

from __future__ import annotations

from collections.abc import Callable

SNAPSHOTS = 20  # of the longest training


class Oracle:
    """Scores of a model as it was at every twentieth of the longest training.

    Parameters
    ----------
    scored
        Scores of the model as it is now, "NMI" among them.
    """

    def __init__(self, scored: Callable[[], dict[str, float]]) -> None:
        self.scored = scored
        self.by_epoch: dict[int, dict[str, float]] = {}

    def watch(self, epoch: int, longest: int, losses: dict[str, float]) -> None:
        """To be called after each epoch (``on_epoch`` of ``fit``)."""
        if epoch % max(1, longest // SNAPSHOTS) == 0:
            self.by_epoch[epoch] = self.scored()

    def best(self, last: int, honest: dict[str, float]) -> tuple[int, dict[str, float]]:
        """Epoch and scores of the best by NMI, the final model's (after epoch ``last``) among them."""
        if last not in self.by_epoch or honest["NMI"] > self.by_epoch[last]["NMI"]:
            self.by_epoch[last] = honest
        epoch = max(self.by_epoch, key=lambda epoch: self.by_epoch[epoch]["NMI"])
        return epoch, self.by_epoch[epoch]
