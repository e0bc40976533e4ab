"""DANB: genes that a depth-adjusted negative binomial does not explain.

Andrews and Hemberg (2019), Bioinformatics 35, 2865, methods, "Depth-adjusted negative binomial": the count of gene j
in cell i has mean mu_ij = t_j t_i / T (t_j the gene's total, t_i the cell's, T that of all) and variance
mu_ij + mu_ij^2 / r_j. The sizes r_j are regressed on the mean, and genes stand out by their dropouts, their size or
their variance; as version 3.10.6 of the package M3Drop computes it (functions ``NBumi...``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scrae._errors import Refusal
from scrae.compute.progress import progress_bar
from scrae.compute.statistics import ordered
from scrae.pp.findings import Findings, tested
from scrae.pp.moments import scaled_sums

LEAST_SIZE = 1e-10
PAIRS = 2**20  # pairs of gene and distinct cell total in hand at once


@dataclass(frozen=True)
class DANB:
    """The fitted model.

    Attributes
    ----------
    totals
        t_i, count of each cell.
    gene_totals, sizes
        t_j and r_j of each gene fitted.
    intercept, slope
        log r = intercept + slope log(t_j / n): the regression over genes.
    """

    totals: np.ndarray
    gene_totals: np.ndarray
    sizes: np.ndarray
    intercept: float
    slope: float

    @property
    def mean(self) -> np.ndarray:
        """Mean count per cell of each gene."""
        return np.asarray(self.gene_totals / len(self.totals))

    @property
    def expected_sizes(self) -> np.ndarray:
        """The regression's size for the mean of each gene."""
        return np.asarray(np.exp(self.intercept + self.slope * np.log(self.mean)))

    @property
    def fit(self) -> dict[str, float]:
        return {"intercept": self.intercept, "slope": self.slope}


def fit_danb(counts: sp.csr_array, totals: np.ndarray, genes: np.ndarray, verbose: bool | None) -> DANB:
    """Fit sizes by moments and regress them on the mean.

    The variance of x_ij - mu_ij needs of each gene the sum, the sum of squares and the product with the cell totals,
    which are whole numbers and exact. A gene with less variance than Poisson counts has no size: it gets ten times the
    largest and stays out of the regression, as does the gene with the largest. With more than 2000 genes above a mean
    of 16 the regression is over these.

    Raises
    ------
    ValueError
        Fewer than two genes have a size.
    """
    n_cells, total = counts.shape[0], totals.sum()
    sums = scaled_sums(counts, np.ones(n_cells), "DANB: sizes", verbose, weight=totals)
    gene_totals, squares, with_totals = sums[:, genes]
    squared_totals = (totals**2).sum() / total**2
    residual_squares = squares - 2 * gene_totals / total * with_totals + gene_totals**2 * squared_totals
    with np.errstate(divide="ignore"):
        sizes = gene_totals**2 * squared_totals / (residual_squares - gene_totals)
    sizes[sizes < 0] = 10 * sizes.max()
    sizes = np.maximum(sizes, LEAST_SIZE)
    mean = gene_totals / n_cells
    regressed = sizes < sizes.max()
    if (mean > 16).sum() > 2000:
        regressed &= mean > 16
    if regressed.sum() < 2 or np.ptp(mean[regressed]) == 0:
        raise Refusal(
            f"DANB: of {len(genes):,} genes in {n_cells:,} cells {regressed.sum():,} vary more than Poisson counts: "
            'too few to regress the dispersion on the mean. Use method="m3drop" or "hvg", or more cells.',
            "too_few_genes_vary",
            n=int(regressed.sum()),
            n_genes=len(genes),
            n_cells=n_cells,
        )
    slope, intercept = np.polyfit(np.log(mean[regressed]), np.log(sizes[regressed]), 1)
    return DANB(totals, gene_totals, sizes, float(intercept), float(slope))


