"""Clusters of other packages that are not told their number either, beside those of ``scrae.tl.cluster``.

    python benchmarks/cluster_peers.py --data DIR [--datasets NAME ...] [--methods seurat scranpy ...] [--seeds 1]
                                       [--peer PYTHON] [--limit 480] [--tabulate] [--out cluster_peers.csv]
                                       [--markdown table.md]

DIR holds h5ad files with raw counts in X and labels in obs["cell_type"], which are used for the scores alone. Each
package gets the counts of all genes and of all cells, and chooses genes and normalises at its own defaults:

- ``seurat`` and ``seurat30``: Seurat in R, 10 and 30 principal components, FindNeighbors and FindClusters;
- ``sctransform``: Seurat with SCTransform before 30 principal components, the steps of its vignette;
- ``scanpy``: its tutorial's steps, Leiden at a resolution of 1; ``scanpy_pearson``: those on Pearson residuals;
- ``scran`` in R, the steps of its vignette; ``scranpy`` with ``--peer`` (the code of R's scrapper);
- ``sc3``, ``scshc`` and ``choir``: SC3 with its own estimate of the number, scSHC and CHOIR, if R has them.

Data sets are taken from the smallest on. A package may use ``--limit`` seconds of the processor for each; where it
needs more it has no scores there, nor is it asked about larger ones. One row per (data set, package, seed); rows that
are there already are not measured again, and with ``--tabulate`` nothing else is. Packages that are deterministic, or
slow, have one seed.

The tables join them with rows that other programs have measured, on 2,000 genes: scRAE and 30 principal components
(benchmarks/results/clusters.csv), and SCVI, LDVAE, JointEmbeddingSCVI, CONCORD and SCALEX with Leiden at 1, none of
them told of batches (benchmarks/results/accuracy.csv).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse as sp
from clusters import DESIGN
from experiment import command, measured_already, options, resumed
from limited import OverLimit, limited
from report import DRAW, interval
from scipy.io import mmwrite
from tables import markdown, publish

import scrae

PEER_KEYS = ["dataset", "peer", "seed"]
OURS = "scrae.tl.cluster"
FEWEST = 5
"""Data sets that an interval needs."""
OF_R = ("seurat", "seurat30", "sctransform", "scran", "sc3", "scshc", "choir")
OF_PYTHON = ("scanpy", "scanpy_pearson", "scranpy")
SEVERAL_SEEDS = ("scanpy",)
"""Packages whose clusters depend on a seed and that are quick enough to measure that."""
NAMES = {
    "seurat": "Seurat, 10 components",
    "seurat30": "Seurat, 30 components",
    "sctransform": "Seurat, SCTransform",
    "scanpy": "scanpy",
    "scanpy_pearson": "scanpy, Pearson residuals",
    "scran": "scran",
    "scranpy": "scranpy (scrapper)",
    "sc3": "SC3",
    "scshc": "scSHC",
    "choir": "CHOIR",
}


EMBEDDINGS = {
    "scvi": "SCVI, Leiden at 1",
    "ldvae": "LDVAE, Leiden at 1",
    "joint_scvi": "JointEmbeddingSCVI, Leiden at 1",
    "concord_alone": "CONCORD, Leiden at 1",
    "scalex": "SCALEX, Leiden at 1",
}
"""Methods of benchmarks/accuracy.py that give an embedding and no clusters."""


def words(peer: str, counts: Path, seed: int, python: str | None) -> list[str]:
    """The command that asks a package for its clusters."""
    if peer in OF_R:
        return ["Rscript", str(Path(__file__).with_suffix(".R")), peer, str(counts), str(seed)]
    if peer not in OF_PYTHON:
        raise SystemExit(f"unknown package {peer!r}; known: {', '.join([*OF_R, *OF_PYTHON])}")
    if peer == "scranpy" and python is None:
        raise SystemExit("scranpy is another package's: give --peer a Python that has it (make peers makes one)")
    program = str(Path(__file__).with_name("cluster_peers_python.py"))
    return [(python if peer == "scranpy" else None) or sys.executable, program, peer, str(counts), str(seed)]


def clusters_of(
    adata: anndata.AnnData, peer: str, seed: int, python: str | None, limit: float
) -> tuple[np.ndarray, float]:
    """Clusters by another package, str (n_cells,), and the seconds of the processor that its own steps took."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts.mtx"
        mmwrite(counts, sp.coo_matrix(adata.X.T.astype(np.int64)))
        printed, seconds = limited(words(peer, counts, seed, python), limit)
    answer = json.loads(printed.splitlines()[-1])
    found = np.array(answer["clusters"], dtype=str)
    if len(found) != adata.n_obs:
        raise ValueError(f"{peer} gave {len(found)} clusters for {adata.n_obs} cells")
    return found, seconds - answer["before"]


