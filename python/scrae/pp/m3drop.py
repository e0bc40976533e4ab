"""M3Drop: genes with more dropouts than a Michaelis-Menten curve allows their mean expression.

Andrews and Hemberg (2019), M3Drop: dropout-based feature selection for scRNASeq, Bioinformatics 35, 2865. Equations
are those of its methods, "Michaelis-Menten modelling of dropouts", as version 3.10.6 of the package computes them.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from scrae._errors import Refusal
from scrae.compute.statistics import ordered
from scrae.pp.findings import Findings, tested
from scrae.pp.moments import scaled_sums

NO_ERROR_BELOW = 1e10  # standard error of log K where K minus its standard error is not positive


def m3drop(
    counts: sp.csr_array, totals: np.ndarray, detected: np.ndarray, genes: np.ndarray, *, verbose: bool | None = None
) -> Findings:
    """Test each gene for an excess of dropouts over the curve of all genes.

    Parameters
    ----------
    counts
        Cells x genes.
    totals
        Count of each cell over all of its genes: counts are scaled to their median.
    detected
        Number of cells that have each gene.
    genes
        Positions of the genes to fit and test, each in one cell or more.

    Returns
    -------
    Genes by decreasing z. ``statistic`` z, ``effect`` the gene's own K over K, ``p`` one-sided, ``q``, ``mean`` scaled
    expression S, ``expected_dropout`` the curve at S; ``fit`` K and sigma. Genes without a dropout have p = 1.

    Raises
    ------
    ValueError
        Fewer than two genes have dropouts: there is no curve to fit.
    """
    n_cells = counts.shape[0]
    scale = np.median(totals) / totals
    sums, squares = scaled_sums(counts, scale, "M3Drop", verbose)[:, genes]
    mean = sums / n_cells
    mean_error = np.sqrt(np.maximum(squares / n_cells - mean**2, 0.0) / n_cells)
    dropout = (n_cells - detected[genes]) / n_cells
    if (dropout > 0).sum() < 2:
        raise Refusal(
            f"M3Drop: {(dropout > 0).sum()} of {len(genes):,} genes have a zero in any of {n_cells:,} cells; without "
            'dropouts there is nothing to model. Use method="hvg", or keep all genes and cells of the experiment.',
            "no_dropouts",
            n=int((dropout > 0).sum()),
            n_genes=len(genes),
            n_cells=n_cells,
        )
    k, sigma = michaelis_menten(dropout, mean)
    z, effect = excess_of_dropouts(dropout, mean, mean_error, n_cells, k)
    columns = tested(z, effect) | {"mean": mean, "expected_dropout": k / (k + mean)}
    return Findings(ordered(-z, -effect), columns, {"K": k, "sigma": sigma})


def michaelis_menten(dropout: np.ndarray, mean: np.ndarray) -> tuple[float, float]:
    """K of P = 1 - S / (K + S) that minimises the squared error over genes, and the error's standard deviation.

    The package maximises the likelihood of normal errors with sigma free, which has the same maximum, by a general
    optimiser that stops a little before it; this is the maximum itself, to the last bits.
    """
    from scipy.optimize import brentq

    def error(log_k: float) -> float:
        k = np.exp(log_k)
        difference = dropout - k / (k + mean)
        return float(difference @ difference)

    def slope(log_k: float) -> float:
        k = np.exp(log_k)
        curve = k / (k + mean)
        return float((curve - dropout) @ (curve * (1 - curve)))

    grid = np.linspace(np.log(mean.min()) - 10, np.log(mean.max()) + 10, 33)
    best = int(np.argmin([error(log_k) for log_k in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    log_k = brentq(slope, low, high, xtol=1e-15, rtol=1e-14) if slope(low) < 0 < slope(high) else grid[best]
    return float(np.exp(log_k)), float(np.sqrt(error(log_k) / len(mean)))


def excess_of_dropouts(
    dropout: np.ndarray, mean: np.ndarray, mean_error: np.ndarray, n_cells: int, k: float
) -> tuple[np.ndarray, np.ndarray]:
    """z of each gene's own K against ``k``, on the log scale, and the ratio of the two.

    A gene's own K is P S / (1 - P); its error is propagated from those of P (binomial) and S, and the error of ``k``
    is the standard error of the mean of the genes' log K. z is -inf for genes without a dropout.
    """
    dropout_error = np.sqrt(dropout * (1 - dropout) / n_cells)
    always = dropout == 0
    dropout = np.where(always, dropout[~always].min() / 2, dropout)
    own = dropout * mean / (1 - dropout)
    own_error = own * np.sqrt((mean_error / mean) ** 2 + (dropout_error / dropout) ** 2)
    above_zero = own > own_error
    log_error = np.full(len(own), NO_ERROR_BELOW)
    log_error[above_zero] = np.abs(np.log((own - own_error)[above_zero]) - np.log(own[above_zero]))
    difference = np.log(own) - np.log(k)
    k_error = difference.std(ddof=1) / np.sqrt(len(own))
    z = difference / np.sqrt(log_error**2 + k_error**2)
    return np.where(always, -np.inf, z), own / k
