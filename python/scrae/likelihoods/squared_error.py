"""The squared error of a plain autoencoder, as the Gaussian that it is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scrae.compute.bfloat16 import WideLinear
from scrae.data.count_rows import CountRows
from scrae.data.transforms import CountTransform
from scrae.likelihoods.base import Likelihood
from scrae.likelihoods.gaussian import expected_counts


def log_prob_squared_error(mean: Tensor, target: CountRows) -> Tensor:
    """log N(x; m, 1/2) = -(x - m)^2 - log(pi) / 2, summed over genes: (n_cells,) from (n_cells, n_genes)."""
    return -(target.dense() - mean).square().sum(1) - 0.5 * math.log(math.pi) * mean.shape[1]


class SquaredError(Likelihood):
    """(x - m)^2 with m = W h, on log-normalised or scaled expression.

    As a density it is the Gaussian of variance 1/2: its negative logarithm is the squared error and a constant, so a KL
    in nats stands beside it with the weight that it has beside a sum of squares in the codes of the field.
    """

    name = "mse"
    target = "lognorm"
    explains_scaled = True
    gene_mean: Tensor
    gene_sd: Tensor

    def __init__(self, n_hidden: int, n_genes: int, n_groups: int = 1) -> None:
        super().__init__(n_hidden, n_genes, n_groups)
        self.expression = WideLinear(n_hidden, n_genes)
        self.register_buffer("gene_mean", torch.zeros(n_genes))
        self.register_buffer("gene_sd", torch.ones(n_genes))

    def fit(self, target: CountTransform) -> None:
        """Moments of the genes, where the target is scaled by them."""
        if target.kind == "scaled":
            self.gene_mean.copy_(target.gene_mean)
            self.gene_sd.copy_(target.gene_sd)

    def forward(self, hidden: Tensor, log_library: Tensor, group: Tensor) -> tuple[Tensor, ...]:
        """(mean on the scale of the target, log library)."""
        return self.expression(hidden), log_library

    def log_likelihood(self, parameters: tuple[Tensor, ...], target: CountRows) -> Tensor:
        return log_prob_squared_error(parameters[0], target)

    def mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        """Shares from exp(lognorm) - 1, scaled to the library size."""
        return expected_counts(parameters[0] * self.gene_sd + self.gene_mean, parameters[1])

    def sample(self, parameters: tuple[Tensor, ...]) -> Tensor:
        mean, log_library = parameters
        return self.mean((mean + math.sqrt(0.5) * torch.randn_like(mean), log_library)).round()
