"""New cells in the form that a trained model takes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from scrae.data.cells import read_cells
from scrae.data.covariates import Covariates
from scrae.data.minibatches import Minibatch
from scrae.model.fitted import FittedModel
from scrae.model.new_batches import NewBatches
from scrae.model.new_levels import warn_of_new_batches
from scrae.posthoc.new_batch import NewBatch

if TYPE_CHECKING:
    import pandas as pd


class Query:
    """Cells, and what sets apart those of their batches that the model was not trained on: it is looked for once.

    Parameters
    ----------
    model
        The model that is asked.
    data
        AnnData of raw counts or a matrix, as :meth:`scrae.SCRAE.map` takes them.
    layer
        Layer of the AnnData with raw counts.
    counts
        ``"raw"``, or ``"round"`` for estimated counts.
    batch_key
        Column with batches; None: nothing is taken out.

    Raises
    ------
    ValueError
        No gene of the model is there, the column is not or lacks values, or the model has nothing that a new batch
        could be compared with.
    """

    def __init__(
        self, model: FittedModel, data: Any, layer: str | None = None, counts: str = "raw", batch_key: str | None = None
    ) -> None:
        cells = read_cells(data, layer, counts=counts)
        if cells.rounding is not None:
            cells.rounding.warn(cells.where)
        self._model, self._cells = model, cells
        self._counts = model.match_genes(cells, missing_allowed=True)
        self._batches = None if batch_key is None else NewBatches.find(model, cells, self._counts, batch_key)

    @property
    def names(self) -> pd.Index | None:
        """Names of the cells; None: they have none."""
        return None if self._cells.source is None else self._cells.source.obs_names

    def embedding(self) -> np.ndarray:
        """The embedding, (n_cells, n_dimensions), with a warning of batches that nobody has named."""
        if self._batches is None:
            warn_of_new_batches(self._model, self._cells)
        return self._row_of_each(self._model.embedding, partial(_beside, self._model))

    def hidden(self) -> np.ndarray:
        """The encoder's last hidden layer, which types are told by, (n_cells, n_hidden).

        Without the factors of a new batch alone: a shift as in the embedding costs more right types than it gives.
        """
        of = self._model.module.encode_hidden
        return self._row_of_each(of, lambda _, divided: of(divided))

    def _row_of_each(
        self, of_known: Callable[[Minibatch], Tensor], of_new: Callable[[NewBatch, Minibatch], Tensor]
    ) -> np.ndarray:
        if self._batches is None:
            return self._model.row_of_each(self._counts, Covariates.none(self._counts.shape[0]), of_known)
        return self._batches.row_of_each(of_known, of_new)


def _beside(model: FittedModel, batch: NewBatch, minibatch: Minibatch) -> Tensor:
    """The embedding of cells whose counts are without the factors of their batch, (n_cells, n_dimensions)."""
    assert model.readout is not None
    return model.readout.without_covariates.embedding(batch.moved(model.coordinates(minibatch)))
