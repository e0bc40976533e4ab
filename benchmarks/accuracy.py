"""How well embeddings cluster: k-means and Leiden against known labels, over data sets, methods and seeds.

    python benchmarks/accuracy.py --data DIR [--datasets NAME ...] [--methods default pca10 ...] [--seeds 5]
                                  [--latent 10 ...] [--peer PYTHON] [--embeddings DIR] [--out results.csv]
                                  [--markdown table.md]

DIR holds h5ad files with raw counts in X and labels in obs["cell_type"]. Labels are used for the scores and for the
number of k-means clusters, never in training, stopping or choosing. Every method sees the same cells and the same
genes. A method is ``pca10`` (any number), a preset, a preset with other settings, such as
``default:mask_rate=0.5,n_latent=20``, or with ``--peer`` one of benchmarks/peers.py: ``scvi``, ``ldvae``,
``joint_scvi``, ``scalex`` (with one seed each: they take long), ``concord_alone``, and ``harmony`` where the data have
obs["batch"]. Clusterings are k-means with the number of types, Leiden at scanpy's resolution of 1, and Leiden at the
resolution with the best silhouette, which needs no labels. k-means is given the first axes of an embedding alone, where
it has residual ones for neighbour graphs beside them. One row per (data set, method, seed); rows that are there already
are not computed again. With ``--embeddings`` every embedding is kept in a folder, and taken from there the next time:
scores can change without another training.
"""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import anndata
import numpy as np
from experiment import KEYS, ask_peer, command, loader, options, resumed, uninterrupted
from memory import peak_memory_mb, restart_peak
from peers import EMBEDDINGS as PEERS
from tables import by_dataset, publish

import scrae
from scrae.autoencoder.presets import PRESETS

ONE_SEED = ("scvi", "ldvae", "joint_scvi", "scalex")
CLUSTERINGS: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {  # of embedding, number of classes, seed
    "kmeans": scrae.metrics.kmeans,
    "leiden": lambda embedding, _, seed: scrae.metrics.leiden(embedding, random_state=seed),
    "leiden_by_silhouette": lambda embedding, _, seed: scrae.metrics.leiden(embedding, None, random_state=seed),
}


def settings(changes: str) -> dict[str, object]:
    """Settings typed as ``name=value,name=value``: numbers, True, False, None, or the text itself."""

    def literal(text: str) -> object:
        try:
            return ast.literal_eval(text)
        except ValueError:
            return text

    return {name: literal(value) for name, value in (change.split("=") for change in changes.split(",") if change)}


def with_latent(methods: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """The methods, presets once for each latent size; without sizes as they are."""
    return [
        f"{method}{',' if ':' in method else ':'}n_latent={size}" if size else method
        for method in methods
        for size in (sizes if sizes and method.partition(":")[0] in set(PRESETS) - set(PEERS) else [0])
    ]


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
    model = scrae.SCRAE(preset, random_state=seed, verbose=False, **settings(changes)).fit(adata)
    facts = {name: model.summary[name] for name in ("epochs", "stop_reason")}
    return model.embed(), facts | {"peak_memory_mb": peak_memory_mb(), "first_axes": model.settings.n_latent}


def kept(path: Path | None, make: Callable[[], Embedded]) -> Embedded:
    """What ``make`` gives, with the seconds it took; kept at a path (.npz), and taken from there the next time."""
    if path is None or not path.exists():
        started = time.perf_counter()
        embedding, facts = uninterrupted(make)
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
    first_axes = facts.pop("first_axes", embedding.shape[1])
    size = {"cells": adata.n_obs, "genes": adata.n_vars}
    row: dict[str, object] = size | {"epochs": 0, "stop_reason": "", "seconds": facts["seconds"]} | facts
    for name, clusters in CLUSTERINGS.items():
        axes = embedding[:, :first_axes] if name == "kmeans" else embedding
        found = scrae.metrics.scores(labels, clusters(axes, len(set(labels)), seed))
        row |= {f"{name}_{score}": value for score, value in found.items()}
    return row


def main() -> None:
    parser = command(__doc__, "accuracy", methods=["default", "pca10", "pca30"], peer="scvi-tools and harmonypy")
    parser.add_argument("--genes", default="hvg")
    parser.add_argument("--latent", type=int, nargs="*", default=[], help="of presets (default: each one's own)")
    parser.add_argument("--embeddings", type=Path, help="folder to keep embeddings in")
    typed = options(parser)

    wanted = [
        (name, method, seed)
        for name in typed.datasets
        for method in with_latent(typed.methods, typed.latent)
        if method != "harmony" or "batch" in anndata.read_h5ad(typed.data / f"{name}.h5ad", backed="r").obs
        for seed in range(1 if method in ONE_SEED else typed.seeds)
    ]

    load = loader(typed.data, typed.n_genes, typed.genes)

    def row(name: str, method: str, seed: int) -> dict[str, object]:
        path = typed.embeddings and typed.embeddings / f"{name}-{method}-{seed}.npz"
        return measure(load(name), method, seed, typed.peer, path)

    shown = resumed(typed.out, KEYS, wanted, row)
    scores = [f"{clustering}_{score}" for clustering in CLUSTERINGS for score in ("NMI", "ARI")]
    text = "\n\n".join(by_dataset(shown, score, score.replace("_", " ")) for score in scores)
    publish(text, typed.markdown)


if __name__ == "__main__":
    main()
