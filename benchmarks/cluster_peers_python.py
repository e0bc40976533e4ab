"""Clusters of a data set by another package at its defaults, which is told no number: for benchmarks/cluster_peers.py.

    python benchmarks/cluster_peers_python.py scanpy|scanpy_pearson|scranpy COUNTS.mtx SEED

The counts are genes x cells. The last line printed is JSON: the clusters, and how many seconds of the processor had
gone before the package's own steps began. benchmarks/cluster_peers.R does the same for packages of R.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import warnings
from types import ModuleType

import anndata
import numpy as np
import scipy.sparse as sp
from scipy.io import mmread


def scanpy(sc: ModuleType, counts: sp.csc_matrix, seed: int) -> np.ndarray:
    """The steps of its tutorial: 2,000 genes, 50 components, 15 neighbours, Leiden at a resolution of 1."""
    adata = anndata.AnnData(counts.T.tocsr())
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=2000)
    return _leiden(sc, adata, seed)


def scanpy_pearson(sc: ModuleType, counts: sp.csc_matrix, seed: int) -> np.ndarray:
    """The steps of its tutorial on Pearson residuals (Lause et al. 2021): genes and values by these, then as above."""
    adata = anndata.AnnData(counts.T.tocsr())
    sc.pp.filter_genes(adata, min_cells=1)  # a gene without counts has no residuals
    sc.experimental.pp.highly_variable_genes(adata, n_top_genes=2000)
    chosen = adata[:, adata.var["highly_variable"]].copy()
    sc.pp.filter_cells(chosen, min_counts=1)
    sc.experimental.pp.normalize_pearson_residuals(chosen)
    found = np.full(adata.n_obs, "none", dtype=object)
    found[adata.obs_names.isin(chosen.obs_names)] = _leiden(sc, chosen, seed)
    return found


def _leiden(sc: ModuleType, adata: anndata.AnnData, seed: int) -> np.ndarray:
    sc.pp.pca(adata, random_state=seed)
    sc.pp.neighbors(adata, random_state=seed)
    sc.tl.leiden(adata, random_state=seed, flavor="igraph", n_iterations=2, directed=False)
    return adata.obs["leiden"].to_numpy()


def scranpy(scran: ModuleType, counts: sp.csc_matrix, seed: int) -> np.ndarray:
    """Library sizes, variable genes, components, shared neighbours, communities; each step keeps its own seed."""
    sizes = scran.center_size_factors(np.asarray(counts.sum(0), dtype=np.float64).ravel())
    normalised = scran.normalize_counts(counts, sizes)
    statistics = scran.model_gene_variances(normalised)["statistics"]
    genes = scran.choose_highly_variable_genes(np.asarray(statistics["residual"]))
    components = scran.run_pca(normalised, subset=genes)["components"]
    return np.asarray(scran.cluster_graph(scran.build_snn_graph(components))["membership"])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    name, path, seed = sys.argv[1:]
    package = importlib.import_module(name.partition("_")[0])
    counts = sp.csc_matrix(mmread(path))
    before = time.process_time()
    routes = {"scanpy": scanpy, "scanpy_pearson": scanpy_pearson, "scranpy": scranpy}
    found = routes[name](package, counts, int(seed))
    print(json.dumps({"before": before, "clusters": found.astype(str).tolist()}))
