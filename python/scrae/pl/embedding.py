"""Two-dimensional pictures of an embedding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def embedding(
    adata: AnnData, color: str | Sequence[str], basis: str = "X_umap", titles: Sequence[str] | None = None
) -> Figure:
    """Scatter plots of cells, one panel per column, with the group names on the groups.

    Parameters
    ----------
    adata
        Cells with two coordinates in ``obsm[basis]``.
    color
        One or more categorical columns of ``obs``.
    basis
        Which coordinates.
    titles
        Titles of the panels; None: the columns' names.

    Returns
    -------
    The figure, not shown; ``figure.savefig("umap.png")`` writes it.
    """
    from matplotlib.figure import Figure

    columns = [color] if isinstance(color, str) else list(color)
    if basis not in adata.obsm:
        raise ValueError(f"adata.obsm[{basis!r}] is missing; there are: {', '.join(adata.obsm) or 'none'}")
    figure = Figure(figsize=(5.4 * len(columns), 4.6), layout="constrained")
    panels = figure.subplots(1, len(columns), squeeze=False)[0]
    coordinates = np.asarray(adata.obsm[basis])[:, :2]
    for panel, column, title in zip(panels, columns, titles or columns, strict=True):
        if column not in adata.obs:
            raise ValueError(f"adata.obs[{column!r}] is missing")
        _panel(panel, coordinates, _groups(adata.obs[column]), basis.removeprefix("X_").upper())
        panel.set_title(title)
    return figure


def _groups(column: pd.Series) -> pd.Categorical:
    """The groups of a column in a sensible order: its own if it has one, by number where the names are numbers."""
    groups = pd.Categorical(column)
    names = [str(name) for name in groups.categories]
    if not groups.ordered and all(name.isdecimal() for name in names):
        return groups.reorder_categories(sorted(groups.categories, key=int))
    return groups


def _panel(panel: Axes, coordinates: np.ndarray, groups: pd.Categorical, axis_name: str) -> None:
    from matplotlib import colormaps

    names = list(groups.categories)
    colours = colormaps["tab10" if len(names) <= 10 else "tab20"].colors  # type: ignore[attr-defined]
    size = float(np.clip(12_000 / len(coordinates), 2.0, 18.0))
    shuffled = np.random.default_rng(0).permutation(
        len(coordinates)
    )  # no group hides another by its place in the table
    codes = groups.codes[shuffled]
    panel.scatter(
        coordinates[shuffled, 0],
        coordinates[shuffled, 1],
        c=[colours[code % len(colours)] if code >= 0 else "0.8" for code in codes],
        s=size,
        linewidths=0,
        rasterized=True,
    )
    handles = [
        panel.scatter([], [], color=colours[i % len(colours)], s=30, linewidths=0, label=str(name))
        for i, name in enumerate(names)
    ]
    panel.legend(
        handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small",
        ncols=1 + len(names) // 18,
    )  # fmt: skip
    panel.set(xticks=[], yticks=[], xlabel=f"{axis_name} 1", ylabel=f"{axis_name} 2")
    panel.spines[["top", "right"]].set_visible(False)
