"""The four networks of scRAE (Mondal et al. 2021, figure 1): encoder, decoder, latent generator, critic.

All are multilayer perceptrons. The decoder ends in a likelihood's own layer (``scrae.likelihoods``), so here
it is its hidden layers only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scrae.compute.bfloat16 import rounds, wide_linear
from scrae.compute.rows import SharedRows, rows_in_hand
from scrae.data.count_rows import CountRows
from scrae.data.sparse import SparseRows

NORMALISATIONS = ("batch", "slow_batch", "layer", "affine", "none")
ACTIVATIONS = ("relu", "leaky_relu", "gelu")


class _SparseProduct(torch.autograd.Function):
    """X W of sparse X (n_cells, n_genes) and W (n_genes, width), and its derivative X^T g in W, from X's entries."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: SparseRows) -> Tensor:
        ctx.x = x
        return x.times(weight)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return ctx.x.transposed().times(grad_outputs[0].contiguous()), None


class GeneLinear(nn.Module):
    """x W + b of cells x, given whole or by their entries above zero.

    W is (n_genes, width), the transpose of ``nn.Linear``'s, because what few entries need are the rows of their genes.

    Parameters
    ----------
    n_genes, width
        Size of input and output.
    """

    def __init__(self, n_genes: int, width: int) -> None:
        super().__init__()
        linear = nn.Linear(n_genes, width)  # its initial values
        self.weight = nn.Parameter(linear.weight.detach().T.contiguous())
        self.bias = nn.Parameter(linear.bias.detach())

    def forward(self, x: Tensor | CountRows) -> Tensor:
        """(n_cells, width) from (n_cells, n_genes)."""
        if isinstance(x, SparseRows) and x.background is None:
            x = x.without_zeros()
            if x.few:
                product: Tensor = _SparseProduct.apply(self.weight, x)  # type: ignore[no-untyped-call]
                return product + self.bias
        elif isinstance(x, SparseRows) and not torch.is_grad_enabled() and not rounds(self.weight):
            return x.product(self.weight) + self.bias
        whole = x.dense() if isinstance(x, CountRows) else x
        return wide_linear(whole, self.weight.T, self.bias)


class Affine(nn.Module):
    """A learned scale and shift per unit: what batch normalisation is when it never sees a batch.

    The published code builds batch normalisation with ``training=False``, so its running mean stays 0 and its
    running variance 1; scale and shift are all that is left of it.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class GaussianNoise(nn.Module):
    """x + sd * e, e ~ N(0, I), in training; x afterwards. What a denoising autoencoder must see through."""

    def __init__(self, sd: float) -> None:
        super().__init__()
        self.sd = sd

    def forward(self, x: Tensor) -> Tensor:
        return x + self.sd * rows_in_hand().draw_like(torch.randn_like, x) if self.training and self.sd else x


class Dropout(nn.Dropout):
    """``nn.Dropout``, also of rows that several processes share."""

    def forward(self, x: Tensor) -> Tensor:
        rows = rows_in_hand()
        if not self.training or not isinstance(rows, SharedRows):
            return super().forward(x)
        return x * rows.draw_like(lambda whole: super(Dropout, self).forward(torch.ones_like(whole)), x)


class BatchNorm(nn.BatchNorm1d):
    """``nn.BatchNorm1d``, with the moments of the whole minibatch where several processes share it."""

    def forward(self, x: Tensor) -> Tensor:
        rows = rows_in_hand()
        if not self.training or not isinstance(rows, SharedRows):
            return super().forward(x)
        size = x.new_tensor(rows.sizes)[:, None]
        own_mean = x.mean(0)
        own_squares = (x - own_mean).square().sum(0)
        means, squares = rows.gather_processes(torch.stack([own_mean, own_squares])).unbind(1)
        mean = (size * means).sum(0) / rows.n_rows
        around_mean = (squares + size * (means - mean).square()).sum(0)
        self._follow(mean.detach(), around_mean.detach() / (rows.n_rows - 1))
        normalised = (x - mean) * torch.rsqrt(around_mean / rows.n_rows + self.eps)
        return normalised * self.weight + self.bias if self.affine else normalised

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running moments."""
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        for running, value in ((self.running_mean, mean), (self.running_var, variance)):
            assert running is not None
            running.lerp_(value, self.momentum or 0.0)


def _normalisation(kind: str, width: int) -> nn.Module:
    kinds: dict[str, Callable[[int], nn.Module]] = {
        "batch": BatchNorm,
        "slow_batch": lambda width: BatchNorm(width, eps=1e-3, momentum=0.01),
        "layer": nn.LayerNorm,
        "affine": Affine,
        "none": nn.Identity,
    }
    return kinds[kind](width)


def _activation(kind: str) -> nn.Module:
    return {"relu": nn.ReLU(), "leaky_relu": nn.LeakyReLU(0.2), "gelu": nn.GELU()}[kind]


class HiddenLayers(nn.Sequential):
    """Linear, normalisation, noise, activation and dropout, once per width.

    Parameters
    ----------
    n_input
        Width of the input.
    widths
        Widths of the layers, in order; with none, the input passes through.
    normalisation
        ``"batch"``, ``"slow_batch"`` (running moments follow at 0.01 a step, 1e-3 is added to variances: scvi-tools and
        Keras), ``"layer"``, ``"affine"`` (:class:`Affine`) or ``"none"``.
    activation
        ``"relu"``, ``"leaky_relu"`` (slope 0.2, as published) or ``"gelu"``.
    dropout_rate
        Probability with which a unit is set to zero in training.
    noise_sd
        Standard deviation of the noise added before the activation in training.
    of_genes
        Whether the input is the genes of cells, which may be sparse (:class:`GeneLinear`).
    """

    def __init__(
        self,
        n_input: int,
        widths: Sequence[int],
        normalisation: str = "none",
        activation: str = "leaky_relu",
        dropout_rate: float = 0.0,
        noise_sd: float = 0.0,
        of_genes: bool = False,
    ) -> None:
        layers: list[nn.Module] = []
        for width in widths:
            linear = GeneLinear if of_genes and not layers else nn.Linear
            layers += [linear(n_input, width), _normalisation(normalisation, width)]
            if noise_sd:
                layers.append(GaussianNoise(noise_sd))
            layers.append(_activation(activation))
            if dropout_rate:
                layers.append(Dropout(dropout_rate))
            n_input = width
        super().__init__(*layers)
        self.n_output = n_input


class Encoder(nn.Module):
    """E: transformed counts to codes.

    Parameters
    ----------
    n_genes, n_outputs
        Width of input and output. The output is the code itself, or the parameters of its posterior: the
        regulariser decides (:attr:`scrae.regularisers.Regulariser.outputs_per_dimension`).
    hidden
        The hidden layers, ending in ``hidden.n_output`` units.
    standardise
        Give every output mean 0 and variance 1 over the minibatch (running moments in evaluation), with no scale or
        shift to undo it.
    """

    def __init__(self, hidden: HiddenLayers, n_outputs: int, standardise: bool = False) -> None:
        super().__init__()
        self.hidden = hidden
        self.output = nn.Linear(hidden.n_output, n_outputs)
        self.standardise = BatchNorm(n_outputs, affine=False) if standardise else nn.Identity()

    def forward(self, x: Tensor | CountRows) -> tuple[Tensor, Tensor]:
        """Outputs (n_cells, n_outputs) and last hidden layer (n_cells, n_hidden) of input (n_cells, n_genes)."""
        hidden = self.hidden(x)
        return self.standardise(self.output(hidden)), hidden
