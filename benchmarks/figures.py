"""Figures as the repository keeps them: PNGs of a third of the bytes, which look the same."""

from __future__ import annotations

from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

COLOURS = 256


def save(figure: Figure, path: Path, dpi: int = 110) -> None:
    """Write a figure in few colours and close it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
    plt.close(figure)
    with Image.open(path) as image:
        few = image.convert("RGB").quantize(COLOURS)
    few.save(path, optimize=True)
