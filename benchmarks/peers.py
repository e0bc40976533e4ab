"""What other packages answer, computed by a Python that has them (``make peers`` makes one in .venv-peers).

    .venv-peers/bin/python benchmarks/peers.py METHOD COUNTS.h5ad SEED ANSWER.npy

Each with its own defaults. Embeddings (``EMBEDDINGS``) that are told nothing of batches: ``scvi``, SCVI of scvi-tools;
``ldvae``, its LDVAE (a linear decoder); ``joint_scvi``, its JointEmbeddingSCVI, which scvi-tools has from 1.5 and
Python 3.12 on; ``scalex``; ``concord_alone``. Told ``obs["batch"]``: ``scvi_batch``, ``scalex_batch`` and ``concord``,
which are ``scvi``, ``scalex`` and ``concord_alone``; ``harmony``, Harmony (harmonypy) on 30 scaled principal
components; ``scanorama``. Other answers (``ANSWERS``): ``scanvi``, probabilities of types from ``obs["known"]``,
"Unknown" where there is no label, told ``obs["batch"]`` if it is there; ``scanvi_surgery``, codes of all cells and such
probabilities, from SCANVI of the cells with a label and a surgery (scArches) for the batches of the others;
``scvi_denoised`` and ``magic``, expected counts; ``scvi_samples``, counts of as many cells from the prior; ``scvi_de``,
of "a" against "b" of ``obs["group"]``; ``scib``, scores of scib-metrics for all of ``obsm``. Prints the peak of memory
in MB. Called by :func:`experiment.ask_peer`.

A trained SCVI is kept in $SCVI_MODELS, if that is set, and used again for all but ``scvi``, whose time counts.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import anndata
import numpy as np
from memory import peak_memory_mb

SCIB = (  # names of scib-metrics
    "Total",
    "Batch correction",
    "Bio conservation",
    "iLISI",
    "KBET",
    "Graph connectivity",
    "BRAS",
    "PCR comparison",
    "Isolated labels",
    "KMeans NMI",
    "KMeans ARI",
    "Silhouette label",
    "cLISI",
)


def trained(adata: anndata.AnnData, seed: int, batch_key: str | None, anew: bool) -> Any:
    """SCVI, trained with its defaults."""
    import scvi

    what = hashlib.sha256(f"{seed} {batch_key} {adata.shape}".encode())
    for part in (adata.X.data, adata.X.indices):
        what.update(np.ascontiguousarray(part).tobytes())
    kept = Path(os.environ["SCVI_MODELS"]) / what.hexdigest()[:16] if "SCVI_MODELS" in os.environ else None
    if kept is not None and kept.exists() and not anew:
        scvi.settings.seed = seed
        return scvi.model.SCVI.load(kept, adata, accelerator="cpu")
    model = trained_anew(scvi.model.SCVI, adata, seed, batch_key)
    if kept is not None:
        model.save(kept, overwrite=True)
    return model


def trained_anew(model_class: Any, adata: anndata.AnnData, seed: int, batch_key: str | None = None) -> Any:
    """A model of scvi-tools, trained with its defaults."""
    import scvi

    scvi.settings.seed = seed
    model_class.setup_anndata(adata, batch_key=batch_key)
    model = model_class(adata)
    model.train(accelerator="cpu", enable_progress_bar=False)
    return model


def scvi(adata: anndata.AnnData, seed: int) -> np.ndarray:
    return np.asarray(trained(adata, seed, None, anew=True).get_latent_representation())


def scvi_batch(adata: anndata.AnnData, seed: int) -> np.ndarray:
    return np.asarray(trained(adata, seed, "batch", anew=False).get_latent_representation())


def harmony(adata: anndata.AnnData, seed: int) -> np.ndarray:
    import harmonypy
    import scanpy as sc

    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    adata.X = adata.X.toarray()
    sc.pp.scale(adata, max_value=10)
    sc.pp.pca(adata, n_comps=30, random_state=seed)
    return np.asarray(harmonypy.run_harmony(adata.obsm["X_pca"], adata.obs, "batch", random_state=seed).Z_corr)


def scanorama(adata: anndata.AnnData, seed: int) -> np.ndarray:
    """100 dimensions, from log-normalised counts."""
    import scanorama
    import scanpy as sc

    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    batch = adata.obs["batch"].astype(str).to_numpy()
    cells = [np.flatnonzero(batch == level) for level in np.unique(batch)]
    parts = [adata[of_batch].copy() for of_batch in cells]
    scanorama.integrate_scanpy(parts, seed=seed, verbose=0)
    found = np.vstack([part.obsm["X_scanorama"] for part in parts])
    return found[np.concatenate(cells).argsort()]


def concord(adata: anndata.AnnData, seed: int) -> np.ndarray:
    return with_concord(adata, seed, "batch")


def concord_alone(adata: anndata.AnnData, seed: int) -> np.ndarray:
    return with_concord(adata, seed, None)


def with_concord(adata: anndata.AnnData, seed: int, domain_key: str | None) -> np.ndarray:
    """100 dimensions, from log-normalised counts."""
    import concord
    import scanpy as sc

    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    genes = list(adata.var_names)
    model = concord.Concord(adata, save_dir=None, input_feature=genes, domain_key=domain_key, seed=seed, num_workers=0)
    model.fit_transform(output_key="concord", save_model=False)
    return np.asarray(adata.obsm["concord"])


def ldvae(adata: anndata.AnnData, seed: int) -> np.ndarray:
    from scvi.model import LinearSCVI

    return np.asarray(trained_anew(LinearSCVI, adata, seed).get_latent_representation())


def joint_scvi(adata: anndata.AnnData, seed: int) -> np.ndarray:
    from scvi.external import JointEmbeddingSCVI

    return np.asarray(trained_anew(JointEmbeddingSCVI, adata, seed).get_latent_representation())


def scalex(adata: anndata.AnnData, seed: int) -> np.ndarray:
    adata.obs["batch"] = "all"
    return scalex_batch(adata, seed)


def scalex_batch(adata: anndata.AnnData, seed: int) -> np.ndarray:
    """Ten codes, of all cells and genes: none is left out for having few counts."""
    vars(np)["Inf"] = np.inf  # SCALEX 1.0.4 asks for this name, which numpy 2 no longer has
    from scalex import SCALEX

    everything = {"min_features": 0, "min_cells": 0, "n_top_features": 0, "keep_mt": True}
    with tempfile.TemporaryDirectory() as folder:  # where it keeps the best state
        found = SCALEX(adata, seed=seed, outdir=folder, num_workers=0, ignore_umap=True, show=False, **everything)
    return np.asarray(found[adata.obs_names].obsm["latent"])


def scanvi(adata: anndata.AnnData, seed: int) -> np.ndarray:
    """Probabilities, a column for each type that has a label, sorted by name."""
    from scvi.model import SCANVI

    pretrained = trained(adata, seed, "batch" if "batch" in adata.obs else None, anew=False)
    model = SCANVI.from_scvi_model(pretrained, "Unknown", "known")
    model.train(accelerator="cpu", enable_progress_bar=False)
    types = sorted(set(adata.obs["known"].astype(str)) - {"Unknown"})
    return model.predict(soft=True)[types].to_numpy()


def scanvi_surgery(adata: anndata.AnnData, seed: int) -> np.ndarray:
    """Codes of all cells, then probabilities, a column for each type that has a label, sorted by name.

    Networks, epochs and the decay of weights in the surgery are those of scvi-tools' tutorial on scArches.
    """
    import scvi
    from scvi.model import SCANVI, SCVI

    scvi.settings.seed = seed
    labelled = (adata.obs["known"] != "Unknown").to_numpy()
    reference, query = adata[labelled].copy(), adata[~labelled].copy()
    SCVI.setup_anndata(reference, batch_key="batch")
    networks = {"n_layers": 2, "encode_covariates": True, "dropout_rate": 0.2}
    pretrained = SCVI(reference, use_layer_norm="both", use_batch_norm="none", **networks)
    quiet = {"accelerator": "cpu", "enable_progress_bar": False}
    pretrained.train(**quiet)
    model = SCANVI.from_scvi_model(pretrained, "Unknown", "known")
    model.train(max_epochs=20, n_samples_per_label=100, **quiet)
    of_query = SCANVI.load_query_data(query, model)
    of_query.train(max_epochs=100, plan_kwargs={"weight_decay": 0.0}, **quiet)
    types = sorted(set(reference.obs["known"].astype(str)))
    return np.hstack([of_query.get_latent_representation(adata), of_query.predict(adata, soft=True)[types].to_numpy()])


def scvi_denoised(adata: anndata.AnnData, seed: int) -> np.ndarray:
    """Means over 25 draws of the code, at the cell's own library size."""
    model = trained(adata, seed, None, anew=False)
    return np.asarray(model.get_normalized_expression(library_size="latent", n_samples=25, return_numpy=True))


