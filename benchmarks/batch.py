"""Integration: how well batches mix and types stay apart, over data sets, methods and seeds.

    python benchmarks/batch.py --data DIR [--datasets NAME ...] [--methods scrae pca30 ...] [--seeds 5]
                               [--peer PYTHON] [--out batch.csv] [--markdown batch.md]

DIR holds h5ad files with raw counts in X, types in obs["cell_type"] and batches in obs["batch"]. Every method sees the
same cells and genes (chosen within batches); none sees types. Methods: ``scrae`` (the default preset with
``batch_key``), any method of benchmarks/accuracy.py, which is told of no batch (``default``, ``pca30``, ``scvi``), and
with ``--peer`` ``harmony`` and ``scvi_batch``, which are. Scores as in benchmarks/mixing.py. One row per (data set,
method, seed); rows that are there already are not computed again.
"""

from __future__ import annotations

import argparse
import time
from functools import lru_cache
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import torch
from accuracy import KEYS, embed, markdown, mean_and_spread, publish, resumed, with_chosen_genes
from mixing import OF_BATCHES, OF_TYPES, mixing_scores

import scrae

DATASETS = ["cellbench_3cl", "kang_ifnb_2800", "baron_human2_4"]
SCORES = ["overall", "batches", "types", *OF_BATCHES, *OF_TYPES]


def measure(adata: anndata.AnnData, method: str, seed: int, peer: str | None) -> dict[str, object]:
    started = time.perf_counter()
    if method == "scrae":
        embedding = scrae.SCRAE(random_state=seed, verbose=False).fit(adata, batch_key="batch").embed()
    else:
        embedding, _ = embed(adata, method, seed, peer)
    seconds = time.perf_counter() - started
    batch, types = (adata.obs[key].astype(str).to_numpy() for key in ("batch", "cell_type"))
    return {"seconds": seconds} | mixing_scores(np.asarray(embedding), batch, types, seed)


def ranked(results: pd.DataFrame) -> str:
    """Methods by their mean overall score, then a table for each data set, as Markdown."""
    means = results.groupby(["method", "dataset"])[SCORES].mean()
    order = means.groupby("method").mean().sort_values("overall", ascending=False)
    first = means["overall"].groupby("dataset").idxmax().str[0].value_counts()
    table = order.map("{:.3f}".format)
    table.insert(0, "first on", [str(first.get(method, 0)) for method in order.index])
    parts = [markdown(table, f"mean of {results['dataset'].nunique()} data sets")]
    for name, rows in results.groupby("dataset"):
        cells = rows.groupby("method")[SCORES].agg(mean_and_spread)
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
    parser.add_argument("--peer", help="a Python with scvi-tools and harmonypy")
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

    wanted = [(name, m, seed) for name in options.datasets for m in options.methods for seed in range(options.seeds)]
    shown = resumed(
        options.out, KEYS, wanted, lambda name, method, seed: measure(load(name), method, seed, options.peer)
    )
    text = ranked(shown)
    publish(text, options.markdown)


if __name__ == "__main__":
    main()
