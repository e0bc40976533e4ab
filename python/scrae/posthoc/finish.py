"""What rests on finished codes and is fitted to them when training has ended: dispersions, read-out, density."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.autoencoder.readout import LANDMARKS
from scrae.data.minibatches import EVALUATION_CELLS, CountData
from scrae.posthoc.density import CellDensity
from scrae.posthoc.dispersion import fit_dispersions
from scrae.posthoc.population import Population


def finish(module: RegularisedAutoencoder, data: CountData, population: Population, random_state: int) -> Population:
    """Fit dispersions and the read-out of ``module``, and give the population with its density.

    Parameters
    ----------
    module
        Trained; in evaluation mode afterwards.
    data
        The training cells, of which at most 5,000 stand for all.
    population
        Of the training cells.
    random_state
        Seed: the choice of cells, and what is fitted, follow from it.

    Returns
    -------
    The population; without a density where scikit-learn is not there.
    """
    cells = _some_cells(data, random_state)
    fit_dispersions(module, data, cells, module.settings.dispersion_steps)
    if module.readout is not None:
        module.readout.fit(data, cells, module.features, random_state)
    with torch.no_grad():
        codes = data.row_of_each(module.encode, EVALUATION_CELLS, cells).cpu().numpy()
        log_library = data.row_of_each(
            lambda minibatch: module.observed_log_library(minibatch.counts), EVALUATION_CELLS, cells
        )
    try:
        density = CellDensity.fit(codes, log_library.cpu().numpy(), random_state)
    except ImportError:  # the core does without scikit-learn
        return population
    return replace(population, density=density)


def _some_cells(data: CountData, random_state: int) -> Tensor:
    """Positions of the training cells that stand for all, int64 (at most LANDMARKS,)."""
    rng = np.random.default_rng(random_state)
    chosen = np.sort(rng.choice(data.n_cells, min(data.n_cells, LANDMARKS), replace=False))
    return torch.as_tensor(chosen, device=data.device)
