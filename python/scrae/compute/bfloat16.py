"""The products of training that are as wide as there are genes, in bfloat16 where the hardware multiplies that.

Factors are rounded to 8 bits, sums are in single precision. Narrow products (hidden layers, critic, generator) and
everything outside training are as exact as torch is told to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

MULTIPLICATIONS_OF_A_THREAD = 250_000_000  # about a millisecond; four times those of the default

_rounding = False


@contextmanager
def rounded_products(wanted: bool = True) -> Iterator[None]:
    """Let wide products round their factors meanwhile, if wanted and if the hardware is faster at that."""
    global _rounding
    before, _rounding = _rounding, wanted
    try:
        yield
    finally:
        _rounding = before


@lru_cache
def multiplies_bfloat16(device_type: str) -> bool:
    """Whether this is a processor that has units for it (Intel's AMX)."""
    if device_type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):  # torch 2.10 and later have it
        return False
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def useful_threads(n_multiplications: int, device_type: str) -> int:
    """How many threads a training whose wide products are rounded has work for.

    With the default network and minibatches two are slower than one: what rounding and compiling leave of a step is
    over before a second thread has been told (docs/TRIED.md).

    Parameters
    ----------
    n_multiplications
        Of one wide product: cells x genes x units.
    device_type
        Where training runs.
    """
    if not multiplies_bfloat16(device_type):
        return torch.get_num_threads()
    return 1 + n_multiplications // MULTIPLICATIONS_OF_A_THREAD


def rounds(x: Tensor) -> bool:
    """Whether wide products of this would be rounded now."""
    return _rounding and x.dtype == torch.float32 and multiplies_bfloat16(x.device.type)


def wide_product(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product, rounded where :func:`rounded_products` lets it. Its derivatives would not be."""
    if not rounds(a):
        return a @ b
    products = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = products.fp32_precision
    products.fp32_precision = "bf16"
    try:
        return a @ b
    finally:
        products.fp32_precision = before


class _WideLinear(torch.autograd.Function):
    """x W' + b and its derivatives; that in W has W's layout in memory, which torch's fused Adam takes for granted."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return wide_product(x, weight.T).add_(bias)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (by_output,) = grad_outputs
        x, weight = ctx.saved_tensors
        by_x = wide_product(by_output, weight) if ctx.needs_input_grad[0] else None
        row_major = weight.is_contiguous()
        by_weight = wide_product(by_output.T, x) if row_major else wide_product(x.T, by_output).T
        return by_x, by_weight, by_output.sum(0)


def wide_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x W' + b, (n, n_in) to (n, n_out), of W (n_out, n_in) or the transpose of one that is stored the other way."""
    if not rounds(x):
        return linear(x, weight, bias)
    result: Tensor = _WideLinear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return result


class WideLinear(nn.Linear):
    """``nn.Linear`` to all genes."""

    def forward(self, x: Tensor) -> Tensor:
        return wide_linear(x, self.weight, self.bias)
