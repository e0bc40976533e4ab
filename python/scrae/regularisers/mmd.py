"""Maximum mean discrepancy between the codes of a minibatch and N(0, I): the second form of WAE."""

from __future__ import annotations

import torch
from torch import Tensor

from scrae._errors import Refusal
from scrae.regularisers.base import ForwardPass, Regulariser

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # of the kernel's width, as published


def kernel(x: Tensor, y: Tensor) -> Tensor:
    """Sum over widths of the inverse multiquadratic C / (C + |x - y|^2), C = 2 d s: (n, m) from (n, d) and (m, d)."""
    squared = (x[:, None, :] - y[None, :, :]).square().sum(2)
    base = 2.0 * x.shape[1]
    return sum((base * scale / (base * scale + squared) for scale in SCALES), torch.zeros_like(squared))


def mmd(codes: Tensor, prior: Tensor) -> Tensor:
    """Unbiased estimate of the squared MMD of two samples (n, d) and (m, d), scalar; may be slightly negative.

    mean over i != j of k(z_i, z_j)  +  the same of k(p_i, p_j)  -  2 mean k(z_i, p_j)
    """

    def within(x: Tensor) -> Tensor:
        k = kernel(x, x)
        return (k.sum() - k.diagonal().sum()) / (len(x) * (len(x) - 1))

    return within(codes) + within(prior) - 2.0 * kernel(codes, prior).mean()


class MMDPrior(Regulariser):
    """WAE-MMD (Tolstikhin et al. 2018): weight * MMD^2(codes, N(0, I)), no critic to train.

    Parameters
    ----------
    n_latent
        Number of latent dimensions.
    weight
        Of the penalty, in nats; a reconstruction summed over genes is in the hundreds.
    """

    name = "mmd"
    steps_alike = True

    def __init__(self, n_latent: int, *, weight: float = 100.0) -> None:
        super().__init__(n_latent)
        if weight < 0:
            raise Refusal(
                f"weight must not be negative, not {weight}",
                "negative",
                names=["weight"],
                values=[weight],
            )
        self.weight = weight

    def penalties(self, passed: ForwardPass) -> dict[str, Tensor]:
        return {"mmd": self.weight * mmd(passed.codes, torch.randn_like(passed.codes))}

    def sample(self, n: int) -> Tensor:
        return torch.randn(n, self.n_latent)
