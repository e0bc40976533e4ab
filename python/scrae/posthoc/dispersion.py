"""The likelihood's dispersions, brought to where they belong once the codes are finished."""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor

from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.data.minibatches import CountData
from scrae.training.adam import Adam

LEARNING_RATE = 0.1  # of their logarithms; Adam's steps are about as long, and training's at 1e-3 hardly move them
BATCH_SIZE = 128


def fit_dispersions(module: RegularisedAutoencoder, data: CountData, cells: Tensor, steps: int) -> None:
    """Maximise the likelihood of the cells in :meth:`scrae.likelihoods.Likelihood.dispersions`, all else held.

    A default training takes some thousand steps of 1e-3, in which no log dispersion can get further than one or two
    from where it began; those of genes that hardly vary beyond Poisson are much further away. Denoised means and the
    embedding do not depend on them; how probable cells are, and what synthetic cells look like, does.

    Parameters
    ----------
    module
        Trained; in evaluation mode afterwards. Unchanged where a likelihood stops being finite.
    data
        The training cells.
    cells
        Positions of those to fit on, int64 (n,).
    steps
        Number of minibatches.
    """
    module.eval()
    dispersions = module.likelihood.dispersions()
    if not dispersions or steps == 0:
        return
    before = [parameter.detach().clone() for parameter in dispersions]
    others = [parameter for parameter in module.parameters() if parameter.requires_grad]
    module.requires_grad_(False)
    for parameter in dispersions:
        parameter.requires_grad_(True)
    optimiser = Adam(dispersions, LEARNING_RATE)
    done = 0
    while done < steps:
        for minibatch in islice(data.in_random_order(BATCH_SIZE, cells), steps - done):
            loss = module.negative_log_likelihood(minibatch).mean()
            optimiser.step(torch.autograd.grad(loss, dispersions))
            done += 1
    for parameter in others:
        parameter.requires_grad_(True)
    if not all(bool(parameter.isfinite().all()) for parameter in dispersions):
        with torch.no_grad():
            for parameter, value in zip(dispersions, before, strict=True):
                parameter.copy_(value)
