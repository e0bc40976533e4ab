"""The negative binomial, evaluated densely where counts are zero and sparsely where they are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from scrae.compute.bfloat16 import WideLinear
from scrae.compute.compilation import compiled
from scrae.data.count_rows import CountRows
from scrae.data.sparse import SparseRows
from scrae.likelihoods import fused
from scrae.likelihoods.base import Likelihood, MeanOfCounts

EXACT_SOFTPLUS = 40.0  # beyond it log(1 + e^x) equals x in double precision; torch's default of 20 does not reach that
TABLED = 16  # largest count that is looked up


def log_prob_of_zero(log_mean: Tensor, log_r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log NB(0) = r log(r / (r + mu)) = -r softplus(log mu - log r), and its two derivatives.

    Returns
    -------
    log NB(0), d / d log mu, d / d log r, each broadcast to (n_cells, n_genes) and in memory of its own.
    """
    minus_r = -log_r.exp()
    odds = log_mean - log_r
    log_p0 = softplus(odds, threshold=EXACT_SOFTPLUS).mul_(minus_r)
    by_log_mean = odds.sigmoid_().mul_(minus_r)
    return log_p0, by_log_mean, log_p0 - by_log_mean


def log_binomial(x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """log C(x + r - 1, x) = lgamma(x + r) - lgamma(r) - lgamma(x + 1), and its derivative in log r."""
    value = torch.lgamma(x + r) - torch.lgamma(r) - torch.lgamma(x + 1.0)
    return value, r * (torch.digamma(x + r) - torch.digamma(r))


def log_binomial_by_gene(counts: SparseRows, r: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`log_binomial` of entries with one r per gene, (n_genes,), looked up for small whole counts.

    Most counts are small, and few values of x for each gene make few evaluations. For those,

        log C(x + r - 1, x) = sum over k < x of log((r + k) / (1 + k)), with the derivative sum of r / (r + k).

    The differences of lgamma for the others cancel in single precision when r is large, and are taken in double.
    """
    k = torch.arange(TABLED, dtype=r.dtype)[:, None]
    tables = ((r + k) / (1.0 + k)).log_().cumsum(0), (r / (r + k)).cumsum(0)
    value, by_log_r = r.new_empty(2, len(counts.values))
    others = torch.empty_like(counts.column)
    arrays = counts.values, counts.column, *tables, value, by_log_r, others
    others = others[: _look_up(*(tensor.numpy() for tensor in arrays))]
    if len(others):
        x, column = counts.values.index_select(0, others).double(), counts.column.index_select(0, others)
        exact = log_binomial(x, r.double().index_select(0, column))
        for looked_up, computed in zip((value, by_log_r), exact, strict=True):
            looked_up.index_copy_(0, others, computed.to(r.dtype))
    return value, by_log_r


@compiled()
def _look_up(
    x: np.ndarray,
    column: np.ndarray,
    table: np.ndarray,
    table_by_log_r: np.ndarray,
    value: np.ndarray,
    by_log_r: np.ndarray,
    others: np.ndarray,
) -> int:  # pragma: no cover (compiled)
    """Give each entry what the tables have for it; number and places of those for which they have nothing."""
    n_others = 0
    for entry in range(len(x)):
        count = int(x[entry])
        if count == x[entry] and 1 <= count <= len(table):
            value[entry] = table[count - 1, column[entry]]
            by_log_r[entry] = table_by_log_r[count - 1, column[entry]]
        else:
            others[n_others] = entry
            n_others += 1
    return n_others


def log_binomials(counts: CountRows, log_r: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`log_binomial` of entries of (n_cells, n_genes), log_r that or (1, n_genes); in its precision."""
    if len(log_r) == 1 and isinstance(counts, SparseRows):
        return log_binomial_by_gene(counts, log_r.expand(-1, counts.n_columns)[0].exp())
    every = log_r.double().expand(counts.n_rows, counts.n_columns)
    r = counts.take(every).exp()
    value, by_log_r = log_binomial(counts.values.double(), r)
    return value.to(log_r.dtype), by_log_r.to(log_r.dtype)


def log_ratio_to_zero(counts: CountRows, log_mean: Tensor, log_r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log NB(x) - log NB(0) at entries with x > 0, and its two derivatives.

    log C(x + r - 1, x) + x log(mu / (r + mu)), in double precision: there are few such entries.

    Parameters
    ----------
    counts
        The entries, of a dense block (n_cells, n_genes).
    log_mean, log_r
        (n_cells, n_genes), and broadcastable to it.

    Returns
    -------
    The difference, d / d log mu, d / d log r of each entry, in the precision of ``log_mean``.
    """
    x = counts.values.double()
    value, by_log_r = log_binomials(counts, log_r.double())
    log_odds = counts.take(log_r.double() - log_mean)
    by_log_mean = x * torch.sigmoid(log_odds)
    value -= x * softplus(log_odds, threshold=EXACT_SOFTPLUS)
    by_log_r -= by_log_mean
    return value.to(log_mean.dtype), by_log_mean.to(log_mean.dtype), by_log_r.to(log_mean.dtype)


def weighted_sum(per_cell: Tensor, gradient: Tensor, shape: torch.Size) -> Tensor:
    """Undo broadcasting: (n_cells,) times (n_cells, n_genes), summed to the shape of the parameter it belongs to."""
    if shape == (1, gradient.shape[1]):
        return per_cell[None] @ gradient
    return (per_cell[:, None] * gradient).sum_to_size(shape)


class _NegativeBinomialLogProb(torch.autograd.Function):
    """Value and gradient in one pass; the derivatives are the closed forms above."""

    @staticmethod
    def forward(ctx: Any, log_mean: Tensor, log_r: Tensor, counts: CountRows) -> Tensor:
        log_p0, by_log_mean, by_log_r = log_prob_of_zero(log_mean, log_r)
        ratio, ratio_by_log_mean, ratio_by_log_r = log_ratio_to_zero(counts, log_mean, log_r)
        counts.add_to(by_log_mean, ratio_by_log_mean)
        counts.add_to(by_log_r, ratio_by_log_r)
        ctx.save_for_backward(by_log_mean, by_log_r)
        ctx.r_shape = log_r.shape
        return counts.add_sums(log_p0.sum(1), ratio)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (per_cell,) = grad_outputs
        by_log_mean, by_log_r = ctx.saved_tensors
        return per_cell[:, None] * by_log_mean, weighted_sum(per_cell, by_log_r, ctx.r_shape), None


def log_prob_negative_binomial(log_mean: Tensor, log_r: Tensor, counts: CountRows) -> Tensor:
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
    result: Tensor = _NegativeBinomialLogProb.apply(log_mean, log_r, counts)  # type: ignore[no-untyped-call]
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
        return self.log_mean(hidden, log_library), self._log_r_of(group)

    def _log_r_of(self, group: Tensor) -> Tensor:
        """(n_cells, n_genes), or (1, n_genes) where all cells share it."""
        return self.log_r if len(self.log_r) == 1 else self.log_r[group]

    def heads(self) -> list[WideLinear]:
        """The layers that the last hidden layer goes through."""
        return [self.log_mean]

    def log_prob(self, hidden: Tensor, log_library: Tensor, group: Tensor, target: CountRows) -> Tensor:
        if not (fused.applies_to(hidden) and isinstance(target, SparseRows)):
            return super().log_prob(hidden, log_library, group, target)
        with torch.no_grad():
            binomials = log_binomials(target, self._log_r_of(group))
        return fused.log_prob(hidden, self.heads(), self.log_r, log_library, group, target, binomials)

    def log_likelihood(self, parameters: tuple[Tensor, ...], target: CountRows) -> Tensor:
        log_mean, log_r = parameters
        return log_prob_negative_binomial(log_mean, log_r, target)

    def mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return parameters[0].exp()

    def dispersions(self) -> list[nn.Parameter]:
        return [self.log_r]

    def sample(self, parameters: tuple[Tensor, ...]) -> Tensor:
        """Gamma-Poisson draw: rate ~ Gamma(r, r / mu), x ~ Poisson(rate)."""
        log_mean, log_r = parameters
        r = log_r.exp().expand_as(log_mean)
        return torch.poisson(torch._standard_gamma(r) * (log_mean.exp() / r))
