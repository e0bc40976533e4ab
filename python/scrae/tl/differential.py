"""Which genes differ between groups of cells: sizes from the model's means, error rates from permuting the groups.

Where cells are from several donors and the question is one of conditions, donors are the units, and the test is that of
:mod:`scrae.tl.pseudobulk`. What follows is about cells.

A denoised mean borrows from all genes of the cell, so a test on it alone asks whether the *cells* of a group differ,
and answers yes for genes whose own counts do not (Andrews and Hemberg 2018, False signals induced by single-cell
imputation). Here a gene has to pass twice, by its denoised means and by its own counts: p is the larger of the two
(an intersection-union test, Berger 1982). Both are tests of a difference of mean logs whose null distribution is that
of the group labels permuted over the cells, by its exact mean and variance and the normal limit (Hoeffding 1951).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.special import ndtr

from scrae._errors import Notice, Refusal
from scrae._messages import first_few, some, unknown
from scrae.compute.statistics import ordered, q_values
from scrae.data.cells import Cells, read_cells
from scrae.model import SCRAE
from scrae.model.expression import denoise
from scrae.model.new_levels import warn_of_new_levels
from scrae.tl.pseudobulk import SMALLEST, Comparison, by_samples
from scrae.tl.ranked_genes import refuse_foreign, write_ranked_genes

if TYPE_CHECKING:
    from anndata import AnnData

CELLS = 2048  # dense in hand at once
FLOOR = 1e-2  # counts per cell, added to denoised means before the log: below it a change means nothing
CONSTANT = 1e-12  # variance of the logs at which a gene does not vary


def differential_expression(
    adata: AnnData,
    model: SCRAE | None,
    groupby: str,
    *,
    groups: Sequence[str] | None = None,
    reference: str = "rest",
    batch_key: str | None = None,
    sample_key: str | None = None,
    layer: str | None = None,
    key_added: str | None = None,
) -> pd.DataFrame:
    """Find the genes that differ between groups of cells, such as two conditions.

    A gene is called different only if both its denoised expression and its own counts differ. Denoised expression alone
    borrows from other genes and would find genes whose own counts do not differ.

    With ``sample_key`` donors are compared and not cells, which is the test between conditions.

    Parameters
    ----------
    adata
        Cells x genes with raw counts and the model's genes.
    model
        Trained without knowledge of the groups; not used with ``sample_key``, where it may be None.
    groupby
        Column of ``adata.obs``. The groups must not come from the same counts. Clusters of these cells differ by
        construction, so their p values can rank genes but mean nothing else.
    groups
        The groups to compare with the reference; None: all.
    reference
        A group, or ``"rest"`` for all other cells.
    batch_key
        Column of ``adata.obs`` with batches, such as donors. Groups are compared, and permuted, within batches. With
        ``sample_key`` it is a term of the design, and each sample is of one batch.
    sample_key
        Column of ``adata.obs`` with donors or other replicates. Raw counts are summed over the cells of each donor in
        each group, and donors are compared (pseudobulk, by pydeseq2): the test between conditions. See
        :mod:`scrae.tl.pseudobulk`.
    layer
        Layer with raw counts; None: ``adata.X``.
    key_added
        Where to write the table in ``adata.uns`` as ``scanpy.tl.rank_genes_groups`` lays it out
        (``"rank_genes_groups"``, say), for ``sc.get.rank_genes_groups_df`` and scanpy's plots; None: nowhere, and
        nothing is written to ``adata``.

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
    - ``mean``, ``reference_mean``: denoised, counts per cell;
    - ``detected``, ``reference_detected``: shares of the cells with a count of the gene.

    The units of the test are cells, so a difference between donors counts as a difference. With ``sample_key`` donors
    are the units. Then the rows are those genes of ``adata`` that have enough counts to be tested, and the columns are
    ``group``, ``gene``, ``log2fc``, ``log2fc_error``, ``p``, ``q``, ``mean`` and ``reference_mean`` (counts per million
    of the summed profiles), ``detected``, ``reference_detected``, ``samples`` and ``reference_samples`` (how many were
    compared).

    Groups that cannot be compared (fewer than 10 cells, no batch in common with the reference, fewer than two donors)
    are left out, with a warning.

    Raises
    ------
    ValueError
        No such column or group, no group that can be compared, or something else under ``key_added``.
    ModuleNotFoundError
        ``sample_key`` without pydeseq2.

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
    if key_added is not None:
        refuse_foreign(adata, key_added)
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
    names = [str(name) for name in groups or [level for level in levels if level != reference]]
    compare = (
        _by_cells(adata, cells, model, layer, of_cell, len(levels), batch_key)
        if sample_key is None
        else by_samples(cells, of_cell, sample_key, batch_key)
    )
    tables, refused = [], {}
    for name in names:
        group = int(np.flatnonzero(levels == name)[0])
        others = [i for i, level in enumerate(levels) if i != group and reference in ("rest", str(level))]
        try:
            tables.append(compare(name, reference, group, others))
        except Refusal as refusal:
            refused[name] = refusal
    first = next(iter(refused.values()), None)
    if first is not None and not tables:
        raise first
    if first is not None:
        warnings.warn(
            Notice(
                f"{len(refused):,} of {len(names):,} groups cannot be compared and are left out ({some(refused)}); the "
                f"first: {first}",
                "groups_left_out",
                n=len(refused),
                n_groups=len(names),
                names=first_few(refused),
                why={"code": first.code, "fields": first.fields},
            ),
            stacklevel=2,
        )
    table = pd.concat(tables, ignore_index=True)
    if key_added is not None:
        params = {"groupby": groupby, "reference": reference, "layer": layer, "use_raw": False}
        write_ranked_genes(adata, key_added, table, params | {"sample_key": sample_key})
    return table.drop(columns="score")


