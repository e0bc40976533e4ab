"""Codes of length 1: a prior that is uniform on the sphere."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from scrae.regularisers.base import Regulariser


class UnitSphere(Regulariser):
    """Every code is divided by its length, so that its direction alone counts: no penalty is needed to hold it there.

    Terms that compare directions, as the contrastive one does, spread codes evenly over the sphere (Wang and Isola
    2020).
    """

    name = "sphere"
    steps_alike = True
    sets_scale = True

    def codes(self, outputs: Tensor) -> Tensor:
        return normalize(outputs[:, : self.n_latent])

    def sample(self, n: int) -> Tensor:
        return normalize(torch.randn(n, self.n_latent))
