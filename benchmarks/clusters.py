"""Clusters as users get them, who do not know the number of types: against known labels, noise, and rare types.

    python benchmarks/clusters.py --data DIR [--datasets NAME ...] [--methods scrae pca30] [--seeds 5]
                                  [--controls controls.csv] [--control-seeds 1] [--embeddings DIR] [--out results.csv]
                                  [--markdown table.md]

DIR holds h5ad files with raw counts in X and labels in obs["cell_type"], which are used for the scores and, by k-means
alone, for the number of clusters. Each embedding is clustered by ``scrae.tl.cluster``, which is told nothing; by what
scanpy and Seurat do at their defaults (Leiden at a resolution of 1; Louvain at 0.8 on the graph of shared neighbours,
here by igraph, the best of ten); by the same two, and Louvain at 1, on the graph of ``scrae.tl.neighbors``; by Leiden
at the resolution with the best silhouette; and by k-means with the true number of types.

Controls are made of the same files: ``permuted`` (1,000 cells, the counts of each gene permuted, so that no two genes
go together) and ``drawn`` (1,000 cells drawn from negative binomial distributions fitted to the most frequent type), in
both of which one cluster is right; and ``rare`` (all genes; up to 500 cells of each of three types, and 1 % of a fourth
one, at least 10 cells), which is found if a cluster overlaps with it by half (F1 of 0.5). There are three mixtures of
each data set whose labels are known from the laboratory or from a hormone, and one of each other one, of seeds on which
the search for rare types was not made. All controls are clustered as they are and with ``rare=True``.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import anndata
import igraph
import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse as sp
from experiment import KEYS, command, loader, options, resumed
from tables import markdown, mean_and_spread, publish

import scrae
from scrae.clusters import neighbour_graph

DESIGN = ("cellbench_3cl", "cellbench_5cl_10x_500genes", "klein_1000", "pollen_299", "zheng_sorted_3874")
"""Data sets whose labels were made in the laboratory; those of the others come from clusters and markers."""
NOISE = ("permuted", "drawn")
KNOWN = (*DESIGN, "baron_human2_4")
"""Data sets whose types nobody doubts, of which there are as many mixtures with a rare type as seeds."""
SEEDS_OF_MIXTURES = (301, 302, 303)
ROUTES = {
    "cluster": "scrae.tl.cluster",
    "leiden": "Leiden at 1 (scanpy)",
    "louvain": "Louvain at 0.8 (Seurat)",
    "graph_leiden": "Leiden at 1, graph of scrae.tl.neighbors",
    "graph_louvain": "Louvain at 0.8, graph of scrae.tl.neighbors",
    "graph_louvain1": "Louvain at 1, graph of scrae.tl.neighbors",
    "silhouette": "Leiden by silhouette",
    "kmeans": "k-means, true number",
}


def louvain(connectivities: sp.csr_array, resolution: float = 0.8, n_tries: int = 10) -> np.ndarray:
    """What Seurat's FindClusters does with a graph, but for the order in which cells are moved."""
    upper = sp.triu(connectivities, 1).tocoo()
    graph = igraph.Graph(n=upper.shape[0], edges=np.column_stack([upper.row, upper.col]))
    tries = []
    for seed in range(n_tries):
        igraph.set_random_number_generator(random.Random(seed))
        found = graph.community_multilevel(weights=upper.data, resolution=resolution)
        quality = graph.modularity(found.membership, weights=upper.data, resolution=resolution)
        tries.append((quality, np.asarray(found.membership)))
    igraph.set_random_number_generator(random)
    return max(tries, key=lambda found: found[0])[1]


def own(adata: anndata.AnnData, embedding: np.ndarray, seed: int) -> np.ndarray:
    """What ``scrae.tl.cluster`` finds in an embedding of these cells."""
    cells = anndata.AnnData(adata.X, obs=adata.obs[[]].copy(), var=adata.var[[]].copy(), obsm={"X_scrae": embedding})
    scrae.tl.cluster(cells, random_state=seed)
    return np.asarray(cells.obs["scrae_clusters"])


def connected(embedding: np.ndarray) -> anndata.AnnData:
    """Cells with the graph of ``scrae.tl.neighbors``."""
    cells = anndata.AnnData(np.zeros((len(embedding), 1), dtype=np.float32), obsm={"X_scrae": embedding})
    scrae.tl.neighbors(cells)
    return cells


def leiden(cells: anndata.AnnData, seed: int) -> np.ndarray:
    """What ``scanpy.tl.leiden`` does with the graph of these cells at a resolution of 1."""
    sc.tl.leiden(cells, random_state=seed, flavor="igraph", n_iterations=2, directed=False)
    return np.asarray(cells.obs["leiden"])