def measure(adata: anndata.AnnData, peer: str, seed: int, python: str | None, limit: float) -> dict[str, object]:
    """Scores of a package on a data set; where it failed, or took too long, what happened instead."""
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    row: dict[str, object] = {"n_types": len(set(labels))}
    row |= dict.fromkeys(("NMI", "ARI", "clusters", "seconds"), np.nan)
    try:
        found, seconds = clusters_of(adata, peer, seed, python, limit)
    except OverLimit as late:
        return row | {"outcome": str(late)}
    except subprocess.CalledProcessError as failed:
        said = [line for line in failed.stderr.splitlines() if line.strip()]
        return row | {"outcome": f"failed: {' '.join(said[-2:])[:200]}"}
    scored = scrae.metrics.scores(labels, found)
    return row | {
        "NMI": scored["NMI"],
        "ARI": scored["ARI"],
        "clusters": len(set(found)),
        "seconds": seconds,
        "outcome": "clustered",
    }


def measured_elsewhere(clusters: Path, accuracy: Path) -> pd.DataFrame:
    """Rows of the same form of scRAE, principal components and ``EMBEDDINGS``, without what was not measured there."""
    known = pd.read_csv(clusters)
    parts = []
    for name, method, route in (
        (OURS, "scrae", "cluster"),
        ("30 components, Leiden at 1", "pca30", "leiden"),
        ("30 components, Leiden by silhouette", "pca30", "silhouette"),
    ):
        rows = known[known["method"] == method].rename(
            columns={f"{route}_NMI": "NMI", f"{route}_ARI": "ARI", f"{route}_n": "clusters"}
        )
        parts.append(rows[["dataset", "seed", "n_types", "NMI", "ARI", "clusters"]].assign(peer=name))
    embedded = pd.read_csv(accuracy).rename(columns={"leiden_NMI": "NMI", "leiden_ARI": "ARI"})
    for method, name in EMBEDDINGS.items():
        rows = embedded[embedded["method"] == method]
        parts.append(rows[["dataset", "seed", "NMI", "ARI"]].assign(peer=name))
    return pd.concat(parts, ignore_index=True)


def table(results: pd.DataFrame, title: str) -> str:
    """Means over data sets by package, each on those that it has; the number of clusters beside that of types."""
    rows = {}
    for peer, own in results.groupby("peer", sort=False):
        ratio = np.log(own["clusters"] / own["n_types"]).dropna()
        ratio = ratio.groupby(own["dataset"]).mean()
        means = own.groupby("dataset")[["NMI", "ARI", "seconds"]].mean()
        rows[peer] = {
            "data sets": str(len(means)),
            "NMI": f"{means['NMI'].mean():.3f}",
            "ARI": f"{means['ARI'].mean():.3f}",
            "clusters / types": f"{np.exp(ratio.mean()):.2f}" if len(ratio) else None,
            "within a factor of 1.5": f"{np.mean(np.abs(ratio) <= np.log(1.5) + 1e-9):.0%}" if len(ratio) else None,
            "seconds": f"{means['seconds'].median():.0f}" if means["seconds"].notna().any() else None,
        }
    return markdown(pd.DataFrame.from_dict(rows, orient="index"), title)


