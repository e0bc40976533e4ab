"""The negative binomial, evaluated densely where counts are zero and sparsely where they are not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from scrae.data import SparseRows
from scrae.likelihoods.base import Likelihood, MeanOfCounts

EXACT_SOFTPLUS = 40.0  # beyond it log(1 + e^x) equals x in double precision; torch's default of 20 does not reach that


def log_prob_of_zero(log_mean: Tensor, log_r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log NB(0) = r log(r / (r + mu)) = -r softplus(log mu - log r), and its two derivatives.

    Returns
    -------
    log NB(0), d / d log mu, d / d log r, each broadcast to (n_cells, n_genes).
    """
    r = log_r.exp()
    odds = log_mean - log_r
    log_p0 = -r * softplus(odds, threshold=EXACT_SOFTPLUS)
    by_log_mean = -r * torch.sigmoid(odds)
    return log_p0, by_log_mean, log_p0 - by_log_mean


def log_ratio_to_zero(x: Tensor, log_mean: Tensor, log_r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log NB(x) - log NB(0) at entries with x > 0, and its two derivatives.

    lgamma(x + r) - lgamma(r) - lgamma(x + 1) + x log(mu / (r + mu)). The differences of lgamma cancel
    in single precision when r is large, so they are taken in double: there are few such entries.

    Parameters
    ----------
    x, log_mean, log_r
        One value per entry, (n_entries,).

    Returns
    -------
    The difference, d / d log mu, d / d log r, in the precision of ``log_mean``, (n_entries,).
    """
    x, log_mean_64, log_r = x.double(), log_mean.double(), log_r.double()
    r = log_r.exp()
    odds = log_mean_64 - log_r
    by_log_mean = x * torch.sigmoid(-odds)
    value = torch.lgamma(x + r) - torch.lgamma(r) - torch.lgamma(x + 1.0)
    value = value - x * softplus(-odds, threshold=EXACT_SOFTPLUS)
    by_log_r = r * (torch.digamma(x + r) - torch.digamma(r)) - by_log_mean
    return value.to(log_mean.dtype), by_log_mean.to(log_mean.dtype), by_log_r.to(log_mean.dtype)


def sum_to_shape(gradient: Tensor, shape: torch.Size) -> Tensor:
    """Undo broadcasting: sum a (n_cells, n_genes) gradient to the shape of the parameter it belongs to."""
    return gradient.sum_to_size(shape)


class _NegativeBinomialLogProb(torch.autograd.Function):
    """Value and gradient in one pass; the derivatives are the closed forms above."""

    @staticmethod
    def forward(ctx: Any, log_mean: Tensor, log_r: Tensor, x: Tensor, flat: Tensor, row: Tensor) -> Tensor:
        log_p0, by_log_mean, by_log_r = log_prob_of_zero(log_mean, log_r)
        ratio, ratio_by_log_mean, ratio_by_log_r = log_ratio_to_zero(
            x, log_mean.reshape(-1)[flat], log_r.expand_as(log_mean).reshape(-1)[flat]
        )
        by_log_mean.view(-1)[flat] += ratio_by_log_mean
        by_log_r.view(-1)[flat] += ratio_by_log_r
        ctx.save_for_backward(by_log_mean, by_log_r)
        ctx.r_shape = log_r.shape
        return log_p0.sum(1).index_add_(0, row, ratio)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        per_cell = grad_outputs[0][:, None]
        by_log_mean, by_log_r = ctx.saved_tensors
        return per_cell * by_log_mean, sum_to_shape(per_cell * by_log_r, ctx.r_shape), None, None, None


def log_prob_negative_binomial(log_mean: Tensor, log_r: Tensor, counts: SparseRows) -> Tensor:
    """log NB(x), MODEL: lgamma(x+r) - lgamma(r) - lgamma(x+1) + r log(r/(r+mu)) + x log(mu/(r+mu)).

    Parameters
    ----------
    log_mean
        log mu, (n_cells, n_genes).
    log_r
        log of the inverse dispersion r = 1 / alpha, broadcastable to (n_cells, n_genes).
    counts
        Observed counts, (n_cells, n_genes); need not be whole.

    Returns
    -------
    Sum over genes, (n_cells,). Differentiable once in both parameters.
    """
    result: Tensor = _NegativeBinomialLogProb.apply(  # type: ignore[no-untyped-call]
        log_mean, log_r, counts.values, counts.flat, counts.row
    )
    return result


class NegativeBinomial(Likelihood):
    """NB with mean mu = library * softmax(W h) and one inverse dispersion per gene (and batch, by request)."""

    name = "nb"

    def __init__(self, n_hidden: int, n_genes: int, n_groups: int = 1) -> None:
        super().__init__(n_hidden, n_genes, n_groups)
        self.log_mean = MeanOfCounts(n_hidden, n_genes)
        self.log_r = nn.Parameter(torch.zeros(n_groups, n_genes))

    def forward(self, hidden: Tensor, log_library: Tensor, group: Tensor) -> tuple[Tensor, ...]:
        """(log mu, log r)."""
        log_r = self.log_r if len(self.log_r) == 1 else self.log_r[group]
        return self.log_mean(hidden, log_library), log_r

    def log_prob(self, parameters: tuple[Tensor, ...], target: SparseRows) -> Tensor:
        log_mean, log_r = parameters
        return log_prob_negative_binomial(log_mean, log_r, target)

    def mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return parameters[0].exp()

    def sample(self, parameters: tuple[Tensor, ...]) -> Tensor:
        """Gamma-Poisson draw: rate ~ Gamma(r, r / mu), x ~ Poisson(rate)."""
        log_mean, log_r = parameters
        r = log_r.exp().expand_as(log_mean)
        return torch.poisson(torch._standard_gamma(r) * (log_mean.exp() / r))
