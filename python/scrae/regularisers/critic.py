"""The two networks of an adversarial prior (Mondal et al. 2021, figure 1): latent generator and critic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scrae.networks.layers import HiddenLayers


class Generator(nn.Module):
    """G: noise n ~ N(0, I) to samples of the learned prior, both (n, n_latent)."""

    def __init__(self, n_latent: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.hidden = HiddenLayers(n_latent, widths)
        self.output = nn.Linear(self.hidden.n_output, n_latent)

    def forward(self, noise: Tensor) -> Tensor:
        result: Tensor = self.output(self.hidden(noise))
        return result


class Critic(nn.Module):
    """C: a code to one number, high on codes of cells and low on samples of the prior; (n, n_latent) to (n,)."""

    def __init__(self, n_latent: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.hidden = HiddenLayers(n_latent, widths)
        self.output = nn.Linear(self.hidden.n_output, 1)

    def forward(self, codes: Tensor) -> Tensor:
        result: Tensor = self.output(self.hidden(codes)).squeeze(1)
        return result

    def gradient(self, codes: Tensor) -> Tensor:
        """grad C at each code, (n, n_latent), differentiable in the weights.

        C is linear between the kinks of its leaky ReLUs, so with the slopes s_i that they have at a code it is
        W_1' s_1 W_2' s_2 ... w, with no derivative to be taken.
        """
        linears, slopes = [], []
        with torch.no_grad():
            for layer in self.hidden:
                codes = layer(codes)
                if isinstance(layer, nn.Linear):
                    linears.append(layer)
                elif isinstance(layer, nn.LeakyReLU):
                    slopes.append((codes > 0).to(codes.dtype).clamp_min_(layer.negative_slope))
        gradient: Tensor = self.output.weight.expand(len(codes), -1)
        for linear, slope in zip(reversed(linears), reversed(slopes), strict=True):
            gradient = (gradient * slope) @ linear.weight
        return gradient
