"""What a model says of the type of each cell, as one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from scrae.model import SCRAE
from scrae.model.labelling import P_VALUE

if TYPE_CHECKING:
    from anndata import AnnData


def predicted_types(
    model: SCRAE, adata: AnnData, *, layer: str | None = None, unknown_rate: float = 0.01, unlabeled: str = "Unknown"
) -> pd.DataFrame:
    """Type of each cell, the probability of its likeliest type, and how like the labelled cells it is.

    Parameters
    ----------
    model
        A model that has learned types.
    adata, layer, unknown_rate
        As for :meth:`scrae.SCRAE.predict`.
    unlabeled
        How cells of no type are called.

    Returns
    -------
    DataFrame (n_cells, 3): ``label`` (categories: the types, then ``unlabeled``), ``label_probability`` and
    ``conformal_p_value``.
    """
    names: Any = model.predict(adata, layer=layer, unknown_rate=unknown_rate, unlabeled_category=unlabeled)
    table: Any = model.predict(adata, layer=layer, return_probabilities=True)
    probabilities = table.iloc[:, :-1]
    return pd.DataFrame(
        {
            "label": pd.Categorical(names, categories=list(dict.fromkeys([*probabilities, unlabeled]))),
            "label_probability": probabilities.to_numpy().max(1),
            P_VALUE: table[P_VALUE].to_numpy(),
        },
        index=adata.obs_names,
    )