def embed(adata: anndata.AnnData, method: str, seed: int) -> np.ndarray:
    """Embedding by scRAE, or so many principal components."""
    if method.startswith("pca"):
        return scrae.metrics.scaled_pca(adata, int(method.removeprefix("pca")), seed)
    return scrae.SCRAE(random_state=seed, verbose=False).fit(adata).embed()


def kept(folder: Path | None, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """What ``make`` gives, from the folder where it has been made already."""
    if folder is None:
        return make()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.npy"
    if not file.exists():
        made = make()
        unfinished = file.with_suffix(".unfinished")
        with unfinished.open("wb") as stream:
            np.save(stream, made)
        unfinished.rename(file)
    return np.asarray(np.load(file))


def measure(adata: anndata.AnnData, embedding: np.ndarray, seed: int) -> dict[str, object]:
    """Scores and numbers of clusters by each route."""
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    n_types = len(set(labels))
    cells = connected(embedding)
    routes: dict[str, Callable[[], np.ndarray]] = {
        "cluster": lambda: own(adata, embedding, seed),
        "leiden": lambda: scrae.metrics.leiden(embedding, random_state=seed),
        "louvain": lambda: louvain(neighbour_graph(embedding)),
        "graph_leiden": lambda: leiden(cells, seed),
        "graph_louvain": lambda: louvain(cells.obsp["connectivities"]),
        "graph_louvain1": lambda: louvain(cells.obsp["connectivities"], 1.0),
        "silhouette": lambda: scrae.metrics.leiden(embedding, None, random_state=seed),
        "kmeans": lambda: scrae.metrics.kmeans(embedding, n_types, seed),
    }
    row: dict[str, object] = {"n_types": n_types}
    for name, find in routes.items():
        found = find()
        scored = scrae.metrics.scores(labels, found)
        row |= {f"{name}_NMI": scored["NMI"], f"{name}_ARI": scored["ARI"], f"{name}_n": len(set(found))}
    return row


def control(kind: str, adata: anndata.AnnData, seed: int) -> anndata.AnnData:
    """Cells of which is known what should be found; ``obs["rare"]`` marks the rare type."""
    rng = np.random.default_rng(seed)
    types = adata.obs["cell_type"].astype(str).to_numpy()
    if kind == "rare":
        names = rng.permutation(
            [name for name, n in zip(*np.unique(types, return_counts=True), strict=True) if n >= 60]
        )
        others = np.concatenate([rng.permutation(np.flatnonzero(types == name))[:500] for name in names[1:4]])
        rare = rng.permutation(np.flatnonzero(types == names[0]))[: max(10, round(0.01 * len(others)))]
        kept = adata[np.sort(np.concatenate([others, rare]))]
        counts, is_rare = sp.csr_matrix(kept.X), types[np.sort(np.concatenate([others, rare]))] == names[0]
    else:
        of_one = types == pd.Series(types).mode()[0] if kind == "drawn" else np.ones(len(types), dtype=bool)
        dense = sp.csr_matrix(adata.X[rng.permutation(np.flatnonzero(of_one))[:1000]]).toarray()
        counts = sp.csr_matrix(_permuted(dense, rng) if kind == "permuted" else _drawn(dense, rng))
        is_rare = np.zeros(counts.shape[0], dtype=bool)
    seen = np.asarray(counts.sum(0)).ravel() > 0
    cells = np.asarray(counts.sum(1)).ravel() > 0
    return anndata.AnnData(
        counts[cells][:, seen].astype(np.float32),
        obs=pd.DataFrame({"rare": is_rare[cells]}, index=[f"cell{i}" for i in range(int(cells.sum()))]),
    )


def _large_types(adata: anndata.AnnData) -> list[str]:
    sizes = adata.obs["cell_type"].astype(str).value_counts().sort_index()
    return [str(name) for name in sizes.index[sizes >= 60]]


def _permuted(counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.stack([rng.permutation(counts[:, gene]) for gene in range(counts.shape[1])], axis=1)


def _drawn(counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Negative binomial, by moments: mean proportional to the library size, variance mean + mean^2 / dispersion."""
    size = counts.sum(1, keepdims=True) / counts.sum(1).mean()
    mean = (counts / size).mean(0)
    excess = ((counts - size * mean) ** 2).mean(0) - (size * mean).mean(0)
    dispersion = np.clip((size**2).mean() * mean**2 / np.maximum(excess, 1e-9), 0.05, 1e4)
    size = rng.choice(size.ravel(), (1000, 1))
    return rng.poisson(rng.gamma(dispersion, 1 / dispersion, (1000, counts.shape[1])) * size * mean)


def measure_control(adata: anndata.AnnData, kind: str, seed: int) -> dict[str, object]:
    """Number of clusters, and how well the best of them is the rare type; the same with ``rare=True``."""
    cells = control(kind, adata, seed)
    scrae.tl.scrae(cells, random_state=seed, verbose=False)
    return clustered_control(cells, seed)


def clustered_control(cells: anndata.AnnData, seed: int) -> dict[str, object]:
    """The row of a control that has its embedding."""
    row: dict[str, object] = {}
    rare = cells.obs["rare"].to_numpy()
    for ending, looked_for in (("", False), ("_rare", True)):
        scrae.tl.cluster(cells, rare=looked_for, random_state=seed)
        found = cells.obs["scrae_clusters"].to_numpy()
        f1 = [2 * np.sum((found == name) & rare) / (np.sum(found == name) + rare.sum()) for name in set(found)]
        row |= {f"clusters{ending}": len(set(found)), f"f1{ending}": max(f1) if rare.any() else np.nan}
    return row


def table(results: pd.DataFrame) -> str:
    """Routes by embeddings: scores, clusters over types, and the share of data sets within a factor of 1.5."""
    parts = []
    for title, rows in (
        ("all data sets", results),
        ("labels made in the laboratory", results[results["dataset"].isin(DESIGN)]),
        ("labels of the authors", results[~results["dataset"].isin(DESIGN)]),
    ):
        if rows.empty:
            continue
        cells = {}
        for method, of_method in rows.groupby("method", sort=False):
            for route, words in ROUTES.items():
                ratio = (of_method[f"{route}_n"] / of_method["n_types"]).dropna()
                means = of_method.groupby("seed")[[f"{route}_NMI", f"{route}_ARI"]].mean()
                cells[f"{method}: {words}"] = {
                    score: mean_and_spread(means[f"{route}_{score}"].dropna()) for score in ("NMI", "ARI")
                } | {
                    "clusters / types": f"{np.exp(np.log(ratio).mean()):.2f}",
                    "within a factor of 1.5": f"{np.mean(np.abs(np.log(ratio)) <= np.log(1.5) + 1e-9):.0%}",
                }
        parts.append(markdown(pd.DataFrame(cells).T, title))
    return "\n\n".join(parts)


def table_of_controls(results: pd.DataFrame) -> str:
    """What should be found, and how often it was."""
    known = np.where(results["dataset"].isin(KNOWN), ", types that nobody doubts", ", labels of the authors")
    kinds = results["method"].where(results["method"] != "rare", "rare" + pd.Series(known, results.index))
    shown = {}
    for column, ending in (("right", ""), ("right with rare=True", "_rare")):
        right = np.where(results["method"] == "rare", results[f"f1{ending}"] >= 0.5, results[f"clusters{ending}"] == 1)
        measured = results[f"clusters{ending}"].notna().to_numpy()
        counted = pd.Series(right[measured]).groupby(kinds.to_numpy()[measured], sort=False).agg(["sum", "size"])
        shown[column] = pd.Series([f"{int(a)} of {int(b)}" for a, b in counted.to_numpy()], counted.index)
    return markdown(pd.DataFrame(shown), "control")


def main() -> None:
    parser = command(__doc__, "clusters", methods=["scrae", "pca30"])
    parser.add_argument("--controls", type=Path, help="rows of the controls; without: no controls")
    parser.add_argument("--control-seeds", type=int, default=1)
    parser.add_argument("--embeddings", type=Path, help="folder where embeddings are kept, and taken from again")
    typed = options(parser)
    load = loader(typed.data, typed.n_genes)
    wanted = [
        (name, method, seed) for seed in range(typed.seeds) for name in typed.datasets for method in typed.methods
    ]

    def run(name: str, method: str, seed: int) -> dict[str, object]:
        adata = load(name)
        embedding = kept(typed.embeddings, f"{name}-{method}-{seed}", lambda: embed(adata, method, seed))
        return measure(adata, embedding, seed)

    results = resumed(typed.out, KEYS, wanted, run)
    text = table(results)
    if typed.controls is not None:
        whole = lru_cache(maxsize=1)(lambda name: anndata.read_h5ad(typed.data / f"{name}.h5ad"))
        asked = [
            (name, kind, seed) for seed in range(typed.control_seeds) for name in typed.datasets for kind in NOISE
        ] + [
            (name, "rare", seed)
            for name in typed.datasets
            if len(_large_types(whole(name))) >= 4
            for seed in SEEDS_OF_MIXTURES[: None if name in KNOWN else 1]
        ]
        of_controls = resumed(
            typed.controls,
            KEYS,
            asked,
            lambda name, kind, seed: measure_control(whole(name) if kind == "rare" else load(name), kind, seed),
        )
        text += "\n\n" + table_of_controls(of_controls)
    publish(text, typed.markdown)


if __name__ == "__main__":
    main()
