"""What is known of features: which of them a column marks, and which are genes at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from scrae._errors import Refusal
from scrae._messages import first_few, some

MARKS = {"true": True, "false": False}  # as text, whatever the case: what R and spreadsheets write
COLUMNS = ("feature_types", "modality")  # of 10x files and muon; of modalities put side by side
SELECTION = "scrae_genes"  # of uns: how genes were selected, and by which call
GENES = ("gene expression", "rna", "gex", "gene", "genes", "mrna")  # what genes are called there, whatever the case


def marked(column: pd.Series, key: str) -> np.ndarray:
    """Boolean per feature of a column that says yes or no; a missing value says no.

    Parameters
    ----------
    column
        Booleans, nullable or not, 0 and 1, or "TRUE" and "FALSE" as text.
    key
        Name of the column of ``adata.var``, for messages.

    Raises
    ------
    ValueError
        Anything else stands there.
    """
    if column.ndim > 1:
        raise Refusal(
            f"adata.var has {column.shape[1]:,} columns named {key!r}: leave one, or rename them",
            "repeated_column",
            column=key,
            n=column.shape[1],
        )
    if column.dtype == bool:
        return column.to_numpy(copy=True)
    said, known = column.astype(object).to_list(), column.notna().to_numpy()
    result = np.zeros(len(said), dtype=bool)
    others: list[Any] = []
    for i in np.flatnonzero(known):
        value = said[i]
        mark = MARKS.get(value.lower()) if isinstance(value, str) else value
        if isinstance(mark, bool | np.bool_ | int | float | np.number) and mark in (0, 1):
            result[i] = bool(mark)
        else:
            others.append(value)
    if others:
        raise Refusal(
            f'adata.var["{key}"] says neither yes nor no for {len(others):,} of {len(said):,} genes '
            f"({some(dict.fromkeys(map(str, others)))}): it has to be True or False",
            "neither_yes_nor_no",
            column=key,
            n=len(others),
            n_genes=len(said),
            names=first_few(dict.fromkeys(map(str, others))),
        )
    return result


def of_types(var: pd.DataFrame, asked: str | Iterable[str] | None) -> tuple[np.ndarray, list[str]]:
    """Boolean per feature, whether it is to be modelled, and the types of those that are not.

    Parameters
    ----------
    var
        Table of features. Its column ``feature_types`` or, without that, ``modality`` says what they are; without
        either, and where nothing stands there, they are genes.
    asked
        Types to model; None: gene expression.

    Raises
    ------
    ValueError
        No feature is of these types, or types are asked for and none are known.
    """
    wanted = None if asked is None else [asked] if isinstance(asked, str) else [str(name) for name in asked]
    column = next((name for name in COLUMNS if name in var), None)
    if column is None:
        if wanted is None:
            return np.ones(len(var), dtype=bool), []
        raise Refusal(
            f"feature_types={asked!r}: adata.var has no column {' or '.join(map(repr, COLUMNS))}, which would say what "
            "features are",
            "no_feature_types",
            names=list(COLUMNS),
        )
    missing = var[column].isna().to_numpy()
    types = var[column].astype(str).to_numpy()
    kept = np.isin(types, wanted) if wanted is not None else missing | np.isin(np.char.lower(types.astype("U")), GENES)
    others = sorted(set(types[~kept & ~missing]))
    if not kept.any():
        sought = "gene expression" if wanted is None else some(wanted)
        raise Refusal(
            f"none of {len(var):,} features is of the type {sought}: adata.var[{column!r}] has {some(others)}; "
            f"feature_types={others[0] if others else 'Gene Expression'!r} asks for those",
            "no_feature_of_type",
            n_features=len(var),
            column=column,
            names=first_few(others),
        )
    return kept, others
