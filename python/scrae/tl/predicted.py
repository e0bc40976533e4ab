"""What a model says of the type of each cell, as one table."""

from __future__ import annotations

import pandas as pd

from scrae.model import SCRAE, labelling
from scrae.model.query import Query


def predicted_types(
    model: SCRAE, query: Query, *, unknown_rate: float = 0.01, unlabeled: str = "Unknown"
) -> pd.DataFrame:
    """Type of each cell, the probability of its likeliest type, and how like the labelled cells it is.

    Parameters
    ----------
    model
        A model that has learned types.
    query
        The cells.
    unknown_rate
        As for :meth:`scrae.SCRAE.predict`.
    unlabeled
        How cells of no type are called.

    Returns
    -------
    DataFrame (n_cells, 3): ``label`` (categories: the types, then ``unlabeled``), ``label_probability`` and
    ``conformal_p_value``.
    """
    found = labelling.predict(model.fitted, query, unknown_rate, unlabeled)
    return pd.DataFrame(
        {
            "label": pd.Categorical(found.names, categories=list(dict.fromkeys([*found.types, unlabeled]))),
            "label_probability": found.probabilities.max(1),
            labelling.P_VALUE: found.p_values,
        },
        index=query.names,
    )