def leads(results: pd.DataFrame) -> str:
    """By how much ``scrae.tl.cluster`` is ahead of each other package, on the data sets that both have."""
    means = results.groupby(["peer", "dataset"], sort=False)[["NMI", "ARI"]].mean()
    rows = {}
    for peer in means.index.unique("peer").drop(OURS):
        ahead = (means.loc[OURS] - means.loc[peer]).dropna()
        rows[peer] = {"data sets": str(len(ahead))}
        for score in ("NMI", "ARI"):
            won, lost = (ahead[score] > DRAW).sum(), (ahead[score] < -DRAW).sum()
            rows[peer] |= {
                f"{score} ahead by": f"{ahead[score].mean():+.3f}",
                f"{score}, 95 % interval": interval(ahead[score].to_numpy()) if len(ahead) >= FEWEST else None,
                f"{score}: wins / draws / losses": f"{won} / {len(ahead) - won - lost} / {lost}",
            }
    return markdown(pd.DataFrame.from_dict(rows, orient="index"), f"{OURS} against")


def unmeasured(results: pd.DataFrame) -> str:
    """Where a package has no scores, and why."""
    missing = results[results["NMI"].isna()]
    lines = [f"- {row.peer}, {row.dataset}: {row.outcome}" for row in missing.itertuples()]
    return "Without scores:\n\n" + "\n".join(lines) if lines else ""


def main() -> None:
    parser = command(__doc__, "cluster_peers", methods=["seurat", "seurat30", "scanpy"], n_genes=None, peer="scranpy")
    parser.set_defaults(seeds=1)
    parser.add_argument("--limit", type=float, default=480, help="seconds of the processor for a data set")
    parser.add_argument("--tabulate", action="store_true", help="measure nothing, show the rows that are there")
    parser.add_argument("--clusters", type=Path, default=Path("benchmarks/results/clusters.csv"))
    parser.add_argument("--accuracy", type=Path, default=Path("benchmarks/results/accuracy.csv"))
    typed = options(parser)

    def load(name: str) -> anndata.AnnData:
        adata = anndata.read_h5ad(typed.data / f"{name}.h5ad")
        sc.pp.filter_genes(adata, min_counts=1)
        sc.pp.filter_cells(adata, min_counts=1)
        return adata

    cells = {name: anndata.read_h5ad(typed.data / f"{name}.h5ad", backed="r").n_obs for name in typed.datasets}
    late = {}  # by package the first data set that took too long
    if typed.out.exists():
        before = pd.read_csv(typed.out)
        late = dict(before[before["outcome"].str.startswith("over")].groupby("peer")["dataset"].first())

    def row(name: str, peer: str, seed: int) -> dict[str, object]:
        if peer in late:
            types = anndata.read_h5ad(typed.data / f"{name}.h5ad", backed="r").obs["cell_type"].nunique()
            empty = dict.fromkeys(("NMI", "ARI", "clusters", "seconds"), np.nan)
            return {"n_types": types} | empty | {"outcome": f"not asked, after {late[peer]}"}
        found = measure(load(name), peer, seed, typed.peer, typed.limit)
        if str(found["outcome"]).startswith("over"):
            late[peer] = name
        return found

    wanted = [
        (name, peer, seed)
        for peer in typed.methods
        for name in sorted(typed.datasets, key=lambda name: cells[name])
        for seed in range(typed.seeds if peer in SEVERAL_SEEDS else 1)
    ]
    if typed.tabulate:
        own = measured_already(typed.out, PEER_KEYS, wanted)
    else:
        own = resumed(typed.out, PEER_KEYS, wanted, row)
    own = own.sort_values("peer", key=lambda column: column.map(typed.methods.index), kind="stable")
    own = own.assign(peer=own["peer"].map(NAMES))
    others = measured_elsewhere(typed.clusters, typed.accuracy)
    results = pd.concat([others[others["dataset"].isin(typed.datasets)], own.dropna(subset="NMI")])
    in_laboratory = results["dataset"].isin(DESIGN)
    parts = [
        table(results, "all data sets"),
        leads(results),
        table(results[in_laboratory], "labels made in the laboratory"),
        table(results[~in_laboratory], "labels of the authors"),
        unmeasured(own),
    ]
    publish("\n\n".join(part for part in parts if part), typed.markdown)


if __name__ == "__main__":
    main()
