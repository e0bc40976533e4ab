"""Highly variable genes, as scanpy finds them, without its copies of the counts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scrae._errors import Refusal
from scrae.compute import distributed
from scrae.pp.findings import Findings
from scrae.pp.moments import cell_totals, row_blocks, scaled_sums

BINS = 20  # of mean expression
LEAST_OF_TREND = 4  # genes that loess needs: with fewer it ends the process


def highly_variable(
    counts: sp.csr_array,
    genes: np.ndarray,
    method: str,
    n_top: int,
    batches: np.ndarray | None,
    verbose: bool | None = None,
) -> Findings:
    """Rank genes as ``scanpy.pp.highly_variable_genes`` does.

    Parameters
    ----------
    counts
        Cells x genes; every cell has a count.
    genes
        Positions of the genes that may be selected.
    method
        ``"hvg"``: scanpy's ``flavor="seurat"`` (after Satija et al. 2015) on counts scaled to the median total of
        ``genes``; ``"seurat_v3"``: its flavour of that name (after Stuart et al. 2019), on the counts.
    n_top
        How many genes are highly variable within a batch.
    batches
        Batch of each cell, or None. ``"hvg"`` orders by the number of batches in which a gene is highly variable, then
        by its mean dispersion; ``"seurat_v3"`` by the median of its ranks, then by the number of batches.

    Returns
    -------
    All genes. ``statistic``: the normalised dispersion, or the standardised variance.

    Raises
    ------
    ValueError
        The trend of variance on mean cannot be fitted, or no gene varies.
    """
    n_cells = counts.shape[0]
    if method == "hvg":
        totals = cell_totals(counts, genes)
        target = np.median(totals[totals > 0])
        scale = np.divide(target, totals, out=np.zeros(n_cells), where=totals > 0)
    values = np.empty((1 if batches is None else len(np.unique(batches)), len(genes)))
    high = np.zeros(values.shape, dtype=bool)
    ranks = np.empty(values.shape)
    for i, name in enumerate([None] if batches is None else np.unique(batches)):
        rows = np.arange(n_cells) if batches is None else np.flatnonzero(batches == name)
        part = counts if batches is None else sp.csr_array(counts[rows])
        if method == "hvg":
            values[i], high[i] = _dispersions(part, scale[rows], genes, n_top, verbose)
        else:
            values[i] = _standardised_variances(part, genes, verbose)
            ranks[i] = np.argsort(np.argsort(-values[i], kind="stable"))
            high[i] = ranks[i] < n_top
    if not high.any():
        raise Refusal(
            f"{method}: none of {len(genes):,} genes differs between the {n_cells:,} cells; are they copies of one "
            "cell?",
            "no_gene_varies",
            n_genes=len(genes),
            n_cells=n_cells,
        )
    known = np.isfinite(values)
    statistic = np.where(known, values, 0.0).sum(0) / np.where(known.any(0), known.sum(0), np.nan)
    if method == "hvg":
        return Findings(np.lexsort((-statistic, -high.sum(0) * (batches is not None))), {"statistic": statistic})
    ranks[~high] = np.nan
    median_rank = pd.DataFrame(ranks).median().to_numpy()
    by_batches = (-high.sum(0), median_rank) if batches is not None else ()
    return Findings(np.lexsort((-statistic, *by_batches)), {"statistic": statistic})


def _dispersions(
    counts: sp.csr_array, scale: np.ndarray, genes: np.ndarray, n_top: int, verbose: bool | None
) -> tuple[np.ndarray, np.ndarray]:
    """Log ratio of variance to mean of each gene, centred and scaled within bins of the mean, and the ``n_top`` first.

    Genes that are not seen get zero, as scanpy gives them; genes without variance are missing. A gene alone in its
    bin gets one.
    """
    n_cells = counts.shape[0]
    sums, squares = scaled_sums(counts, scale, "hvg", verbose)[:, genes]
    seen = sums > 0
    mean = sums[seen] / n_cells
    variance = np.maximum(squares[seen] / n_cells - mean**2, 0.0) * n_cells / (n_cells - 1)
    dispersion = np.log(np.divide(variance, mean, out=np.full(len(mean), np.nan), where=variance > 0))
    table = pd.DataFrame({"bin": pd.cut(np.log1p(mean), bins=BINS), "dispersion": dispersion})
    in_bin = table.groupby("bin", observed=True)["dispersion"]
    centre, spread = in_bin.transform("mean").to_numpy(), in_bin.transform("std").to_numpy()
    alone = np.isnan(spread)
    normalised = (dispersion - np.where(alone, 0.0, centre)) / np.where(alone, centre, spread)
    values, high = np.zeros(len(genes)), np.zeros(len(genes), dtype=bool)
    values[seen] = normalised
    known = np.sort(normalised[np.isfinite(normalised)])[::-1]
    if not len(known):
        return values, high  # nothing varies here
    high[seen] = np.nan_to_num(normalised, nan=-np.inf) >= known[min(n_top, len(known)) - 1]
    return values, high


def _standardised_variances(counts: sp.csr_array, genes: np.ndarray, verbose: bool | None) -> np.ndarray:
    """Variance of the counts over that of a loess trend on the mean; counts beyond sqrt(n) deviations are clipped."""
    from skmisc.loess import loess

    n_cells = counts.shape[0]
    sums, squares = scaled_sums(counts, np.ones(n_cells), "seurat_v3", verbose)[:, genes]
    mean = sums / n_cells
    variance = (squares / n_cells - mean**2) * n_cells / (n_cells - 1)
    varies = variance > 0
    trend = np.zeros(len(genes))
    if varies.sum() < LEAST_OF_TREND:
        raise _no_trend(f"{varies.sum()} of {len(genes):,} genes vary")
    try:
        fit = loess(np.log10(mean[varies]), np.log10(variance[varies]), span=0.3, degree=2)
        fit.fit()
    except ValueError as error:
        raise _no_trend(error) from error
    trend[varies] = fit.outputs.fitted_values
    deviation = np.sqrt(10**trend)
    limit = np.full(counts.shape[1], np.inf)
    limit[genes] = deviation * np.sqrt(n_cells) + mean
    sums = np.zeros((2, counts.shape[1]))
    for block in row_blocks(counts, "seurat_v3: clipping", verbose, distributed.own_share(n_cells)):
        values = np.minimum(block.data, limit[block.indices])
        sums[0] += np.bincount(block.indices, values, counts.shape[1])
        sums[1] += np.bincount(block.indices, values**2, counts.shape[1])
    clipped, clipped_squares = distributed.added_up(sums, n_cells)[:, genes]
    centred = n_cells * mean**2 + clipped_squares - 2 * clipped * mean
    return np.asarray(centred / ((n_cells - 1) * deviation**2))


def _no_trend(reason: object) -> Refusal:
    return Refusal(
        f"seurat_v3: the trend of variance on mean could not be fitted ({reason}); too many genes have the same few "
        'counts (shallow data, small batches). Use method="hvg", or fewer batches.',
        "no_trend",
    )
