"""The Poisson: counting noise alone."""

from __future__ import annotations

import torch
from torch import Tensor

from scrae.data.count_rows import CountRows
from scrae.likelihoods.base import Likelihood, MeanOfCounts


def log_prob_poisson(log_mean: Tensor, counts: CountRows) -> Tensor:
    """x log mu - mu - lgamma(x + 1), summed over genes: (n_cells,) from (n_cells, n_genes)."""
    x = counts.values
    entries = x * counts.take(log_mean) - torch.lgamma(x + 1.0)
    return counts.add_sums(-log_mean.exp().sum(1), entries)


class Poisson(Likelihood):
    """Poisson with mean mu = library * softmax(W h)."""

    name = "poisson"

    def __init__(self, n_hidden: int, n_genes: int, n_groups: int = 1) -> None:
        super().__init__(n_hidden, n_genes, n_groups)
        self.log_mean = MeanOfCounts(n_hidden, n_genes)

    def forward(self, hidden: Tensor, log_library: Tensor, group: Tensor) -> tuple[Tensor, ...]:
        """(log mu,)."""
        return (self.log_mean(hidden, log_library),)

    def log_likelihood(self, parameters: tuple[Tensor, ...], target: CountRows) -> Tensor:
        return log_prob_poisson(parameters[0], target)

    def mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return parameters[0].exp()

    def sample(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return torch.poisson(parameters[0].exp())
