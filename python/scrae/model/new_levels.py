"""Cells of a batch, or of another level of a covariate, that the model was not trained on.

The decoder has to be told of a batch that it knows. The one is taken under which the counts of the new cells are
likeliest: it describes them better than the average of all batches does, and better than each batch at once
(docs/TRIED.md). The embedding needs no batch: new cells move as the training cells around them do.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from scrae._errors import Notice
from scrae._messages import first_few, some
from scrae.data.cells import Cells, read_cells
from scrae.data.covariates import Covariates
from scrae.model.fitted import FittedModel

COMPARED = 500  # cells of a new level at most, evenly spaced, that known levels are tried on

StandIns = Mapping[str, Mapping[str, str]]
"""By column: the known level that stands in for each new one."""


def cells_with_covariates(
    model: FittedModel, data: Any, layer: str | None, batch: str | None = None, given: StandIns | None = None
) -> tuple[sp.csr_array, Covariates]:
    """Counts of the model's genes, and covariates in levels that the decoder knows; ``data`` None: the training cells.

    With ``batch`` all cells are decoded as if from there, and their own batch is not asked for. ``given`` stand-ins are
    taken as they are; otherwise they are found, with a warning that names them.

    Raises
    ------
    ValueError
        Genes or columns are missing, the training cells of a loaded model are asked for, or ``batch`` is not known.
    """
    if data is None:
        counts, covariates = model.known_cells()
    else:
        cells = read_cells(data, layer)
        counts = model.match_genes(cells, missing_allowed=False)
        without = None if batch is None else model.coding.batch_key
        covariates = model.coding.code(cells, stand_ins(model, cells, without) if given is None else given)
    return counts, covariates if batch is None else model.as_if_from(batch, covariates)


def stand_ins(model: FittedModel, cells: Cells, without: str | None = None) -> StandIns:
    """The known level for each new one under which its cells are likeliest, with a warning that names them.

    New levels of several columns are taken in turn; until its turn a column has its most frequent known level, and so
    has the column ``without``, whose levels do not matter.
    """
    new = model.coding.new_levels(cells)
    if not new:
        return {}
    population = model.population
    columns = list(model.coding.levels)
    frequent = {
        key: model.coding.levels[key][
            int(np.bincount(population.covariate_codes[:, columns.index(key)], population.covariate_shares).argmax())
        ]
        for key in new
    }
    found = {key: dict.fromkeys(names, frequent[key]) for key, names in new.items()}
    for key, names in new.items():
        if key == without:
            continue
        of_cell = cells.covariate(key)
        for name in names:
            found[key][name] = _likeliest(model, cells, np.flatnonzero(of_cell == name), key, found)
        _warn(key, found[key])
    return found


def _likeliest(model: FittedModel, cells: Cells, rows: np.ndarray, key: str, so_far: StandIns) -> str:
    """The level of a column under which these cells have the highest likelihood."""
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), COMPARED)).astype(int)]
    counts = model.match_genes(replace(cells, counts=sp.csr_array(cells.counts[rows])), missing_allowed=False)
    whole = model.coding.code(cells, so_far)
    covariates = replace(whole, codes=whole.codes[rows], values=whole.values[rows])
    levels, column = model.coding.levels[key], list(model.coding.levels).index(key)
    losses = []
    for i in range(len(levels)):
        codes = covariates.codes.copy()
        codes[:, column] = i
        loss = model.row_of_each(counts, replace(covariates, codes=codes), model.module.negative_log_likelihood)
        losses.append(loss.sum(dtype=np.float64))
    return levels[int(np.argmin(losses))]


def _warn(key: str, taken: Mapping[str, str]) -> None:
    pairs = [f"{known!r} for {new!r}" for new, known in taken.items()]
    said = ", ".join(pairs[:3]) + (", ..." if len(pairs) > 3 else "")
    warnings.warn(
        Notice(
            f"adata.obs[{key!r}] has {len(taken):,} level(s) that the model was not trained on. The known level under "
            f"which its cells are likeliest stands in for each: {said}",
            "new_levels",
            column=key,
            n=len(taken),
            names=first_few(taken),
            taken=first_few(taken.values()),
        ),
        stacklevel=5,
    )


def warn_of_new_batches(model: FittedModel, cells: Cells) -> None:
    """Say which batches of new cells the model was not trained on, where the cells have the column of the training."""
    key = model.coding.batch_key
    if key is None or cells.source is None or key not in cells.source.obs:
        return
    column = cells.source.obs[key]
    of_cell = column[column.notna()].astype(str)
    new = sorted(set(of_cell) - set(model.coding.levels[key]))
    if new:
        n_cells = int(of_cell.isin(new).sum())
        warnings.warn(
            Notice(
                f"adata.obs[{key!r}] has {len(new):,} batch(es) that the model was not trained on ({some(new)}). Their "
                f"{n_cells:,} cell(s) are placed as the training cells that are most like them; what sets the new "
                "batches apart is not taken out",
                "new_batches_mapped",
                column=key,
                n=len(new),
                n_cells=n_cells,
                names=first_few(new),
            ),
            stacklevel=4,
        )
