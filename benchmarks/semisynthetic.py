"""Large data made of real cells: no real labelled data set at hand has more than 6,000.

Cells of zheng_sorted_3874 are drawn with the class sizes of Zheng-68k (class_sizes_large.csv, by size). Each is the sum
of two cells of its class, thinned molecule by molecule to the share of entries wanted, so that no two are alike. Genes
are made up to the number wanted by drawing genes of the data again, as another cell of the class has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.optimize import brentq

SOURCE, CLASSES = "zheng_sorted_3874", "Zheng-68k"
BLOCK = 2000  # cells made at once


def source_in(data: Path) -> Path:
    """The file the cells are drawn from."""
    path = data / f"{SOURCE}.h5ad"
    if not path.exists():
        raise SystemExit(f"there is no {SOURCE}.h5ad in {data}: give --data")
    return path


def blocks_of_cells(data: Path, n_cells: int, n_genes: int, share: float) -> Iterator[sp.csr_matrix]:
    """Counts of ``n_cells``, a block at a time, ``share`` of the entries above zero, or as many as there are."""
    rng = np.random.default_rng(0)
    source = anndata.read_h5ad(source_in(data))
    sizes = pd.read_csv(data / "class_sizes_large.csv", comment="#")
    sizes = np.sort(sizes.loc[sizes["dataset"] == CLASSES, "cells"].to_numpy())[::-1]
    classes = source.obs["cell_type"].value_counts().index
    sizes = sizes[: len(classes)] / sizes[: len(classes)].sum()
    real = sp.csr_matrix(source.X)
    members = [np.flatnonzero(source.obs["cell_type"] == name) for name in classes[: len(sizes)]]
    number = np.array([len(cells) for cells in members])
    padded = np.zeros((len(members), number.max()), dtype=np.int64)
    for kind, cells in enumerate(members):
        padded[kind, : len(cells)] = cells
    n_extra = max(0, n_genes - real.shape[1])
    extra = rng.choice(real.shape[1], n_extra, replace=n_extra > real.shape[1])
    for start in range(0, n_cells, BLOCK):
        kinds = rng.choice(len(members), min(BLOCK, n_cells - start), p=sizes)
        one, other, third = (padded[kinds, rng.integers(number[kinds])] for _ in range(3))
        both = real[one] + real[other]
        block = sp.csr_matrix(sp.hstack([both, real[third][:, extra]], format="csr")[:, :n_genes])
        block.data = rng.binomial(block.data.astype(np.int64), kept(block, share)).astype(np.float32)
        block.eliminate_zeros()
        block.sort_indices()
        yield block


def kept(block: sp.csr_matrix, share: float) -> float:
    """Probability p to keep a molecule that leaves ``share`` of the entries: 1 - (1 - p)^x of those with x."""
    molecules, entries = np.unique(block.data, return_counts=True)
    wanted = share * np.prod(block.shape)
    if block.nnz <= wanted:
        return 1.0
    return float(brentq(lambda p: (entries * (1 - (1 - p) ** molecules)).sum() - wanted, 0.0, 1.0))


def cells_in_memory(data: Path, n_cells: int, n_genes: int, share: float) -> sp.csr_matrix:
    """All of them, CSR."""
    return sp.csr_matrix(sp.vstack(list(blocks_of_cells(data, n_cells, n_genes, share)), format="csr"))


def write_cells(path: Path, data: Path, n_cells: int, n_genes: int, share: float) -> None:
    """The same on disk, h5ad or zarr as the name ends, never all in memory."""
    from anndata.io import sparse_dataset, write_elem

    if path.suffix == ".zarr":
        import zarr

        file: Any = zarr.open_group(str(path), mode="w", zarr_format=2)
    else:
        import h5py

        file = h5py.File(path, "w")
    blocks = blocks_of_cells(data, n_cells, n_genes, share)
    first = next(blocks)
    genes = pd.DataFrame(index=[f"gene_{j}" for j in range(n_genes)])
    write_elem(file, "/", anndata.AnnData(first, var=genes))
    stored = sparse_dataset(file["X"])
    for block in blocks:
        stored.append(block)
    cells = pd.DataFrame(index=[f"cell_{i}" for i in range(n_cells)])
    write_elem(file, "obs", cells)
    if hasattr(file, "close"):
        file.close()
