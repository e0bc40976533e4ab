"""What batches explain of an embedding's variance: of all of it, and of what is left within types.

    python benchmarks/batch_variance.py --data DIR [--datasets NAME ...] [--methods scrae pca30 ...] [--seeds 3]
                                        [--peer PYTHON] [--embeddings DIR] [--out batch_variance.csv]
                                        [--markdown batch_variance.md]

Data sets and methods are those of benchmarks/batch.py. Where batches hold types in other shares, a batch explains
variance merely because types differ, and an embedding that draws types further apart seems to be corrected less. That
is so for the principal component regression (PCR) of scib-metrics. Within types this part is gone. All shares are
beyond chance (``scrae.metrics.batches.variance_explained``). One row per (data set, method, seed); rows that are there
already are not computed again.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from accuracy import kept
from batch import DATASETS, batch_and_types, batches_in, embed_batches, runs
from experiment import KEYS, command, options, resumed
from tables import markdown, mean_and_spread, publish

from scrae.metrics.batches import variance_explained

SHARES = {
    "batch": "explained by batches",
    "batch_within_types": "by batches within types",
    "types": "by types",
}


def as_table(results: pd.DataFrame) -> str:
    """Means over data sets, then each data set by methods, as Markdown; the least within types comes first."""
    by_dataset = results.groupby(["method", "dataset"])[list(SHARES)].mean()
    means = by_dataset.groupby("method").mean().sort_values("batch_within_types")
    means["most_within_types"] = by_dataset["batch_within_types"].groupby("method").max()
    names = SHARES | {"most_within_types": "by batches within types, largest"}
    table = means.map("{:.3f}".format).rename(columns=names)
    parts = [markdown(table, f"mean of {results['dataset'].nunique()} data sets")]
    for name, rows in results.groupby("dataset"):
        cells = rows.groupby("method")[list(SHARES)].agg(mean_and_spread).rename(columns=SHARES)
        parts.append(markdown(cells.reindex([method for method in means.index if method in cells.index]), str(name)))
    return "\n\n".join(parts)


def main() -> None:
    parser = command(
        __doc__,
        "batch_variance",
        datasets=DATASETS,
        methods=["scrae", "default", "pca30"],
        peer="scvi-tools and harmonypy",
    )
    parser.set_defaults(seeds=3)
    parser.add_argument(
        "--embeddings", type=Path, help="folder with embeddings of benchmarks/batch.py, to take and to keep"
    )
    typed = options(parser)
    load = batches_in(typed.data, typed.n_genes)

    def measure(name: str, method: str, seed: int) -> dict[str, object]:
        adata = load(name)
        batch, types = batch_and_types(adata)
        path = typed.embeddings and typed.embeddings / f"{name}-{method}-{seed}.npz"
        embedding = kept(path, lambda: embed_batches(adata, method, seed, typed.peer))[0]
        return {
            "batch": variance_explained(embedding, batch),
            "batch_within_types": variance_explained(embedding, batch, types),
            "types": variance_explained(embedding, types),
        }

    wanted = runs(typed.datasets, typed.methods, typed.seeds)
    publish(as_table(resumed(typed.out, KEYS, wanted, measure)), typed.markdown)


if __name__ == "__main__":
    main()
