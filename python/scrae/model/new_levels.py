"""Cells of a batch, or of another level of a covariate, that the model was not trained on.

The decoder is then told of no single batch but of all, each with its share of the training cells. It describes batches
that were left out of a training better than the known batch that is nearest to them, or any other one (docs/TRIED.md).
The embedding needs no batch: new cells move as the training cells around them do.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from scrae._errors import Notice
from scrae._messages import first_few, some
from scrae.data.cells import Cells, read_cells
from scrae.data.covariates import AVERAGE, Covariates
from scrae.model.fitted import FittedModel


def cells_with_covariates(
    model: FittedModel, data: Any, layer: str | None, batch: str | None = None, told: bool = False
) -> tuple[sp.csr_array, Covariates]:
    """Counts of the model's genes, and covariates as the decoder takes them; ``data`` None: of the training cells.

    With ``batch`` all cells are decoded as if from there, and their own batch is not asked for. New levels are
    :data:`scrae.data.covariates.AVERAGE`, with a warning that names them unless they were ``told`` of before.

    Raises
    ------
    ValueError
        Genes or columns are missing, the training cells of a loaded model are asked for, or ``batch`` is not known.
    """
    if data is None:
        counts, covariates = model.known_cells()
    else:
        cells = read_cells(data, layer)
        counts, covariates = model.match_genes(cells, missing_allowed=False), model.coding.code(cells)
        if (covariates.codes == AVERAGE).any():
            covariates = replace(covariates, shares=shares_of_levels(model))
            if not told:
                warn_of_new_levels(model, cells, without=None if batch is None else model.coding.batch_key)
    return counts, covariates if batch is None else model.as_if_from(batch, covariates)


def shares_of_levels(model: FittedModel) -> tuple[np.ndarray, ...]:
    """Of each categorical covariate: the shares of its levels among the training cells."""
    population = model.population
    return tuple(
        np.bincount(codes, population.covariate_shares, len(levels))
        for codes, levels in zip(population.covariate_codes.T, model.coding.levels.values(), strict=True)
    )


def warn_of_new_levels(model: FittedModel, cells: Cells, without: str | None = None) -> None:
    """Name the levels that the model was not trained on, but for those of the column ``without``."""
    for key, new in model.coding.new_levels(cells).items():
        if key == without:
            continue
        warnings.warn(
            Notice(
                f"adata.obs[{key!r}] has {len(new):,} level(s) that the model was not trained on ({some(new)}). Their "
                f"cells are decoded as if from the average of the {len(model.coding.levels[key]):,} known levels",
                "new_levels",
                column=key,
                n=len(new),
                names=first_few(new),
                n_known=len(model.coding.levels[key]),
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
                f"batches apart is not taken out (batch_key={key!r} takes it out)",
                "new_batches_mapped",
                column=key,
                n=len(new),
                n_cells=n_cells,
                names=first_few(new),
            ),
            stacklevel=4,
        )
