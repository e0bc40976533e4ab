"""All that rests on finished codes, fitted in one go: dispersions, read-out, density."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.data.minibatches import EVALUATION_CELLS, CountData
from scrae.posthoc.density import CellDensity
from scrae.posthoc.dispersion import fit_dispersions
from scrae.posthoc.gene_factors import GeneFactors
from scrae.posthoc.population import Population
from scrae.posthoc.principal_components import PrincipalComponents
from scrae.posthoc.readout import Readout

LANDMARKS = 5000  # cells that stand for all, at most, but for those that small groups add
OF_GROUP = 100  # of each group whose differences are kept, where it has so many cells
SINGLE = 4  # bytes of a number in single precision


def finish(
    module: RegularisedAutoencoder,
    data: CountData,
    components: PrincipalComponents | None,
    population: Population,
    random_state: int,
    factors: GeneFactors | None = None,
) -> tuple[Readout | None, Population]:
    """Fit the dispersions of ``module``, and give the read-out of its embedding and the population with its density.

    Parameters
    ----------
    module
        Trained; in evaluation mode afterwards. Nothing but its dispersions changes.
    data
        The training cells, of which :data:`LANDMARKS` stand for all. Each group that is corrected by itself has
        :data:`OF_GROUP` at least.
    components
        Principal components of the training cells, where the embedding has a linear part.
    population
        Of the training cells.
    random_state
        Seed: the choice of cells, and what is fitted, follow from it.
    factors
        What each batch multiplies genes by, where there are batches.

    Returns
    -------
    The read-out, None where the embedding is the codes; and the population, without a density where scikit-learn is
    not there.
    """
    settings = module.settings
    chosen = some_cells(data.n_cells, random_state)
    if data.kept is not None:
        chosen = with_small_groups(chosen, data.kept, random_state)
    cells = torch.as_tensor(chosen)
    fit_dispersions(module, data, cells, settings.dispersion_steps)
    readout = None
    if settings.n_pcs or settings.smoothing:
        widths = settings.n_latent, module.encoder.hidden.n_output
        readout = Readout.fit(
            data,
            cells,
            module.features,
            widths,
            components,
            settings.smoothing,
            random_state,
            settings.residual_axes,
            factors,
            linked_cells(data, random_state),
        )
    with torch.no_grad():
        codes = data.row_of_each(module.encode, EVALUATION_CELLS, cells).cpu().numpy()
        log_library = data.row_of_each(
            lambda minibatch: module.observed_log_library(minibatch.counts), EVALUATION_CELLS, cells
        )
    try:
        density = CellDensity.fit(codes, log_library.cpu().numpy(), random_state)
    except ImportError:  # the core does without scikit-learn
        return readout, population
    return readout, replace(population, density=density)


def size_of_readout(module: RegularisedAutoencoder, n_cells: int, components: PrincipalComponents | None) -> int:
    """Bytes of the read-out that :func:`finish` will give for a training on ``n_cells``, at least."""
    settings = module.settings
    linear = 0 if components is None else sum(tensor.nbytes for tensor in components.tensors().values())
    n_dimensions = settings.n_latent + module.encoder.hidden.n_output + settings.n_pcs
    moved = 2 if settings.smoothing else 0  # where a landmark is, and where it goes
    return linear + min(n_cells, LANDMARKS) * moved * n_dimensions * SINGLE


def linked_cells(data: CountData, random_state: int) -> tuple[Tensor, np.ndarray] | None:
    """Cells that must-link pairs tie to others, of many :data:`LANDMARKS`, and their groups; None: there are none."""
    if not len(data.links.must):
        return None
    cells = np.unique(data.links.must)
    cells = cells[some_cells(len(cells), random_state)]
    return torch.as_tensor(cells), data.links.groups(data.n_cells)[cells]


def some_cells(n_cells: int, random_state: int) -> np.ndarray:
    """Positions of the training cells that stand for all, int64 (at most LANDMARKS,), ascending."""
    rng = np.random.default_rng(random_state)
    return np.sort(rng.choice(n_cells, min(n_cells, LANDMARKS), replace=False))


def with_small_groups(cells: np.ndarray, group: np.ndarray, random_state: int) -> np.ndarray:
    """The same positions, and of groups that have few of them some more, int64, ascending.

    Parameters
    ----------
    cells
        Positions, int64 (n_chosen,).
    group
        Of every cell, int64 (n_cells,).
    random_state
        Seed of the choice.
    """
    rng = np.random.default_rng(random_state)
    there = np.bincount(group[cells], minlength=group.max() + 1)
    added = [cells]
    for small in np.flatnonzero(there < np.minimum(np.bincount(group), OF_GROUP)):
        others = np.setdiff1d(np.flatnonzero(group == small), cells)
        added.append(rng.choice(others, min(len(others), OF_GROUP - there[small]), replace=False))
    return np.sort(np.concatenate(added))
