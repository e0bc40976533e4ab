"""Where cells lie: embedding, codes, clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from scrae.data.covariates import Covariates
from scrae.model.fitted import FittedModel


def embed(model: FittedModel, data: Any, layer: str | None, raw_or_round: str) -> np.ndarray:
    """See :meth:`scrae.SCRAE.embed`."""
    counts = model.counts_or_training(data, layer, raw_or_round)
    return model.row_of_each(counts, Covariates.none(counts.shape[0]), model.embedding)


def codes(model: FittedModel, data: Any, layer: str | None) -> np.ndarray:
    """See :meth:`scrae.SCRAE.codes`."""
    counts = model.counts_or_training(data, layer)
    return model.row_of_each(counts, Covariates.none(counts.shape[0]), model.module.encode)


def clusters(model: FittedModel, data: Any, layer: str | None) -> np.ndarray:
    """See :meth:`scrae.SCRAE.clusters`."""
    of_cells = torch.as_tensor(codes(model, data, layer), device=model.device)
    with torch.inference_mode():
        found: np.ndarray = model.module.regulariser.clusters(of_cells).cpu().numpy()
    return found
