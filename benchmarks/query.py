"""Cells of a batch that the model has not seen: are their types carried over, and do they come to lie among the others?

    python benchmarks/query.py --data DIR [--datasets NAME ...] [--methods scrae_map pca30 ...] [--seeds 1]
                               [--peer PYTHON] [--kept DIR] [--measured] [--out query.csv] [--markdown query.md]

DIR holds h5ad files with raw counts in X, types in obs["cell_type"] and batches in obs["batch"]; data sets whose names
begin with ``made_`` are made from some of them (benchmarks/made_batches.py). In each of them one batch is the query,
the first two by name in turn, and the others are the reference. Genes are chosen on the reference alone, and its cells
have labels. Methods:

- ``scrae_map``: trained on the reference (told its batches where there are several), the query mapped;
- ``scrae_map_batch``: the same model, the query mapped with ``batch_key``;
- ``scrae_together``: trained on all cells with ``batch_key``, for what could be reached;
- ``pca30``: 30 components of the reference's scaled genes, the query projected;
- ``seurat_transfer``: FindTransferAnchors and MapQuery of Seurat in R; a reference of several batches is integrated
  before; one seed;
- ``scanvi_surgery``: SCANVI of the reference and a surgery for the query (scArches), with ``--peer``; one seed.

Labels are carried over by the 15 nearest cells of the reference (``accuracy`` and ``macro_f1``, which is the mean over
the query's types), and by the method's own classifier (``own_accuracy``, ``own_macro_f1``): ``fit_labels`` and
``predict``, TransferData, SCANVI's. ``mixing`` and ``kBET`` are those of query and reference within types
(``scrae.metrics``); of the first the mean over types that both hold with ten cells, each at most 1, as more is not
better. Cells of the query whose type the reference lacks do not count. One row per (data set, query, method, seed);
rows that are there already are not computed again. Where ``--kept`` names a folder, models of scRAE and answers of
others are kept there, and taken from there the next time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import anndata
import numpy as np
import scanpy as sc
from batch import ranked
from batch_peers import TRANSFER, Refused, ask_r
from experiment import ask_peer, command, measured_already, options, resumed, with_chosen_genes
from made_batches import MADE, made
from sklearn.decomposition import PCA
from sklearn.metrics import f1_score
from sklearn.neighbors import KNeighborsClassifier
from tables import publish

import scrae

KEYS = ["dataset", "query", "method", "seed"]
METHODS = ("scrae_map", "scrae_map_batch", "scrae_together", "pca30", TRANSFER, "scanvi_surgery")
ONE_SEED = (TRANSFER, "scanvi_surgery")
DATASETS = ["kang_ifnb_2800", "baron_human2_4", "cellbench_3cl", "cao_worm_neuron", *MADE]
SCORES = ["accuracy", "macro_f1", "own_accuracy", "own_macro_f1", "mixing", "kBET"]
QUERIES = 2  # batches of a data set
NEIGHBOURS = 15
COMPONENTS = 30
LARGEST = 10.0  # of a scaled gene
LEAST_CELLS = 10  # of a type on either side, for whether they mix
UNKNOWN = "Unknown"

Answer = tuple[np.ndarray, np.ndarray | None]
"""An embedding of all cells, (n_cells, n_dimensions), and the types of the query's cells by the method itself."""


def queried(adata: anndata.AnnData, query: str, n_genes: int) -> anndata.AnnData:
    """All cells on genes that are chosen without those of the query.

    Parameters
    ----------
    adata
        Raw counts in X, ``obs["cell_type"]`` and ``obs["batch"]``.
    query
        The batch that is new.
    n_genes
        How many genes; they are chosen within the batches of the reference where it has several.

    Returns
    -------
    The cells that have a count left, with ``obs["query"]``, whether a cell is of the query, and ``obs["known"]``, its
    type if it is not.
    """
    batch = adata.obs["batch"].astype(str)
    reference = adata[(batch != query).to_numpy()].copy()
    genes = with_chosen_genes(reference, n_genes, "hvg", batch_key=of_several(reference)).var_names
    cells = adata[:, genes].copy()
    sc.pp.filter_cells(cells, min_counts=1)
    cells.obs["batch"], types = cells.obs["batch"].astype(str), cells.obs["cell_type"].astype(str)
    cells.obs["query"] = (cells.obs["batch"] == query).to_numpy()
    cells.obs["known"] = np.where(cells.obs["query"], UNKNOWN, types)
    return cells


