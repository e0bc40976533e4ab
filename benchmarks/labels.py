"""Types from some labels: accuracy, calibration, and cells of a type that the reference lacks.

    python benchmarks/labels.py --data DIR [--datasets NAME ...] [--batches NAME ...] [--share 0.1] [--seeds 5]
                                [--leave-out 2] [--peer PYTHON] [--out labels.csv] [--markdown labels.md]

DIR holds h5ad files with raw counts in X and types in obs["cell_type"]. Designs:

- ``share``, for ``--datasets``: ``--share`` of the cells of each type (two at least), drawn with the seed, keep their
  label; the others are predicted;
- ``from B``, for ``--batches``, which have obs["batch"]: the cells of batch B keep their label, those of the other
  batches are predicted. A type that B lacks cannot be right;
- ``without T``, for ``--datasets``, each of the ``--leave-out`` largest types T: half of the other cells are the
  reference, and the score is the AUROC of T against the other half.

Methods: ``scrae`` (unsupervised training on all cells, with ``batch_key`` in ``from B``, then ``fit_labels``),
``scrae_map`` (trained on batch B alone, the others mapped), logistic regression (``lr``) and 15 nearest neighbours
(``knn``) on 30 scaled principal components of all cells; with ``--peer`` the same two on Harmony of them
(``lr_harmony``, ``knn_harmony``, in ``from B``), and ``scanvi``: SCANVI of scvi-tools from a pre-trained SCVI, with
their defaults, on all cells, told the batch in ``from B``; one seed, and no ``without T``. How strange a cell is: for
scRAE, in ``without T`` trained on the reference alone, its conformal p value, for the others one minus the highest
probability. One row per (data set, design, method, seed); rows that are there already are not computed again.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from experiment import ask_peer, command, options, resumed, with_chosen_genes
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from tables import by_method, publish

import scrae

KEYS = ["dataset", "design", "method", "seed"]
METHODS = ("scrae", "scrae_map", "lr", "knn", "lr_harmony", "knn_harmony", "scanvi")
OF_BATCHES = ("scrae_map", "lr_harmony", "knn_harmony")  # methods that need batches
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


@lru_cache(maxsize=1)
def load(path: Path, n_genes: int, batch_key: str | None) -> anndata.AnnData:
    adata = with_chosen_genes(anndata.read_h5ad(path), n_genes, "hvg", batch_key=batch_key)
    if batch_key is None and "batch" in adata.obs:
        del adata.obs["batch"]
    return adata


@lru_cache(maxsize=1)
def trained(path: Path, n_genes: int, batch_key: str | None, cells: bytes, told: bool, seed: int) -> scrae.SCRAE:
    """The default model, trained on some cells (boolean) without labels, and told the batch or not."""
    chosen = load(path, n_genes, batch_key)[np.frombuffer(cells, dtype=bool)].copy()
    return scrae.SCRAE(random_state=seed, verbose=False).fit(chosen, batch_key=batch_key if told else None)


@lru_cache(maxsize=1)
def coordinates(
    path: Path, n_genes: int, batch_key: str | None, harmony: bool, seed: int, peer: str | None
) -> np.ndarray:
    """30 scaled principal components of all cells, or Harmony of them, told the batch; no label is used."""
    adata = load(path, n_genes, batch_key)
    return ask_peer(adata, "harmony", seed, peer)[0] if harmony else scrae.metrics.scaled_pca(adata, 30, seed)


def predict(
    path: Path, n_genes: int, design: str, method: str, seed: int, reference: np.ndarray, peer: str | None
) -> tuple[pd.DataFrame, np.ndarray]:
    """Probabilities of all cells (a column for each type of the reference), and how strange each cell is."""
    batch_key = "batch" if design.startswith("from ") else None
    adata = load(path, n_genes, batch_key)
    types = adata.obs["cell_type"].astype(str).to_numpy()
    adata.obs["known"] = np.where(reference, types, "Unknown")
    if method in ("scrae", "scrae_map"):
        alone = method == "scrae_map" or design.startswith("without ")
        train_on = reference if alone else np.ones(len(types), dtype=bool)
        model = trained(path, n_genes, batch_key, train_on.tobytes(), not alone, seed)
        table = model.fit_labels(adata, "known").predict(adata, return_probabilities=True)
        return table.drop(columns="conformal_p_value"), -table["conformal_p_value"].to_numpy()
    if method == "scanvi":
        table = pd.DataFrame(ask_peer(adata, method, seed, peer)[0], columns=np.unique(types[reference]))
        return table, 1 - table.max(axis=1).to_numpy()
    classifier = LogisticRegression(max_iter=5000) if method.startswith("lr") else KNeighborsClassifier(15)
    embedding = coordinates(path, n_genes, batch_key, method.endswith("harmony"), seed, peer)
    embedding = embedding / embedding[reference].std()
    classifier.fit(embedding[reference], types[reference])
    table = pd.DataFrame(classifier.predict_proba(embedding), columns=classifier.classes_)
    return table, 1 - table.max(axis=1).to_numpy()


def measure(
    path: Path, n_genes: int, design: str, method: str, seed: int, share: float, peer: str | None
) -> dict[str, object]:
    kind, _, what = design.partition(" ")
    adata = load(path, n_genes, "batch" if kind == "from" else None)
    types = adata.obs["cell_type"].astype(str).to_numpy()
    reference = {
        "share": lambda: split(types, share, seed),
        "from": lambda: (adata.obs["batch"].astype(str) == what).to_numpy(),
        "without": lambda: (types != what) & split(types, 0.5, seed),
    }[kind]()
    table, strange = predict(path, n_genes, design, method, seed, reference, peer)
    row: dict[str, object] = dict.fromkeys(SCORES, np.nan)
    if kind == "without":
        row["unknown_auroc"] = roc_auc_score((types == what)[~reference], strange[~reference])
    else:
        names, confidence = np.asarray(table.columns)[table.to_numpy().argmax(1)], table.max(axis=1).to_numpy()
        right = names[~reference] == types[~reference]
        row["accuracy"] = right.mean()
        row["macro_f1"] = f1_score(types[~reference], names[~reference], average="macro")
        row["calibration_error"] = calibration_error(confidence[~reference], right)
    return row


def table(results: pd.DataFrame) -> str:
    """Scores by method, mean and standard deviation over seeds (and over the types left out), one table a design."""
    known = results["design"].str.startswith("from ")
    title = results["dataset"].where(~known, results["dataset"] + ", labels " + results["design"])
    return by_method(results, title, SCORES)


def main() -> None:
    parser = command(__doc__, "labels", datasets=["zheng_sorted_3874", "zeisel_1799"], peer="scvi-tools and harmonypy")
    parser.add_argument("--batches", nargs="*", default=["kang_ifnb_2800", "baron_human2_4"])
    parser.add_argument("--methods", nargs="*", default=["scrae", "scrae_map", "lr", "knn"], choices=METHODS)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--leave-out", type=int, default=2, help="how many types, the largest first")
    typed = options(parser)

    wanted = []
    for name in dict.fromkeys([*typed.datasets, *typed.batches]):
        cells = anndata.read_h5ad(typed.data / f"{name}.h5ad", backed="r").obs
        designs = []
        if name in typed.datasets:
            largest = cells["cell_type"].astype(str).value_counts().index[: typed.leave_out]
            designs += ["share", *(f"without {left_out}" for left_out in largest)]
        if name in typed.batches:
            designs += [f"from {batch}" for batch in sorted(cells["batch"].astype(str).unique())]
        wanted += [
            (name, design, method, seed)
            for method in typed.methods
            for seed in range(1 if method == "scanvi" else typed.seeds)
            for design in designs
            if (design.startswith("from ") or method not in OF_BATCHES)
            and not (design.startswith("without ") and method == "scanvi")
        ]
    shown = resumed(
        typed.out,
        KEYS,
        wanted,
        lambda name, *which: measure(
            typed.data / f"{name}.h5ad", typed.n_genes, *which, share=typed.share, peer=typed.peer
        ),
    )
    publish(table(shown), typed.markdown)


if __name__ == "__main__":
    main()
