"""No reconstruction: counts are not explained, and codes are held by other terms alone."""

from __future__ import annotations

from typing import NoReturn

from torch import Tensor

from scrae._errors import Refusal
from scrae.data.count_rows import CountRows
from scrae.likelihoods.base import Likelihood


class NoLikelihood(Likelihood):
    """The loss has no part for the counts, so that the decoder learns nothing and nothing can be asked of it."""

    name = "none"
    reconstructs = False

    def log_prob(self, hidden: Tensor, log_library: Tensor, group: Tensor, target: CountRows) -> Tensor:
        """Zeros in training, (n_cells,)."""
        if not self.training:
            self._nothing_known()
        return hidden.new_zeros(len(hidden))

    def forward(self, hidden: Tensor, log_library: Tensor, group: Tensor) -> tuple[Tensor, ...]:
        self._nothing_known()

    def log_likelihood(self, parameters: tuple[Tensor, ...], target: CountRows) -> Tensor:
        self._nothing_known()

    def mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        self._nothing_known()

    def sample(self, parameters: tuple[Tensor, ...]) -> Tensor:
        self._nothing_known()

    def _nothing_known(self) -> NoReturn:
        raise Refusal(
            'a model with likelihood="none" has an embedding and knows nothing of counts: train with another one, such '
            "as the default preset's",
            "explains_no_counts",
        )
