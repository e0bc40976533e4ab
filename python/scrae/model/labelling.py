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
from scrae.model.fitted import FittedModel, NotFittedError
from scrae.model.query import Query
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


def known_types(model: FittedModel) -> CellTypes:
    """What the model has learned of types.

    Raises
    ------
    scrae.NotFittedError
        Nothing yet.
    """
    if model.cell_types is None:
        raise NotFittedError("the model knows no types of cells yet: call fit_labels(adata, labels_key) first")
    return model.cell_types


def refuse_no_share(unknown_rate: float) -> None:
    """Refuse what is no share of cells that may be called unknown."""
    if not 0 <= unknown_rate < 1:
        raise Refusal(
            f"unknown_rate is a share of cells, in [0, 1), not {unknown_rate:g}",
            "not_within",
            name="unknown_rate",
            low=0,
            high=1,
            value=float(unknown_rate),
        )


def predict(
    model: FittedModel, query: Query | None, unknown_rate: float = 0.01, unlabeled_category: str = "Unknown"
) -> Predicted:
    """See :meth:`scrae.SCRAE.predict`; without a query, of the training cells."""
    types = known_types(model)
    refuse_no_share(unknown_rate)
    if query is None:
        counts = model.known_cells()[0]
        features = model.row_of_each(counts, Covariates.none(counts.shape[0]), model.module.encode_hidden)
    else:
        features = query.hidden()
    probabilities = types.probabilities(features)
    p_values = types.conformal_p_values(features)
    likeliest = types.types[probabilities.argmax(1)]
    names = np.where(p_values <= unknown_rate, unlabeled_category, likeliest).astype(object)
    return Predicted(names, probabilities, p_values, types.types, None if query is None else query.names)
