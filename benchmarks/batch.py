"""Integration: how well batches mix and types stay apart, over data sets, methods and seeds.

    python benchmarks/batch.py --data DIR [--datasets NAME ...] [--methods scrae pca30 ...] [--seeds 5]
                               [--peer PYTHON] [--embeddings DIR] [--out batch.csv] [--markdown batch.md]

DIR holds h5ad files with raw counts in X, types in obs["cell_type"] and batches in obs["batch"]. Every method sees the
same cells and genes (chosen within batches); none sees types. Methods: ``scrae`` (the default preset with
``batch_key``), any method of benchmarks/accuracy.py, which is told of no batch (``default``, ``pca30``, ``scvi``), and
with ``--peer`` ``harmony`` and ``scvi_batch``, which are (``scvi_batch`` with one seed). Scores as in
benchmarks/mixing.py. One row per (data set, method, seed); rows that are there already are not computed again, nor are
embeddings where ``--embeddings`` names a folder to keep them in (not that of benchmarks/accuracy.py: genes differ).

With ``--scib FILE.csv``, and a peer that has scib-metrics, the embeddings of the first seed get its scores as well
(Luecken et al. 2022); they are kept in embeddings/ beside FILE.csv if nothing else is said.
"""

from __future__ import annotations

import argparse
from functools import lru_cache
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import torch
from accuracy import (
    KEYS,
    Embedded,
    ask_peer,
    embed,
    kept,
    markdown,
    mean_and_spread,
    publish,
    resumed,
    with_chosen_genes,
)
from mixing import OF_BATCHES, OF_TYPES, mixing_scores
from peers import SCIB

import scrae

DATASETS = ["cellbench_3cl", "kang_ifnb_2800", "baron_human2_4"]
SCORES = ["overall", "batches", "types", *OF_BATCHES, *OF_TYPES]


def embed_batches(adata: anndata.AnnData, method: str, seed: int, peer: str | None) -> Embedded:
    """As :func:`accuracy.embed`, with one method more."""
    if method == "scrae":
        return scrae.SCRAE(random_state=seed, verbose=False).fit(adata, batch_key="batch").embed(), {}
    return embed(adata, method, seed, peer)


def judged_by_scib(adata: anndata.AnnData, embeddings: dict[str, np.ndarray], peer: str | None) -> pd.DataFrame:
    """Scores of scib-metrics, (n_methods, n_scores)."""
    judged = adata.copy()
    judged.obsm = embeddings
    return pd.DataFrame(ask_peer(judged, "scib", 0, peer)[0], index=sorted(embeddings), columns=list(SCIB))


def ranked(results: pd.DataFrame, scores: list[str]) -> str:
    """Methods by the mean of the first score over data sets, then a table for each data set, as Markdown."""
    means = results.groupby(["method", "dataset"])[scores].mean()
    order = means.groupby("method").mean().sort_values(scores[0], ascending=False)
    first = means[scores[0]].groupby("dataset").idxmax().str[0].value_counts()
    table = order.map("{:.3f}".format)
    table.insert(0, "first on", [str(first.get(method, 0)) for method in order.index])
    parts = [markdown(table, f"mean of {results['dataset'].nunique()} data sets")]
    for name, rows in results.groupby("dataset"):
        cells = rows.groupby("method")[scores].agg(mean_and_spread)
        parts.append(markdown(cells.reindex([m for m in order.index if m in cells.index]), str(name)))
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--datasets", nargs="*", default=DATASETS)
    parser.add_argument("--methods", nargs="*", default=["scrae", "default", "pca30"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--n-genes", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peer", help="a Python with scvi-tools, harmonypy and scib-metrics")
    parser.add_argument("--scib", type=Path, help="table of the scores of scib-metrics, if wanted")
    parser.add_argument("--embeddings", type=Path, help="folder to keep embeddings in")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/batch.csv"))
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    @lru_cache(maxsize=1)
    def load(name: str) -> anndata.AnnData:
        adata = anndata.read_h5ad(options.data / f"{name}.h5ad")
        if "batch" not in adata.obs:
            raise SystemExit(f'{name} has no obs["batch"]: there is nothing to integrate')
        return with_chosen_genes(adata, options.n_genes, "hvg", batch_key="batch")

    folder = options.embeddings or (options.scib and options.scib.parent / "embeddings")

    def embedding(name: str, method: str, seed: int) -> np.ndarray:
        wanted_again = options.embeddings or seed == 0  # scib-metrics judges the first seed's
        path = folder / f"{name}-{method}-{seed}.npz" if folder and wanted_again else None
        return kept(path, lambda: embed_batches(load(name), method, seed, options.peer))[0]

    def measure(name: str, method: str, seed: int) -> dict[str, object]:
        batch, types = (load(name).obs[key].astype(str).to_numpy() for key in ("batch", "cell_type"))
        return dict(mixing_scores(embedding(name, method, seed), batch, types, seed))

    wanted = [
        (name, method, seed)
        for name in options.datasets
        for method in options.methods
        for seed in range(1 if method == "scvi_batch" else options.seeds)
    ]
    parts = [ranked(resumed(options.out, KEYS, wanted, measure), SCORES)]
    if options.scib:
        tables = []
        for name in options.datasets:
            found = {method: embedding(name, method, 0) for method in options.methods}
            tables.append(judged_by_scib(load(name), found, options.peer).assign(dataset=name))
        scores = pd.concat(tables).rename_axis("method").reset_index()
        scores.to_csv(options.scib, index=False, float_format="%.5f")
        parts += ["## scib-metrics, first seed", ranked(scores, list(SCIB))]
    publish("\n\n".join(parts), options.markdown)


if __name__ == "__main__":
    main()
