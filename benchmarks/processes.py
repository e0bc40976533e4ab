"""What training on several processes costs each of them: ``torchrun processes.py FILE.h5ad BATCH [--from-disk]``.

The processor and elapsed time of an epoch, with the 2,000 genes that most cells have, default settings and one thread
for each process. With --from-disk a whole call of one epoch, with counts that stay on disk: what copying, the choice of
genes, training, and embedding take, and the most memory of its own that each process has (docs/SCALE.md).
"""

from __future__ import annotations

import argparse
import time

import anndata
import numpy as np
import torch
from memory import own_memory_mb
from scaling import watched

import scrae
from scrae.compute import distributed
from scrae.data.files import cells_on_disk

EPOCHS = 5
N_GENES = 2000


def in_memory(path: str, batch_size: int) -> str:
    """Medians of this process."""
    adata = anndata.read_h5ad(path)
    genes = np.argsort(-np.asarray((adata.X > 0).sum(axis=0)).ravel(), kind="stable")[:N_GENES]
    ends: list[tuple[float, float]] = []
    scrae.SCRAE(verbose=False, batch_size=batch_size).fit(
        adata,
        genes=genes,
        max_epochs=EPOCHS,
        on_epoch=lambda *_: ends.append((time.process_time(), time.perf_counter())),
    )
    processor, elapsed = np.median(np.diff(ends, axis=0), axis=0)
    return f"an epoch takes {processor:.2f} s of the processor, {elapsed:.2f} s in all"


def from_disk(path: str, batch_size: int) -> str:
    """A whole call in this process."""
    with watched(own_memory_mb) as held:
        times = [time.perf_counter()]
        with distributed.divided_work():
            adata = cells_on_disk(path)
        times.append(time.perf_counter())
        with distributed.divided_work():
            scrae.pp.select_genes(adata, verbose=False)
        times.append(time.perf_counter())
        model = scrae.SCRAE(verbose=False, batch_size=batch_size).fit(adata, max_epochs=1)
        times.append(time.perf_counter())
        with distributed.divided_work():
            model.embed()
        times.append(time.perf_counter())
    copying, choosing, training, embedding = np.diff(times)
    most = max(mb for _, mb in held)
    return (
        f"copying {copying:.1f} s, genes {choosing:.1f} s, training {training:.1f} s, embedding {embedding:.1f} s, "
        f"at most {most:,.0f} MB of its own"
    )


def main() -> None:
    """Train, and print what it costs this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", metavar="FILE.h5ad")
    parser.add_argument("batch_size", type=int, metavar="BATCH")
    parser.add_argument("--from-disk", action="store_true")
    typed = parser.parse_args()
    torch.set_num_threads(1)
    measure = from_disk if typed.from_disk else in_memory
    with distributed.joined():
        said = measure(typed.path, typed.batch_size)
        print(
            f"process {distributed.rank()} of {distributed.n_processes()}, batch_size {typed.batch_size}: {said}",
            flush=True,
        )


if __name__ == "__main__":
    main()
