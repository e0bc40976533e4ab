"""Whether there are batches, whether they were removed, and whether too much was removed with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scrae._errors import Refusal
from scrae.clusters.graph import communities, neighbour_graph
from scrae.compute.whole_numbers import seed
from scrae.data.cells import Cells, refuse_damaged_source, require_anndata
from scrae.data.covariates import follows
from scrae.data.kept_groups import joined
from scrae.metrics.batches import batch_alone, connectivity, kbet, mixing, purity, variance_explained
from scrae.pp.genes import N_TOP, SELECTED, select_genes
from scrae.tl.embedding import EarlierTraining
from scrae.tl.expression import log_expression, principal_components, without_batches

if TYPE_CHECKING:
    from anndata import AnnData

MOST_CELLS = 20_000  # are looked at
RESOLUTION = 0.6  # of the groups that are found here
MIXED = 0.9  # mixing from which on nothing has to be taken out
PARTED = 0.75  # mixing below which a correction has left much
LOST = 0.05  # of the purity of a batch's own groups, from which on too much was taken
MEASURES = ("variance", "variance_within", "mixing", "kbet", "connectivity", "groups_kept")


def batch_report(
    adata: AnnData,
    batch_key: str,
    *,
    keep: str | Sequence[str] = (),
    groupby: str | None = None,
    key: str = "scrae",
    layer: str | None = None,
    random_state: int = 0,
    key_added: str = "scrae_batches",
) -> pd.DataFrame:
    """Report whether there are batches, whether an embedding still shows them, and whether too much was removed.

    Cell types need not be known. Before training, the report looks at principal components and says whether a
    ``batch_key`` is worth setting. After training, it compares the embedding with them.

    Parameters
    ----------
    adata
        Cells with raw counts (or log-normalised values), before or after :func:`scrae.tl.scrae`.
    batch_key
        Column of ``adata.obs`` with batches: donors, plates, protocols.
    keep
        Columns whose differences should be kept, such as a condition. What they explain is measured in the same way,
        and the report says whether the batches can be removed without them. Where the training was told to keep
        columns, batches are compared among the cells that agree in these.
    groupby
        Column of ``adata.obs`` with types or clusters, within which batches are compared. None: groups are found on
        principal components that Harmony has corrected for the batches.
    key
        The embedding is ``obsm["X_" + key]``; where it is missing, the report is about principal components alone.
    layer
        Layer with counts; None: where the embedding was trained on, or ``adata.X``.
    random_state
        Seed of the groups, of the shuffles, and of the choice of cells where there are more than 20,000.
    key_added
        Name in ``adata.uns``.

    Returns
    -------
    A row for each measure, with the columns ``before`` (30 principal components of scaled genes) and ``after`` (the
    embedding; missing where there is none):

    - ``variance``: share of the variance that the batches explain (adjusted for chance), 0 to 1;
    - ``variance_within``: the same within groups, which leaves out differences that arise because the batches contain
      the groups in different shares;
    - ``mixing``: how well batches mix among the neighbours of a cell, 0 to about 1
      (:func:`scrae.metrics.mixing`);
    - ``kbet``: share of the cells around which batches have the shares that they have in the group, 0 to 1;
    - ``connectivity``: share of a group's cells that its neighbour graph connects, 0 to 1;
    - ``groups_kept``: groups are found within each batch on its own, and this is the share of a cell's neighbours in
      its batch that are of its group, 0 to 1. If it falls, too much was removed;
    - ``COLUMN_within``: for each column of ``keep``, the share of the variance within groups that it explains.

    The same table goes to ``uns[key_added]["measures"]``. ``uns[key_added]`` also holds ``groups`` (a row for each
    group: its cells, its batches, the batch if all cells are from one, and its mixing before and after),
    ``findings`` (a row for each conclusion: a code, the column that it is about, and a sentence) and ``params``.
    :func:`scrae.pl.batches` draws it.

    Raises
    ------
    ValueError
        No such column, one with missing values or with a single level, or fewer than 30 cells.

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> adata.obs["plate"] = ["a", "b"] * 350
    >>> report = scrae.tl.batch_report(adata, "plate")
    >>> adata.uns["scrae_batches"]["findings"]["finding"].tolist()
    ['no_batches']
    """
    require_anndata(adata, "scrae.tl.batch_report")
    refuse_damaged_source(adata)
    random_state = seed(random_state)
    kept_columns = [keep] if isinstance(keep, str) else list(keep)
    trained = EarlierTraining.of(adata, key)
    told_to_keep = [column for column in trained.keep if column in adata.obs and column != batch_key]
    named = [batch_key, *kept_columns, *told_to_keep, *([groupby] if groupby else [])]
    columns = {column: _levels(adata, column) for column in named}
    for column in (batch_key, *kept_columns):
        if len(np.unique(columns[column])) < 2:
            raise Refusal(
                f"adata.obs[{column!r}] has the same value in all cells: there is nothing to compare",
                "one_level",
                column=column,
            )
    if adata.n_obs < 30:
        raise Refusal(
            f"{adata.n_obs} cells are too few: 30 or more are needed", "too_few_cells_for_report", n=adata.n_obs
        )
    layer = layer if layer is not None else trained.layer
    cells = np.arange(adata.n_obs)
    if adata.n_obs > MOST_CELLS:
        cells = np.sort(np.random.default_rng(random_state).choice(cells, MOST_CELLS, replace=False))
    columns = {column: levels[cells] for column, levels in columns.items()}
    batch = columns[batch_key]

    genes = _some_genes(adata, batch_key, layer) if trained.genes is None else trained.genes
    before = principal_components(log_expression(adata, layer, cells)[:, genes], None, random_state)
    spaces = {"before": before}
    if f"X_{key}" in adata.obsm:
        spaces["after"] = np.asarray(adata.obsm[f"X_{key}"], dtype=np.float64)[cells]
    groups = columns[groupby] if groupby else _found_groups(before, batch, random_state)
    own = _own_groups(before, batch, random_state)
    alike = joined([groups, *(columns[column] for column in told_to_keep)])

    measures, of_cells = {}, {}
    for name, space in spaces.items():
        of_cells[name] = mixing(space, batch, alike, random_state)
        measures[name] = {
            "variance": variance_explained(space, batch),
            "variance_within": variance_explained(space, batch, alike),
            "mixing": _mean(of_cells[name]),
            "kbet": kbet(space, batch, alike),
            "connectivity": connectivity(space, groups),
            "groups_kept": _kept(space, batch, own),
        } | {f"{column}_within": variance_explained(space, columns[column], groups) for column in kept_columns}
    table = pd.DataFrame(measures, columns=["before", "after"], dtype=np.float64).rename_axis("measure")
    of_groups = _groups_table(groups, batch, of_cells)
    was_told = trained.batch_key == batch_key
    nested = [name for name in kept_columns if name not in told_to_keep and follows(columns[name], batch)]
    findings = _findings(table, of_groups, bool(groupby), batch_key, was_told, nested)
    adata.uns[key_added] = {
        "measures": table.copy(),
        "groups": of_groups,
        "findings": findings,
        "params": {
            "batch_key": batch_key,
            "keep": kept_columns,
            "groupby": groupby or "",
            "key": key if "after" in spaces else "",
            "random_state": random_state,
        },
    }
    return table


def _levels(adata: AnnData, column: str) -> np.ndarray:
    """Level of each cell, as text; refused where one is missing."""
    levels = Cells(sp.csr_array(adata.shape), None, "adata", adata).covariate(column)
    result: np.ndarray = levels.astype(str)
    return result


def _some_genes(adata: AnnData, batch_key: str, layer: str | None) -> np.ndarray:
    """Positions of the genes to look at where no embedding says it: those that were selected, or a choice made here."""
    if SELECTED in adata.var:
        return np.flatnonzero(np.asarray(adata.var[SELECTED], dtype=bool))
    if adata.n_vars <= N_TOP:
        return np.arange(adata.n_vars)
    alone = type(adata)(
        adata.X if layer is None else adata.layers[layer], obs=adata.obs[[batch_key]], var=adata.var[[]]
    )
    select_genes(alone, batch_key=batch_key, verbose=False)
    return np.flatnonzero(np.asarray(alone.var[SELECTED], dtype=bool))


def _found_groups(components: np.ndarray, batch: np.ndarray, random_state: int) -> np.ndarray:
    graph = neighbour_graph(without_batches(components, batch, random_state))
    return _by_size(communities(graph, RESOLUTION, random_state))


def _by_size(found: np.ndarray) -> np.ndarray:
    """Names "0", "1", ..., the largest group first."""
    order = np.argsort(-np.bincount(found), kind="stable")
    result: np.ndarray = np.argsort(order)[found].astype(str)
    return result


def _own_groups(components: np.ndarray, batch: np.ndarray, random_state: int) -> np.ndarray:
    """Groups that are found in each batch on its own, int (n_cells,)."""
    result = np.zeros(len(batch), dtype=int)
    for name in np.unique(batch):
        cells = np.flatnonzero(batch == name)
        if len(cells) > 2:
            result[cells] = communities(neighbour_graph(components[cells]), RESOLUTION, random_state)
    return result


def _kept(space: np.ndarray, batch: np.ndarray, own: np.ndarray) -> float:
    shares = []
    for name in np.unique(batch):
        cells = np.flatnonzero(batch == name)
        if len(cells) > 2:
            shares.append(purity(space[cells], own[cells]))
    return _mean(np.concatenate(shares)) if shares else float("nan")


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _groups_table(groups: np.ndarray, batch: np.ndarray, of_cells: dict[str, np.ndarray]) -> pd.DataFrame:
    names = sorted(
        set(groups.tolist()), key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name)
    )
    rows = []
    for name in names:
        cells = groups == name
        levels, sizes = np.unique(batch[cells], return_counts=True)
        order = np.argsort(-sizes, kind="stable")
        row: dict[str, Any] = {
            "n_cells": int(cells.sum()),
            "batches": ", ".join(f"{levels[i]} {sizes[i] / sizes.sum():.0%}" for i in order[:3]),
            "alone": batch_alone(batch[cells], batch),
        }
        rows.append(row | {f"mixing_{space}": _mean(values[cells]) for space, values in of_cells.items()})
    return pd.DataFrame(rows, index=pd.Index(names, name="group"))


def _findings(
    table: pd.DataFrame, groups: pd.DataFrame, given: bool, batch_key: str, was_told: bool, nested: Sequence[str]
) -> pd.DataFrame:
    """What follows from the measures, the most important first."""
    before, after = table.loc["mixing"].to_numpy()
    kept_before, kept_after = table.loc["groups_kept"].to_numpy()
    alone = groups.index[groups["alone"] != ""].tolist()
    found = {}
    if len(alone) == len(groups) and not given:
        found["batches_apart"] = (
            f"no group of cells holds several batches of {batch_key!r}. If the batches hold the same types, train with "
            f"batch_key={batch_key!r}; a column of types as groupby= tells whether they do."
        )
    elif len(alone) == len(groups):
        found["batches_are_groups"] = (
            f"every group is of one batch alone: nothing can tell what is a batch in {batch_key!r} and what is a type. "
            "Correct nothing, and compare within batches."
        )
    elif not before < MIXED:
        found["no_batches"] = (
            f"the batches of {batch_key!r} mix as if they were dealt out at random (mixing {before:.2f}): no batch_key "
            "is needed."
        )
    elif np.isnan(after):
        found["batches"] = (
            f"batches part cells of one group (mixing {before:.2f}, 1 is random): train with batch_key={batch_key!r}."
        )
    elif not was_told and after < MIXED:
        found["batches_not_named"] = (
            f"batches part cells of one group (mixing {before:.2f} before, {after:.2f} in the embedding), and the "
            f"training was not told of them: train with batch_key={batch_key!r}."
        )
    elif after < PARTED:
        found["batches_left"] = (
            f"the embedding still parts batches within groups (mixing {before:.2f} before, {after:.2f} after): look at "
            'the groups with the lowest "mixing_after".'
        )
    else:
        found["batches_gone"] = f"batches mix within groups (mixing {before:.2f} before, {after:.2f} after)."
    if kept_before - kept_after > LOST:
        found["too_much_taken"] = (
            f"groups that a batch has on its own lie less apart than before ({kept_before:.2f} before, "
            f"{kept_after:.2f} after): too much may have been taken out. Compare with an embedding without batch_key."
        )
    if alone and len(alone) < len(groups):
        found["groups_of_one_batch"] = (
            f"groups of one batch alone: {', '.join(alone)}. They may be types that other batches lack, or what is "
            "left of a batch: look at their genes."
        )
    for column in nested:
        found[f"nested {column}"] = (
            f"each batch of {batch_key!r} has one level of {column!r} alone: to take the batches out takes the "
            f"differences of {column!r} with them. Find types in the embedding, and compare {column!r} on the counts; "
            f"or train with batch_key={batch_key!r}, keep={column!r}, which leaves these differences in."
        )
    codes = [code.split(" ")[0] for code in found]
    columns = [code.partition(" ")[2] for code in found]
    return pd.DataFrame({"finding": codes, "column": columns, "text": list(found.values())})