def danb(
    counts: sp.csr_array, totals: np.ndarray, detected: np.ndarray, genes: np.ndarray, *, verbose: bool | None = None
) -> Findings:
    """Genes with more dropouts than expected at the size of their mean (``NBumiFeatureSelectionCombinedDrop``).

    Parameters
    ----------
    counts, totals, detected, genes
        As for :func:`scrae.pp.m3drop.m3drop`.

    Returns
    -------
    Genes by p, ties by effect. ``statistic`` z, ``effect`` observed minus expected rate of dropouts, ``p`` one-sided,
    ``q``, ``size`` r_j, ``expected_dropout``; ``fit`` intercept and slope.
    """
    n_cells = counts.shape[0]
    model = fit_danb(counts, totals, genes, verbose)
    expected, variance = expected_dropouts(model, verbose)
    expected = np.maximum(expected, 1 / n_cells)
    dropout = (n_cells - detected[genes]) / n_cells
    error = np.sqrt(variance + dropout * (1 - dropout) / n_cells)
    effect = dropout - expected
    with np.errstate(divide="ignore"):
        z = effect / error  # no dropout and none expected: -inf
    columns = tested(z, effect) | {"size": model.sizes, "expected_dropout": expected}
    return Findings(ordered(columns["p"], -effect), columns, model.fit)


def expected_dropouts(model: DANB, verbose: bool | None) -> tuple[np.ndarray, np.ndarray]:
    """Rate of dropouts of each gene at its expected size, and its variance.

    P(x_ij = 0) = (1 + mu_ij / r_j)^(-r_j) depends on the cell by its total alone, and at the expected size on the gene
    by its total alone, so it is computed once for each pair of totals, in blocks.
    """
    n_cells, total = len(model.totals), model.totals.sum()
    distinct, cells = np.unique(model.totals, return_counts=True)
    cells = cells.astype(float)
    gene_totals, first, gene = np.unique(model.gene_totals, return_index=True, return_inverse=True)
    sizes = model.expected_sizes[first]
    rate, variance = np.empty(len(gene_totals)), np.empty(len(gene_totals))
    step = max(1, PAIRS // len(distinct))
    with progress_bar(len(gene_totals), "DANB: dropouts", "total", verbose) as bar:
        for start in range(0, len(gene_totals), step):
            block = slice(start, start + step)
            zero = np.outer(gene_totals[block] / sizes[block], distinct / total)
            np.log1p(zero, out=zero)
            zero *= -sizes[block, None]
            np.exp(zero, out=zero)
            rate[block] = zero @ cells / n_cells
            zero *= 1 - zero
            variance[block] = zero @ cells / n_cells**2
            bar.update(len(rate[block]))
    return rate[gene], variance[gene]


def danb_dispersion(
    counts: sp.csr_array, totals: np.ndarray, detected: np.ndarray, genes: np.ndarray, *, verbose: bool | None = None
) -> Findings:
    """Genes with a smaller size than expected at their mean (``NBumiFeatureSelectionHighVar``); without p values.

    Returns
    -------
    Genes by the residual. ``statistic`` log r_j minus the regression's (the lowest first), ``size``; ``fit`` intercept
    and slope.
    """
    model = fit_danb(counts, totals, genes, verbose)
    residual = np.log(model.sizes) - np.log(model.expected_sizes)
    columns = {"statistic": residual, "size": model.sizes}
    return Findings(np.argsort(residual, kind="stable"), columns, model.fit)


def danb_variance(
    counts: sp.csr_array, totals: np.ndarray, detected: np.ndarray, genes: np.ndarray, *, verbose: bool | None = None
) -> Findings:
    """Genes with more variance than a negative binomial of one dispersion for all (``NBumiHVG``).

    Returns
    -------
    Genes by p, ties by effect. ``statistic`` z, ``effect`` variance minus the expected one, ``p`` one-sided, ``q``,
    ``size``; ``fit`` intercept, slope and the dispersion.
    """
    n = counts.shape[0]
    model = fit_danb(counts, totals, genes, verbose)
    mean = model.mean
    over_poisson = mean**2 / model.sizes
    dispersion = float((mean**2 * over_poisson).sum() / (mean**4).sum())
    # Moments of the negative binomial with probability p and size r, and the variance of a sample variance.
    p = 1 / (1 + dispersion * mean)
    failure = dispersion * mean / (1 + dispersion * mean)
    r = 1 / dispersion
    variance = r * failure / p**2
    fourth = r * failure * (6 - 6 * p + p**2 + 3 * r - 3 * p * r) / p**4
    error = np.sqrt(fourth * (n - 1) ** 2 / n**3 - variance**2 * (n - 3) * (n - 1) / n**3)
    effect = mean + over_poisson - variance
    z = effect / error
    columns = tested(z, effect) | {"size": model.sizes}
    return Findings(ordered(columns["p"], -effect), columns, model.fit | {"dispersion": dispersion})
