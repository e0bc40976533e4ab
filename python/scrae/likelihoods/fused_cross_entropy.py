"""From the decoder's last hidden layer to the cross-entropy behind a layer of zeros, and its gradient.

The equations are those of ``zero_inflated_cross_entropy``, whose torch operations serve double precision, GPUs and
evaluation. As in ``fused``, the genes of a cell stay in the nearest cache from their scores to their gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from scrae.compute.bfloat16 import WideLinear, wide_product
from scrae.compute.compilation import compiled
from scrae.compute.elementary import ONE, TWO, ZERO, exp, f32, log, total
from scrae.compute.threads import over_rows
from scrae.data.sparse import SparseRows
from scrae.likelihoods.fused import through_heads

SMALLEST = 1e-7  # distance of a share from 0 and from 1, as in Keras's cross-entropy
LEAST, LARGEST = f32(SMALLEST), f32(1.0 - SMALLEST)
SERIES = tuple(f32(1 / factorial) for factorial in (3628800, 362880, 40320, 5040, 720, 120, 24, 6, 2, 1))


def log_prob(hidden: Tensor, head: WideLinear, uniform: Tensor, target: SparseRows) -> Tensor:
    """sum over genes of x log y + (1 - x) log(1 - y), (n_cells,). Differentiable once.

    y = m d, with m = sigmoid(W h), and d the relaxed draw of being kept.

    Parameters
    ----------
    hidden
        Last hidden layer of the decoder, (n_cells, n_hidden).
    head
        The layer that gives log(m / (1 - m)).
    uniform
        Numbers in [0, 1) that decide the draw, (n_cells, n_genes).
    target
        The entries above zero of expression in [0, 1], (n_cells, n_genes).
    """
    result: Tensor = _LogProb.apply(hidden, uniform, target, head.weight, head.bias)  # type: ignore[no-untyped-call]
    return result


class _LogProb(torch.autograd.Function):
    """Scores by a wide product, then value and gradient cell by cell."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, uniform: Tensor, target: SparseRows, weight: Tensor, bias: Tensor) -> Tensor:
        scores = wide_product(hidden, weight.T)
        value = hidden.new_empty(len(hidden))
        tensors = uniform, bias, target.column, target.values, target.start, value, scores
        over_rows(len(hidden), _log_prob, *(tensor.detach().contiguous().numpy() for tensor in tensors))
        ctx.save_for_backward(hidden, weight, scores)
        return value

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (of_cell,) = grad_outputs
        hidden, weight, by_scores = ctx.saved_tensors
        wanted = ctx.needs_input_grad[0], any(ctx.needs_input_grad[-2:])
        by_hidden, by_parameters = through_heads(of_cell, hidden, [weight], [by_scores], wanted)
        return by_hidden, None, None, *by_parameters


@njit(inline="always")
def _kept_ratio(x: np.float32) -> np.float32:  # pragma: no cover (compiled)
    """(1 - exp(-x)) / x = 1 - x / 2! + x^2 / 3! - ... for x in [0, 1]; exp itself would cancel where x is small."""
    y = ((SERIES[0] * -x + SERIES[1]) * -x + SERIES[2]) * -x + SERIES[3]
    y = ((y * -x + SERIES[4]) * -x + SERIES[5]) * -x + SERIES[6]
    return ((y * -x + SERIES[7]) * -x + SERIES[8]) * -x + SERIES[9]


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _draw(
    scores: np.ndarray, bias: np.ndarray, uniform: np.ndarray, share: np.ndarray
) -> None:  # pragma: no cover (compiled)
    """y = m d of each gene; its derivative in the scores takes their place.

    With k = 1 - exp(-m^2) and d = u k / (u k + (1 - u)(1 - k)),

        dy / dm = d (1 + 2 m^2 (1 - d) / k),    dm / ds = m (1 - m).
    """
    for gene in range(len(scores)):
        s = scores[gene] + bias[gene]
        m = ONE / (ONE + exp(-s))
        square = m * m
        ratio = _kept_ratio(square)
        kept = square * ratio
        both = uniform[gene] * kept
        drawn = both / (both + (ONE - uniform[gene]) * (ONE - kept))
        y = m * drawn + (s - s)  # exp gives a number for what is none, which must not get lost
        share[gene] = LEAST if y < LEAST else (LARGEST if y > LARGEST else y)
        slope = drawn * (ONE + TWO * (ONE - drawn) / ratio) * m * (ONE - m)
        scores[gene] = slope if y == share[gene] else ZERO


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _of_zero(share: np.ndarray, slope: np.ndarray, log_left: np.ndarray) -> None:  # pragma: no cover (compiled)
    """log(1 - y) of each gene, and its derivative in the scores in the place of that of y."""
    for gene in range(len(share)):
        log_left[gene] = log(ONE - share[gene])
        slope[gene] /= share[gene] - ONE


@compiled(nogil=True, error_model="numpy", fastmath={"contract"})
def _of_entries(
    genes: np.ndarray,
    x: np.ndarray,
    share: np.ndarray,
    log_left: np.ndarray,
    by_scores: np.ndarray,
) -> np.float32:  # pragma: no cover (compiled)
    """Sum of x (log y - log(1 - y)); its derivatives, x / (y (1 - y)) for each of y, are added."""
    value = ZERO
    for k in range(len(genes)):
        gene = genes[k]
        value += x[k] * (log(share[gene]) - log_left[gene])
        by_scores[gene] -= by_scores[gene] * x[k] / share[gene]
    return value


@compiled(nogil=True, error_model="numpy")
def _log_prob(
    first: int,
    last: int,
    uniform: np.ndarray,
    bias: np.ndarray,
    genes: np.ndarray,
    x: np.ndarray,
    start: np.ndarray,
    value: np.ndarray,
    scores: np.ndarray,
) -> None:  # pragma: no cover (compiled)
    share, log_left = np.empty(scores.shape[1], f32), np.empty(scores.shape[1], f32)
    for cell in range(first, last):
        entries = slice(start[cell], start[cell + 1])
        _draw(scores[cell], bias, uniform[cell], share)
        _of_zero(share, scores[cell], log_left)
        value[cell] = total(log_left) + _of_entries(genes[entries], x[entries], share, log_left, scores[cell])
