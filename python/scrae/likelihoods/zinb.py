"""The zero-inflated negative binomial (Mondal et al. 2021, section 3.2; Lopez et al. 2018)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from scrae.compute.bfloat16 import WideLinear
from scrae.data.count_rows import CountRows
from scrae.likelihoods.negative_binomial import (
    EXACT_SOFTPLUS,
    NegativeBinomial,
    log_prob_of_zero,
    log_ratio_to_zero,
    weighted_sum,
)


class _ZINBLogProb(torch.autograd.Function):
    """Value and gradient in one pass.

    With l the dropout logit and a = log NB(0) - l,

        log ZINB(0)     = softplus(a) - softplus(-l)
        log ZINB(x > 0) = a           - softplus(-l) + log NB(x) - log NB(0),

    so the dense part is the same for all entries and only the stored counts need lgamma.
    """

    @staticmethod
    def forward(ctx: Any, log_mean: Tensor, log_r: Tensor, dropout_logit: Tensor, counts: CountRows) -> Tensor:
        log_p0, by_log_mean, by_log_r = log_prob_of_zero(log_mean, log_r)
        ratio, ratio_by_log_mean, ratio_by_log_r = log_ratio_to_zero(counts, log_mean, log_r)
        a, minus_logit = log_p0.sub_(dropout_logit), -dropout_logit
        dense = softplus(a, threshold=EXACT_SOFTPLUS).sub_(softplus(minus_logit, threshold=EXACT_SOFTPLUS))
        entries = ratio - softplus(-counts.take(a), threshold=EXACT_SOFTPLUS)

        not_dropped = a.sigmoid_()  # posterior probability that this zero is the negative binomial's own
        counts.put(not_dropped, 1.0)
        counts.add_to(by_log_mean.mul_(not_dropped), ratio_by_log_mean)
        counts.add_to(by_log_r.mul_(not_dropped), ratio_by_log_r)
        by_logit = minus_logit.sigmoid_().sub_(not_dropped)
        ctx.save_for_backward(by_log_mean, by_log_r, by_logit)
        ctx.r_shape = log_r.shape
        return counts.add_sums(dense.sum(1), entries)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (per_cell,) = grad_outputs
        by_log_mean, by_log_r, by_logit = ctx.saved_tensors
        return (
            per_cell[:, None] * by_log_mean,
            weighted_sum(per_cell, by_log_r, ctx.r_shape),
            per_cell[:, None] * by_logit,
            None,
        )


def log_prob_zinb(log_mean: Tensor, log_r: Tensor, dropout_logit: Tensor, counts: CountRows) -> Tensor:
    """log ZINB(x), summed over genes.

        log ZINB(0)     = -softplus(-l) + softplus(-l + r log(r / (r + mu)))
        log ZINB(x > 0) = -softplus(-l) - l + log NB(x)

    Parameters
    ----------
    log_mean
        log mu, (n_cells, n_genes).
    log_r
        log of the inverse dispersion r = 1 / alpha, broadcastable to (n_cells, n_genes).
    dropout_logit
        l = log(pi / (1 - pi)), pi the probability of a technical zero, (n_cells, n_genes).
    counts
        Observed counts, (n_cells, n_genes); need not be whole.

    Returns
    -------
    (n_cells,). Differentiable once in all three parameters.
    """
    result: Tensor = _ZINBLogProb.apply(log_mean, log_r, dropout_logit, counts)  # type: ignore[no-untyped-call]
    return result


class ZeroInflatedNegativeBinomial(NegativeBinomial):
    """NB with a technical zero of probability sigmoid(W_l h) per entry."""

    name = "zinb"

    def __init__(self, n_hidden: int, n_genes: int, n_groups: int = 1) -> None:
        super().__init__(n_hidden, n_genes, n_groups)
        self.dropout_logit = WideLinear(n_hidden, n_genes)

    def forward(self, hidden: Tensor, log_library: Tensor, group: Tensor) -> tuple[Tensor, ...]:
        """(log mu, log r, dropout logit)."""
        return *super().forward(hidden, log_library, group), self.dropout_logit(hidden)

    def heads(self) -> list[WideLinear]:
        return [self.log_mean, self.dropout_logit]

    def log_likelihood(self, parameters: tuple[Tensor, ...], target: CountRows) -> Tensor:
        log_mean, log_r, dropout_logit = parameters
        return log_prob_zinb(log_mean, log_r, dropout_logit, target)

    def expected(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return self.mean(parameters) * torch.sigmoid(-parameters[2])

    def sample(self, parameters: tuple[Tensor, ...]) -> Tensor:
        """A negative binomial draw, set to zero with the dropout probability."""
        dropped = torch.bernoulli(torch.sigmoid(parameters[2]))
        return super().sample(parameters[:2]) * (1.0 - dropped)