def of_several(cells: anndata.AnnData) -> str | None:
    """The column of batches where the cells are of several."""
    return "batch" if cells.obs["batch"].nunique() > 1 else None


def projected(cells: anndata.AnnData, seed: int) -> np.ndarray:
    """Scaled principal components of the reference, (n_cells, 30); depth, means and deviations are its own as well."""
    query = cells.obs["query"].to_numpy()
    logs = cells.copy()
    sc.pp.normalize_total(logs, target_sum=float(np.median(np.asarray(cells[~query].X.sum(1)))))
    sc.pp.log1p(logs)
    expression = logs.X.toarray()
    deviation = expression[~query].std(0, ddof=1)
    expression = (expression - expression[~query].mean(0)) / np.where(deviation > 0, deviation, 1)
    expression = expression.clip(-LARGEST, LARGEST)
    return PCA(COMPONENTS, random_state=seed).fit(expression[~query]).transform(expression)


def scores(embedding: np.ndarray, own: np.ndarray | None, query: np.ndarray, types: np.ndarray) -> dict[str, object]:
    """All of :data:`SCORES`, and the number of cells that they are of.

    Parameters
    ----------
    embedding
        Of all cells, (n_cells, n_dimensions).
    own
        Types of the query's cells, in their order, by the method itself; None: it has no such answer.
    query
        Which cells are of the query, boolean (n_cells,).
    types
        True types, (n_cells,).
    """
    judged = query & np.isin(types, types[~query])
    seen = ~query | judged
    nearest = KNeighborsClassifier(NEIGHBOURS).fit(embedding[~query], types[~query]).predict(embedding[judged])
    row: dict[str, object] = {"cells": int(judged.sum())}
    for name, found in (("", nearest), ("own_", None if own is None else own[judged[query]])):
        row |= {f"{name}accuracy": np.nan, f"{name}macro_f1": np.nan}
        if found is not None:
            there = np.unique(types[judged])
            row[f"{name}accuracy"] = float((found == types[judged]).mean())
            row[f"{name}macro_f1"] = f1_score(types[judged], found, labels=there, average="macro", zero_division=0)
    within = embedding[seen], query[seen].astype(int), types[seen]
    return row | {"mixing": mixed(*within), "kBET": scrae.metrics.kbet(*within)}


def mixed(embedding: np.ndarray, query: np.ndarray, types: np.ndarray) -> float:
    """Mean over types of how well query and reference mix, from 0 to 1; missing where no type has enough cells."""
    of_cells = scrae.metrics.mixing(embedding, query, types)
    both = [name for name in np.unique(types) if np.bincount(query[types == name], minlength=2).min() >= LEAST_CELLS]
    return float(np.mean([min(1.0, of_cells[types == name].mean()) for name in both])) if both else float("nan")


def answer_of_scrae(cells: anndata.AnnData, method: str, model: scrae.SCRAE) -> Answer:
    """Of a model that was trained on the reference, or on all cells."""
    query = cells.obs["query"].to_numpy()
    told = {"batch_key": "batch"} if method == "scrae_map_batch" else {}
    new = cells[query].copy()
    if not told:
        del new.obs["batch"]  # it would be warned of
    embedding = np.empty((cells.n_obs, model.embed(cells[:1].copy()).shape[1]))
    embedding[~query], embedding[query] = model.embed(cells[~query].copy()), model.map(new, **told)
    model.fit_labels(cells[~query].copy(), "known")
    return embedding, np.asarray(model.predict(new, unknown_rate=0, **told))


