"""What it costs to check counts before training: seconds, and the share of a default training that they are.

    python benchmarks/validation.py --data DIR [--cells 70000] [--genes 20000] [--share 0.025] [--runs 5]

DIR has what benchmarks/semisynthetic.py draws cells from. The check is everything between the user's AnnData and counts
that training takes: the arrays of the matrix, each value, repeated entries, names of genes, empty cells. The training
is ``scrae.tl.scrae`` with its defaults, choice of genes included, once.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import anndata
import numpy as np
import torch
from semisynthetic import cells_in_memory

import scrae
from scrae.data.cells import read_cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of h5ad files")
    parser.add_argument("--cells", type=int, default=70_000)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--share", type=float, default=0.025, help="of the entries above zero")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    typed = parser.parse_args()
    torch.set_num_threads(typed.threads)
    adata = anndata.AnnData(cells_in_memory(typed.data, typed.cells, typed.genes, typed.share))
    taken = []
    for _ in range(typed.runs):
        started = time.perf_counter()
        read_cells(adata, copy=False)
        taken.append(time.perf_counter() - started)
    started = time.perf_counter()
    scrae.tl.scrae(adata, verbose=False)
    training = time.perf_counter() - started
    check = float(np.median(taken))
    print(
        f"{typed.cells:,} cells x {typed.genes:,} genes, {adata.X.nnz:,} entries: check {check:.3f} s (median of "
        f"{typed.runs}), training {training:.1f} s, share {check / training:.2%}"
    )


if __name__ == "__main__":
    main()
