"""Which genes differ between groups of cells: sizes from the model's means, error rates from permuting the groups.

A denoised mean borrows from all genes of the cell, so a test on it alone asks whether the *cells* of a group differ,
and answers yes for genes whose own counts do not (Andrews and Hemberg 2018, False signals induced by single-cell
imputation). Here a gene has to pass twice, by its denoised means and by its own counts: p is the larger of the two
(an intersection-union test, Berger 1982). Both are tests of a difference of mean logs whose null distribution is that
of the group labels permuted over the cells, by its exact mean and variance and the normal limit (Hoeffding 1951).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.special import ndtr

from scrae._errors import Refusal
from scrae._messages import unknown
from scrae.compute.statistics import ordered, q_values
from scrae.data.cells import read_cells
from scrae.model import SCRAE

if TYPE_CHECKING:
    from anndata import AnnData

CELLS = 2048  # dense in hand at once
SMALLEST = 10  # cells that a group needs, for the normal limit
FLOOR = 1e-2  # counts per cell, added to denoised means before the log: below it a change means nothing
CONSTANT = 1e-12  # variance of the logs at which a gene does not vary


def differential_expression(
    adata: AnnData,
    model: SCRAE,
    groupby: str,
    *,
    groups: Sequence[str] | None = None,
    reference: str = "rest",
    batch_key: str | None = None,
    layer: str | None = None,
) -> pd.DataFrame:
    """Find the genes that differ between groups of cells, such as two conditions.

    A gene is called different only if both its denoised expression and its own counts differ. Denoised expression alone
    borrows from other genes and would find genes whose own counts do not differ.

    Parameters
    ----------
    adata
        Cells x genes with raw counts and the model's genes; nothing is written to it.
    model
        A model that was trained without knowledge of the groups.
    groupby
        Column of ``adata.obs``. The groups must not come from the same counts. Clusters of these cells differ by
        construction, so their p values can rank genes but mean nothing else.
    groups
        The groups to compare with the reference; None: all.
    reference
        A group, or ``"rest"`` for all other cells.
    batch_key
        Column of ``adata.obs`` with batches, such as donors. Groups are compared, and permuted, within batches.
    layer
        Layer with raw counts; None: ``adata.X``.

    Returns
    -------
    DataFrame with a row for each group and gene, sorted by group, then by p value, then by size of the change:

    - ``group``, ``gene``;
    - ``log2fc``: difference of the mean log2 of denoised expression (plus 0.01 counts) at the model's median library
      size, and ``log2fc_error``, its standard deviation when groups are permuted;
    - ``p``, ``q``: two-sided p value, the larger of those of the two tests, and its false discovery rate within the
      group (Benjamini and Hochberg);
    - ``model_p``, ``counts_p``: the p values of the two tests, on denoised expression and on log(1 + counts scaled to
      the median total);
    - ``counts_log2fc``: the difference of the means of these logs of counts;
    - ``mean``, ``reference_mean``: denoised, counts per cell.

    The units of the test are cells, so a difference between donors counts as a difference. With few donors use
    pseudobulk instead.

    Raises
    ------
    ValueError
        There is no such column or group, a group has fewer than 10 cells, or a group shares no batch with the
        reference.

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> model = scrae.SCRAE(max_epochs=3, verbose=False).fit(adata)
    >>> adata.obs["condition"] = ["control", "treated"] * 350
    >>> genes = scrae.tl.differential_expression(adata, model, "condition", groups=["treated"])
    >>> int((genes["q"] <= 0.05).sum())  # the two groups differ in nothing
    0
    """
    cells = read_cells(adata, layer)
    levels, of_cell = np.unique(cells.covariate(groupby).astype(str), return_inverse=True)
    for name in [*(groups or ()), *([] if reference == "rest" else [reference])]:
        if name not in levels:
            raise Refusal(
                unknown("group", str(name), levels, f"adata.obs[{groupby!r}]"),
                "unknown_group",
                group=str(name),
                known=[str(level) for level in levels],
                column=groupby,
            )
    batch = np.zeros(adata.n_obs, dtype=np.int64)
    if batch_key is not None:
        batch = np.unique(cells.covariate(batch_key).astype(str), return_inverse=True)[1]
    genes = [str(i) for i in range(adata.n_vars)] if model.gene_names is None else list(map(str, model.gene_names))
    column = np.arange(adata.n_vars) if model.gene_names is None else cells.positions(genes)
    totals = cells.counts.sum(1)
    scale = np.median(totals) / totals

    by_model = _Sums.none(batch.max() + 1, len(levels), len(genes))
    by_counts = _Sums.none(batch.max() + 1, len(levels), len(genes))
    for start in range(0, adata.n_obs, CELLS):
        part = np.arange(start, min(start + CELLS, adata.n_obs))
        means = model.denoise(adata[part], layer=layer).astype(np.float64)
        by_model.add(batch[part], of_cell[part], means, np.log2(means + FLOOR))
        scaled = cells.counts[part][:, column].toarray() * scale[part, None]
        by_counts.add(batch[part], of_cell[part], scaled, np.log2(scaled + 1))

    tables = []
    for name in groups or [str(level) for level in levels if level != reference]:
        group = int(np.flatnonzero(levels == name)[0])
        others = [i for i, level in enumerate(levels) if i != group and reference in ("rest", str(level))]
        _comparable(by_model.n[:, group], by_model.n[:, others].sum(1), str(name), reference, str(batch_key))
        tables.append(_table(str(name), genes, by_model, by_counts, group, others))
    return pd.concat(tables, ignore_index=True)


@dataclass
class _Sums:
    """Sums over the cells of each batch and group: their number (batches, groups), values, logs, and squares of logs
    (batches, groups, genes)."""

    n: np.ndarray
    values: np.ndarray
    logs: np.ndarray
    squares: np.ndarray

    @classmethod
    def none(cls, *shape: int) -> _Sums:
        return cls(np.zeros(shape[:2]), np.zeros(shape), np.zeros(shape), np.zeros(shape))

    def add(self, batch: np.ndarray, group: np.ndarray, values: np.ndarray, logs: np.ndarray) -> None:
        """Take in cells with their values and logs (n_cells, n_genes)."""
        n_batches, n_groups = self.n.shape
        place = (np.ones(len(batch)), (batch * n_groups + group, np.arange(len(batch))))
        which = sp.csr_array(place, shape=(n_batches * n_groups, len(batch)))
        self.n += which.sum(1).reshape(self.n.shape)
        for total, part in ((self.values, values), (self.logs, logs), (self.squares, logs**2)):
            total += (which @ part).reshape(total.shape)

    def difference(self, group: int, others: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Difference of the mean logs between a group and others, and its standard deviation under permutation.

        Labels are permuted within batches. The sum of the group's logs in a batch has mean n_1 L / n and variance
        n_1 n_2 / (n (n - 1)) (Q - L^2 / n), with L the sum and Q the sum of squares of all n logs; batches count by
        n_1 n_2 / n. Each (n_genes,).
        """
        n_1, n_2 = self.n[:, [group]], self.n[:, others].sum(1, keepdims=True)
        n = n_1 + n_2
        sums = self.logs[:, group] + self.logs[:, others].sum(1)
        squares = self.squares[:, group] + self.squares[:, others].sum(1)
        per_cell, per_pair = 1 / np.maximum(n, 1), 1 / np.maximum(n * (n - 1), 1)
        excess = (self.logs[:, group] - n_1 * per_cell * sums).sum(0)
        spread = np.maximum(squares - per_cell * sums**2, 0.0)
        variance = (n_1 * n_2 * per_pair * spread).sum(0)
        weight = float((n_1 * n_2 * per_cell).sum())
        variance[spread.sum(0) <= CONSTANT * n.sum()] = 0.0
        return excess / weight, np.sqrt(variance) / weight

    def mean(self, groups: list[int]) -> np.ndarray:
        """Mean value over the cells of some groups, (n_genes,)."""
        return np.asarray(self.values[:, groups].sum((0, 1)) / self.n[:, groups].sum())


