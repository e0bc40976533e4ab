"""How like real cells synthetic ones are: gene by gene, pair by pair, and to a classifier that tries to tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scrae._errors import Refusal
from scrae.data.cells import read_cells
from scrae.data.counts import as_counts
from scrae.model import SCRAE

if TYPE_CHECKING:
    from anndata import AnnData

CORRELATED = 200  # genes, of the highest mean, between which correlations are compared
CLASSIFIED = 1000  # cells of either kind that the classifier sees, at most
FOLDS = 3
TREES = 100


def sample_report(
    adata: AnnData, model: SCRAE, *, n: int | None = None, layer: str | None = None, random_state: int = 0
) -> pd.Series:
    """Draw synthetic cells from a model and compare them with real cells.

    Parameters
    ----------
    adata
        Real cells with raw counts and the model's genes, best those that the model was not trained on.
    model
        A trained model; the cells come from :meth:`scrae.SCRAE.sample`.
    n
        Number of synthetic cells; None: as many as real ones.
    layer
        Layer with raw counts; None: ``adata.X``.
    random_state
        Seed of the synthetic cells and of the classifier.

    Returns
    -------
    Series with the scores of :func:`compare_cells`.

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> model = scrae.SCRAE(max_epochs=3, verbose=False).fit(adata)
    >>> scrae.tl.sample_report(adata, model).index.tolist()[:3]
    ['mean', 'variance', 'zero_fraction']
    """
    cells = read_cells(adata, layer)
    counts = cells.counts if model.gene_names is None else cells.counts[:, cells.positions(model.gene_names)]
    synthetic = model.sample(adata.n_obs if n is None else n, random_state=random_state)
    return compare_cells(counts, synthetic, random_state=random_state)


def compare_cells(real: Any, synthetic: Any, *, random_state: int = 0) -> pd.Series:
    """Compare synthetic cells with real ones on the same genes, whatever made the synthetic ones.

    Parameters
    ----------
    real, synthetic
        Raw counts, cells x genes, dense or sparse, at least 30 cells of each.
    random_state
        Seed of the classifier and of the cells that it is trained on.

    Returns
    -------
    Series with these scores. All but the last are Lin's (1989) concordance coefficients: 1 for equal values, and lower
    where values are correlated but not equal.

    - ``mean``, ``variance``, ``zero_fraction``: over genes, of log(1 + mean), log(1 + variance) and the share of zeros;
    - ``correlation``: over all pairs of the 200 genes with the highest means, of the correlations of log-normalised
      counts;
    - ``library_size``: over the deciles of the logs of the library sizes;
    - ``classifier_auc``: how well a random forest on log(1 + counts) tells synthetic from real cells, as the
      cross-validated area under the curve (Lopez-Paz and Oquab 2017). 0.5 means not at all, 1 means always.

    Raises
    ------
    ValueError
        The two sets have different numbers of genes, or one has fewer than 30 cells.

    Examples
    --------
    >>> import scrae
    >>> cells = scrae.datasets.pbmc()
    >>> half = cells.n_obs // 2
    >>> scores = scrae.tl.compare_cells(cells.X[:half], cells.X[half:])  # real cells beside other real cells
    >>> bool(scores["mean"] > 0.9)
    True
    """
    one, other = as_counts(real, "real"), as_counts(synthetic, "synthetic")
    if one.shape[1] != other.shape[1]:
        raise ValueError(
            f"real cells have {one.shape[1]:,} genes, synthetic ones {other.shape[1]:,}: give the same genes"
        )
    if min(one.shape[0], other.shape[0]) < 30:
        raise Refusal(
            f"{one.shape[0]:,} real and {other.shape[0]:,} synthetic cells: 30 or more of each are needed",
            "too_few_to_tell_apart",
            n_real=one.shape[0],
            n_synthetic=other.shape[0],
            least=30,
        )
    top = np.argsort(-one.mean(0), kind="stable")[:CORRELATED]
    top = top[(_variance(one)[top] > 0) & (_variance(other)[top] > 0)]
    pairs = np.triu_indices(len(top), 1)
    deciles = np.linspace(0.05, 0.95, 10)
    return pd.Series(
        {
            "mean": _concordance(np.log1p(one.mean(0)), np.log1p(other.mean(0))),
            "variance": _concordance(np.log1p(_variance(one)), np.log1p(_variance(other))),
            "zero_fraction": _concordance(_zeros(one), _zeros(other)),
            "correlation": _concordance(*(np.corrcoef(_log_normalised(c)[:, top].T)[pairs] for c in (one, other))),
            "library_size": _concordance(*(np.quantile(np.log1p(c.sum(1)), deciles) for c in (one, other))),
            "classifier_auc": _classifier_auc(one, other, random_state),
        },
        dtype=float,
    )


def _concordance(x: np.ndarray, y: np.ndarray) -> float:
    """Lin's concordance correlation; 1 where both are the same constant."""
    spread = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    return float(2 * ((x - x.mean()) * (y - y.mean())).mean() / spread) if spread > 0 else 1.0


def _variance(counts: sp.csr_array) -> np.ndarray:
    mean = counts.mean(0, dtype=np.float64)
    return np.asarray(counts.power(2).mean(0, dtype=np.float64) - mean**2)


def _zeros(counts: sp.csr_array) -> np.ndarray:
    return np.asarray(1 - counts.count_nonzero(axis=0) / counts.shape[0])


def _log_normalised(counts: sp.csr_array) -> np.ndarray:
    totals = np.maximum(counts.sum(1), 1)
    return np.asarray(np.log1p(counts.toarray() * (np.median(totals) / totals)[:, None]))


def _classifier_auc(real: sp.csr_array, synthetic: sp.csr_array, random_state: int) -> float:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rng = np.random.default_rng(random_state)
    n = min(CLASSIFIED, real.shape[0], synthetic.shape[0])
    chosen = [c[rng.choice(c.shape[0], n, replace=False)].toarray() for c in (real, synthetic)]
    is_synthetic = np.repeat([0, 1], n)
    forest = RandomForestClassifier(TREES, min_samples_leaf=3, random_state=random_state)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=random_state)
    score = cross_val_predict(forest, np.log1p(np.concatenate(chosen)), is_synthetic, cv=folds, method="predict_proba")
    return float(roc_auc_score(is_synthetic, score[:, 1]))
