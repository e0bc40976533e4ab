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
    """Draw cells as a scatter plot, one panel for each column, coloured by group.

    Parameters
    ----------
    adata
        Cells with two coordinates in ``obsm[basis]``.
    color
        One or more categorical columns of ``obs``.
    basis
        Coordinates of the cells, an entry of ``obsm``.
    titles
        Titles of the panels; None: the names of the columns.

    Returns
    -------
    The figure, not shown. ``figure.savefig("umap.png")`` writes it to a file.

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> figure = scrae.pl.embedding(adata, "cell_type", basis="X_umap_published")
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
        draw_cells(panel, coordinates, _groups(adata.obs[column]), basis.removeprefix("X_").upper())
        panel.set_title(title)
    return figure


def _groups(column: pd.Series) -> pd.Categorical:
    """The groups of a column in a sensible order: its own if it has one, by number where the names are numbers."""
    groups = pd.Categorical(column)
    names = [str(name) for name in groups.categories]
    if not groups.ordered and all(name.isdecimal() for name in names):
        return groups.reorder_categories(sorted(groups.categories, key=int))
    return groups


def colour_of(group: int, n_groups: int) -> tuple[float, ...]:
    """Colour of one group of so many, red, green and blue from 0 to 1."""
    from matplotlib import colormaps

    colours: list[tuple[float, ...]] = colormaps["tab10" if n_groups <= 10 else "tab20"].colors  # type: ignore[attr-defined]
    return colours[group % len(colours)]


def draw_cells(
    panel: Axes, coordinates: np.ndarray, groups: pd.Categorical, axis_name: str, legend: bool = True
) -> None:
    """Draw cells as points, coloured by group, with a legend beside them unless there is another."""
    names = list(groups.categories)
    colours = [colour_of(i, len(names)) for i in range(len(names))]
    size = float(np.clip(12_000 / len(coordinates), 2.0, 18.0))
    shuffled = np.random.default_rng(0).permutation(
        len(coordinates)
    )  # no group hides another by its place in the table
    codes = groups.codes[shuffled]
    panel.scatter(
        coordinates[shuffled, 0],
        coordinates[shuffled, 1],
        c=[colours[code] if code >= 0 else "0.8" for code in codes],
        s=size,
        linewidths=0,
        rasterized=True,
    )
    panel.set(xticks=[], yticks=[], xlabel=f"{axis_name} 1", ylabel=f"{axis_name} 2")
    panel.spines[["top", "right"]].set_visible(False)
    if not legend:
        return
    handles = [
        panel.scatter([], [], color=colours[i], s=30, linewidths=0, label=str(name)) for i, name in enumerate(names)
    ]
    panel.legend(
        handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small",
        ncols=1 + len(names) // 18,
    )  # fmt: skip