def _table(
    name: str, genes: list[str], by_model: _Sums, by_counts: _Sums, group: int, others: list[int]
) -> pd.DataFrame:
    change, error = by_model.difference(group, others)
    counts_change, counts_error = by_counts.difference(group, others)
    model_p, counts_p = _two_sided(change, error), _two_sided(counts_change, counts_error)
    p = np.maximum(model_p, counts_p)
    columns = {
        "group": name,
        "gene": genes,
        "log2fc": change,
        "log2fc_error": error,
        "p": p,
        "q": q_values(p),
        "model_p": model_p,
        "counts_p": counts_p,
        "counts_log2fc": counts_change,
        "mean": by_model.mean([group]),
        "reference_mean": by_model.mean(others),
    }
    return pd.DataFrame(columns).iloc[ordered(p, -np.abs(change))]


def _two_sided(change: np.ndarray, error: np.ndarray) -> np.ndarray:
    """p of a normal test; 1 where nothing varies."""
    z = np.divide(np.abs(change), error, out=np.zeros_like(change), where=error > 0)
    return np.asarray(2 * ndtr(-z))


def _comparable(n_group: np.ndarray, n_others: np.ndarray, name: str, reference: str, batch_key: str) -> None:
    other = "the other cells" if reference == "rest" else f"group {reference!r}"
    rest = None if reference == "rest" else reference
    for n, what, of in ((n_group.sum(), f"group {name!r}", name), (n_others.sum(), other, rest)):
        if n < SMALLEST:
            raise Refusal(
                f"{what}: {n:.0f} cell(s); {SMALLEST} or more are needed to compare with any confidence",
                "small_group",
                group=of,
                n=int(n),
                least=SMALLEST,
            )
    if not (n_group * n_others).any():
        raise Refusal(
            f"group {name!r} and {other} share no batch of adata.obs[{batch_key!r}]: what differs between them cannot "
            "be told from what differs between batches. Without batches they are compared all the same.",
            "no_batch_shared",
            group=name,
            reference=rest,
            column=batch_key,
        )
