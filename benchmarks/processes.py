"""Processor and elapsed time of an epoch on one or several processes: ``torchrun processes.py FILE.h5ad BATCH``.

The 2,000 genes that most cells have, default settings, one thread for each process (docs/SCALE.md).
"""

from __future__ import annotations

import sys
import time

import anndata
import numpy as np
import torch

import scrae
from scrae.compute import distributed

EPOCHS = 5
N_GENES = 2000


def main(path: str, batch_size: int) -> None:
    """Train, and print the medians of this process."""
    torch.set_num_threads(1)
    adata = anndata.read_h5ad(path)
    genes = np.argsort(-np.asarray((adata.X > 0).sum(axis=0)).ravel(), kind="stable")[:N_GENES]
    ends: list[tuple[float, float]] = []
    with distributed.joined():
        scrae.SCRAE(verbose=False, batch_size=batch_size).fit(
            adata,
            genes=genes,
            max_epochs=EPOCHS,
            on_epoch=lambda *_: ends.append((time.process_time(), time.perf_counter())),
        )
        processor, elapsed = np.median(np.diff(ends, axis=0), axis=0)
        print(
            f"process {distributed.rank()} of {distributed.n_processes()}, batch_size {batch_size}: an epoch takes "
            f"{processor:.2f} s of the processor, {elapsed:.2f} s in all",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
