"""The Gaussian on log-normalised expression: with unit variance, the squared error of a plain autoencoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from scrae.compute.bfloat16 import WideLinear
from scrae.data.count_rows import CountRows
from scrae.likelihoods.base import Likelihood

SMALLEST_SD = 0.05  # a gene that is constant over the cells would otherwise pull its sd, and the loss, without end


def log_prob_gaussian(mean: Tensor, log_sd: Tensor, target: CountRows) -> Tensor:
    """log N(x; mean, sd^2), summed over genes: (n_cells,) from (n_cells, n_genes)."""
    z = (target.dense() - mean) * torch.exp(-log_sd)
    return (-0.5 * z.square() - log_sd - 0.5 * math.log(2.0 * math.pi)).sum(1)


class Gaussian(Likelihood):
    """Gaussian with mean m + s W h on the log-normalised scale and one standard deviation per gene (and batch).

    The mean does not involve the library size: normalisation took it out of the target.
    """

    name = "gaussian"
    target = "lognorm"

    def __init__(self, n_hidden: int, n_genes: int, n_groups: int = 1) -> None:
        super().__init__(n_hidden, n_genes, n_groups)
        self.log_normalised = WideLinear(n_hidden, n_genes)
        self.log_sd = nn.Parameter(torch.zeros(n_groups, n_genes))

    def forward(self, hidden: Tensor, log_library: Tensor, group: Tensor) -> tuple[Tensor, ...]:
        """(mean of the log-normalised expression, log sd, log library)."""
        log_sd = self.log_sd if len(self.log_sd) == 1 else self.log_sd[group]
        return self.log_normalised(hidden), log_sd.clamp_min(math.log(SMALLEST_SD)), log_library

    def log_likelihood(self, parameters: tuple[Tensor, ...], target: CountRows) -> Tensor:
        return log_prob_gaussian(parameters[0], parameters[1], target)

    def mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        """Shares from exp(m) - 1, scaled to the library size."""
        return expected_counts(parameters[0], parameters[2])

    def dispersions(self) -> list[nn.Parameter]:
        return [self.log_sd]

    def sample(self, parameters: tuple[Tensor, ...]) -> Tensor:
        mean, log_sd, log_library = parameters
        return expected_counts(mean + torch.randn_like(mean) * log_sd.exp(), log_library).round()


def expected_counts(log_normalised: Tensor, log_library: Tensor) -> Tensor:
    """Counts (n_cells, n_genes) that add up to the library sizes, from log-normalised expression."""
    expression = torch.expm1(log_normalised).clamp_min(0.0)
    return expression * (log_library.exp() / expression.sum(1).clamp_min(1e-12))[:, None]
