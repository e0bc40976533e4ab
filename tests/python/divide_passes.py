"""What several processes under torchrun find when they divide the passes over all cells: .npz in the given folder."""

from __future__ import annotations

import sys
from pathlib import Path

import anndata
import numpy as np
import scipy.sparse as sp

import scrae
from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.autoencoder.presets import settings_of
from scrae.compute import distributed
from scrae.data.blocks import consecutive
from scrae.posthoc import principal_components
from scrae.pp import moments

METHODS = ("hvg", "seurat_v3", "m3drop", "danb", "danb_dispersion", "danb_variance")
RANKS, STATISTICS = "scrae_rank", ["scrae_mean", "scrae_dropout", "scrae_statistic"]

_looked_at = 0


def counted(counts, n_entries, cells=None):
    """``consecutive``, which adds up how many cells a process looks at."""
    global _looked_at
    for block in consecutive(counts, n_entries, cells):
        _looked_at += block.rows.stop - block.rows.start
        yield block


def find(adata: anndata.AnnData) -> dict[str, np.ndarray]:
    """Statistics of genes by every method, alone and within batches, principal components, and the cells looked at."""
    global _looked_at
    found = {}
    for method in METHODS:
        for batch_key in (None, "batch"):
            scrae.pp.select_genes(adata, method, 100, batch_key=batch_key, verbose=False)
            found[f"{method} {batch_key}"] = adata.var[STATISTICS].to_numpy()
            found[f"{method} {batch_key} {RANKS}"] = adata.var[RANKS].to_numpy()
    genes = adata.var["scrae_selected"].to_numpy()
    counts = sp.csr_array(adata.X[:, np.flatnonzero(genes)])
    components = principal_components.PrincipalComponents.fit(counts, 10)
    found |= {f"components {name}": tensor.numpy() for name, tensor in components.tensors().items()}
    network = RegularisedAutoencoder(settings_of("default"), counts.shape[1], 0, 1)
    found["library"] = network.log_libraries(counts)
    found["looked_at"], _looked_at = np.array(_looked_at), 0
    return found


def refusals(adata: anndata.AnnData) -> list[str]:
    """What the choice of genes and a training say where the processes have different cells."""
    others, said = adata[distributed.rank() :].copy(), []
    for asked in (scrae.pp.select_genes, scrae.SCRAE(max_epochs=1, verbose=False).fit):
        try:
            asked(others)
        except ValueError as error:
            said.append(str(error))
    return said


if __name__ == "__main__":
    path, folder = sys.argv[1:]
    moments.consecutive = principal_components.consecutive = counted
    principal_components.MANY = 0
    adata = anndata.read_h5ad(path)
    with distributed.joined():
        with distributed.divided_work():
            divided = find(adata) | {"refusals": np.array(refusals(adata))}
        alone = find(adata)
        np.savez(Path(folder, f"divided{distributed.rank()}.npz"), **divided)
        np.savez(Path(folder, f"alone{distributed.rank()}.npz"), **alone)
