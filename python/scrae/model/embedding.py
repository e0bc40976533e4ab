"""Where cells lie: embedding, codes, clusters."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scrae.data.cells import read_cells
from scrae.data.covariates import Covariates
from scrae.data.minibatches import Minibatch
from scrae.model import new_batches
from scrae.model.fitted import FittedModel
from scrae.model.new_levels import warn_of_new_batches
from scrae.posthoc.new_batch import NewBatch


def embed(model: FittedModel, data: Any, layer: str | None, raw_or_round: str) -> np.ndarray:
    """See :meth:`scrae.SCRAE.embed`."""
    counts = model.counts_or_training(data, layer, raw_or_round)
    return model.row_of_each(counts, Covariates.none(counts.shape[0]), model.embedding)


def codes(model: FittedModel, data: Any, layer: str | None) -> np.ndarray:
    """See :meth:`scrae.SCRAE.codes`."""
    counts = model.counts_or_training(data, layer)
    return model.row_of_each(counts, Covariates.none(counts.shape[0]), model.module.encode)


def map_query(
    model: FittedModel, query: Any, layer: str | None, raw_or_round: str, batch_key: str | None
) -> np.ndarray:
    """See :meth:`scrae.SCRAE.map`."""
    cells = read_cells(query, layer, counts=raw_or_round)
    if cells.rounding is not None:
        cells.rounding.warn(cells.where)
    counts = model.match_genes(cells, missing_allowed=True)
    if batch_key is not None:
        return new_batches.row_of_each(model, cells, counts, batch_key, model.embedding, partial(_beside, model))
    warn_of_new_batches(model, cells)
    return model.row_of_each(counts, Covariates.none(counts.shape[0]), model.embedding)


def _beside(model: FittedModel, batch: NewBatch, minibatch: Minibatch) -> Tensor:
    """The embedding of cells whose counts are without the factors of their batch, (n_cells, n_dimensions)."""
    assert model.readout is not None
    return model.readout.without_covariates().embedding(batch.moved(model.coordinates(minibatch)))


def clusters(model: FittedModel, data: Any, layer: str | None) -> np.ndarray:
    """See :meth:`scrae.SCRAE.clusters`."""
    of_cells = torch.as_tensor(codes(model, data, layer), device=model.device)
    with torch.inference_mode():
        found: np.ndarray = model.module.regulariser.clusters(of_cells).cpu().numpy()
    return found
