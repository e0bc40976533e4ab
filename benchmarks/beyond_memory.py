"""Cells/s of training from counts on disk that do not fit into memory, beside the same with room for all of them.

    sudo python benchmarks/beyond_memory.py [--cells 1500000] [--entries 200] [--limit-mb 1000] [--seconds 60]

Made counts of 2,000 genes, 8 bytes an entry, lie in a file in TMPDIR; the default model trains on them for a while,
in a process of its own, one thread. What may be held, the file's pages in the system's cache among it, is limited by a
control group (Linux, version 1 or 2; as root), and the cache is emptied before each run.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from apart import in_a_process

from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.autoencoder.settings import Settings
from scrae.data import on_disk
from scrae.data.covariates import Covariates
from scrae.data.minibatches import CountData
from scrae.training.loop import Training

N_GENES, CELLS_AT_ONCE = 2000, 5000


def made_counts(n_cells: int, n_entries: int) -> Iterator[sp.csr_array]:
    """Ones in random genes, a block of cells at a time."""
    rng = np.random.default_rng(0)
    for start in range(0, n_cells, CELLS_AT_ONCE):
        n = min(CELLS_AT_ONCE, n_cells - start)
        genes = np.sort(rng.integers(0, N_GENES, (n, n_entries)), axis=1).astype(np.int32).ravel()
        entries = np.ones(len(genes), dtype=np.float32)
        yield sp.csr_array((entries, genes, np.arange(0, len(genes) + 1, n_entries)), shape=(n, N_GENES))


@contextmanager
def at_most(limit_mb: int) -> Iterator[None]:
    """What this process comes to hold from now on has to fit; 0: no limit."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")
    if not limit_mb:
        yield
        return
    first = Path("/sys/fs/cgroup/memory")
    group = (first if first.exists() else Path("/sys/fs/cgroup")) / f"scrae-{os.getpid()}"
    group.mkdir()
    (group / "cgroup.procs").write_text(str(os.getpid()))
    limit = "memory.limit_in_bytes" if first.exists() else "memory.max"
    (group / limit).write_text(str(limit_mb * 2**20))
    try:
        yield
    finally:
        (group.parent / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def measure(n_cells: int, n_entries: int, limit_mb: int, seconds: float) -> dict[str, float]:
    torch.set_num_threads(1)
    counts = on_disk.on_disk(made_counts(n_cells, n_entries), N_GENES)
    torch.manual_seed(0)
    settings = Settings()
    model = RegularisedAutoencoder(settings, N_GENES, 0, 1)
    model.fit_constants(sp.csr_array(counts[:CELLS_AT_ONCE]))
    with at_most(limit_mb):
        data = CountData(counts, Covariates.none(n_cells), torch.device("cpu"))
        training = Training(model, data, torch.arange(n_cells), torch.arange(0), None)
        threading.Timer(seconds, lambda: setattr(training, "_interrupted", True)).start()
        started = time.perf_counter()
        training._epoch()
        taken = time.perf_counter() - started
    return {
        "file_mb": 2 * counts.data.nbytes / 2**20,
        "limit_mb": limit_mb,
        "cells_per_second": training.progress.step * settings.batch_size / taken,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1_500_000)
    parser.add_argument("--entries", type=int, default=200, help="above zero, of each cell")
    parser.add_argument("--limit-mb", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    typed = parser.parse_args()
    if typed.measure is not None:
        print(json.dumps(measure(typed.cells, typed.entries, typed.measure, typed.seconds)))
        return
    asked = ["--cells", typed.cells, "--entries", typed.entries, "--seconds", typed.seconds]
    for limit_mb in (0, typed.limit_mb):
        found = in_a_process(__file__, *asked, "--measure", limit_mb)
        print(
            f"file {found['file_mb']:,.0f} MB, {f'at most {limit_mb:,} MB' if limit_mb else 'no limit'}: "
            f"{found['cells_per_second']:,.0f} cells/s"
        )


if __name__ == "__main__":
    main()
