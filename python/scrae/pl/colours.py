"""Colours of groups: those that an object holds for them, or scanpy's, and never one colour for two groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from anndata import AnnData

MISSING = "#cccccc"  # cells of no group, or without a value


def palette(n_groups: int) -> list[str]:
    """Colours for so many groups, as ``"#rrggbb"``.

    Those that scanpy takes: matplotlib's cycle, or else scanpy's own for up to 102 groups. Hues in even steps for more.
    """
    from matplotlib import rcParams
    from matplotlib.colors import hsv_to_rgb, to_hex
    from scanpy.plotting import palettes

    cycle = list(dict.fromkeys(map(to_hex, rcParams["axes.prop_cycle"].by_key().get("color", []))))
    for known in (cycle, palettes.default_20, palettes.default_28, palettes.default_102):
        if n_groups <= len(known):
            return [to_hex(colour) for colour in known[:n_groups]]
    group = np.arange(n_groups)
    shades = [0.95, 0.7, 0.5]  # neighbours differ in more than hue
    made = np.column_stack([group / n_groups, np.take([0.9, 0.6], group % 2), np.take(shades, group % 3)])
    return [to_hex(colour) for colour in hsv_to_rgb(made)]


def in_order(column: pd.Series) -> pd.Categorical:
    """The groups of a column in a sensible order: its own if it has one, by number where the names are numbers."""
    groups = pd.Categorical(column)
    names = [str(name) for name in groups.categories]
    if not groups.ordered and all(name.isdecimal() for name in names):
        return groups.reorder_categories(sorted(groups.categories, key=int))
    return groups


def colours_of_groups(adata: AnnData, column: str) -> dict[str, str]:
    """Colour of each group of a column of ``obs``, by its name, in the order of :func:`in_order`.

    Those in ``uns[column + "_colors"]`` if they are enough, as scanpy has them: in the order of the categories.
    Otherwise those of :func:`palette`, which are kept there where the column has categories.
    """
    from matplotlib.colors import is_color_like, to_hex

    groups = in_order(adata.obs[column])
    shown = [str(name) for name in groups.categories]
    kept = isinstance(adata.obs[column].dtype, pd.CategoricalDtype)
    stored = [str(name) for name in adata.obs[column].cat.categories] if kept else shown
    there = adata.uns.get(f"{column}_colors")
    known = [] if there is None or isinstance(there, (str, dict)) else [str(colour) for colour in there]
    if len(known) >= len(stored) and all(map(is_color_like, known)):
        colours = dict(zip(stored, (to_hex(colour) for colour in known), strict=False))
        return {name: colours[name] for name in shown}
    made = palette(len(stored))
    if kept:
        adata.uns[f"{column}_colors"] = made
    colours = dict(zip(stored, made, strict=True))
    return {name: colours[name] for name in shown}
