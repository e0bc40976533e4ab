"""Pictures as their readers see them: what stands in a figure, and that its file shows it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image


def assert_file_shows(path: Path, figure: Figure, dpi: int, colours: Iterable[Any]) -> None:
    """The file has the figure's size in pixels, is white at its rim, and has each of these colours in it."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    width, height = figure.get_size_inches() * dpi
    assert pixels.shape[:2] == pytest.approx((height, width), abs=1)
    assert (pixels[[0, -1]] == 255).all()
    for colour in colours:
        wanted = np.rint(255 * np.array(to_rgb(colour)))
        assert wanted.min() < 230, "the paper is white, too"
        away = np.abs(pixels - wanted).max(axis=2)
        assert (away <= 8).sum() >= 4, f"nothing in {path.name} is {colour}"


def legend_of(part: Axes | Figure) -> list[str]:
    """The words of a legend."""
    legend = part.get_legend() if isinstance(part, Axes) else part.legends[0]
    return [text.get_text() for text in legend.get_texts()]


def ticks_of(axis: Any) -> list[str]:
    """The words at the ticks of an axis."""
    return [label.get_text() for label in axis.get_ticklabels()]
