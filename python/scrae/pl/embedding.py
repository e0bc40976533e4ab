"""Two-dimensional pictures of an embedding."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scrae._messages import unknown
from scrae.pl.canvas import as_drawn, handed_over, new_figure
from scrae.pl.colours import MISSING, colours_of_groups, in_order
from scrae.tl.expression import log_expression_of_genes

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = 4.3  # inches of a panel, without its legend
ROWS = 18  # of a legend, from which on it has another column
LEGENDS = ("right margin", "on data", "none")


def embedding(
    adata: AnnData,
    color: str | Sequence[str] | None = None,
    basis: str = "X_umap",
    titles: Sequence[str] | None = None,
    *,
    genes: str | Sequence[str] | None = None,
    layer: str | None = None,
    legend_loc: str | None = "right margin",
    color_map: str = "viridis",
    ncols: int = 4,
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
    return_fig: bool | None = None,
) -> Figure | None:
    """Draw cells as a scatter plot, one panel for each column or gene.

    Columns of categories or text are drawn by group, and columns of numbers and genes with a colour bar. Colours of
    groups are those in ``adata.uns[column + "_colors"]``, where scanpy keeps them as well; where there are none, those
    of scanpy's palettes are taken and kept there.

    Parameters
    ----------
    adata
        Cells with two coordinates in ``obsm[basis]``.
    color
        One or more columns of ``obs``, or names of genes; None: all cells in one colour.
    basis
        Coordinates of the cells, an entry of ``obsm``; ``"umap"`` means ``"X_umap"``.
    titles
        Titles of the panels; None: the names of the columns and genes.
    genes
        Genes whose expression is drawn in further panels.
    layer
        Where their expression is; None: ``adata.X``. Raw counts are scaled to the median total and logged.
    legend_loc
        ``"right margin"``, ``"on data"`` (the name of each group at its median) or ``"none"``.
    color_map
        Of matplotlib, for numbers.
    ncols
        Panels in a row.
    ax
        Axes to draw a single panel into; None: a new figure.
    show
        Show the figure, as ``matplotlib.pyplot.show()`` does.
    save
        File to write it to as well.
    return_fig
        Whether the figure is returned; None: unless it is shown.

    Returns
    -------
    The figure, or None.

    Raises
    ------
    ValueError
        No such column, gene, coordinates or place of the legend; or an ``ax`` for several panels.

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> figure = scrae.pl.embedding(adata, "cell_type", "X_umap_published", genes=["CD79A", "NKG7"])
    >>> len([panel for panel in figure.axes if panel.get_title()])
    3
    """
    basis = basis_of(adata, basis)
    if legend_loc not in (*LEGENDS, None):
        raise ValueError(f"legend_loc={legend_loc!r} is none of {', '.join(map(repr, LEGENDS))}")
    coordinates = np.asarray(adata.obsm[basis])[:, :2]
    panels = _panels(adata, color, genes, layer)
    if ax is not None and len(panels) != 1:
        raise ValueError(f"ax takes one panel, and {len(panels)} are asked for: leave ax out, or ask for one")
    if titles is not None and len(titles) != len(panels):
        raise ValueError(f"there are {len(titles)} titles for {len(panels)} panel(s)")
    n_columns = max(1, min(ncols, len(panels)))
    n_rows = -(-len(panels) // n_columns)
    figure: Any = ax.figure if ax is not None else new_figure(PANEL * n_columns, PANEL * n_rows, show)
    axes = np.array([ax]) if ax is not None else figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    legends = []
    for panel, (_, values), title in zip(axes, panels, titles or [name for name, _ in panels], strict=False):
        _draw_panel(panel, coordinates, values, basis, color_map)
        if isinstance(values, Mapping) and legend_loc == "on data":
            name_groups(panel, coordinates, values["groups"])
        elif isinstance(values, Mapping) and legend_loc == "right margin":
            legends.append(_legend(panel, values["colours"]))
        panel.set_title(as_drawn(title))
    for panel in axes[len(panels) :]:
        panel.set_axis_off()
    if ax is None and legends:
        _make_room(figure, n_columns, n_rows, legends)
    return handed_over(figure, show, save, return_fig)


def basis_of(adata: AnnData, basis: str) -> str:
    """Name in ``obsm`` of the coordinates: ``"umap"`` means ``"X_umap"``. A missing UMAP says how to get one.

    Raises
    ------
    ValueError
        There are no such coordinates.
    """
    for name in (basis, f"X_{basis}"):
        if name in adata.obsm:
            return name
    how = ""
    if basis.removeprefix("X_") == "umap":
        how = '. A UMAP of the embedding: sc.pp.neighbors(adata, use_rep="X_scrae"), then sc.tl.umap(adata)'
    raise ValueError(f"adata.obsm[{basis!r}] is missing; there are: {', '.join(adata.obsm) or 'none'}{how}")


def _panels(
    adata: AnnData, color: str | Sequence[str] | None, genes: str | Sequence[str] | None, layer: str | None
) -> list[tuple[str, Any]]:
    """Title and content of each panel: groups with their colours, numbers, or None for cells in one colour."""
    columns = [] if color is None else [color] if isinstance(color, str) else list(color)
    wanted = [] if genes is None else [genes] if isinstance(genes, str) else list(genes)
    if not columns and not wanted:
        return [("", None)]
    for name in columns:
        if name not in adata.obs and name not in adata.var_names:
            raise ValueError(f"adata.obs[{name!r}] is missing, and no gene has that name")
    for name in wanted:
        if name not in adata.var_names:
            raise ValueError(unknown("gene", name, adata.var_names, "adata.var_names"))
    of_genes = [*(name for name in columns if name not in adata.obs), *wanted]
    expression = {}
    if of_genes:
        found = log_expression_of_genes(adata, layer, adata.var_names.get_indexer(pd.Index(of_genes)))
        expression = dict(zip(of_genes, found.T, strict=True))
    drawn = [(name, _values(adata, name) if name in adata.obs else expression[name]) for name in columns]
    return drawn + [(name, expression[name]) for name in wanted]


def _values(adata: AnnData, column: str) -> Any:
    """Numbers of a column, or its groups with their colours."""
    values = adata.obs[column]
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values.to_numpy(dtype=float, na_value=np.nan)
    groups = in_order(values)
    return {"groups": groups, "colours": colours_of_groups(adata, column)}


def _draw_panel(panel: Axes, coordinates: np.ndarray, values: Any, basis: str, color_map: str) -> None:
    axis_name = basis.removeprefix("X_").upper()
    if values is None:
        draw_cells(panel, coordinates, np.full(len(coordinates), "#5b6573", dtype=object), axis_name)
    elif isinstance(values, Mapping):
        draw_cells(panel, coordinates, colours_of_cells(values["groups"], values["colours"]), axis_name)
    else:
        points = draw_cells(panel, coordinates, values, axis_name, color_map)
        panel.figure.colorbar(points, ax=panel, shrink=0.7, pad=0.02)


def colours_of_cells(groups: pd.Categorical, colours: Mapping[str, str]) -> np.ndarray:
    """Colour of each cell by its group, (n_cells,)."""
    of_groups = [colours[str(name)] for name in groups.categories]
    result: np.ndarray = np.array([*of_groups, MISSING], dtype=object)[groups.codes]
    return result


def draw_cells(
    panel: Axes, coordinates: np.ndarray, colours: np.ndarray, axis_name: str, color_map: str | None = None
) -> Any:
    """Draw cells as points in their colours, or with numbers on a ``color_map``, high ones and known ones on top."""
    size = float(np.clip(12_000 / max(len(coordinates), 1), 2.0, 18.0))
    there = np.isfinite(coordinates).all(1)
    # No group hides another by its place in the table.
    order = np.random.default_rng(0).permutation(len(coordinates))
    order = order[there[order]]
    x, y = coordinates.T
    if color_map is None:
        points = panel.scatter(x[order], y[order], c=list(colours[order]), s=size, linewidths=0, rasterized=True)
    else:
        missing = order[np.isnan(colours[order])]
        panel.scatter(x[missing], y[missing], c=MISSING, s=size, linewidths=0, rasterized=True)
        order = order[~np.isnan(colours[order])]
        order = order[np.argsort(colours[order], kind="stable")]
        points = panel.scatter(
            x[order], y[order], c=colours[order], s=size, linewidths=0, rasterized=True, cmap=color_map
        )
    panel.set(xticks=[], yticks=[], xlabel=f"{axis_name} 1", ylabel=f"{axis_name} 2")
    panel.spines[["top", "right"]].set_visible(False)
    return points


def name_groups(panel: Axes, coordinates: np.ndarray, groups: pd.Categorical) -> None:
    """Write the name of each group at the median of its cells."""
    from matplotlib.patheffects import withStroke

    there = np.isfinite(coordinates).all(1)
    for code, name in enumerate(groups.categories):
        cells = (groups.codes == code) & there
        if cells.any():
            x, y = np.median(coordinates[cells], axis=0)
            text = panel.text(x, y, as_drawn(name), ha="center", va="center", fontweight="bold", fontsize="medium")
            text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _legend(panel: Axes, colours: Mapping[str, str]) -> Any:
    """The groups and their colours beside the panel."""
    handles = [panel.scatter([], [], color=colour, s=30, linewidths=0) for colour in colours.values()]
    legend = panel.legend(
        handles, ["x"] * len(handles), loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small",
        ncols=1 + (len(handles) - 1) // ROWS,
    )  # fmt: skip
    for text, name in zip(legend.get_texts(), colours, strict=True):
        text.set_text(as_drawn(name))  # here, since matplotlib leaves out names that begin with "_"
    return legend


def _make_room(figure: Figure, n_columns: int, n_rows: int, legends: list[Any]) -> None:
    """Make the figure so much wider and higher that legends take nothing from the panels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = figure.canvas if hasattr(figure.canvas, "get_renderer") else FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    sizes = [legend.get_window_extent(renderer) for legend in legends]
    width = max(size.width for size in sizes) / figure.dpi
    height = max(size.height for size in sizes) / figure.dpi
    figure.set_size_inches(n_columns * (PANEL + width), n_rows * max(PANEL, height + 0.8))
