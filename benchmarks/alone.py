"""Over-correction: is a type that one batch holds alone still found after the batches were taken out?

    python benchmarks/alone.py --data DIR [--datasets NAME ...] [--methods scrae pca30 ...] [--seeds 1]
                               [--peer PYTHON] [--embeddings DIR] [--out alone.csv] [--markdown alone.md]

Data sets and methods are those of benchmarks/batch.py. In each data set the largest and the smallest type that two
batches hold with 30 cells each are taken out of all batches but the one that has most of it, one type at a time, and
methods are trained on the cells that are left. The score is the best F1 that a Leiden cluster has for the type
(benchmarks/mixing.py), where the type is in all batches and where it is in one alone. One row per (data set, method,
seed, type); rows that are there already are not computed again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from accuracy import kept
from batch import DATASETS, batch_and_types, batches_in, embed_batches
from experiment import KEYS, command, options, resumed
from mixing import best_f1
from tables import markdown, mean_and_spread, publish

LEAST_CELLS = 30  # of a type in each of two batches
EACH = [*KEYS, "left"]
LEFT = ("largest", "smallest")


def shared_types(batch: np.ndarray, types: np.ndarray) -> list[str]:
    """Types that two batches or more hold with :data:`LEAST_CELLS` each, the largest first."""
    sizes = pd.crosstab(types, batch)
    shared = sizes[(sizes >= LEAST_CELLS).sum(axis=1) > 1]
    return list(shared.sum(axis=1).sort_values(ascending=False, kind="stable").index)


def alone_in_one(batch: np.ndarray, types: np.ndarray, name: str) -> np.ndarray:
    """Which cells stay if a type is left to the batch with most of it, boolean (n_cells,)."""
    of_type = types == name
    levels, sizes = np.unique(batch[of_type], return_counts=True)
    return ~of_type | (batch == levels[sizes.argmax()])


def as_table(results: pd.DataFrame) -> str:
    """Means over types and data sets, then each type of each data set by methods, as Markdown."""
    before_after = results.groupby(["method", "dataset", "left"])[["F1_everywhere", "F1_alone"]].mean()
    means = before_after.groupby("method").mean().sort_values("F1_alone", ascending=False)
    means["lost"] = means["F1_everywhere"] - means["F1_alone"]
    worst = before_after["F1_alone"].groupby("method").min()
    table = means.assign(lowest=worst).map("{:.3f}".format)
    parts = [markdown(table, f"mean of {results.groupby(['dataset', 'left']).ngroups} types")]
    results = results.assign(of=results["type"] + ", alone in " + results["batch"])
    for name, rows in results.groupby("dataset"):
        cells = rows.groupby(["of", "method"])["F1_alone"].agg(mean_and_spread).unstack("method")
        before = rows.groupby(["of", "method"])["F1_everywhere"].agg(mean_and_spread).unstack("method")
        both = before + " to " + cells
        parts.append(markdown(both[[m for m in means.index if m in both]], str(name)))
    return "\n\n".join(parts)


def main() -> None:
    parser = command(
        __doc__, "alone", datasets=DATASETS, methods=["scrae", "default", "pca30"], peer="scvi-tools and harmonypy"
    )
    parser.set_defaults(seeds=1)
    parser.add_argument(
        "--embeddings", type=Path, help="folder with embeddings of benchmarks/batch.py, to take and to keep"
    )
    typed = options(parser)
    load = batches_in(typed.data, typed.n_genes)

    def measure(name: str, method: str, seed: int, left: str) -> dict[str, object]:
        adata = load(name)
        batch, types = batch_and_types(adata)
        wanted = shared_types(batch, types)[0 if left == "largest" else -1]
        stay = alone_in_one(batch, types, wanted)
        path = typed.embeddings and typed.embeddings / f"{name}-{method}-{seed}.npz"
        everywhere = kept(path, lambda: embed_batches(adata, method, seed, typed.peer))[0]
        fewer = embed_batches(adata[stay].copy(), method, seed, typed.peer)[0]
        return {
            "type": wanted,
            "batch": batch[stay & (types == wanted)][0],
            "cells": int((stay & (types == wanted)).sum()),
            "F1_everywhere": best_f1(everywhere, types, [wanted])[wanted],
            "F1_alone": best_f1(fewer, types[stay], [wanted])[wanted],
        }

    wanted = [
        (name, method, seed, left)
        for name in typed.datasets
        for method in typed.methods
        for seed in range(typed.seeds)
        for left in LEFT[: len(shared_types(*batch_and_types(load(name))))]
    ]
    publish(as_table(resumed(typed.out, EACH, wanted, measure)), typed.markdown)


if __name__ == "__main__":
    main()
