"""Strange cells, made from real ones: how well a score tells them from the cells that the model was trained on.

    python benchmarks/outliers.py --data DIR [--datasets NAME ...] [--methods default critic lof] [--seeds 5]
                                  [--out outliers.csv] [--markdown outliers.md]

DIR holds h5ad files with raw counts in X and types in obs["cell_type"]. With a seed, 400 of each kind are made:
``doublets`` (the sum of two cells of different types), ``thinned`` (the same at the library size of one of the two,
binomially), ``ambient`` (a cell's library size dealt to genes in their overall shares) and ``shuffled`` (the counts of
a cell dealt to other genes). Score: AUROC against all real cells. Types serve to make doublets, never to train.
Methods, all fitted to the real cells alone: presets of scRAE (``default``: scrae.tl.outliers), ``critic``, how low the
critic of the default's learned prior rates a cell's code, and ``lof``, the local outlier factor (Breunig et al. 2000)
on 30 principal components of log-normalised, scaled counts, scikit-learn's with its defaults. ``above_3``: share of the
real cells whose score is above 3 (scRAE). One row per (data set, method, seed); rows that are there already are not
computed again.
"""

from __future__ import annotations

from collections.abc import Callable

import anndata
import numpy as np
import scipy.sparse as sp
import torch
from experiment import KEYS, command, loader, options, resumed
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from tables import by_method, publish

import scrae

METHODS = ["default", "critic", "lof"]
STRANGE = 400  # cells of each kind


def strange_cells(adata: anndata.AnnData, seed: int) -> dict[str, np.ndarray]:
    """Counts of each kind, (400, n_genes)."""
    rng = np.random.default_rng(seed)
    counts, types = adata.X.toarray().astype(np.int64), adata.obs["cell_type"].astype(str).to_numpy()
    one = rng.integers(adata.n_obs, size=STRANGE)
    other = np.array([rng.choice(np.flatnonzero(types != types[cell])) for cell in one])
    doublets = counts[one] + counts[other]
    library = counts.sum(1)
    thinned = rng.binomial(doublets, (library[one] / doublets.sum(1))[:, None])
    ambient = np.stack([rng.multinomial(n, counts.sum(0) / counts.sum()) for n in library[one]])
    kinds = {
        "doublets": doublets,
        "thinned": thinned,
        "ambient": ambient,
        "shuffled": rng.permuted(counts[one], axis=1),
    }
    return {kind: cells[cells.sum(1) > 0].astype(np.float32) for kind, cells in kinds.items()}


def isolation(counts: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function of counts: the local outlier factor among these cells, larger for strange ones."""
    target = np.median(counts.sum(1))

    def log_normalised(counts: np.ndarray) -> np.ndarray:
        return np.log1p(counts * (target / counts.sum(1, keepdims=True)))

    clip = FunctionTransformer(lambda scaled: np.minimum(scaled, 10))
    coordinates = make_pipeline(FunctionTransformer(log_normalised), StandardScaler(), clip, PCA(30, random_state=seed))
    judge = LocalOutlierFactor(novelty=True).fit(coordinates.fit_transform(counts))
    return lambda cells: -judge.score_samples(coordinates.transform(cells))


def disapproval(model: scrae.SCRAE) -> Callable[[anndata.AnnData], np.ndarray]:
    """A function of cells: minus the critic's score of their codes, larger for strange ones."""
    critic = model.fitted.module.regulariser.critic

    def score(cells: anndata.AnnData) -> np.ndarray:
        with torch.inference_mode():
            return -critic(torch.as_tensor(model.codes(cells))).numpy()

    return score


def measure(adata: anndata.AnnData, method: str, seed: int) -> dict[str, object]:
    kinds = strange_cells(adata, seed)
    row: dict[str, object] = {"above_3": np.nan}
    if method == "lof":
        score_of = isolation(adata.X.toarray(), seed)
        ordinary, found = score_of(adata.X.toarray()), [score_of(counts) for counts in kinds.values()]
    else:
        model = scrae.SCRAE("default" if method == "critic" else method, random_state=seed, verbose=False).fit(adata)
        cells = [anndata.AnnData(sp.csr_matrix(counts), var=adata.var.copy()) for counts in kinds.values()]
        if method == "critic":
            disapproved = disapproval(model)
            ordinary, found = disapproved(adata), [disapproved(part) for part in cells]
        else:
            ordinary = scrae.tl.outliers(adata, model)["score"].to_numpy()
            found = [scrae.tl.outliers(part, model, reference=adata)["score"].to_numpy() for part in cells]
            row["above_3"] = (ordinary > 3).mean()
    for kind, score in zip(kinds, found, strict=True):
        truth = np.repeat([0, 1], [len(ordinary), len(score)])
        row[kind] = roc_auc_score(truth, np.r_[ordinary, score])
    return row


def main() -> None:
    parser = command(__doc__, "outliers", datasets=["zheng_pbmc68k_700", "zheng_sorted_3874"], methods=METHODS)
    typed = options(parser)

    load = loader(typed.data, typed.n_genes)
    wanted = [(name, m, seed) for name in typed.datasets for m in typed.methods for seed in range(typed.seeds)]
    results = resumed(typed.out, KEYS, wanted, lambda name, method, seed: measure(load(name), method, seed))
    publish(by_method(results, "dataset", list(results.columns.drop(KEYS)), with_empty=True), typed.markdown)


if __name__ == "__main__":
    main()
