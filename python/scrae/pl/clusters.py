"""Clusters in one picture: where their cells lie, how sure they are, and how they hang together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scrae.pl.embedding import colour_of, draw_cells

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FURTHEST = 8.0  # separations beyond are drawn there


def clusters(adata: AnnData, key: str = "scrae_clusters", basis: str | None = None) -> Figure:
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

    Returns
    -------
    The figure, not shown. ``figure.savefig("clusters.png")`` writes it to a file.

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
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    if key not in adata.uns or "tree" not in adata.uns[key] or key not in adata.obs:
        raise ValueError(f"adata.uns[{key!r}] has no clusters: call scrae.tl.cluster(adata) first")
    found = adata.uns[key]
    embedding = f"X_{found['params']['key']}"
    basis = basis or ("X_umap" if "X_umap" in adata.obsm else embedding)
    if basis not in adata.obsm:
        raise ValueError(f"adata.obsm[{basis!r}] is missing; there are: {', '.join(adata.obsm) or 'none'}")
    groups = pd.Categorical(adata.obs[key])
    names = [str(name) for name in groups.categories]
    figure = Figure(figsize=(10.5, max(4.6, 0.24 * len(names) + 1.2)), layout="constrained")
    cells, tree, stability = figure.subplots(1, 3, width_ratios=[2.6, 1.4, 1.0])
    coordinates = np.asarray(adata.obsm[basis])[:, :2]
    draw_cells(cells, coordinates, groups, basis.removeprefix("X_").upper(), legend=False)
    for i, name in enumerate(names):
        middle = np.median(coordinates[groups.codes == i], axis=0)
        text = cells.text(*middle, name, ha="center", va="center", fontweight="bold", fontsize="medium")
        text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    cells.set_title(f"{len(names)} clusters of {adata.n_obs:,} cells")
    _draw_tree(tree, found["tree"], found["clusters"], float(found["params"]["separation"]))
    table = found["clusters"]
    stability.barh(range(len(names)), table["stability"], color=[colour_of(i, len(names)) for i in range(len(names))])
    stability.axvline(0.75, color="0.4", linewidth=0.8, linestyle=":")
    stability.set(xlim=(0, 1), ylim=(len(names) - 0.4, -0.6), yticks=[], xlabel="stability", title="Found again")
    for panel in (tree, stability):
        panel.spines[["top", "right"]].set_visible(False)
    return figure


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
    panel.set_yticks(range(len(table)), [f"{name}  ({n:,})" for name, n in table["n_cells"].items()])
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
