"""Integration: how well batches mix and types stay apart, over data sets, methods and seeds.

    python benchmarks/batch.py --data DIR [--datasets NAME ...] [--methods scrae pca30 ...] [--seeds 5]
                               [--peer PYTHON] [--embeddings DIR] [--out batch.csv] [--markdown batch.md]

DIR holds h5ad files with raw counts in X, types in obs["cell_type"] and batches in obs["batch"]; data sets whose names
begin with ``made_`` are made from some of them (benchmarks/made_batches.py). Every method sees the same cells and genes
(chosen within batches); none sees types. Methods: ``scrae`` (the default preset with
``batch_key``; ``scrae:dispersion=gene-batch``: with other settings), any method of benchmarks/accuracy.py, which is
told of no batch (``default``, ``pca30``, ``scvi``), and with ``--peer`` ``harmony``, ``scvi_batch`` (three seeds),
``scanorama``, ``concord`` and ``scalex_batch``, which are told. So are ``seurat_cca``, ``seurat_rpca`` and ``fastmnn``
of R (one seed: little in them is random). Where these fail, mostly because a batch is too small for them, their row has
no scores. Scores as in benchmarks/mixing.py; rows of older versions lack the last two. One row per (data set, method,
seed); rows that are there already are not computed again, nor are embeddings where ``--embeddings`` names a folder to
keep them in (not that of benchmarks/accuracy.py: genes differ).

With ``--scib FILE.csv``, and a peer that has scib-metrics, embeddings get its scores as well (Luecken et al. 2022), a
row for each data set, method and seed; they are kept in embeddings/ beside FILE.csv if nothing else is said. As this
takes long, ``--scib-datasets`` names the data sets that are judged, and ``--scib-seeds`` says how many seeds (1).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scanpy as sc
from accuracy import Embedded, embed, kept, settings
from batch_peers import OF_BATCHES as OF_R
from batch_peers import Refused, ask_r
from experiment import KEYS, ask_peer, command, measured_already, options, resumed, with_chosen_genes
from made_batches import MADE, made
from mixing import BESIDE, OF_BATCHES, OF_TYPES, distances_kept, distances_within_batches, isolated_f1, mixing_scores
from peers import SCIB
from tables import in_common, markdown, mean_and_spread_of_known, publish

import scrae

# At most; SCVI and SCALEX take ten times as long as scRAE.
SEEDS = {"scvi_batch": 3, "scalex_batch": 1} | dict.fromkeys(OF_R, 1)
REAL = ["cellbench_3cl", "kang_ifnb_2800", "baron_human2_4", "cao_worm_neuron", "zeisel_1799"]
DATASETS = [*REAL, *MADE]
SCORES = ["overall", "batches", "types", *BESIDE, *OF_BATCHES, *OF_TYPES]


def batches_in(data: Path, n_genes: int) -> Callable[[str], anndata.AnnData]:
    """A function that gives a data set with batches by name, on its chosen genes, and keeps the last one.

    Batches of one cell are left out: nothing can tell the batch from the cell.
    """

    @lru_cache(maxsize=1)
    def load(name: str) -> anndata.AnnData:
        adata = made(data, name) if name in MADE else anndata.read_h5ad(data / f"{name}.h5ad")
        if "batch" not in adata.obs:
            raise SystemExit(f'{name} has no obs["batch"]: there is nothing to integrate')
        sizes = adata.obs["batch"].map(adata.obs["batch"].value_counts()).astype(int)
        return with_chosen_genes(adata[(sizes > 1).to_numpy()].copy(), n_genes, "hvg", batch_key="batch")

    return load


def batch_and_types(adata: anndata.AnnData) -> tuple[np.ndarray, np.ndarray]:
    """Batch and type of each cell, (n_cells,) each."""
    batch, types = (adata.obs[key].astype(str).to_numpy() for key in ("batch", "cell_type"))
    return batch, types


def runs(datasets: Sequence[str], methods: Sequence[str], seeds: int) -> list[tuple[object, ...]]:
    """Data set, method and seed of each run; slow methods have fewer seeds."""
    return [
        (name, method, seed)
        for name in datasets
        for method in methods
        for seed in range(min(SEEDS.get(method, seeds), seeds))
    ]


def embed_batches(adata: anndata.AnnData, method: str, seed: int, peer: str | None) -> Embedded:
    """As :func:`accuracy.embed`, with ``scrae`` and the methods of R."""
    name, _, changes = method.partition(":")
    if name in OF_R:
        return ask_r(adata, name, seed).to_numpy(), {}
    if name != "scrae":
        return embed(adata, method, seed, peer)
    model = scrae.SCRAE(random_state=seed, verbose=False, **settings(changes))
    return model.fit(adata, batch_key="batch").embed(), {}


def judged_by_scib(adata: anndata.AnnData, embeddings: dict[str, np.ndarray], peer: str | None) -> pd.DataFrame:
    """Scores of scib-metrics, (n_methods, n_scores)."""
    judged = adata.copy()
    judged.obsm = embeddings
    return pd.DataFrame(ask_peer(judged, "scib", 0, peer)[0], index=sorted(embeddings), columns=list(SCIB))


def ranked(results: pd.DataFrame, scores: list[str], of: str = "data sets") -> str:
    """Methods by the mean of the first score over data sets, then a table for each data set, as Markdown.

    ``of`` is what the table calls the values of the column ``dataset``.

    Where some methods were not measured on all data sets, or failed on some, the first table is of the methods that
    were, and one of all methods on the data sets that they share comes second.
    """
    results = results.dropna(subset=scores[0])
    numbers = results.groupby("method")["dataset"].nunique()
    everywhere = results[results["method"].isin(numbers.index[numbers == results["dataset"].nunique()])]
    parts = [_means(everywhere, scores, of)] if len(everywhere) else []
    shared = in_common(results, "method")
    if len(everywhere) < len(results) and len(shared):
        parts.append(_means(shared, scores, of))
    order = results.groupby("method")[scores[0]].mean().sort_values(ascending=False).index
    for name, rows in results.groupby("dataset"):
        cells = rows.groupby("method")[scores].agg(mean_and_spread_of_known)
        parts.append(markdown(cells.reindex([m for m in order if m in cells.index]), str(name)))
    return "\n\n".join(parts)


def _means(results: pd.DataFrame, scores: list[str], of: str) -> str:
    """Means over data sets of which all methods have each, as Markdown; methods that tie are all first."""
    means = results.groupby(["method", "dataset"])[scores].mean()
    order = means.groupby("method").mean().sort_values(scores[0], ascending=False)
    best = means[scores[0]] == means[scores[0]].groupby("dataset").transform("max")
    first = best.groupby("method").sum()
    table = order.apply(lambda column: column.map("{:.3f}".format).where(column.notna()))
    table.insert(0, "first on", [str(first[method]) for method in order.index])
    return markdown(table, f"mean of {results['dataset'].nunique()} {of}")


def main() -> None:
    parser = command(
        __doc__,
        "batch",
        datasets=DATASETS,
        methods=["scrae", "default", "pca30"],
        peer="scvi-tools, harmonypy and scib-metrics",
    )
    parser.add_argument("--scib", type=Path, help="table of the scores of scib-metrics, if wanted")
    parser.add_argument("--scib-datasets", nargs="*", help="those that scib-metrics judges; all if nothing is said")
    parser.add_argument("--scib-seeds", type=int, default=1, help="of each method that scib-metrics judges")
    parser.add_argument("--embeddings", type=Path, help="folder to keep embeddings in")
    parser.add_argument("--measured", action="store_true", help="tables of the rows that are there, and nothing more")
    typed = options(parser)

    load = batches_in(typed.data, typed.n_genes)
    folder = typed.embeddings or (typed.scib and typed.scib.parent / "embeddings")

    def embedding(name: str, method: str, seed: int) -> np.ndarray:
        wanted_again = typed.embeddings or seed < typed.scib_seeds  # by scib-metrics
        path = folder / f"{name}-{method}-{seed}.npz" if folder and wanted_again else None
        return kept(path, lambda: embed_batches(load(name), method, seed, typed.peer))[0]

    @lru_cache(maxsize=1)
    def expected(name: str) -> np.ndarray:
        logs = load(name).copy()
        sc.pp.normalize_total(logs)
        sc.pp.log1p(logs)
        return distances_within_batches(logs.X, *batch_and_types(logs))

    def measure(name: str, method: str, seed: int) -> dict[str, object]:
        batch, types = batch_and_types(load(name))
        try:
            found = embedding(name, method, seed)
        except Refused as refused:
            print(f"{name}, {method}: {refused}", file=sys.stderr)
            return dict.fromkeys([*OF_BATCHES, *OF_TYPES, "batches", "types", "overall", *BESIDE], np.nan)
        beside = isolated_f1(found, batch, types), distances_kept(found, types, expected(name))
        return mixing_scores(found, batch, types, seed) | dict(zip(BESIDE, beside, strict=True))

    def judged(name: str, method: str, seed: int) -> dict[str, object]:
        try:
            found = embedding(name, method, seed)
        except Refused:
            return dict.fromkeys(SCIB, np.nan)
        return dict(judged_by_scib(load(name), {method: found}, typed.peer).iloc[0])

    wanted = runs(typed.datasets, typed.methods, typed.seeds)
    rows = measured_already(typed.out, KEYS, wanted) if typed.measured else resumed(typed.out, KEYS, wanted, measure)
    parts = [ranked(rows, SCORES)]
    if typed.scib:
        by_scib = runs(typed.scib_datasets or typed.datasets, typed.methods, typed.scib_seeds)
        known = measured_already(typed.scib, KEYS, by_scib) if typed.measured else None
        scores = resumed(typed.scib, KEYS, by_scib, judged) if known is None else known
        parts += ["## scib-metrics", ranked(scores, list(SCIB))]
    publish("\n\n".join(parts), typed.markdown)


if __name__ == "__main__":
    main()
