"""Results as Markdown tables: means over seeds, and their spread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd


def mean_and_spread(values: pd.Series) -> str:
    """Mean and standard deviation over seeds."""
    return f"{values.mean():.3f}" + (f" ± {values.std():.3f}" if len(values) > 1 else "")


def mean_and_spread_of_known(values: pd.Series) -> str | None:
    """The same of those that are not missing; None: all are."""
    known = values.dropna()
    if np.isinf(known).any():
        return "infinite"
    return mean_and_spread(known) if len(known) else None


def in_common(results: pd.DataFrame, by: str) -> pd.DataFrame:
    """Rows of the data sets that all of the results' values of ``by`` have: methods, or presets."""
    number = results.groupby("dataset")[by].transform("nunique")
    return results[number == results[by].nunique()]


def markdown(cells: pd.DataFrame, corner: str) -> str:
    """A table of text as Markdown, missing cells as a dash."""
    rows = [[corner, *map(str, cells.columns)], ["---"] * (cells.shape[1] + 1)]
    rows += [[name, *row] for name, row in zip(cells.index, cells.fillna("-").to_numpy(), strict=True)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def by_method(results: pd.DataFrame, by: str | pd.Series, scores: Sequence[str], with_empty: bool = False) -> str:
    """A table for each ``by``: methods by scores, over seeds; with those that no method has, or without."""
    parts = []
    for name, rows in results.groupby(by, sort=False):
        shown = [score for score in scores if with_empty or rows[score].notna().any()]
        cells = rows.groupby("method", sort=False)[shown].agg(mean_and_spread_of_known)
        parts.append(markdown(cells, str(name)))
    return "\n\n".join(parts)


def by_dataset(results: pd.DataFrame, score: str, title: str) -> str:
    """Data sets by methods, over seeds, with the mean over data sets."""
    text = results.groupby(["dataset", "method"])[score].agg(mean_and_spread).unstack("method")
    means = results.groupby(["method", "dataset"])[score].mean().groupby("method").mean()
    text.loc["**mean**"] = means.map("{:.3f}".format)
    return markdown(text, title)


def publish(text: str, path: Path | None) -> None:
    """Print a text, and write it where a path is given."""
    print(text)
    if path is not None:
        path.write_text(text + "\n")
