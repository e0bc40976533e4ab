"""Does denoising help? Molecular cross-validation: learn from some molecules of each cell, predict the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scrae._errors import Refusal
from scrae.compute.whole_numbers import seed
from scrae.data.cells import read_cells
from scrae.model import SCRAE
from scrae.pp.moments import means

if TYPE_CHECKING:
    from anndata import AnnData

CELLS = 2048  # dense in hand at once
LEAST = 1e-8  # counts, under a log
SCORES = ("poisson", "squared_error", "correlation")
UNSEEN = 0.5  # molecules added to each gene, so that one without any on the training side has a mean


def molecular_cross_validation(
    adata: AnnData, *, share: float = 0.5, layer: str | None = None, random_state: int = 0, **settings: Any
) -> pd.DataFrame:
    """Test whether denoising helps: train on a share of the molecules and predict the others (Batson et al. 2019).

    Each molecule goes to the training side with probability ``share`` and otherwise to the test side. If the counts of
    a cell are Poisson around its expression, the two sides are independent given the expression. A prediction that is
    closer to the test side is therefore closer to the truth, and a model that fits noise does worse. No label is used.

    Parameters
    ----------
    adata
        Cells x genes with raw counts, the genes to model.
    share
        Share of the molecules to train on, in (0, 1).
    layer
        Layer with raw counts; None: ``adata.X``.
    random_state
        Seed of the split and of the model.
    **settings
        Of :class:`scrae.SCRAE`: ``preset``, ``max_epochs``, ...

    Returns
    -------
    DataFrame with a row for each predictor of the other side: ``"denoised"`` (the model's means at the cell's own
    library size), ``"counts"`` (the training side itself) and ``"mean"`` (the gene's mean, at the cell's library
    size); all scaled by (1 - share) / share. Columns:

    - ``poisson``: mean over cells of the Poisson deviance per gene, in nats; lower is better. Infinite where a
      predictor says zero and a molecule is there, so for ``"counts"``;
    - ``squared_error``: mean squared error of log(1 + counts scaled to the median total);
    - ``correlation``: mean over cells of the correlation of those logs between prediction and truth.

    Raises
    ------
    ValueError
        ``share`` is out of range, or a cell is left without a molecule on one side. Filter cells with few counts.

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> scores = scrae.tl.molecular_cross_validation(adata, max_epochs=2, verbose=False)
    >>> list(scores.index)
    ['denoised', 'counts', 'mean']
    """
    if not 0 < share < 1:
        raise Refusal(
            f"share is the share of molecules to train on, between 0 and 1, not {share:g}",
            "not_between",
            name="share",
            low=0,
            high=1,
            value=float(share),
        )
    counts = read_cells(adata, layer).counts
    train, test = split_molecules(counts, share, random_state)
    empty = int(((train.sum(1) == 0) | (test.sum(1) == 0)).sum())
    if empty:
        raise Refusal(
            f"{empty:,} of {counts.shape[0]:,} cells have no molecule on one side of the split: they have too few "
            "counts in these genes; leave out such cells, or take more genes",
            "cells_without_molecules",
            n=empty,
            n_cells=counts.shape[0],
        )
    model = SCRAE(**{"random_state": random_state, "verbose": False, **settings}).fit(train)
    target = float(np.median(train.sum(1)))
    mean_of = gene_means(train)
    sums = pd.DataFrame(0.0, index=["denoised", "counts", "mean"], columns=list(SCORES))
    for start in range(0, counts.shape[0], CELLS):
        part = slice(start, start + CELLS)
        truth = test[part].toarray().astype(np.float64)
        predictions = {
            "denoised": model.denoise(train[part], library_size="observed"),
            "counts": train[part].toarray(),
            "mean": mean_of(part),
        }
        for name, prediction in predictions.items():
            sums.loc[name] += sums_of_scores(truth, prediction.astype(np.float64) * (1 - share) / share, target)
    return sums / counts.shape[0]


def split_molecules(counts: sp.csr_array, share: float, random_state: int = 0) -> tuple[sp.csr_array, sp.csr_array]:
    """Each molecule on the first side with probability ``share``, else on the other; both (n_cells, n_genes)."""
    rng = np.random.default_rng(seed(random_state))
    kept = rng.binomial(counts.data.astype(np.int64), share).astype(np.float32)
    one, other = (
        sp.csr_array((part, counts.indices, counts.indptr), counts.shape) for part in (kept, counts.data - kept)
    )
    return one, other


def gene_means(counts: sp.csr_array) -> Callable[[slice], np.ndarray]:
    """A function of a slice of cells: what each would have if all were alike but for their totals, float64."""
    totals = np.asarray(counts.sum(1), dtype=np.float64)
    per_gene = counts.shape[0] * means(counts, False) + UNSEEN
    return lambda part: totals[part, None] * (per_gene / per_gene.sum())


def sums_of_scores(truth: np.ndarray, expected: np.ndarray, target: float) -> np.ndarray:
    """Sums over cells of the three scores, counts (n_cells, n_genes); logs of counts scaled to the total ``target``."""
    with np.errstate(divide="ignore"):
        log_ratio = np.where(truth > 0, np.log(np.maximum(truth, LEAST)) - np.log(expected), 0.0)
    deviance = 2 * (truth * log_ratio - truth + expected).mean(1)
    one, other = (np.log1p(x * (target / x.sum(1, keepdims=True))) for x in (truth, expected))
    error = ((one - other) ** 2).mean(1)
    one, other = (x - x.mean(1, keepdims=True) for x in (one, other))
    correlation = (one * other).sum(1) / np.sqrt((one**2).sum(1) * (other**2).sum(1))
    return np.array([deviance.sum(), error.sum(), correlation.sum()])
