"""Pictures that a report has and no other plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from scrae.pl.canvas import as_drawn, new_figure
from scrae.pl.embedding import embedding
from scrae.pl.history import ACCENT, TRAINING
from scrae.tl.profiles import Profiles
from scrae.tl.quality import Quality

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure

MOST_NAMED = 60  # groups with a name in the legend
DRAWN = 3  # genes of each cluster among the dots
WIDE = 20  # the most counts over the fewest, from which on the axis is logarithmic
DOT = 90.0  # area of the dot of a gene that all cells have, in points


def cells(adata: AnnData, column: str | None, basis: str) -> Figure:
    """The cells, coloured by a column; its groups have names beside the picture unless they are very many."""
    many = column is not None and adata.obs[column].nunique() > MOST_NAMED
    title = [f"{column} (too many groups for a legend)"] if many else None
    figure = embedding(adata, column, basis, title, legend_loc="none" if many else "right margin")
    assert figure is not None
    return figure


def quality(found: Quality) -> Figure:
    """How many counts and how many genes the cells have."""
    figure = new_figure(8.6, 2.8)
    panels = figure.subplots(1, 2)
    for panel, values, name in zip(panels, (found.counts, found.genes), ("counts", "genes"), strict=True):
        above = values[values > 0] if (values > 0).any() else np.ones(1)
        low, high = float(above.min()), float(above.max()) * 1.001
        wide = high > WIDE * low
        bins = np.geomspace(low, high, 40) if wide else np.linspace(low, high, 40)
        panel.hist(above, bins=bins.tolist(), color=TRAINING)
        panel.axvline(float(np.median(values)), color="0.3", linewidth=0.9, linestyle=":")
        panel.set(xlabel=f"{name} per cell", ylabel="cells", title=f"{name.capitalize()} of a cell")
        panel.set_xscale("log" if wide else "linear")
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def outliers(score: np.ndarray) -> Figure:
    """How the outlier scores are spread, from -5 to 15; the few beyond are drawn at the ends."""
    figure = new_figure(6.4, 2.8)
    panel = figure.subplots()
    highest = float(np.clip(score.max(), 5, 15))
    panel.hist(np.clip(score, -5, highest), bins=np.linspace(-5, highest, 61).tolist(), color=ACCENT)
    panel.axvline(3.0, color="0.3", linewidth=0.9, linestyle=":")
    name = "outlier score (15: 15 or more)" if score.max() > highest else "outlier score"
    panel.set(yscale="log", xlabel=name, ylabel="cells", xlim=(-5.2, highest + 0.2))
    panel.spines[["top", "right"]].set_visible(False)
    return figure


def dots(
    profiles: Profiles, markers: Sequence[np.ndarray], names: Sequence[str], order: Sequence[int], genes: Sequence[str]
) -> Figure:
    """A dot for each cluster and gene: as large as the share of cells that have it, as dark as its mean there.

    Parameters
    ----------
    profiles
        Of the clusters.
    markers
        Positions of the genes of each cluster.
    names, order
        Names of the clusters, and in which order they stand, from top to bottom.
    genes
        Names of all genes.
    """
    columns = list(dict.fromkeys(int(gene) for i in order for gene in markers[i][:DRAWN]))
    mean = profiles.mean[np.ix_(order, columns)]
    shade = mean / np.maximum(mean.max(0, initial=0), 1e-12)
    share = profiles.detected[np.ix_(order, columns)]
    figure = new_figure(max(5.0, 0.3 * len(columns) + 3.4), max(2.8, 0.3 * len(order) + 1.9))
    panel = figure.subplots()
    x, y = np.meshgrid(np.arange(len(columns)), np.arange(len(order)))
    points = panel.scatter(
        x.ravel(), y.ravel(), s=DOT * share.ravel(), c=shade.ravel(), cmap="Reds", vmin=0, vmax=1, edgecolors="0.5",
        linewidths=0.3,
    )  # fmt: skip
    panel.set_xticks(range(len(columns)), [as_drawn(genes[gene], 20) for gene in columns], rotation=90)
    panel.set_yticks(range(len(order)), [as_drawn(names[i], 30) for i in order])
    panel.set(xlim=(-0.7, len(columns) - 0.3), ylim=(len(order) - 0.3, -0.7))
    panel.spines[["top", "right"]].set_visible(False)
    figure.colorbar(points, ax=panel, shrink=0.7, pad=0.02, label="mean, relative to\nthe highest cluster")
    sizes = [panel.scatter([], [], s=DOT * part, color="0.6", label=f"{part:.0%}") for part in (0.25, 0.5, 1.0)]
    figure.legend(handles=sizes, title="cells with a count", loc="outside upper left", ncols=3, frameon=False,
                  fontsize="small", title_fontsize="small")  # fmt: skip
    return figure
