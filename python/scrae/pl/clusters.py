"""Clusters in one picture: where their cells lie, how sure they are, and how they hang together."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scrae.pl.canvas import as_drawn, handed_over, new_figure
from scrae.pl.colours import MISSING, colours_of_groups
from scrae.pl.embedding import basis_of, colours_of_cells, draw_cells, name_groups

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FURTHEST = 8.0  # separations beyond are drawn there


def clusters(
    adata: AnnData,
    key: str = "scrae_clusters",
    basis: str | None = None,
    *,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
    return_fig: bool | None = None,
) -> Figure | None:
    """Draw the result of :func:`scrae.tl.cluster`: the cells, the tree of the clusters, and the stability of each.

    Parameters
    ----------
    adata
        Cells with clusters.
    key
        Column of ``obs`` with the clusters.
    basis
        Coordinates of the cells, an entry of ``obsm``; None: ``"X_umap"`` if it exists, otherwise the first two axes of
        the embedding.
    show, save, return_fig
        As for :func:`scrae.pl.embedding`.

    Returns
    -------
    The figure, or None. Clusters have the colours in ``adata.uns[key + "_colors"]``, as for
    :func:`scrae.pl.embedding`.

    Raises
    ------
    ValueError
        There are no clusters of that name, or no such coordinates.

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> scrae.tl.scrae(adata, max_epochs=5, verbose=False)
    >>> scrae.tl.cluster(adata)
    >>> figure = scrae.pl.clusters(adata)
    >>> len(figure.axes)  # cells, tree, stability
    3
    """
    if key not in adata.uns or "tree" not in adata.uns[key] or key not in adata.obs:
        raise ValueError(f"adata.uns[{key!r}] has no clusters: call scrae.tl.cluster(adata) first")
    found = adata.uns[key]
    embedding = f"X_{found['params']['key']}"
    basis = basis_of(adata, basis or ("X_umap" if "X_umap" in adata.obsm else embedding))
    groups = pd.Categorical(adata.obs[key])
    names = [str(name) for name in groups.categories]
    colours = colours_of_groups(adata, key)
    figure = new_figure(10.5, max(4.6, 0.24 * len(names) + 1.2), show)
    cells, tree, stability = figure.subplots(1, 3, width_ratios=[2.6, 1.4, 1.0])
    coordinates = np.asarray(adata.obsm[basis])[:, :2]
    draw_cells(cells, coordinates, colours_of_cells(groups, colours), basis.removeprefix("X_").upper())
    name_groups(cells, coordinates, groups)
    cells.set_title(f"{len(names)} clusters of {adata.n_obs:,} cells")
    _draw_tree(tree, found["tree"], found["clusters"], float(found["params"]["separation"]))
    table = found["clusters"]
    stability.barh(
        range(len(table)), table["stability"], color=[colours.get(name, MISSING) for name in table.index.astype(str)]
    )
    stability.axvline(0.75, color="0.4", linewidth=0.8, linestyle=":")
    stability.set(xlim=(0, 1), ylim=(len(table) - 0.4, -0.6), yticks=[], xlabel="stability", title="Found again")
    for panel in (tree, stability):
        panel.spines[["top", "right"]].set_visible(False)
    return handed_over(figure, show, save, return_fig)


def _draw_tree(panel: Axes, tree: pd.DataFrame, table: pd.DataFrame, least: float) -> None:
    """The joins above the clusters, from their names on the left to the one that holds all cells."""
    joins = {int(join["node"]): join for join in tree[tree["kept_apart"]].to_dict("records")}
    rows, heights = _rows_of_clusters(joins), dict.fromkeys(joins, 0.0)
    for node in sorted(joins):
        children = int(joins[node]["left"]), int(joins[node]["right"])
        height = min(float(joins[node]["height"]), FURTHEST)
        for child in children:
            panel.plot([heights.get(child, 0.0), height], [rows[child]] * 2, color="0.25", linewidth=1.2)
        panel.plot([height, height], [rows[child] for child in children], color="0.25", linewidth=1.2)
        rows[node], heights[node] = sum(rows[child] for child in children) / 2, height
    if least <= FURTHEST:
        panel.axvline(least, color="0.4", linewidth=0.8, linestyle=":")
    panel.set_yticks(range(len(table)), [f"{as_drawn(name)}  ({n:,})" for name, n in table["n_cells"].items()])
    panel.set(ylim=(len(table) - 0.4, -0.6), xlim=(0, None), xlabel="separation", title="How far apart")
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)


def _rows_of_clusters(joins: dict[int, dict[Any, Any]]) -> dict[int, float]:
    """Row of each node that is a cluster: they stand in the order of the tree, larger children first."""
    rows: dict[int, float] = {}
    waiting = [max(joins)] if joins else []
    while waiting:
        node = waiting.pop()
        if node in joins:
            sides = sorted(("left", "right"), key=lambda side: -joins[node][f"n_{side}"])
            waiting.extend(int(joins[node][side]) for side in reversed(sides))
        else:
            rows[node] = float(len(rows))
    return rows
