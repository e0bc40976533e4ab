"""From an h5ad file with more than 2^31 stored counts to an embedding: positions that 32 bits cannot hold.

    TMPDIR=/scratch python benchmarks/many_entries.py [--entries 2200000000] [--epochs 1] [--threads 1]

Cells of eight made types, half of 20,000 genes above zero in each, are drawn once, 20,000 of them; the file has them as
often as it takes to have so many entries, each time as other cells. A virtual data set of HDF5 says so, and readers see
an array like any other: the file takes 0.2 GB for 18 GB of counts. What scRAE makes of it in TMPDIR takes 12 bytes an
entry, 8 more for each of the 2,000 genes that are selected, and 8 more for those while components are found: 30 GB.
scrae.tl.scrae is called with its defaults and this number of epochs, in a process of its own; memory is as scaling.py
has it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from anndata.io import write_elem
from apart import in_a_process
from scaling import measure_whole

GENES, TYPES = 20_000, 8
CELLS, CELLS_AT_ONCE = 20_000, 1000  # that are drawn


def drawn_cells(rng: np.random.Generator, n_cells: int, n_genes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CSR: counts (uint8), genes (int32) and the number of entries of each cell."""
    seen = np.clip(rng.beta(2, 2, n_genes) + rng.normal(0, 0.1, (TYPES, n_genes)), 0.01, 0.99)
    more = rng.gamma(0.5, 2, n_genes)
    data, genes, lengths = [], [], []
    for start in range(0, n_cells, CELLS_AT_ONCE):
        kind = rng.integers(TYPES, size=min(CELLS_AT_ONCE, n_cells - start))
        row, gene = np.nonzero(rng.random((len(kind), n_genes)) < seen[kind])
        data.append(np.minimum(1 + rng.poisson(more[gene]), 255).astype(np.uint8))
        genes.append(gene.astype(np.int32))
        lengths.append(np.bincount(row, minlength=len(kind)))
    return np.concatenate(data), np.concatenate(genes), np.concatenate(lengths)


def write_cells(path: Path, n_entries: int, n_cells: int = CELLS, n_genes: int = GENES) -> None:
    """An h5ad file with at least so many entries, of which those of ``n_cells`` cells take room."""
    data, genes, lengths = drawn_cells(np.random.default_rng(0), n_cells, n_genes)
    times = -(-n_entries // len(data))
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        shape = (times * n_cells, n_genes)
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": shape})
        group["indptr"] = np.concatenate([[0], np.cumsum(np.tile(lengths, times))])
        for name, values in (("data", data), ("indices", genes)):
            drawn = group.create_dataset(f"drawn/{name}", data=values, compression="gzip", shuffle=True)
            layout = h5py.VirtualLayout((times * len(values),), values.dtype)
            for start in range(0, times * len(values), len(values)):
                layout[start : start + len(values)] = h5py.VirtualSource(drawn)
            group.create_virtual_dataset(name, layout)
        write_elem(file, "obs", pd.DataFrame(index=[f"cell_{i}" for i in range(shape[0])]))
        write_elem(file, "var", pd.DataFrame(index=[f"gene_{j}" for j in range(n_genes)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=2_200_000_000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    typed = parser.parse_args()
    if typed.measure is not None:
        torch.set_num_threads(typed.threads)
        print(json.dumps(measure_whole(typed.measure, "h5ad", typed.epochs)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cells.h5ad"
        write_cells(path, typed.entries)
        asked = ["--epochs", typed.epochs, "--threads", typed.threads, "--measure", path]
        for name, figure in in_a_process(__file__, *asked).items():
            print(f"{name}: {figure:,.0f}")


if __name__ == "__main__":
    main()
