"""The library size of a cell: read off its counts, or a latent variable of its own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from scrae.data.count_rows import CountRows

LIBRARIES = ("observed", "learned")


def log_library_size(target: CountRows) -> Tensor:
    """log of each cell's total over the modelled genes, (n_cells,).

    A cell without any count in these genes gets log 1: its decoder means stay finite.
    """
    sums = target.sums
    return torch.log(torch.where(sums > 0, sums, torch.ones_like(sums)))


def kl_of_normals(mean: Tensor, variance: Tensor, prior_mean: Tensor, prior_variance: Tensor) -> Tensor:
    """KL( N(mean, variance) || N(prior_mean, prior_variance) ), elementwise, in nats."""
    return 0.5 * (
        torch.log(prior_variance / variance) + (variance + (mean - prior_mean).square()) / prior_variance - 1.0
    )


class LearnedLibrary(nn.Module):
    """s ~ N(mu_s, sigma_s^2), two one-dimensional outputs of the encoder (Mondal et al. 2021, section 3.2).

    Parameters
    ----------
    n_hidden
        Width of the encoder's last hidden layer.
    weight
        Weight of the KL to N(mu_G, sigma_G^2), the mean and variance of the observed log library size.
    """

    prior_mean: Tensor
    prior_variance: Tensor

    def __init__(self, n_hidden: int, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.mean = nn.Linear(n_hidden, 1)
        self.log_variance = nn.Linear(n_hidden, 1)
        self.register_buffer("prior_mean", torch.zeros(()))
        self.register_buffer("prior_variance", torch.ones(()))

    def fit(self, log_library: np.ndarray) -> None:
        """Take mean and variance of the observed log library sizes; start the encoder's output there."""
        self.prior_mean.fill_(float(log_library.mean()))
        self.prior_variance.fill_(max(float(log_library.var()), 1e-4))
        with torch.no_grad():
            self.mean.bias.fill_(float(log_library.mean()))

    def forward(self, hidden: Tensor) -> Tensor:
        """mu_s, (n_cells,)."""
        result: Tensor = self.mean(hidden).squeeze(1)
        return result

    def draw(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """One draw of s per cell, (n_cells,), and the weighted mean KL, scalar."""
        mean = self(hidden)
        variance = self.log_variance(hidden).squeeze(1).clamp(-15.0, 5.0).exp()
        s = mean + variance.sqrt() * torch.randn_like(mean)
        kl = kl_of_normals(mean, variance, self.prior_mean, self.prior_variance)
        return s, self.weight * kl.mean()
