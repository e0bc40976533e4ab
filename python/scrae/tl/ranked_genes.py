"""A table of compared groups as scanpy keeps one, so that its readers and plots take it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from anndata import AnnData

METHOD = "scrae"  # in the parameters: what an earlier call of this package has written
FIELDS = {"scores": ("score", "f4"), "logfoldchanges": ("log2fc", "f4"), "pvals": ("p", "f8"), "pvals_adj": ("q", "f8")}
"""Scanpy's name of each field, the column of the table, and the kind of number that scanpy has there."""
DETECTED = {"pts": "detected", "pts_rest": "reference_detected"}


def refuse_foreign(adata: AnnData, key: str) -> None:
    """Refuse to replace what no earlier call has written.

    Raises
    ------
    ValueError
        There is something else under the key.
    """
    there = adata.uns.get(key)
    params = there.get("params") if isinstance(there, dict) else None
    if there is not None and not (isinstance(params, dict) and params.get("method") == METHOD):
        raise ValueError(
            f"adata.uns[{key!r}] exists and is not the work of an earlier call: choose another key_added, or take it "
            f"away first: del adata.uns[{key!r}]"
        )


def write_ranked_genes(adata: AnnData, key: str, table: pd.DataFrame, params: dict[str, Any]) -> None:
    """Write a table with the columns that :data:`FIELDS` and :data:`DETECTED` name into ``adata.uns[key]``.

    As scanpy has it, genes of each group are in the order of their scores, the highest first, and each group has a
    field of its own in every record array. Genes that were tested in other groups alone come last, without numbers.
    """
    groups = list(dict.fromkeys(table["group"]))
    genes = pd.Index(dict.fromkeys(table["gene"]))
    of_group = {
        group: rows.set_index("gene").reindex(genes).sort_values("score", ascending=False, kind="stable")
        for group, rows in table.groupby("group", sort=False)
    }

    def records(of: dict[str, np.ndarray]) -> np.ndarray:
        return np.rec.fromarrays(list(of.values()), dtype=[(group, values.dtype) for group, values in of.items()])

    written: dict[str, Any] = {
        # What is None is left out, because no file has a place for it.
        "params": {"method": METHOD, "corr_method": "benjamini-hochberg"}
        | {name: value for name, value in params.items() if value is not None},
        "names": records({group: of_group[group].index.to_numpy(dtype=object) for group in groups}),
    }
    for field, (column, kind) in FIELDS.items():
        written[field] = records({group: of_group[group][column].to_numpy(kind) for group in groups})
    for field, column in DETECTED.items():
        written[field] = pd.DataFrame({group: of_group[group][column].reindex(genes) for group in groups})
    adata.uns[key] = written
