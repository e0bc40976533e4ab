"""What cells express: denoised means, and how well the model explains the counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from scrae._errors import Refusal
from scrae._messages import shown
from scrae.compute.whole_numbers import is_number
from scrae.data.minibatches import Minibatch
from scrae.model.fitted import FittedModel
from scrae.model.new_levels import cells_with_covariates


def denoise(
    model: FittedModel,
    data: Any,
    layer: str | None,
    library_size: str | float,
    batch: str | None,
    told: bool = False,
) -> np.ndarray:
    """See :meth:`scrae.SCRAE.denoise`; with ``told`` nothing is said of new levels."""
    module = model.module
    counts, covariates = cells_with_covariates(model, data, layer, batch, told)
    common = _common_library(model, library_size)

    def means(minibatch: Minibatch) -> Tensor:
        codes = module.encode(minibatch)
        log_library = module.log_library(minibatch) if common is None else torch.full_like(codes[:, 0], common)
        parameters = module.decode(codes, minibatch.covariates, log_library, minibatch.batch)
        return module.to_counts(module.likelihood.mean(parameters))

    return model.row_of_each(counts, covariates, means)


def negative_log_likelihood(model: FittedModel, data: Any, layer: str | None) -> np.ndarray:
    """See :meth:`scrae.SCRAE.negative_log_likelihood`."""
    counts, covariates = cells_with_covariates(model, data, layer)
    return model.row_of_each(counts, covariates, model.module.negative_log_likelihood)


def _common_library(model: FittedModel, library_size: Any) -> float | None:
    """log library size for all cells, or None for each cell's own."""
    if library_size == "observed":
        return None
    if library_size == "common":
        return float(np.median(model.population.log_library_quantiles))
    if not is_number(library_size) or not library_size > 0:
        raise Refusal(
            f'library_size is "common", "observed" or a positive number, not {shown(library_size)}',
            "library_size",
            value=library_size,
        )
    return float(np.log(library_size))
