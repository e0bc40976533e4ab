"""Integration: how well batches mix and types stay apart, over data sets, methods and seeds.

    python benchmarks/batch.py --data DIR [--datasets NAME ...] [--methods scrae pca30 ...] [--seeds 5]
                               [--peer PYTHON] [--embeddings DIR] [--out batch.csv] [--markdown batch.md]

DIR holds h5ad files with raw counts in X, types in obs["cell_type"] and batches in obs["batch"]. Every method sees the
same cells and genes (chosen within batches); none sees types. Methods: ``scrae`` (the default preset with
``batch_key``; ``scrae:dispersion=gene-batch``: with other settings), any method of benchmarks/accuracy.py, which is
told of no batch (``default``, ``pca30``, ``scvi``), and with ``--peer`` ``harmony`` and ``scvi_batch``, which are
(``scvi_batch`` with three seeds). Scores as in benchmarks/mixing.py. One row per (data set, method, seed); rows that
are there already are not computed again, nor are embeddings where ``--embeddings`` names a folder to keep them in (not
that of benchmarks/accuracy.py: genes differ).

With ``--scib FILE.csv``, and a peer that has scib-metrics, the embeddings of the first seed get its scores as well
(Luecken et al. 2022); they are kept in embeddings/ beside FILE.csv if nothing else is said.
"""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from accuracy import Embedded, embed, kept, settings
from experiment import KEYS, ask_peer, command, loader, options, resumed
from mixing import OF_BATCHES, OF_TYPES, mixing_scores
from peers import SCIB
from tables import markdown, mean_and_spread, publish

import scrae

SEEDS_OF_SCVI = 3  # each takes ten times as long as one of scRAE
DATASETS = ["cellbench_3cl", "kang_ifnb_2800", "baron_human2_4"]
SCORES = ["overall", "batches", "types", *OF_BATCHES, *OF_TYPES]


def embed_batches(adata: anndata.AnnData, method: str, seed: int, peer: str | None) -> Embedded:
    """As :func:`accuracy.embed`, with one method more."""
    name, _, changes = method.partition(":")
    if name != "scrae":
        return embed(adata, method, seed, peer)
    model = scrae.SCRAE(random_state=seed, verbose=False, **settings(changes))
    return model.fit(adata, batch_key="batch").embed(), {}


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
    parser = command(
        __doc__,
        "batch",
        datasets=DATASETS,
        methods=["scrae", "default", "pca30"],
        peer="scvi-tools, harmonypy and scib-metrics",
    )
    parser.add_argument("--scib", type=Path, help="table of the scores of scib-metrics, if wanted")
    parser.add_argument("--embeddings", type=Path, help="folder to keep embeddings in")
    typed = options(parser)

    load = loader(typed.data, typed.n_genes, batch_key="batch")
    folder = typed.embeddings or (typed.scib and typed.scib.parent / "embeddings")

    def embedding(name: str, method: str, seed: int) -> np.ndarray:
        wanted_again = typed.embeddings or seed == 0  # scib-metrics judges the first seed's
        path = folder / f"{name}-{method}-{seed}.npz" if folder and wanted_again else None
        return kept(path, lambda: embed_batches(load(name), method, seed, typed.peer))[0]

    def measure(name: str, method: str, seed: int) -> dict[str, object]:
        batch, types = (load(name).obs[key].astype(str).to_numpy() for key in ("batch", "cell_type"))
        return dict(mixing_scores(embedding(name, method, seed), batch, types, seed))

    wanted = [
        (name, method, seed)
        for name in typed.datasets
        for method in typed.methods
        for seed in range(min(SEEDS_OF_SCVI, typed.seeds) if method == "scvi_batch" else typed.seeds)
    ]
    parts = [ranked(resumed(typed.out, KEYS, wanted, measure), SCORES)]
    if typed.scib:
        tables = []
        for name in typed.datasets:
            found = {method: embedding(name, method, 0) for method in typed.methods}
            tables.append(judged_by_scib(load(name), found, typed.peer).assign(dataset=name))
        scores = pd.concat(tables).rename_axis("method").reset_index()
        scores.to_csv(typed.scib, index=False, float_format="%.5f")
        parts += ["## scib-metrics, first seed", ranked(scores, list(SCIB))]
    publish("\n\n".join(parts), typed.markdown)


if __name__ == "__main__":
    main()
