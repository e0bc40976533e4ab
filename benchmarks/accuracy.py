"""How well embeddings cluster: k-means and Leiden against known labels, over data sets, methods and seeds.

    python benchmarks/accuracy.py --data DIR [--datasets NAME ...] [--methods default pca10 ...] [--seeds 3]
                                  [--peer PYTHON] [--embeddings DIR] [--out results.csv] [--markdown table.md]

DIR holds h5ad files with raw counts in X and labels in obs["cell_type"]. Labels are used for the scores and for the
number of k-means clusters, never in training, stopping or choosing. Every method sees the same cells and the same
genes. A method is ``pca10`` (any number), a preset, a preset with other settings, such as
``default:mask_rate=0.5,n_latent=20``, or with ``--peer`` one of benchmarks/peers.py: ``scvi``, and ``harmony`` where
the data have obs["batch"]. Clusterings are k-means with the number of types, Leiden at scanpy's resolution of 1, and
Leiden at the resolution with the best silhouette, which needs no labels. One row per (data set, method, seed); rows
that are there already are not computed again. With ``--embeddings`` every embedding is kept in a folder, and taken from
there the next time: scores can change without another training.
"""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scanpy as sc
import torch
from memory import peak_memory_mb, restart_peak
from peers import EMBEDDINGS as PEERS
from tqdm import tqdm

import scrae
from scrae.presets import PRESETS

KEYS = ["dataset", "method", "seed"]
CLUSTERINGS: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {  # of embedding, number of classes, seed
    "kmeans": scrae.metrics.kmeans,
    "leiden": lambda embedding, _, seed: scrae.metrics.leiden(embedding, random_state=seed),
    "leiden_by_silhouette": lambda embedding, _, seed: scrae.metrics.leiden(embedding, None, random_state=seed),
}


def literal(text: str) -> object:
    """A value of a setting as typed: a number, True, False, None, or the text itself."""
    try:
        return ast.literal_eval(text)
    except ValueError:
        return text


Embedded = tuple[np.ndarray, dict[str, object]]


def embed(adata: anndata.AnnData, method: str, seed: int, peer: str | None) -> Embedded:
    """Embedding of a method, and facts about its training."""
    if method in PEERS:
        return ask_peer(adata, method, seed, peer)
    restart_peak()
    if method.startswith("pca"):
        embedding = scrae.metrics.scaled_pca(adata, int(method.removeprefix("pca")), seed)
        return embedding, {"peak_memory_mb": peak_memory_mb()}
    preset, _, changes = method.partition(":")
    if preset not in PRESETS:
        known = ", ".join(["pca10, pca30 (any number)", *PEERS, *PRESETS])
        raise SystemExit(f"unknown method {method!r}; known: {known}")
    settings = {name: literal(value) for name, value in (change.split("=") for change in changes.split(",") if change)}
    model = scrae.SCRAE(preset, random_state=seed, verbose=False, **settings).fit(adata)
    facts = {name: model.summary[name] for name in ("epochs", "stop_reason")}
    return model.embed(), facts | {"peak_memory_mb": peak_memory_mb()}


def ask_peer(adata: anndata.AnnData, method: str, seed: int, peer: str | None) -> Embedded:
    """The answer of another package (benchmarks/peers.py), in a process of the Python that has it."""
    if peer is None:
        raise SystemExit(f"{method} is another package's: give --peer a Python that has it (make peers makes one)")
    with tempfile.TemporaryDirectory() as folder:
        counts, answer = Path(folder) / "counts.h5ad", Path(folder) / "answer.npy"
        adata.write_h5ad(counts)
        command = [peer, str(Path(__file__).with_name("peers.py")), method, str(counts), str(seed), str(answer)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return np.load(answer), {"peak_memory_mb": float(done.stdout.splitlines()[-1])}


def with_chosen_genes(
    adata: anndata.AnnData, n_genes: int, genes: str, batch_key: str | None = None
) -> anndata.AnnData:
    """The data set on its most variable genes, without cells that have no count left."""
    scrae.pp.select_genes(adata, genes, n_genes, batch_key=batch_key)
    chosen = adata[:, adata.var["scrae_selected"]].copy()
    sc.pp.filter_cells(chosen, min_counts=1)
    return chosen


def kept(path: Path | None, make: Callable[[], Embedded]) -> Embedded:
    """What ``make`` gives, with the seconds it took; kept at a path (.npz), and taken from there the next time."""
    if path is None or not path.exists():
        started = time.perf_counter()
        embedding, facts = make()
        facts = {"seconds": time.perf_counter() - started} | facts
        if path is None:
            return embedding, facts
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, embedding=embedding, facts=json.dumps(facts))
    with np.load(path) as stored:
        return stored["embedding"], json.loads(str(stored["facts"]))


