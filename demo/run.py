"""The main job on real 10x counts, from raw counts to pictures: what ``make demo`` runs.

Labels are used for one thing only: the scores at the end.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import scanpy as sc
from sklearn.utils import Bunch

import scrae
from scrae.metrics import kmeans, leiden, scaled_pca, scores

FOLDER = Path(__file__).parent
N_COMPONENTS = 30


def clusterings(embedding: np.ndarray, labels: pd.Series) -> Bunch:
    """Leiden at scanpy's default resolution, and k-means with the true number of types."""
    return Bunch(leiden=leiden(embedding), kmeans=kmeans(embedding, labels.nunique()))


def main() -> None:
    adata = scrae.datasets.pbmc()
    labels = adata.obs["cell_type"]
    print(f"{adata.n_obs} cells x {adata.n_vars} genes, {labels.nunique()} published cell types (10x PBMC, raw counts)")

    scrae.tl.scrae(adata, genes="all")
    summary = adata.uns["scrae"]["summary"]
    started = time.perf_counter()
    scrae.tl.cluster(adata)
    cluster_seconds = summary["seconds"] + time.perf_counter() - started

    started = time.perf_counter()
    adata.obsm["X_pca"] = scaled_pca(adata, N_COMPONENTS)
    pca_seconds = time.perf_counter() - started

    own = {"embedding": "scRAE", "clusters by": "scrae.tl.cluster", "seconds": cluster_seconds}
    rows = [own | scores(labels, adata.obs["scrae_clusters"])]
    for name, key, seconds in (("scRAE", "X_scrae", summary["seconds"]), ("scaled PCA", "X_pca", pca_seconds)):
        found = clusterings(adata.obsm[key], labels)
        for method, clusters in found.items():
            rows.append({"embedding": name, "clusters by": method, "seconds": seconds} | scores(labels, clusters))

    sc.pp.neighbors(adata, use_rep="X_scrae", random_state=0)
    sc.tl.umap(adata, random_state=0)
    adata.write_h5ad(FOLDER / "pbmc_scrae.h5ad")
    picture = scrae.pl.embedding(
        adata, ["cell_type", "scrae_clusters"], titles=["Published cell type", "Clusters that scRAE finds"]
    )
    picture.savefig(FOLDER / "pbmc_umap.png", dpi=150)
    scrae.pl.clusters(adata).savefig(FOLDER / "pbmc_clusters.png", dpi=150)
    scrae.pl.history(adata).savefig(FOLDER / "pbmc_training.png", dpi=150)

    print(
        f"\ncells {summary['n_cells']}   genes {summary['n_genes']}   epochs {summary['epochs']} "
        f"({summary['stop_reason']})   seconds {summary['seconds']:.1f}   "
        f"training cells/s {summary['training_cells_per_second']:,.0f}\n"
    )
    print(pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    print("\nwritten: demo/pbmc_scrae.h5ad, demo/pbmc_umap.png, demo/pbmc_clusters.png, demo/pbmc_training.png")


if __name__ == "__main__":
    main()
