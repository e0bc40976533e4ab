"""The selection of genes: dropouts against mean expression."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from scrae.pl.canvas import handed_over, new_figure
from scrae.pl.history import ACCENT, HELD_OUT, TRAINING

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES = {"m3drop": "Michaelis-Menten", "danb": "depth-adjusted\nnegative binomial"}


def gene_selection(
    adata: AnnData,
    *,
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
    return_fig: bool | None = None,
) -> Figure | None:
    """Draw the dropout rate of every gene against its mean, with the fitted curve and the selected genes.

    Parameters
    ----------
    adata
        AnnData after :func:`scrae.pp.select_genes` with any method. M3Drop and DANB have a curve; with batches it is a
        point for each gene, the mean over batches. After SCMarker the genes with two or more peaks are marked as well.
    ax, show, save, return_fig
        As for :func:`scrae.pl.embedding`.

    Returns
    -------
    The figure, or None.

    Raises
    ------
    ValueError
        No genes were selected yet.

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> scrae.pp.select_genes(adata, "danb", n_top=200)
    >>> figure = scrae.pl.gene_selection(adata)
    """
    if "scrae_genes" not in adata.uns or "scrae_dropout" not in adata.var:
        raise ValueError('adata.uns["scrae_genes"] is missing: run scrae.pp.select_genes(adata) first')
    record = adata.uns["scrae_genes"]
    table = adata.var[adata.var["scrae_mean"] > 0].sort_values("scrae_mean", kind="stable")
    mean, dropout = table["scrae_mean"].to_numpy(), table["scrae_dropout"].to_numpy()
    figure: Any = new_figure(7.6, 4.2, show) if ax is None else ax.figure
    panel = figure.subplots() if ax is None else ax

    groups = [("genes", np.ones(len(table), dtype=bool), "0.75")]
    if "scrae_multimodal" in table:
        groups.append(("two peaks or more", table["scrae_multimodal"].to_numpy() == 1, TRAINING))
    groups.append(("selected", table["scrae_selected"].to_numpy(dtype=bool), HELD_OUT))
    for name, shown, colour in groups:
        label = f"{name} ({shown.sum():,})"
        panel.scatter(mean[shown], dropout[shown], s=5, color=colour, linewidths=0, label=label, rasterized=True)
    if "scrae_expected_dropout" in table:
        expected = table["scrae_expected_dropout"].to_numpy()
        known = np.isfinite(expected)
        style = {"marker": ".", "markersize": 1.5, "linestyle": ""} if record["batch_key"] else {"linewidth": 1.5}
        panel.plot(mean[known], expected[known], color=ACCENT, label=CURVES[record["method"]], **style)
    batches = f" within {record['batch_key']}" if record["batch_key"] else ""
    unit = "scaled counts" if record["method"] == "m3drop" else "counts"
    panel.set(
        xscale="log", xlabel=f"mean expression ({unit} per cell)",
        ylim=(-0.02, 1.02), ylabel="share of cells without the gene",
        title=f"{record['method']}{batches}: {record['n_selected']:,} genes",
    )  # fmt: skip
    panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small", markerscale=2)
    panel.spines[["top", "right"]].set_visible(False)
    return handed_over(figure, show, save, return_fig)
