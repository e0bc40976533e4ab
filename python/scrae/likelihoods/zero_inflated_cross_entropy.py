"""Cross-entropy behind a layer that sets low expression to zero more often than high (Wang and Gu 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from scrae.compute.bfloat16 import WideLinear
from scrae.compute.rows import rows_in_hand
from scrae.data.count_rows import CountRows
from scrae.data.sparse import SparseRows
from scrae.likelihoods import fused, fused_cross_entropy
from scrae.likelihoods.base import Likelihood
from scrae.likelihoods.fused_cross_entropy import SMALLEST


def probability_kept(expression: Tensor) -> Tensor:
    """1 - exp(-m^2), the probability that an entry of expected expression m is not set to zero."""
    return -torch.expm1(-expression.square())


def relaxed_draw(kept: Tensor, uniform: Tensor) -> Tensor:
    """A draw between 0 (set to zero) and 1 (kept) that can be differentiated: the second of a Gumbel softmax of two.

    The difference of two Gumbel variables is logistic. With k the probability of being kept, u uniform and the
    published temperature of 1 the draw is therefore

        sigmoid( log u - log(1 - u) + log k - log(1 - k) ) = u k / (u k + (1 - u)(1 - k)),

    which is above 1/2 with probability k.
    """
    both = uniform * kept
    return both / (both + (1.0 - uniform) * (1.0 - kept))


def cross_entropy(share: Tensor, target: CountRows) -> Tensor:
    """-sum over genes of x log y + (1 - x) log(1 - y), (n_cells,).

    Shares y (n_cells, n_genes) and entries x are in [0, 1]. Most x are zero, and leave -log(1 - y) alone.
    """
    y = share.clamp(SMALLEST, 1.0 - SMALLEST)
    of_entries = target.take(y)
    return target.add_sums(-torch.log1p(-y).sum(1), -target.values * torch.logit(of_entries))


class ZeroInflatedCrossEntropy(Likelihood):
    """Cross-entropy of expression in [0, 1] with m d: m = sigmoid(W h), and d a :func:`relaxed_draw` in training.

    Afterwards d is its expectation, 1 - exp(-m^2).
    """

    name = "zi_cross_entropy"
    target = "log2_max"
    explains_others = False

    def __init__(self, n_hidden: int, n_genes: int, n_groups: int = 1) -> None:
        super().__init__(n_hidden, n_genes, n_groups)
        self.expression = WideLinear(n_hidden, n_genes)

    def forward(self, hidden: Tensor, log_library: Tensor, group: Tensor) -> tuple[Tensor, ...]:
        """(m,)."""
        return (torch.sigmoid(self.expression(hidden)),)

    def log_prob(self, hidden: Tensor, log_library: Tensor, group: Tensor, target: CountRows) -> Tensor:
        if not (self.training and fused.applies_to(hidden) and isinstance(target, SparseRows)):
            return super().log_prob(hidden, log_library, group, target)
        uniform = _uniform(hidden.new_empty(len(hidden), self.n_genes))
        return fused_cross_entropy.log_prob(hidden, self.expression, uniform, target)

    def log_likelihood(self, parameters: tuple[Tensor, ...], target: CountRows) -> Tensor:
        (expression,) = parameters
        kept = probability_kept(expression)
        return -cross_entropy(expression * (relaxed_draw(kept, _uniform(kept)) if self.training else kept), target)

    def mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return parameters[0]

    def expected(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return parameters[0] * probability_kept(parameters[0])

    def sample(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return parameters[0] * torch.bernoulli(probability_kept(parameters[0]))


def _uniform(like: Tensor) -> Tensor:
    """Uniform numbers for the rows of this process, in the shape of ``like``."""
    return rows_in_hand().draw_like(torch.rand_like, like)
