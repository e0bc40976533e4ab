"""From the decoder's last hidden layer to the probability of counts and its gradient: what training waits for most.

The equations are those of ``negative_binomial`` and ``zinb``, whose torch operations serve double precision and GPUs.
Each of these reads and writes a block (n_cells, n_genes), a dozen of them in one step. Here the genes of a cell stay in
the nearest cache from its scores to their gradient, which takes the scores' place.

Loops are short and over few arrays each: a compiler that cannot exclude that many of them overlap makes no vector
instructions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scrae.compute.bfloat16 import WideLinear, wide_product
from scrae.compute.compilation import compiled
from scrae.compute.elementary import HALF, ONE, ZERO, exp, f32, log1p, total
from scrae.compute.threads import over_rows
from scrae.data.sparse import SparseRows


def applies_to(hidden: Tensor) -> bool:
    """Whether this is in single precision and on a processor."""
    return hidden.dtype == torch.float32 and hidden.device.type == "cpu"


def log_prob(
    hidden: Tensor,
    heads: Sequence[WideLinear],
    log_r: Tensor,
    log_library: Tensor,
    group: Tensor,
    counts: SparseRows,
    binomials: tuple[Tensor, Tensor],
) -> Tensor:
    """log NB(x), or log ZINB(x) with a second head, summed over genes, (n_cells,). Differentiable once.

    Parameters
    ----------
    hidden
        Last hidden layer of the decoder, (n_cells, n_hidden).
    heads
        The layers that give log mu before its softmax and, of the zero-inflated one, the dropout logit.
    log_r
        log of the inverse dispersions, (n_groups, n_genes).
    log_library
        (n_cells,).
    group
        Dispersion group of each cell, int64 (n_cells,).
    counts
        The entries above zero of (n_cells, n_genes).
    binomials
        log C(x + r - 1, x) of each entry and its derivative in log r, (n_entries,).
    """
    parameters = [parameter for head in heads for parameter in (head.weight, head.bias)]
    result: Tensor = _LogProb.apply(hidden, log_r, log_library, group, counts, binomials, *parameters)  # type: ignore[no-untyped-call]
    return result


def through_heads(
    of_cell: Tensor,
    hidden: Tensor,
    weights: Sequence[Tensor],
    by_scores: Sequence[Tensor],
    wanted: tuple[bool, bool],
) -> tuple[Tensor | None, list[Tensor | None]]:
    """From derivatives in the scores of wide layers to those in their input, and in weight and bias of each in turn.

    Parameters
    ----------
    of_cell
        What each cell's value weighs, (n_cells,).
    hidden, weights
        Input (n_cells, n_hidden) of the layers, and weight (n_genes, n_hidden) of each.
    by_scores
        Derivative of each cell's value in the scores of each layer, (n_cells, n_genes).
    wanted
        Whether that in the input is, and whether those in the parameters are. None stands for what is not.
    """
    column = of_cell[:, None]
    by_hidden: Tensor | None = None
    by_parameters: list[Tensor | None] = [None] * (2 * len(weights))
    if wanted[0]:
        by_hidden = column * sum(wide_product(by, weight) for by, weight in zip(by_scores, weights, strict=True))
    if wanted[1]:
        weighted = column * hidden
        by_parameters[:] = [gradient for by in by_scores for gradient in (wide_product(by.T, weighted), of_cell @ by)]
    return by_hidden, by_parameters


class _LogProb(torch.autograd.Function):
    """Scores by a wide product for each head, then value and gradient cell by cell."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        log_r: Tensor,
        log_library: Tensor,
        group: Tensor,
        counts: SparseRows,
        binomials: tuple[Tensor, Tensor],
        *parameters: Tensor,
    ) -> Tensor:
        weights, biases = parameters[::2], parameters[1::2]
        scores = [wide_product(hidden, weight.T) for weight in weights]
        of_entries = counts.column, counts.values, counts.start, *binomials
        value, by_library = (hidden.new_empty(len(hidden)) for _ in range(2))
        by_log_r = torch.empty_like(scores[0])
        heads = [tensor for head in zip(scores, biases, strict=True) for tensor in head]
        tensors = log_r, log_r.exp(), group, log_library, *of_entries, value, by_library, by_log_r, *heads
        arrays = [tensor.detach().contiguous().numpy() for tensor in tensors]
        over_rows(len(hidden), _log_prob, *arrays, *[None] * (4 - len(heads)))  # without a dropout logit: None
        ctx.save_for_backward(hidden, group, by_library, by_log_r, *weights, *scores)
        ctx.r_shape = log_r.shape
        return value

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (of_cell,) = grad_outputs
        hidden, group, by_library, by_log_r, *others = ctx.saved_tensors
        weights, by_scores = others[: len(others) // 2], others[len(others) // 2 :]
        wanted = ctx.needs_input_grad[0], any(ctx.needs_input_grad[-2 * len(weights) :])
        by_hidden, by_parameters = through_heads(of_cell, hidden, weights, by_scores, wanted)
        if ctx.r_shape[0] == 1:
            by_r = of_cell[None] @ by_log_r
        else:
            by_r = by_log_r.new_zeros(ctx.r_shape).index_add_(0, group, of_cell[:, None] * by_log_r)
        return by_hidden, by_r, of_cell * by_library, None, None, None, *by_parameters


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _softplus(x: np.ndarray, softplus: np.ndarray, sigmoid: np.ndarray) -> None:  # pragma: no cover (compiled)
    """log(1 + e^x) and its derivative; what is not a number stays none."""
    for k in range(len(x)):
        size = abs(x[k])
        small = exp(-size)
        softplus[k] = HALF * (x[k] + size) + log1p(small)
        sigmoid[k] = (ONE if x[k] > ZERO else small) / (ONE + small)


@compiled(nogil=True, fastmath={"nnan", "nsz"})
def _largest(x: np.ndarray) -> np.float32:  # pragma: no cover (compiled)
    largest = f32(x[0])
    for k in range(len(x)):
        largest = max(largest, x[k])
    return largest


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _log_mean(
    scores: np.ndarray, bias: np.ndarray, log_library: np.float32, shares: np.ndarray
) -> None:  # pragma: no cover (compiled)
    """Turn the scores of a cell, less their bias, into log mu = s + log softmax; also the softmax itself."""
    for gene in range(len(scores)):
        scores[gene] += bias[gene]
    top = _largest(scores)
    for gene in range(len(scores)):
        shares[gene] = exp(scores[gene] - top)
    whole = total(shares)
    shift = f32(log_library - top - math.log(whole))
    scale = ONE / whole
    for gene in range(len(scores)):
        scores[gene] += shift
        shares[gene] *= scale


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _through_softmax(
    by_log_mean: np.ndarray, shares: np.ndarray, by_scores: np.ndarray
) -> np.float32:  # pragma: no cover (compiled)
    """From the derivative in log mu to those in the scores and, as the result, in the log library size."""
    whole = total(by_log_mean)
    for gene in range(len(shares)):
        by_scores[gene] = by_log_mean[gene] - whole * shares[gene]
    return whole


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _of_zero(
    log_mean: np.ndarray,
    log_r: np.ndarray,
    r: np.ndarray,
    log_p0: np.ndarray,
    by_log_mean: np.ndarray,
    odds: np.ndarray,
) -> None:  # pragma: no cover (compiled)
    """log NB(0) = -r softplus(log mu - log r) of each gene, and its derivative in log mu."""
    for gene in range(len(log_mean)):
        odds[gene] = log_mean[gene] - log_r[gene]
    _softplus(odds, log_p0, by_log_mean)
    for gene in range(len(r)):
        log_p0[gene] *= -r[gene]
        by_log_mean[gene] *= -r[gene]


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _of_entries(
    genes: np.ndarray,
    x: np.ndarray,
    log_mean: np.ndarray,
    log_r: np.ndarray,
    binomial: np.ndarray,
    binomial_by_log_r: np.ndarray,
    by_log_mean: np.ndarray,
    by_log_r: np.ndarray,
    scratch: np.ndarray,
) -> np.float32:  # pragma: no cover (compiled)
    """Sum of log NB(x) - log NB(0) = log C(x + r - 1, x) - x softplus(log r - log mu); its derivatives are added."""
    n = len(genes)
    odds, softplus, sigmoid = scratch[0, :n], scratch[1, :n], scratch[2, :n]
    for k in range(n):
        odds[k] = log_r[genes[k]] - log_mean[genes[k]]
    _softplus(odds, softplus, sigmoid)
    for k in range(n):
        softplus[k] = binomial[k] - x[k] * softplus[k]
    for k in range(n):
        by_odds = x[k] * sigmoid[k]
        by_log_mean[genes[k]] += by_odds
        by_log_r[genes[k]] += binomial_by_log_r[k] - by_odds
    return total(softplus)


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _zero_inflated(
    log_p0: np.ndarray,
    logit: np.ndarray,
    bias: np.ndarray,
    genes: np.ndarray,
    not_dropped: np.ndarray,
    scratch: np.ndarray,
) -> np.float32:  # pragma: no cover (compiled)
    """Sum over genes of log ZINB(0), for entries of log ZINB(x) - log NB(x) + log NB(0).

    softplus(a) - softplus(-l), for entries a - softplus(-l), a = log NB(0) - l. The derivative in l takes the place of
    l. ``not_dropped`` comes to be the posterior probability that an entry is the negative binomial's own.
    """
    a, softplus = scratch[0], scratch[1]
    for gene in range(len(logit)):
        a[gene] = -(logit[gene] + bias[gene])
    _softplus(a, softplus, logit)
    not_zero = total(softplus)
    for gene in range(len(logit)):
        a[gene] += log_p0[gene]
    _softplus(a, softplus, not_dropped)
    for k in range(len(genes)):
        softplus[genes[k]] = a[genes[k]]
        not_dropped[genes[k]] = ONE
    for gene in range(len(logit)):
        logit[gene] -= not_dropped[gene]
    return total(softplus) - not_zero


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _weigh(
    not_dropped: np.ndarray, by_log_mean: np.ndarray, by_log_r: np.ndarray
) -> None:  # pragma: no cover (compiled)
    """From log NB(0) (in the place of its derivative in log r) to the derivatives of log ZINB(0)."""
    for gene in range(len(not_dropped)):
        by_log_r[gene] = (by_log_r[gene] - by_log_mean[gene]) * not_dropped[gene]
        by_log_mean[gene] *= not_dropped[gene]


@compiled(nogil=True, error_model="numpy")
def _log_prob(
    first: int,
    last: int,
    log_r: np.ndarray,
    r: np.ndarray,
    group: np.ndarray,
    log_library: np.ndarray,
    genes: np.ndarray,
    x: np.ndarray,
    start: np.ndarray,
    binomial: np.ndarray,
    binomial_by_log_r: np.ndarray,
    value: np.ndarray,
    by_library: np.ndarray,
    by_log_r: np.ndarray,
    scores: np.ndarray,
    bias: np.ndarray,
    logit: np.ndarray | None,
    logit_bias: np.ndarray | None,
) -> None:  # pragma: no cover (compiled)
    scratch = np.empty((3, scores.shape[1]), f32)
    shares, by_log_mean = np.empty(scores.shape[1], f32), np.empty(scores.shape[1], f32)
    not_dropped = np.empty(scores.shape[1], f32)
    for cell in range(first, last):
        own = group[cell] if len(log_r) > 1 else 0
        entries = slice(start[cell], start[cell + 1])
        _log_mean(scores[cell], bias, log_library[cell], shares)
        _of_zero(scores[cell], log_r[own], r[own], by_log_r[cell], by_log_mean, scratch[0])
        if logit is None or logit_bias is None:
            value[cell] = total(by_log_r[cell])
            by_log_r[cell] -= by_log_mean
        else:
            value[cell] = _zero_inflated(by_log_r[cell], logit[cell], logit_bias, genes[entries], not_dropped, scratch)
            _weigh(not_dropped, by_log_mean, by_log_r[cell])
        value[cell] += _of_entries(
            genes[entries], x[entries], scores[cell], log_r[own], binomial[entries], binomial_by_log_r[entries],
            by_log_mean, by_log_r[cell], scratch,
        )  # fmt: skip
        by_library[cell] = _through_softmax(by_log_mean, shares, scores[cell])
