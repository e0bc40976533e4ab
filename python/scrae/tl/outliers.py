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
    adata: AnnData,
    model: SCRAE,
    *,
    reference: AnnData | None = None,
    layer: str | None = None,
    key_added: str | None = None,
) -> pd.DataFrame:
    """Score cells that the model explains badly: doublets, debris, damaged cells and types it has never seen.

    The score compares each cell with other cells that have about as many counts. No label is used. Cells of a batch
    that the model was not trained on are taken as if from the average of the known batches. Without a
    ``reference`` they are compared among themselves; with one, how far the new batch lies from it is part of the score.

    Parameters
    ----------
    adata
        Cells x genes with raw counts and the model's genes.
    model
        A model that was trained on these cells or on others.
    reference
        Cells to compare with; None: those of ``adata``.
    layer
        Layer with raw counts in ``adata`` and in the reference; None: ``X``.
    key_added
        Column of ``adata.obs`` that the score is written to as well (``"scrae_outlier"`` is where
        :func:`scrae.pl.report` looks for it); None: nothing is written.

    Returns
    -------
    DataFrame (n_cells, 3) with the names of the cells:

    - ``negative_log_likelihood``: how badly the model explains the counts of the cell, in nats
      (:meth:`scrae.SCRAE.negative_log_likelihood`);
    - ``expected``: the median of the same over the tenth of the reference (at least 50 cells) that is nearest in
      library size;
    - ``score``: the difference of the two, divided by the spread of those cells (1.4826 median absolute deviations). It
      is about standard normal for ordinary cells, and few of these lie above 3.

    Raises
    ------
    ValueError
        The reference has fewer than 50 cells.

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> model = scrae.SCRAE(max_epochs=3, verbose=False).fit(adata)
    >>> scrae.tl.outliers(adata, model).columns.tolist()
    ['negative_log_likelihood', 'expected', 'score']
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
    if key_added is not None:
        adata.obs[key_added] = score
    table = pd.DataFrame({NAME: loss, "expected": expected, "score": score}, index=adata.obs_names)
    return RenamedColumns.of(table, {"surprise": NAME})
