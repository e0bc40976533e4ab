"""Embeddings of other packages, computed by a Python that has them (``make peers`` makes one in .venv-peers).

    .venv-peers/bin/python benchmarks/peers.py METHOD COUNTS.h5ad SEED EMBEDDING.npy

``scvi``: SCVI of scvi-tools with its own defaults, told nothing of batches; ``scvi_batch``: the same, told
``obs["batch"]``. ``harmony``: Harmony (harmonypy) on 30 scaled principal components, told ``obs["batch"]``. Prints the
peak of memory in MB. Called by benchmarks/accuracy.py.
"""

from __future__ import annotations

import logging
import sys
import warnings

import anndata
import numpy as np
from memory import peak_memory_mb


def scvi(adata: anndata.AnnData, seed: int, batch_key: str | None = None) -> np.ndarray:
    import scvi

    scvi.settings.seed = seed
    scvi.model.SCVI.setup_anndata(adata, batch_key=batch_key)
    model = scvi.model.SCVI(adata)
    model.train(accelerator="cpu", enable_progress_bar=False)
    return np.asarray(model.get_latent_representation())


def scvi_batch(adata: anndata.AnnData, seed: int) -> np.ndarray:
    return scvi(adata, seed, "batch")


def harmony(adata: anndata.AnnData, seed: int) -> np.ndarray:
    import harmonypy
    import scanpy as sc

    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    adata.X = adata.X.toarray()
    sc.pp.scale(adata, max_value=10)
    sc.pp.pca(adata, n_comps=30, random_state=seed)
    return np.asarray(harmonypy.run_harmony(adata.obsm["X_pca"], adata.obs, "batch", random_state=seed).Z_corr)


METHODS = {"scvi": scvi, "scvi_batch": scvi_batch, "harmony": harmony}

if __name__ == "__main__":
    method, counts, seed, out = sys.argv[1:]
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    np.save(out, METHODS[method](anndata.read_h5ad(counts), int(seed)))
    print(peak_memory_mb())
