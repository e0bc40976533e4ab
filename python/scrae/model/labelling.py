"""Which types cells are of, learned from labels after training."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from scrae._errors import Notice, Refusal
from scrae._messages import first_few, some
from scrae.data.cells import Cells, read_cells
from scrae.data.covariates import Covariates
from scrae.data.links import Links
from scrae.model import new_batches
from scrae.model.fitted import FittedModel, NotFittedError
from scrae.posthoc.cell_types import CellTypes, fit_cell_types

if TYPE_CHECKING:
    import pandas as pd

P_VALUE = "conformal_p_value"


def cell_types_of(
    model: FittedModel, data: Any, labels_key: str, unlabeled_category: str, layer: str | None, random_state: int
) -> CellTypes:
    """See :meth:`scrae.SCRAE.fit_labels`."""
    cells = read_cells(data, layer)
    labels, labelled = labelled_cells(cells, labels_key, unlabeled_category)
    types, numbers = np.unique(labels[labelled].astype(str), return_counts=True)
    alone = types[numbers < 2]
    if len(alone):
        warnings.warn(
            Notice(
                f"{len(alone):,} of {len(types):,} types have a single labelled cell ({some(alone)}): "
                "it cannot be tested how well these types are recognised",
                "types_of_one_cell",
                n=len(alone),
                n_types=len(types),
                names=first_few(alone),
            ),
            stacklevel=3,
        )
    counts = sp.csr_array(model.match_genes(cells, missing_allowed=True)[labelled])
    features = model.row_of_each(counts, Covariates.none(len(labelled)), model.module.encode_hidden)
    return fit_cell_types(features, labels[labelled], random_state)


def links_of_labels(cells: Cells, labels_key: str, unlabeled_category: str, random_state: int) -> Links:
    """Pairs of labelled cells, see :meth:`scrae.SCRAE.fit`."""
    return Links.of_labels(*labelled_cells(cells, labels_key, unlabeled_category), random_state)


def labelled_cells(cells: Cells, labels_key: str, unlabeled_category: str) -> tuple[np.ndarray, np.ndarray]:
    """What a column says of every cell, (n_cells,), and the positions of those whose type it says.

    Raises
    ------
    ValueError
        Fewer than two types.
    """
    labels = cells.labels(labels_key, unlabeled_category)
    labelled = np.flatnonzero(labels != unlabeled_category)
    types = np.unique(labels[labelled].astype(str))
    if len(types) < 2:
        said = f"one type only ({str(types[0])!r}, {len(labelled):,} cells)" if len(types) else "no labelled cell"
        raise Refusal(
            f"adata.obs[{labels_key!r}] has {said}; cells that say {unlabeled_category!r} or nothing are "
            "unlabelled. To tell types apart, two or more must be labelled (is unlabeled_category right?)",
            "too_few_types",
            column=labels_key,
            types=first_few(types),
            n_labelled=len(labelled),
            unlabeled=unlabeled_category,
        )
    return labels, labelled


@dataclass(frozen=True)
class Predicted:
    """What the types that a model has learned are for some cells.

    Attributes
    ----------
    names
        Type of each cell, or how cells of no type are called, (n_cells,).
    probabilities
        Of each of the known types, (n_cells, n_types), rows sum to 1.
    p_values
        See :meth:`scrae.posthoc.cell_types.CellTypes.conformal_p_values`, (n_cells,).
    types
        Names of the known types, (n_types,).
    index
        Names of the cells; None: they have none.
    """

    names: np.ndarray
    probabilities: np.ndarray
    p_values: np.ndarray
    types: np.ndarray
    index: pd.Index | None

    def table(self) -> pd.DataFrame:
        """Probabilities, then the p value, (n_cells, n_types + 1)."""
        import pandas as pd

        from scrae._renamed_columns import RenamedColumns

        table = pd.DataFrame(self.probabilities, index=self.index, columns=list(self.types))
        table[P_VALUE] = self.p_values
        return RenamedColumns.of(table, {"familiarity": P_VALUE})


def predict(
    model: FittedModel,
    data: Any,
    layer: str | None,
    unknown_rate: float,
    unlabeled_category: str,
    batch_key: str | None,
) -> Predicted:
    """See :meth:`scrae.SCRAE.predict`."""
    if model.cell_types is None:
        raise NotFittedError("the model knows no types of cells yet: call fit_labels(adata, labels_key) first")
    if not 0 <= unknown_rate < 1:
        raise Refusal(
            f"unknown_rate is a share of cells, in [0, 1), not {unknown_rate:g}",
            "not_within",
            name="unknown_rate",
            low=0,
            high=1,
            value=float(unknown_rate),
        )
    features, index = _features(model, data, layer, batch_key)
    probabilities = model.cell_types.probabilities(features)
    p_values = model.cell_types.conformal_p_values(features)
    likeliest = model.cell_types.types[probabilities.argmax(1)]
    names = np.where(p_values <= unknown_rate, unlabeled_category, likeliest).astype(object)
    return Predicted(names, probabilities, p_values, model.cell_types.types, index)


def _features(
    model: FittedModel, data: Any, layer: str | None, batch_key: str | None
) -> tuple[np.ndarray, pd.Index | None]:
    """What types are told by, (n_cells, n_hidden), and the names of the cells."""
    hidden = model.module.encode_hidden
    if data is None:
        if batch_key is not None:
            raise ValueError("batch_key names the batches of new cells, but the training cells were asked for")
        counts, index = model.known_cells()[0], None
    else:
        cells = read_cells(data, layer)
        counts = model.match_genes(cells, missing_allowed=True)
        index = None if cells.source is None else cells.source.obs_names
        if batch_key is not None:
            # The factors of a batch alone: a shift as in an embedding costs more right types than it gives.
            of_new = new_batches.row_of_each(
                model, cells, counts, batch_key, hidden, lambda _, divided: hidden(divided)
            )
            return of_new, index
    return model.row_of_each(counts, Covariates.none(counts.shape[0]), hidden), index
