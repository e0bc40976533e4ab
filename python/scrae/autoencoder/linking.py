"""Pairs of cells of one type, and of different types: how badly codes agree with them (scDCC, Tian et al. 2021)."""

from __future__ import annotations

from torch import Tensor

LEAST = 1e-6  # probability that is taken at its logarithm


def must_link_loss(together: Tensor) -> Tensor:
    """-log p, mean over pairs of one type, scalar; p = ``together``, (n_pairs,), that the codes give such a pair."""
    return -together.clamp_min(LEAST).log().mean()


def cannot_link_loss(together: Tensor) -> Tensor:
    """-log(1 - p), mean over pairs of different types, scalar; p as above."""
    return -(1.0 - together).clamp_min(LEAST).log().mean()
