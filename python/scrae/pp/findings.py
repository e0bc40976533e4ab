"""What a method of gene selection says of the genes, and how what it says of several batches is combined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scrae.compute.statistics import q_values


@dataclass(frozen=True)
class Findings:
    """What a method says of the ``n`` genes it was given.

    Attributes
    ----------
    order
        Positions of the genes it ranks, best first; a method that gives a set ranks the set alone.
    columns
        One value per gene, by name: ``statistic``, ``effect``, ``p``, ``q``, ``expected_dropout``, ``mean``, ...
    fit
        What was fitted over all genes, by name; with batches one value for each.
    """

    order: np.ndarray
    columns: Mapping[str, np.ndarray]
    fit: Mapping[str, Any] = field(default_factory=dict)


def tested(z: np.ndarray, effect: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of a one-sided normal test: ``statistic`` z, ``effect``, ``p`` and ``q``."""
    from scipy.special import ndtr

    p = ndtr(-z)
    return {"statistic": z, "effect": effect, "p": p, "q": q_values(p)}


def combined(per_batch: list[tuple[np.ndarray, int, Findings]], n_genes: int, n_top: int) -> Findings:
    """Combine what was found in each batch.

    Genes are ordered by the number of batches in which they are among the first ``n_top``, ties by the median of their
    ranks in those batches, as scanpy does for ``flavor="seurat_v3_paper"`` (after Stuart et al. 2019), and further ties
    by the median of their ranks in all batches that rank them. p values of independent batches are combined by
    Fisher's method, q values follow from them; other columns are the median over the batches, and the expected rate
    of dropouts the mean weighted by cells.

    Parameters
    ----------
    per_batch
        For each batch: positions of the genes it was searched for, its number of cells, and what was found.
    n_genes
        Number of genes in all.
    n_top
        How many genes are to be selected.
    """
    ranks = np.full((len(per_batch), n_genes), np.nan)
    for row, (genes, _, findings) in zip(ranks, per_batch, strict=True):
        row[genes[findings.order]] = np.arange(1, len(findings.order) + 1)
    among_first = ranks <= n_top
    times = among_first.sum(0)
    median_rank = _median(np.where(among_first, ranks, np.nan))
    median_everywhere = _median(ranks)
    order = np.lexsort((median_everywhere, median_rank, -times))  # missing values sort last
    order = order[np.isfinite(median_everywhere[order])]

    columns = {"n_batches": times.astype(float)}
    for name in per_batch[0][2].columns:
        values = np.full((len(per_batch), n_genes), np.nan)
        for row, (genes, _, findings) in zip(values, per_batch, strict=True):
            row[genes] = findings.columns[name]
        if name == "p":
            columns["p"] = _fisher(values)
            columns["q"] = q_values(columns["p"])
        elif name == "expected_dropout":
            cells = np.array([n for _, n, _ in per_batch], dtype=float)
            columns[name] = cells @ np.nan_to_num(values, nan=1.0) / cells.sum()  # not seen in a batch: all dropouts
        elif name in ("multimodal", "compared"):
            columns[name] = np.nanmax(values, axis=0)  # in any batch
        elif name != "q":
            columns[name] = _median(values)
    return Findings(order, columns)


def _median(values: np.ndarray) -> np.ndarray:
    """Median of each column over what is not missing; missing where all is."""
    ascending = np.sort(values, axis=0)  # missing values go last
    number = np.isfinite(ascending).sum(0) + np.isinf(ascending).sum(0)
    last = len(values) - 1
    low, high = np.clip((number - 1) // 2, 0, last), np.clip(number // 2, 0, last)
    middle = np.take_along_axis(ascending, np.stack([low, high]), axis=0)
    return np.asarray(np.where(number > 0, (middle[0] + middle[1]) / 2, np.nan))


def _fisher(p: np.ndarray) -> np.ndarray:
    """Fisher's combined p value of each column, over the batches that tested the gene."""
    from scipy.special import chdtrc  # what scipy.stats takes for it; that takes a second to import

    found = np.isfinite(p)
    with np.errstate(divide="ignore"):
        evidence = np.where(found, -2 * np.log(np.where(found, p, 1.0)), 0.0).sum(0)
    number = found.sum(0)
    return np.asarray(np.where(number > 0, chdtrc(2 * np.maximum(number, 1), evidence), np.nan))
