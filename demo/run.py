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
N_LATENT = 10


def clusterings(embedding: np.ndarray, labels: pd.Series) -> Bunch:
    """k-means with the true number of types, and Leiden at scanpy's default resolution."""
    return Bunch(kmeans=kmeans(embedding, labels.nunique()), leiden=leiden(embedding))


def main() -> None:
    adata = scrae.datasets.pbmc()
    labels = adata.obs["cell_type"]
    print(f"{adata.n_obs} cells x {adata.n_vars} genes, {labels.nunique()} published cell types (10x PBMC, raw counts)")

    scrae.tl.scrae(adata, genes="all", n_latent=N_LATENT)
    summary = adata.uns["scrae"]["summary"]

    started = time.perf_counter()
    adata.obsm["X_pca"] = scaled_pca(adata, N_LATENT)
    pca_seconds = time.perf_counter() - started

    rows = []
    for name, key, seconds in (("scRAE", "X_scrae", summary["seconds"]), ("scaled PCA", "X_pca", pca_seconds)):
        found = clusterings(adata.obsm[key], labels)
        for method, clusters in found.items():
            rows.append({"embedding": name, "clusters by": method, "seconds": seconds} | scores(labels, clusters))
        if name == "scRAE":
            adata.obs["scrae_leiden"] = pd.Categorical(found.leiden)

    sc.pp.neighbors(adata, use_rep="X_scrae", random_state=0)
    sc.tl.umap(adata, random_state=0)
    adata.write_h5ad(FOLDER / "pbmc_scrae.h5ad")
    picture = scrae.pl.embedding(
        adata, ["cell_type", "scrae_leiden"], titles=["Published cell type", "Leiden clusters of the scRAE embedding"]
    )
    picture.savefig(FOLDER / "pbmc_umap.png", dpi=150)
    scrae.pl.history(adata).savefig(FOLDER / "pbmc_training.png", dpi=150)

    print(
        f"\ncells {summary['n_cells']}   genes {summary['n_genes']}   epochs {summary['epochs']} "
        f"({summary['stop_reason']})   seconds {summary['seconds']:.1f}   "
        f"training cells/s {summary['training_cells_per_second']:,.0f}\n"
    )
    print(pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    print("\nwritten: demo/pbmc_scrae.h5ad, demo/pbmc_umap.png, demo/pbmc_training.png")


if __name__ == "__main__":
    main()
