"""Figures as all plots make and hand them over: shown, saved and returned as in scanpy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST = 40  # letters of a name that are drawn
DPI = 150  # of files


def new_figure(width: float, height: float, show: bool = False) -> Figure:
    """A figure of so many inches; where it is to be shown, one that pyplot knows."""
    if show:
        from matplotlib import pyplot

        return pyplot.figure(figsize=(width, height), layout="constrained")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def handed_over(
    figure: Figure, show: bool, save: str | os.PathLike[str] | None, return_fig: bool | None
) -> Figure | None:
    """Save and show the figure; it is returned unless it was shown, or as ``return_fig`` says."""
    if save is not None:
        figure.savefig(save, dpi=DPI)
    if show:
        from matplotlib import pyplot

        pyplot.show()
    return figure if (not show if return_fig is None else return_fig) else None


def as_drawn(text: object, longest: int = LONGEST) -> str:
    """A name as matplotlib has to be given it: no part of it is taken for a formula, and it has an end."""
    shown = str(text)
    shown = shown if len(shown) <= longest else shown[: longest - 1] + "…"
    return shown.replace("$", r"\$")