def scvi_samples(adata: anndata.AnnData, seed: int) -> np.ndarray:
    """Codes from the standard normal, library sizes of the training cells, counts from the likelihood."""
    import torch

    model = trained(adata, seed, None, anew=False)
    torch.manual_seed(seed)
    library = torch.tensor(np.log(np.asarray(adata.X.sum(1)))).float()
    code = torch.randn(adata.n_obs, model.module.n_latent)
    with torch.inference_mode():
        parts = model.module.generative(z=code, library=library, batch_index=torch.zeros_like(library).long())
        return parts["px"].sample().numpy()


def scvi_de(adata: anndata.AnnData, seed: int) -> np.ndarray:
    """For each gene whether it is called at an FDR of 0.05, the probability of a change, and its log2 fold change."""
    model = trained(adata, seed, None, anew=False)
    table = model.differential_expression(groupby="group", group1="a", group2="b", mode="change", silent=True)
    return table.loc[adata.var_names, ["is_de_fdr_0.05", "proba_de", "lfc_mean"]].to_numpy(dtype=np.float64)


def magic(adata: anndata.AnnData, seed: int) -> np.ndarray:
    """MAGIC of square roots of counts at one library size, squared, and at the cell's own library size again."""
    import magic

    totals = np.asarray(adata.X.sum(1))
    roots = np.sqrt(adata.X.toarray() * (np.median(totals) / totals))
    shares = np.asarray(magic.MAGIC(random_state=seed, verbose=0).fit_transform(roots)) ** 2
    return shares / shares.sum(1, keepdims=True) * totals


