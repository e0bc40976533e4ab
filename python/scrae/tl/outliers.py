"""Cells that the model does not explain: doublets, debris, damaged cells, types it has never seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scrae._errors import Refusal
from scrae._renamed_columns import RenamedColumns
from scrae.data.cells import read_cells
from scrae.model import SCRAE

if TYPE_CHECKING:
    from anndata import AnnData

NAME = "negative_log_likelihood"
SHARE = 0.1  # of the cells, by library size, that a cell is compared with
FEWEST = 50  # of them
MAD_TO_DEVIATION = 1.4826  # of a normal distribution


def outliers(
    adata: AnnData, model: SCRAE, *, reference: AnnData | None = None, layer: str | None = None
) -> pd.DataFrame:
    """How much worse each cell is explained than others with as many counts. No label is used.

    Parameters
    ----------
    adata
        Cells x genes with raw counts and the model's genes.
    model
        Trained on these cells, or on others.
    reference
        Cells to compare with; None: those of ``adata``.
    layer
        Layer with raw counts, of both; None: ``adata.X``.

    Returns
    -------
    DataFrame (n_cells, 3) with the cells' names: ``negative_log_likelihood`` (of its counts, nats,
    :meth:`scrae.SCRAE.negative_log_likelihood`), ``expected`` (median over the tenth of the reference, at least 50
    cells, that is nearest in library size) and ``score``, the difference over their spread (1.4826 median absolute
    deviations): about standard normal for ordinary cells, above 3 for few of them.

    Raises
    ------
    ValueError
        The reference has fewer than 50 cells.
    """
    others = adata if reference is None else reference
    if others.n_obs < FEWEST:
        raise Refusal(
            f"{others.n_obs:,} cells to compare with are too few; {FEWEST} or more are needed",
            "too_few_to_score",
            n=others.n_obs,
            least=FEWEST,
        )
    loss = model.negative_log_likelihood(adata, layer=layer).astype(np.float64)
    library = np.log(read_cells(adata, layer, copy=False).counts.sum(1))
    ordinary, at = loss, library
    if reference is not None:
        ordinary = model.negative_log_likelihood(reference, layer=layer).astype(np.float64)
        at = np.log(read_cells(reference, layer, copy=False).counts.sum(1))
    order = np.argsort(at, kind="stable")
    width = max(FEWEST, round(SHARE * len(order)))
    start = np.clip(np.searchsorted(at[order], library) - width // 2, 0, len(order) - width)
    expected, spread = np.empty(len(library)), np.empty(len(library))
    for first in np.unique(start):
        near = ordinary[order[first : first + width]]
        median = np.median(near)
        here = start == first
        expected[here] = median
        spread[here] = MAD_TO_DEVIATION * np.median(np.abs(near - median))
    score = np.divide(loss - expected, spread, out=np.zeros_like(loss), where=spread > 0)
    table = pd.DataFrame({NAME: loss, "expected": expected, "score": score}, index=adata.obs_names)
    return RenamedColumns.of(table, {"surprise": NAME})
