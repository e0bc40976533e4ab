"""What packages of R make of batches (benchmarks/batch_peers.R): cells integrated, or types carried over to a query.

``seurat_cca`` and ``seurat_rpca`` are FindIntegrationAnchors and IntegrateData with 30 dimensions, then 30 principal
components of the integrated counts. ``seurat_transfer`` is FindTransferAnchors and MapQuery. Where a batch has fewer
cells than a default asks for, that default is lowered as Seurat's documentation says. ``fastmnn`` is multiBatchNorm and
fastMNN of batchelor, 50 components.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.io import mmwrite

OF_BATCHES = ("seurat_cca", "seurat_rpca", "fastmnn")
TRANSFER = "seurat_transfer"


class Refused(Exception):
    """The package found the cells too few, or failed otherwise; the message is its own."""


def ask_r(adata: anndata.AnnData, method: str, seed: int) -> pd.DataFrame:
    """Coordinates of all cells, (n_cells, 30 or 50); for ``seurat_transfer`` with the column ``type`` before them.

    Parameters
    ----------
    adata
        Raw counts of the genes that are to be used, ``obs["batch"]``, and for ``seurat_transfer`` ``obs["known"]``:
        the types of the reference, "Unknown" for the cells of the query.
    method
        A member of ``OF_BATCHES``, or ``seurat_transfer``.
    seed
        Of the components.

    Raises
    ------
    Refused
        The package failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        counts, cells, answer = (Path(folder) / name for name in ("counts.mtx", "cells.csv", "answer.csv"))
        mmwrite(counts, sp.coo_matrix(adata.X.T.astype(np.int64)))
        columns = ["batch", "known"] if method == TRANSFER else ["batch"]
        adata.obs[columns].to_csv(cells, index=False)
        program = str(Path(__file__).with_suffix(".R"))
        asked = ["Rscript", program, method, str(counts), str(cells), str(seed), str(answer)]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip() and line != "Execution halted"]
            raise Refused(" ".join(said[-2:]))
        return pd.read_csv(answer)
