"""Types from a few labels: accuracy, calibration, and cells of a type that the reference lacks.

    python benchmarks/labels.py --data DIR [--datasets NAME ...] [--share 0.1] [--seeds 3] [--leave-out 3]
                                [--out labels.csv] [--markdown labels.md]

DIR holds h5ad files with raw counts in X and types in obs["cell_type"]. With a seed, ``--share`` of the cells of each
type (two at least) keep their label; the others are predicted and scored. Methods: ``scrae`` (unsupervised training on
all cells, then ``fit_labels``), logistic regression (``lr``) and 15 nearest neighbours (``knn``) on 30 scaled principal
components of all cells. Then each of the ``--leave-out`` largest types is left out of reference and training: half of
the other cells are the reference, and the score is the AUROC of the unknown type against the other half (by one minus
the highest probability for ``lr`` and ``knn``). One row per (data set, method, left out, seed); rows that are there
already are not computed again.
"""

from __future__ import annotations

import argparse
from functools import lru_cache
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import torch
from accuracy import markdown, mean_and_spread, publish, resumed, with_chosen_genes
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

import scrae

KEYS = ["dataset", "method", "left_out", "seed"]
METHODS = ("scrae", "lr", "knn")
SCORES = ("accuracy", "macro_f1", "calibration_error", "unknown_auroc")
BINS = 15  # of the confidence


def split(types: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which cells keep their label: ``share`` of each type, two at least."""
    rng = np.random.default_rng(seed)
    labelled = np.zeros(len(types), dtype=bool)
    for name in np.unique(types):
        cells = rng.permutation(np.flatnonzero(types == name))
        labelled[cells[: max(2, round(share * len(cells)))]] = True
    return labelled


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error (Guo et al. 2017): |accuracy - confidence|, mean over bins weighted by cells."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs((right - confidence)[place == b].sum()) for b in range(BINS)]
    return float(sum(gaps) / len(confidence))


def predict(
    adata: anndata.AnnData, reference: np.ndarray, method: str, seed: int, train_on: np.ndarray
) -> tuple[pd.DataFrame, np.ndarray]:
    """Probabilities of all cells (a column for each type of the reference), and how unfamiliar each cell is."""
    types = adata.obs["cell_type"].astype(str).to_numpy()
    if method == "scrae":
        adata.obs["known"] = np.where(reference, types, "Unknown")
        model = scrae.SCRAE(random_state=seed, verbose=False).fit(adata[train_on].copy())
        table = model.fit_labels(adata, "known").predict(adata, return_probabilities=True)
        return table.drop(columns="familiarity"), -table["familiarity"].to_numpy()
    embedding = scrae.metrics.scaled_pca(adata, 30, seed)
    embedding = embedding / embedding[reference].std()
    classifier = LogisticRegression(max_iter=5000) if method == "lr" else KNeighborsClassifier(15)
    classifier.fit(embedding[reference], types[reference])
    table = pd.DataFrame(classifier.predict_proba(embedding), columns=classifier.classes_)
    return table, 1 - table.max(axis=1).to_numpy()


def measure(adata: anndata.AnnData, method: str, left_out: str, seed: int, share: float) -> dict[str, object]:
    types = adata.obs["cell_type"].astype(str).to_numpy()
    row: dict[str, object] = dict.fromkeys(SCORES, np.nan)
    if left_out == "-":
        labelled = split(types, share, seed)
        table, _ = predict(adata, labelled, method, seed, np.ones(len(types), dtype=bool))
        names, confidence = np.asarray(table.columns)[table.to_numpy().argmax(1)], table.max(axis=1).to_numpy()
        right = names[~labelled] == types[~labelled]
        row["accuracy"] = right.mean()
        row["macro_f1"] = f1_score(types[~labelled], names[~labelled], average="macro")
        row["calibration_error"] = calibration_error(confidence[~labelled], right)
    else:
        unknown = types == left_out
        reference = ~unknown & split(types, 0.5, seed)
        _, strange = predict(adata, reference, method, seed, reference)
        row["unknown_auroc"] = roc_auc_score(unknown[~reference], strange[~reference])
    return row


def table(results: pd.DataFrame) -> str:
    """Scores by method, mean and standard deviation over seeds (and over the types left out), one table a data set."""
    parts = []
    for name, rows in results.groupby("dataset"):
        cells = pd.DataFrame(
            {s: rows.dropna(subset=s).groupby("method")[s].agg(mean_and_spread) for s in SCORES}
        ).reindex([m for m in METHODS if m in set(rows["method"])])
        parts.append(markdown(cells, str(name)))
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--datasets", nargs="*", default=["zheng_sorted_3874", "zeisel_1799"])
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=METHODS)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--leave-out", type=int, default=3, help="how many types, the largest first")
    parser.add_argument("--n-genes", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/labels.csv"))
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)

    @lru_cache(maxsize=1)
    def load(name: str) -> anndata.AnnData:
        return with_chosen_genes(anndata.read_h5ad(options.data / f"{name}.h5ad"), options.n_genes, "hvg")

    wanted = []
    for name in options.datasets:
        types = anndata.read_h5ad(options.data / f"{name}.h5ad", backed="r").obs["cell_type"].astype(str)
        for left_out in ["-", *types.value_counts().index[: options.leave_out]]:
            wanted += [(name, m, left_out, seed) for seed in range(options.seeds) for m in options.methods]
    shown = resumed(options.out, KEYS, wanted, lambda name, *which: measure(load(name), *which, share=options.share))
    text = table(shown)
    publish(text, options.markdown)


if __name__ == "__main__":
    main()
