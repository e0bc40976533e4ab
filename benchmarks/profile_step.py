"""What share of a training step each part takes, beside the time of the bare dense matrix products of the step.

    python benchmarks/profile_step.py --data DIR [--dataset pbmc3k_2638] [--widths 256 128] [--rounds 40]

The default model on the 2000 most variable genes, one thread. The parts, whole steps and the bare products take turns,
so that a machine that changes its pace changes it for all of them; medians over rounds, in processor time. What runs in
some iterations only counts with that share of its time. "The rest" is what the parts leave of the whole step.

The bare products are those of encoder and decoder in all phases, for both views, of dense operands that lie ready:
forward, backward for the weights and, but for the first layer, for the inputs. Where entries are sparse a step can take
less.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from pathlib import Path

import anndata
import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

import scrae
from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.autoencoder.settings import Settings
from scrae.compute.bfloat16 import rounded_products
from scrae.data.covariates import Covariates
from scrae.data.minibatches import CountData
from scrae.training.loop import Training

N_GENES = 2000
WHOLE, BARE = "the whole step", "its bare dense matrix products"


def chosen_counts(path: Path) -> sp.csr_array:
    """Counts of the 2000 most variable genes, cells without any left out."""
    adata = anndata.read_h5ad(path)
    scrae.pp.select_genes(adata, n_top=N_GENES)
    counts = sp.csr_array(adata.X[:, adata.var["scrae_selected"].to_numpy()]).astype(np.float32)
    return counts[counts.sum(axis=1) > 0]


def training_of(counts: sp.csr_array, widths: tuple[int, ...]) -> Training:
    """The default model, some epochs into its training, all minibatches whole."""
    torch.manual_seed(0)
    settings = Settings(n_hidden=widths)
    module = RegularisedAutoencoder(settings, counts.shape[1], 0, 1)
    module.fit_constants(counts)
    data = CountData(counts, Covariates.none(counts.shape[0]), torch.device("cpu"))
    n_cells = counts.shape[0] // settings.batch_size * settings.batch_size
    training = Training(module, data, torch.arange(n_cells), torch.arange(0), None)
    for _ in range(2):
        training._epoch()
    return training


def forward_backward(function: Callable[[], Iterable[Tensor]], wanted: Iterable[Tensor]) -> Callable[[], object]:
    """A function and its derivatives in what is wanted, for all its outputs."""
    wanted = list(wanted)
    directions = [torch.ones_like(output) for output in function()]
    return lambda: torch.autograd.grad(tuple(function()), wanted, directions)


def shares(training: Training) -> dict[str, float]:
    """Share of the iterations in which each phase is due."""
    return {phase.name: float(np.mean([phase.due(i) for i in range(100)])) for phase in training.phases}


def parts_of(training: Training) -> dict[str, tuple[float, Callable[[], object]]]:
    """Each part of an iteration: the share of iterations in which it runs, and a call that runs it."""
    module, regulariser = training.model, training.model.regulariser
    phases = {phase.name: phase for phase in training.phases}
    share = shares(training)
    minibatch = training.data.minibatch(training.training_cells[: module.settings.batch_size])
    counts, log_library = minibatch.counts, module.observed_log_library(minibatch.counts)
    first, *others = module.encoder.hidden
    middle = nn.Sequential(*others, module.encoder.output, module.encoder.standardise, module.decoder)
    with torch.no_grad():
        codes, inputs = module.encode(minibatch), module.encoder_input(counts)
        passed = module.forward_pass(minibatch)
    after_first = first(inputs).detach().requires_grad_()
    hidden = middle(after_first).detach().requires_grad_()

    gradients = [torch.zeros_like(parameter) for parameter in phases["autoencoder"].parameters]

    def codes_for_the_critic() -> object:
        with torch.no_grad():
            return module.encode(minibatch)

    def step(name: str) -> Callable[[], object]:
        return lambda: training._step(phases[name], phases[name].loss(minibatch))

    return {
        "gather the minibatch": (1.0, lambda: training.data.minibatch(minibatch.cells)),
        "transform and mask the input": (1.0, lambda: module.encoder_input(counts)),
        "encoder's first layer": (1.0, forward_backward(lambda: [first(inputs)], first.parameters())),
        "other hidden layers, codes": (
            1.0, forward_backward(lambda: [middle(after_first)], [after_first, *middle.parameters()])
        ),
        "second view and its contrast": (
            1.0,
            forward_backward(
                lambda: [module.contrast(passed)],
                module.encoder.parameters(),
            ),
        ),
        "decoder's last layers, likelihood": (
            1.0,
            forward_backward(
                lambda: [module.likelihood.log_prob(hidden, log_library, minibatch.batch, counts)],
                [hidden, *module.likelihood.parameters()],
            ),
        ),
        "Adam of the autoencoder": (1.0, partial(training.optimisers["autoencoder"].step, gradients)),
        "codes for the critic": (share["critic"], codes_for_the_critic),
        "critic": (share["critic"], lambda: training._step(phases["critic"], regulariser.critic_loss(codes))),
        "encoder's adversarial step": (share["encoder_adversarial"], step("encoder_adversarial")),
        "generator": (share["prior"], step("prior")),
    }  # fmt: skip


def bare_products(training: Training) -> list[tuple[float, Callable[[], object]]]:
    """The dense matrix products of an iteration: how often each is due in one, and a call that does it."""
    settings, n_genes = training.model.settings, training.data.n_genes
    share = shares(training)
    views = 2.0 if settings.contrast_weight and settings.mask_rate else 1.0
    forward = views + share["encoder_adversarial"] + share["critic"]
    backward = views + share["encoder_adversarial"]
    encoder = [(*widths, forward, backward) for widths in pairwise([n_genes, *settings.n_hidden, settings.n_latent])]
    decoder = [(*widths, 1.0, 1.0) for widths in pairwise([settings.n_latent, *settings.n_hidden[::-1], n_genes])]
    products = []
    for layer, (n_in, n_out, forward, backward) in enumerate([*encoder, *decoder, decoder[-1]]):  # mean and dropout
        x, weight, gradient = (
            torch.randn(shape) for shape in ((settings.batch_size, n_in), (n_out, n_in), (settings.batch_size, n_out))
        )
        products += [(forward, partial(torch.mm, x, weight.T)), (backward, partial(torch.mm, gradient.T, x))]
        if layer > 0:
            products.append((backward, partial(torch.mm, gradient, weight)))
    return products


def processor_time(call: Callable[[], object]) -> float:
    """Milliseconds of this process."""
    started = time.process_time()
    call()
    return 1e3 * (time.process_time() - started)


def measure(counts: sp.csr_array, widths: tuple[int, ...], rounds: int) -> tuple[dict[str, float], Training]:
    """Milliseconds of each part, of the whole step and of its bare products; and the training they are of."""
    training = training_of(counts, widths)
    parts, products = parts_of(training), bare_products(training)
    measured: dict[str, list[float]] = {name: [] for name in (*parts, WHOLE, BARE)}
    for _ in range(rounds):
        with rounded_products():  # as in training
            for name, (share, call) in parts.items():
                measured[name].append(share * processor_time(call))
        measured[BARE].append(sum(share * processor_time(call) for share, call in products))
        before = training.progress.step
        of_epoch = processor_time(training._epoch)
        measured[WHOLE].append(of_epoch / (training.progress.step - before))
    return {name: float(np.median(times)) for name, times in measured.items()}, training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--dataset", default="pbmc3k_2638")
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 128])
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = options.data / f"{options.dataset}.h5ad"
    if not path.exists():
        raise SystemExit(f"there is no {path}: give --data")

    counts = chosen_counts(path)
    parts, training = measure(counts, tuple(options.widths), options.rounds)
    whole, bare = parts.pop(WHOLE), parts.pop(BARE)
    density = counts.nnz / np.prod(counts.shape)
    print(
        f"{options.dataset}: {counts.shape[1]:,} genes, {density:.1%} above zero, hidden {options.widths}, "
        f"batch {training.model.settings.batch_size}, torch {torch.__version__}"
    )
    for name, milliseconds in parts.items():
        print(f"{name:32} {milliseconds:7.2f} ms   {milliseconds / whole:6.1%}")
    rest = whole - sum(parts.values())
    print(f"{'the rest':32} {rest:7.2f} ms   {rest / whole:6.1%}")
    print(f"{WHOLE:32} {whole:7.2f} ms   {1e3 * training.model.settings.batch_size / whole:,.0f} cells/s")
    print(f"{BARE:32} {bare:7.2f} ms   the step takes {whole / bare:.2f} x that")


if __name__ == "__main__":
    main()