def scib(adata: anndata.AnnData, seed: int) -> np.ndarray:
    """Scores of scib-metrics, with its defaults, for each part of ``obsm``, by name: (n_embeddings, ``SCIB``)."""
    import scanpy as sc
    from scib_metrics.benchmark import Benchmarker

    embeddings = sorted(adata.obsm)  # a file gives them back in another order than they were put in
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    judge = Benchmarker(adata, "batch", "cell_type", embeddings, progress_bar=False)
    judge.benchmark()
    return judge.get_results().loc[embeddings, list(SCIB)].to_numpy(dtype=np.float64)


EMBEDDINGS = {
    "scvi": scvi,
    "ldvae": ldvae,
    "joint_scvi": joint_scvi,
    "scalex": scalex,
    "concord_alone": concord_alone,
    "scvi_batch": scvi_batch,
    "scalex_batch": scalex_batch,
    "harmony": harmony,
    "scanorama": scanorama,
    "concord": concord,
}
ANSWERS = {
    "scanvi": scanvi,
    "scanvi_surgery": scanvi_surgery,
    "scib": scib,
    "scvi_denoised": scvi_denoised,
    "scvi_samples": scvi_samples,
    "scvi_de": scvi_de,
    "magic": magic,
}

if __name__ == "__main__":
    method, counts, seed, out = sys.argv[1:]
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    np.save(out, (EMBEDDINGS | ANSWERS)[method](anndata.read_h5ad(counts), int(seed)))
    print(peak_memory_mb())