def answer_of_others(cells: anndata.AnnData, method: str, seed: int, peer: str | None) -> Answer:
    """Of any method but scRAE's."""
    query = cells.obs["query"].to_numpy()
    if method == "pca30":
        return projected(cells, seed), None
    if method == TRANSFER:
        table = ask_r(cells, method, seed)
        return table.drop(columns="type").to_numpy(), table["type"].to_numpy(dtype=str)[query]
    types = np.unique(cells.obs["known"][~query].astype(str))
    found = ask_peer(cells, method, seed, peer)[0]
    probabilities = found[:, -len(types) :]
    return found[:, : -len(types)], types[probabilities[query].argmax(1)]


def kept(path: Path | None, ask: Callable[[], Answer]) -> Answer:
    """What ``ask`` gives, kept at a path (.npz), and taken from there the next time."""
    if path is None:
        return ask()
    if not path.exists():
        embedding, own = ask()
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, embedding=embedding, own=np.zeros(0) if own is None else np.asarray(own, dtype=str))
    with np.load(path) as stored:
        return stored["embedding"], stored["own"] if len(stored["own"]) else None


def main() -> None:
    parser = command(__doc__, "query", datasets=DATASETS, peer="scvi-tools")
    parser.add_argument("--methods", nargs="*", default=list(METHODS[:4]), choices=METHODS)
    parser.add_argument("--kept", type=Path, help="folder to keep models and answers in")
    parser.add_argument("--measured", action="store_true", help="tables of the rows that are there, and nothing more")
    parser.set_defaults(seeds=1)
    typed = options(parser)

    @lru_cache(maxsize=1)
    def whole(name: str) -> anndata.AnnData:
        return made(typed.data, name) if name in MADE else anndata.read_h5ad(typed.data / f"{name}.h5ad")

    @lru_cache(maxsize=1)
    def load(name: str, query: str) -> anndata.AnnData:
        return queried(whole(name), query, typed.n_genes)

    @lru_cache(maxsize=1)
    def trained(name: str, query: str, seed: int, together: bool) -> scrae.SCRAE:
        path = typed.kept and typed.kept / f"{name}-{query}-{'together-' if together else ''}{seed}"
        if path is not None and path.exists():
            return scrae.SCRAE.load(path)
        cells = load(name, query)
        chosen = cells if together else cells[~cells.obs["query"].to_numpy()].copy()
        model = scrae.SCRAE(random_state=seed, verbose=False).fit(chosen, batch_key=of_several(chosen))
        if path is not None:
            model.save(path)
        return model

    def measure(name: str, query: str, method: str, seed: int) -> dict[str, object]:
        cells = load(name, query)
        try:
            if method.startswith("scrae"):
                model = trained(name, query, seed, method == "scrae_together")
                embedding, own = answer_of_scrae(cells, method, model)
            else:
                path = typed.kept and typed.kept / f"{name}-{query}-{method}-{seed}.npz"
                embedding, own = kept(path, lambda: answer_of_others(cells, method, seed, typed.peer))
        except Refused as refused:
            print(f"{name}, {query}, {method}: {refused}", file=sys.stderr)
            return dict.fromkeys(["cells", *SCORES], np.nan)
        return scores(embedding, own, cells.obs["query"].to_numpy(), cells.obs["cell_type"].astype(str).to_numpy())

    wanted = [
        (name, query, method, seed)
        for name in typed.datasets
        for query in sorted(whole(name).obs["batch"].astype(str).unique())[:QUERIES]
        for seed in range(typed.seeds)
        for method in typed.methods
        if seed == 0 or method not in ONE_SEED
    ]
    shown = measured_already(typed.out, KEYS, wanted) if typed.measured else resumed(typed.out, KEYS, wanted, measure)
    each = shown.assign(dataset=shown["dataset"] + ", query " + shown["query"])
    publish(ranked(each, SCORES, "queries"), typed.markdown)


if __name__ == "__main__":
    main()
