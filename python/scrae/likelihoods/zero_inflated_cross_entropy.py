"""Cross-entropy behind a layer that sets low expression to zero more often than high (Wang and Gu 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from scrae.compute.bfloat16 import WideLinear
from scrae.compute.rows import rows_in_hand
from scrae.data.count_rows import CountRows
from scrae.likelihoods.base import Likelihood

SMALLEST = 1e-7  # distance of a share from 0 and from 1, as in Keras's cross-entropy
TEMPERATURE = 1.0  # of the relaxed draw, as published without annealing


def log_odds_of_zero(expression: Tensor) -> Tensor:
    """log(p / (1 - p)) of the probability p = exp(-m^2) that an entry of expected expression m is set to zero."""
    squared = expression.square().clamp_min(SMALLEST**2)
    return -squared - torch.log(-torch.expm1(-squared))


def relaxed_draw(log_odds: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """A draw between 0 (set to zero) and 1 (kept) that can be differentiated: the second of a Gumbel softmax of two.

    The difference of two Gumbel variables is logistic, so with u uniform it is

        sigmoid( (log u - log(1 - u) - log_odds) / temperature ),

    which comes near 0 and 1 as the temperature falls, and is above 1/2 with the probability of being kept.
    """
    return torch.sigmoid((torch.logit(uniform, SMALLEST) - log_odds) / temperature)


def cross_entropy(share: Tensor, target: Tensor) -> Tensor:
    """-sum over genes of x log m + (1 - x) log(1 - m), (n_cells,); x and m in [0, 1], (n_cells, n_genes)."""
    m = share.clamp(SMALLEST, 1.0 - SMALLEST)
    return -(target * m.log() + (1.0 - target) * torch.log1p(-m)).sum(1)


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

    def log_likelihood(self, parameters: tuple[Tensor, ...], target: CountRows) -> Tensor:
        (expression,) = parameters
        log_odds = log_odds_of_zero(expression)
        if self.training:
            kept = relaxed_draw(log_odds, rows_in_hand().draw_like(torch.rand_like, expression), TEMPERATURE)
        else:
            kept = torch.sigmoid(-log_odds)
        return -cross_entropy(expression * kept, target.dense())

    def mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return parameters[0]

    def expected(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return parameters[0] * torch.sigmoid(-log_odds_of_zero(parameters[0]))

    def sample(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return parameters[0] * torch.bernoulli(torch.sigmoid(-log_odds_of_zero(parameters[0])))
