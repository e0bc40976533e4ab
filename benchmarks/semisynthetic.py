"""Large data made of real cells: no real labelled data set at hand has more than 6,000.

    python benchmarks/semisynthetic.py --data DIR --cells 100000 [--genes 20000] [--share 0.05] --out cells.h5ad

Cells of zheng_sorted_3874 are drawn with the class sizes of Zheng-68k (class_sizes_large.csv, by size). Each is the sum
of two cells of its class, thinned molecule by molecule to the share of entries wanted, so that no two are alike. Genes
are made up to the number wanted by drawing genes of the data again, as another cell of the class has them. The command
writes them with their classes in obs["cell_type"].
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator
from multiprocessing import Pool
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


class Blocks:
    """Blocks of made cells, each by itself, so that processes can share the work.

    Parameters
    ----------
    data
        Folder with the source.
    n_genes, share
        Genes, and share of the entries above zero, or as many as there are.
    """

    def __init__(self, data: Path, n_genes: int, share: float) -> None:
        source = anndata.read_h5ad(source_in(data))
        sizes = pd.read_csv(data / "class_sizes_large.csv", comment="#")
        sizes = np.sort(sizes.loc[sizes["dataset"] == CLASSES, "cells"].to_numpy())[::-1]
        classes = source.obs["cell_type"].value_counts().index
        self.sizes = sizes[: len(classes)] / sizes[: len(classes)].sum()
        self.names = np.array(classes[: len(self.sizes)].astype(str))
        self.real = sp.csr_matrix(source.X)
        members = [np.flatnonzero(source.obs["cell_type"] == name) for name in classes[: len(self.sizes)]]
        self.number = np.array([len(cells) for cells in members])
        self.padded = np.zeros((len(members), self.number.max()), dtype=np.int64)
        for kind, cells in enumerate(members):
            self.padded[kind, : len(cells)] = cells
        n_extra = max(0, n_genes - self.real.shape[1])
        self.extra = np.random.default_rng(0).choice(self.real.shape[1], n_extra, replace=n_extra > self.real.shape[1])
        self.n_genes, self.share = n_genes, share

    def __call__(self, first: int, n_cells: int) -> sp.csr_matrix:
        """Counts of ``n_cells`` cells from cell ``first`` on."""
        rng, kinds = self._drawn(first, n_cells)
        one, other, third = (self.padded[kinds, rng.integers(self.number[kinds])] for _ in range(3))
        both = self.real[one] + self.real[other]
        block = sp.csr_matrix(sp.hstack([both, self.real[third][:, self.extra]], format="csr")[:, : self.n_genes])
        block.data = rng.binomial(block.data.astype(np.int64), kept(block, self.share)).astype(np.float32)
        block.eliminate_zeros()
        block.sort_indices()
        return block

    def types(self, first: int, n_cells: int) -> np.ndarray:
        """Classes of the same cells, str (n_cells,)."""
        return self.names[self._drawn(first, n_cells)[1]]

    def _drawn(self, first: int, n_cells: int) -> tuple[np.random.Generator, np.ndarray]:
        rng = np.random.default_rng([0, first])
        return rng, rng.choice(len(self.sizes), n_cells, p=self.sizes)


def spans(n_cells: int) -> list[tuple[int, int]]:
    """First cell and number of cells of each block."""
    return [(first, min(BLOCK, n_cells - first)) for first in range(0, n_cells, BLOCK)]


def blocks_of_cells(
    data: Path, n_cells: int, n_genes: int, share: float, processes: int = 1
) -> Iterator[sp.csr_matrix]:
    """Counts of ``n_cells``, a block at a time; several processes make blocks that wait in memory for their turn."""
    blocks = Blocks(data, n_genes, share)
    if processes == 1:
        yield from (blocks(*span) for span in spans(n_cells))
        return
    with Pool(processes) as pool:
        yield from pool.starmap(blocks, spans(n_cells), chunksize=8)


def kept(block: sp.csr_matrix, share: float) -> float:
    """Probability p to keep a molecule that leaves ``share`` of the entries: 1 - (1 - p)^x of those with x."""
    molecules, entries = np.unique(block.data, return_counts=True)
    wanted = share * np.prod(block.shape)
    if block.nnz <= wanted:
        return 1.0
    return float(brentq(lambda p: (entries * (1 - (1 - p) ** molecules)).sum() - wanted, 0.0, 1.0))


def cells_in_memory(data: Path, n_cells: int, n_genes: int, share: float, processes: int = 1) -> sp.csr_matrix:
    """All of them, CSR."""
    blocks = list(blocks_of_cells(data, n_cells, n_genes, share, processes))
    return sp.csr_matrix(sp.vstack(blocks, format="csr"))


def write_cells(path: Path, data: Path, n_cells: int, n_genes: int, share: float) -> None:
    """The same on disk, h5ad or zarr as the name ends, never all in memory."""
    from anndata.io import sparse_dataset, write_elem

    if path.suffix == ".zarr":
        import zarr

        file: Any = zarr.open_group(str(path), mode="w", zarr_format=2)
    else:
        import h5py

        file = h5py.File(path, "w")
    blocks, (first, *others) = Blocks(data, n_genes, share), spans(n_cells)
    genes = pd.DataFrame(index=[f"gene_{j}" for j in range(n_genes)])
    write_elem(file, "/", anndata.AnnData(blocks(*first), var=genes))
    stored = sparse_dataset(file["X"])
    for span in others:
        stored.append(blocks(*span))
    types = np.concatenate([blocks.types(*span) for span in (first, *others)])
    cells = pd.DataFrame({"cell_type": pd.Categorical(types)}, index=[f"cell_{i}" for i in range(n_cells)])
    write_elem(file, "obs", cells)
    if hasattr(file, "close"):
        file.close()


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of h5ad files")
    parser.add_argument("--cells", type=int, required=True)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--share", type=float, default=0.05, help="of the entries above zero")
    parser.add_argument("--out", type=Path, required=True, help="h5ad or zarr")
    typed = parser.parse_args()
    write_cells(typed.out, typed.data, typed.cells, typed.genes, typed.share)