def _by_cells(
    adata: AnnData,
    cells: Cells,
    model: SCRAE | None,
    layer: str | None,
    of_cell: np.ndarray,
    n_levels: int,
    batch_key: str | None,
) -> Comparison:
    """A function that compares two groups of cells by the model and by their counts."""
    if model is None:
        raise ValueError("cells are compared by a trained model: give one, or sample_key to compare donors")
    batch = np.zeros(adata.n_obs, dtype=np.int64)
    if batch_key is not None:
        batch = np.unique(cells.covariate(batch_key).astype(str), return_inverse=True)[1]
    genes = [str(i) for i in range(adata.n_vars)] if model.gene_names is None else list(map(str, model.gene_names))
    column = np.arange(adata.n_vars) if model.gene_names is None else cells.positions(genes)
    totals = cells.counts.sum(1)
    scale = np.median(totals) / totals

    by_model = _Sums.none(batch.max() + 1, n_levels, len(genes))
    by_counts = _Sums.none(batch.max() + 1, n_levels, len(genes))
    warn_of_new_levels(model.fitted, cells)  # once, and not for each part
    for start in range(0, adata.n_obs, CELLS):
        part = np.arange(start, min(start + CELLS, adata.n_obs))
        means = denoise(model.fitted, adata[part], layer, "common", None, told=True).astype(np.float64)
        by_model.add(batch[part], of_cell[part], means, np.log2(means + FLOOR))
        scaled = cells.counts[part][:, column].toarray() * scale[part, None]
        by_counts.add(batch[part], of_cell[part], np.sign(scaled), np.log2(scaled + 1))

    def compare(name: str, reference: str, group: int, others: list[int]) -> pd.DataFrame:
        _comparable(by_model.n[:, group], by_model.n[:, others].sum(1), name, reference, str(batch_key))
        return _table(name, genes, by_model, by_counts, group, others)

    return compare


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
    model_z, counts_z = _in_errors(change, error), _in_errors(counts_change, counts_error)
    model_p, counts_p = 2 * ndtr(-model_z), 2 * ndtr(-counts_z)
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
        "detected": by_counts.mean([group]),
        "reference_detected": by_counts.mean(others),
        "score": np.sign(change) * np.minimum(model_z, counts_z),
    }
    return pd.DataFrame(columns).iloc[ordered(p, -np.abs(change))]


def _in_errors(change: np.ndarray, error: np.ndarray) -> np.ndarray:
    """How many standard deviations a change is; 0 where nothing varies."""
    return np.asarray(np.divide(np.abs(change), error, out=np.zeros_like(change), where=error > 0))


def _comparable(n_group: np.ndarray, n_others: np.ndarray, name: str, reference: str, batch_key: str) -> None:
    other = "the other cells" if reference == "rest" else f"group {reference!r}"
    rest = None if reference == "rest" else reference
    for n, what, of in ((n_group.sum(), f"group {name!r}", name), (n_others.sum(), other, rest)):
        if n < SMALLEST:
            raise Refusal(
                f"{what}: {n:.0f} cell(s); {SMALLEST} or more are needed for a comparison",
                "small_group",
                group=of,
                n=int(n),
                least=SMALLEST,
            )
    if not (n_group * n_others).any():
        raise Refusal(
            f"group {name!r} and {other} share no batch of adata.obs[{batch_key!r}]: what differs between them cannot "
            "be told from what differs between batches. Leave batch_key out to compare them all the same.",
            "no_batch_shared",
            group=name,
            reference=rest,
            column=batch_key,
        )
