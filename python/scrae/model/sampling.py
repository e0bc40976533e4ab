"""Synthetic cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from scrae._errors import Refusal
from scrae.compute.random_state import random_state_kept
from scrae.compute.whole_numbers import at_least
from scrae.data.cells import read_cells
from scrae.data.covariates import Covariates
from scrae.data.minibatches import EVALUATION_CELLS
from scrae.model.fitted import FittedModel
from scrae.posthoc.density import LEAST_CELLS, CellDensity


def sample(
    model: FittedModel, n: int, like: Any, codes: str, layer: str | None, random_state: int, batch: str | None
) -> np.ndarray:
    """See :meth:`scrae.SCRAE.sample`."""
    kind = model.module.target_transform.kind
    n = at_least("n", n, 1)
    if codes not in ("cells", "prior"):
        raise Refusal(
            f'codes is "cells" or "prior", not {codes!r}',
            "not_one_of",
            name="codes",
            known=["cells", "prior"],
            value=codes,
        )
    if codes == "prior" and like is not None:
        raise Refusal(
            'cells from the prior cannot be made to resemble others: give like=... or codes="prior", not both',
            "prior_with_like",
        )
    if kind not in ("counts", "lognorm", "scaled"):
        raise Refusal(
            f"the likelihood of this model describes {kind} values, of which it can draw no counts; train with "
            'target="counts"',
            "draws_no_counts",
            kind=kind,
        )
    rng = np.random.default_rng(random_state)
    covariates = model.population.draw_covariates(n, tuple(map(len, model.coding.levels.values())), rng)
    if batch is not None:
        covariates = model.as_if_from(batch, covariates)
    if codes == "prior":
        log_library = model.population.draw_log_library(n, rng)
        latent = sample_codes(model, n, int(rng.integers(2**31)))
    else:
        latent, log_library = _density_of(model, like, layer).draw(n, rng)
    return _drawn_counts(model, latent, log_library, covariates, int(rng.integers(2**31)))


def sample_codes(model: FittedModel, n: int, random_state: int) -> np.ndarray:
    """See :meth:`scrae.SCRAE.sample_codes`."""
    n = at_least("n", n, 1)
    with torch.inference_mode(), random_state_kept(model.device):
        torch.manual_seed(random_state)
        return model.module.regulariser.sample(n).cpu().numpy()


def _density_of(model: FittedModel, like: Any, layer: str | None) -> CellDensity:
    """That of the training cells, or of the cells that are given."""
    if like is None:
        if model.population.density is None:
            raise Refusal(
                "this model has no density of its cells (scikit-learn was missing, or it is of an older version): "
                'train anew, or sample(n, codes="prior")',
                "no_density",
            )
        return model.population.density
    counts = model.match_genes(read_cells(like, layer), missing_allowed=False)
    if counts.shape[0] < LEAST_CELLS:
        raise Refusal(
            f"like has {counts.shape[0]:,} cell(s); {LEAST_CELLS} or more are needed to draw cells that resemble them",
            "too_few_to_be_like",
            n=counts.shape[0],
            least=LEAST_CELLS,
        )
    codes = model.row_of_each(counts, Covariates.none(counts.shape[0]), model.module.encode)
    return CellDensity.fit(codes, model.module.log_libraries(counts), model.random_state)


def _drawn_counts(
    model: FittedModel, codes: np.ndarray, log_library: np.ndarray, covariates: Covariates, seed: int
) -> np.ndarray:
    """Counts of cells with these codes (n, n_latent), log library sizes (n,) and covariates, float32 (n, n_genes).

    The likelihood's means add up to the library size without technical dropout; they are scaled up so that what is
    drawn adds up to it.
    """
    module, n = model.module, len(codes)
    nothing = sp.csr_array(np.zeros((n, model.n_genes), dtype=np.float32))
    parts = []
    with torch.inference_mode(), random_state_kept(model.device):
        torch.manual_seed(seed)
        start = 0
        for minibatch in model.data(nothing, covariates).in_order(EVALUATION_CELLS):
            part = slice(start, start + minibatch.n_cells)
            start = part.stop
            latent = torch.as_tensor(codes[part], device=model.device)
            size = torch.as_tensor(log_library[part], dtype=torch.float32, device=model.device)
            parameters = module.decode(latent, minibatch.covariates, size, minibatch.batch)
            total = module.likelihood.expected(parameters).sum(1)
            # A likelihood of logs may expect nothing.
            size = torch.where(total > 0, size + (size - total.log()), size)
            parameters = module.decode(latent, minibatch.covariates, size, minibatch.batch)
            parts.append(module.likelihood.sample(parameters).cpu().numpy())
    return np.concatenate(parts)
