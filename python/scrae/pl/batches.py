"""Batches in one picture: how they mix before and after, in each group of cells, and what each group is made of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scrae.pl.canvas import as_drawn, handed_over, new_figure

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEFORE, AFTER = "0.65", "#0072B2"
NAMES = {
    "variance": "variance of batches",
    "variance_within": "the same within groups",
    "mixing": "mixing within groups",
    "kbet": "kBET",
    "connectivity": "connectivity",
    "groups_kept": "a batch's own groups kept",
}


def batches(
    adata: AnnData,
    key: str = "scrae_batches",
    *,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
    return_fig: bool | None = None,
) -> Figure | None:
    """Draw the report of :func:`scrae.tl.batch_report`: its measures, and the mixing within each group.

    Parameters
    ----------
    adata
        Cells with a report.
    key
        Its name in ``adata.uns``.
    show, save, return_fig
        As for :func:`scrae.pl.embedding`.

    Returns
    -------
    The figure, or None.

    Raises
    ------
    ValueError
        There is no report of that name.

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> adata.obs["donor"] = ["A", "B"] * 350
    >>> scrae.tl.scrae(adata, max_epochs=3, batch_key="donor", verbose=False)
    >>> report = scrae.tl.batch_report(adata, "donor")
    >>> figure = scrae.pl.batches(adata)
    """
    if key not in adata.uns or "measures" not in adata.uns[key]:
        raise ValueError(f"adata.uns[{key!r}] has no report: call scrae.tl.batch_report(adata, batch_key) first")
    return handed_over(drawn_report(adata.uns[key], show), show, save, return_fig)


def drawn_report(report: Mapping[str, Any], show: bool = False) -> Figure:
    """The same of a report in hand."""
    measures, groups = report["measures"], report["groups"]
    figure = new_figure(10.5, max(3.6, 0.28 * max(len(measures), len(groups)) + 1.6), show)
    left, right = figure.subplots(1, 2, width_ratios=[1.2, 1.0])
    _draw(left, measures["before"], measures["after"], [name_of_measure(name) for name in measures.index])
    left.set_title(f"Batches: {as_drawn(report['params']['batch_key'])}")
    after = groups["mixing_after"] if "mixing_after" in groups else pd.Series(np.nan, index=groups.index)
    labels = [
        f"{as_drawn(name, 20)}  ({n:,})" + (f", {as_drawn(alone, 20)} alone" if alone else "")
        for name, n, alone in zip(groups.index, groups["n_cells"], groups["alone"], strict=True)
    ]
    _draw(right, groups["mixing_before"], after, labels)
    right.axvline(1.0, color="0.4", linewidth=0.8, linestyle=":")
    right.set_title("Mixing within each group (1: random)")
    handles = [left.plot([], [], "o", color=colour)[0] for colour in (BEFORE, AFTER)]
    shown = ["before: principal components", "after: the embedding"]
    n_shown = 2 if measures["after"].notna().any() else 1
    figure.legend(handles[:n_shown], shown[:n_shown], loc="outside lower center", ncols=2, frameon=False)
    return figure


def name_of_measure(measure: str) -> str:
    """What a measure is called where it is shown."""
    return NAMES.get(measure, as_drawn(measure))


def _draw(panel: Axes, before: pd.Series, after: pd.Series, labels: list[str]) -> None:
    """A line from before to after in each row."""
    rows = np.arange(len(labels))
    panel.hlines(rows, before, after.fillna(before), color="0.85", linewidth=2, zorder=1)
    panel.plot(before, rows, "o", color=BEFORE)
    panel.plot(after, rows, "o", color=AFTER)
    panel.set(ylim=(len(labels) - 0.4, -0.6), xlim=(-0.03, max(1.05, *before.fillna(0), *after.fillna(0)) + 0.03))
    panel.set_yticks(rows, labels)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.tick_params(axis="y", length=0)