def measure(
    adata: anndata.AnnData, method: str, seed: int, peer: str | None, path: Path | None = None
) -> dict[str, object]:
    """Scores of one method with one seed, each clustering under its own prefix; the embedding is kept at a path."""
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    embedding, facts = kept(path, lambda: embed(adata, method, seed, peer))
    size = {"cells": adata.n_obs, "genes": adata.n_vars}
    row: dict[str, object] = size | {"epochs": 0, "stop_reason": "", "seconds": facts["seconds"]} | facts
    for name, clusters in CLUSTERINGS.items():
        found = scrae.metrics.scores(labels, clusters(embedding, len(set(labels)), seed))
        row |= {f"{name}_{score}": value for score, value in found.items()}
    return row


def resumed(
    out: Path, keys: list[str], wanted: list[tuple[object, ...]], measure: Callable[..., dict[str, object]]
) -> pd.DataFrame:
    """Rows of ``wanted``: those in the file ``out`` as they are, the others measured and appended one by one."""
    out.parent.mkdir(parents=True, exist_ok=True)
    done = set(pd.read_csv(out)[keys].itertuples(index=False, name=None)) if out.exists() else set()
    for key in tqdm([key for key in wanted if key not in done], disable=None):
        row = pd.DataFrame([dict(zip(keys, key, strict=True)) | measure(*key)])
        if out.exists() and list(pd.read_csv(out, nrows=0)) != list(row):
            raise SystemExit(f"{out} has other columns, of another version: move it away, or give another --out")
        row.to_csv(out, mode="a", header=not out.exists(), index=False, float_format="%.5f")
    results = pd.read_csv(out)
    return results[[key in set(wanted) for key in results[keys].itertuples(index=False, name=None)]]


def mean_and_spread(values: pd.Series) -> str:
    """Mean and standard deviation over seeds."""
    return f"{values.mean():.3f}" + (f" ± {values.std():.3f}" if len(values) > 1 else "")


def markdown(cells: pd.DataFrame, corner: str) -> str:
    """A table of text as Markdown, missing cells as a dash."""
    rows = [[corner, *map(str, cells.columns)], ["---"] * (cells.shape[1] + 1)]
    rows += [[name, *row] for name, row in zip(cells.index, cells.fillna("-").to_numpy(), strict=True)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def mean_and_spread_of_known(values: pd.Series) -> str | None:
    """The same of those that are not missing; None: all are."""
    known = values.dropna()
    if np.isinf(known).any():
        return "infinite"
    return mean_and_spread(known) if len(known) else None


def tables(results: pd.DataFrame, by: str | pd.Series, scores: Sequence[str], with_empty: bool = False) -> str:
    """A table for each ``by``: methods by scores, over seeds; with those that no method has, or without."""
    parts = []
    for name, rows in results.groupby(by, sort=False):
        shown = [score for score in scores if with_empty or rows[score].notna().any()]
        cells = rows.groupby("method", sort=False)[shown].agg(mean_and_spread_of_known)
        parts.append(markdown(cells, str(name)))
    return "\n\n".join(parts)


def loader(data: Path, n_genes: int, genes: str = "hvg") -> Callable[[str], anndata.AnnData]:
    """A function that reads a data set of the folder by name, on its chosen genes, and keeps the last one."""

    @lru_cache(maxsize=1)
    def load(name: str) -> anndata.AnnData:
        return with_chosen_genes(anndata.read_h5ad(data / f"{name}.h5ad"), n_genes, genes)

    return load


def publish(text: str, path: Path | None) -> None:
    """Print a text, and write it where a path is given."""
    print(text)
    if path is not None:
        path.write_text(text + "\n")


def table(results: pd.DataFrame, score: str) -> str:
    """Mean and standard deviation over seeds, data sets by methods, as Markdown."""
    text = results.groupby(["dataset", "method"])[score].agg(mean_and_spread).unstack("method")
    means = results.groupby(["method", "dataset"])[score].mean().groupby("method").mean()
    text.loc["**mean**"] = means.map("{:.3f}".format)
    return markdown(text, score.replace("_", " "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--datasets", nargs="*", help="names of files without .h5ad (default: all)")
    parser.add_argument("--methods", nargs="*", default=["default", "pca10", "pca30"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n-genes", type=int, default=2000)
    parser.add_argument("--genes", default="hvg")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peer", help="a Python with scvi-tools and harmonypy")
    parser.add_argument("--embeddings", type=Path, help="folder to keep embeddings in")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/accuracy.csv"))
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    names = options.datasets or sorted(path.stem for path in options.data.glob("*.h5ad"))
    wanted = [
        (name, method, seed)
        for name in names
        for method in options.methods
        if method != "harmony" or "batch" in anndata.read_h5ad(options.data / f"{name}.h5ad", backed="r").obs
        for seed in range(options.seeds)
    ]

    load = loader(options.data, options.n_genes, options.genes)

    def row(name: str, method: str, seed: int) -> dict[str, object]:
        path = options.embeddings and options.embeddings / f"{name}-{method}-{seed}.npz"
        return measure(load(name), method, seed, options.peer, path)

    shown = resumed(options.out, KEYS, wanted, row)
    scores = [f"{clustering}_{score}" for clustering in CLUSTERINGS for score in ("NMI", "ARI")]
    text = "\n\n".join(table(shown, score) for score in scores)
    publish(text, options.markdown)


if __name__ == "__main__":
    main()
