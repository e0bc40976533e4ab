"""Saved models to attack: trained once, in folders of their own, with what each of them has to answer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

import scrae

SETTINGS: dict[str, Any] = {
    "n_latent": 3, "n_hidden": (16,), "batch_size": 16, "max_epochs": 3, "early_stopping": False, "verbose": False,
}  # fmt: skip
MORE_EPOCHS = 5
FILES = ("scrae.json", "weights.safetensors", "training_state.safetensors")
NAMES = ("one", "other", "later", "batches", "other batches", "checkpoint")
RESUMABLE = ("one", "other")


def cells() -> anndata.AnnData:
    """Made counts: 60 cells x 30 genes, two batches, two types."""
    rng = np.random.default_rng(3)
    counts = rng.poisson(rng.gamma(1.0, 1.5, size=(60, 30))).astype(np.float32)
    counts[:, 0] += 1
    obs = pd.DataFrame({"batch": ["a", "b"] * 30, "kind": ["x", "x", "y"] * 20}, index=[f"c{i}" for i in range(60)])
    return anndata.AnnData(sp.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(30)]))


def train(place: Path) -> None:
    """Train all of them, below ``place``: two seeds, one trained for longer, two with batches and types."""
    adata = cells()
    for seed, name in enumerate(RESUMABLE):
        scrae.SCRAE(**SETTINGS, random_state=seed).fit(adata, model_dir=place / name)
    for seed, name in enumerate(("batches", "other batches")):
        model = scrae.SCRAE(**SETTINGS, random_state=seed).fit(adata, batch_key="batch")
        model.fit_labels(adata, "kind").save(place / name)
    shutil.copytree(place / "one", place / "later")
    scrae.SCRAE(**SETTINGS).fit(adata, model_dir=place / "later", max_epochs=MORE_EPOCHS, resume=True)
    (place / "checkpoint").mkdir()

    def keep(epoch: int, *_: object) -> None:
        if epoch == MORE_EPOCHS:  # what was written after the epoch before
            shutil.copy(place / "training" / FILES[2], place / "checkpoint")

    model = scrae.SCRAE(**SETTINGS)
    model.fit(adata, model_dir=place / "training", max_epochs=MORE_EPOCHS, checkpoint_seconds=0, on_epoch=keep)


def load(folder: Path) -> scrae.SCRAE:
    """On the processor, silent."""
    return scrae.SCRAE.load(folder, device="cpu", verbose=False)


def facts(model: scrae.SCRAE, adata: anndata.AnnData) -> list[Any]:
    """What a model is and says: two that are the same answer the same, to the bit."""
    types = None if model.cell_types is None else model.predict(adata).tolist()
    genes = None if model.gene_names is None else model.gene_names.tolist()
    said = [model.preset, model.settings, model.random_state, genes, model.summary, types]
    return [*said, model.history.to_numpy().tobytes(), model.embed(adata).tobytes(), model.denoise(adata).tobytes()]
