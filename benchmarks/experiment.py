"""What the experiments of this folder share: command line, data sets, other packages, rows that are measured once."""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import anndata
import numpy as np
import pandas as pd
import scanpy as sc
import torch
from tqdm import tqdm

import scrae

KEYS = ["dataset", "method", "seed"]
T = TypeVar("T")


def command(
    description: str | None,
    name: str,
    *,
    folder: str = "benchmarks/results",
    datasets: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    n_genes: int | None = 2000,
    peer: str | None = None,
) -> argparse.ArgumentParser:
    """The command line that all experiments have; each adds what is its own, then :func:`options` reads it.

    Parameters
    ----------
    description
        The program's docstring.
    name
        Results go to ``<folder>/<name>.csv`` unless said otherwise.
    folder
        Where results of its kind are.
    datasets
        Names of files without .h5ad that are taken unless others are given; None: all of the folder.
    methods
        Methods that are taken unless others are given; None: there is no such option.
    n_genes
        Number of genes unless another is given; None: there is no such option.
    peer
        What the other Python must have; None: no other is asked.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of h5ad files")
    parser.add_argument("--datasets", nargs="*", default=datasets, help="names of files without .h5ad")
    if methods is not None:
        parser.add_argument("--methods", nargs="*", default=methods)
    parser.add_argument("--seeds", type=int, default=5)
    if n_genes is not None:
        parser.add_argument("--n-genes", type=int, default=n_genes)
    parser.add_argument("--threads", type=int, default=1)
    if peer is not None:
        parser.add_argument("--peer", help=f"a Python with {peer}")
    parser.add_argument("--out", type=Path, default=Path(f"{folder}/{name}.csv"), help="a row for each run")
    parser.add_argument("--markdown", type=Path, help="tables")
    return parser


def options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """What was typed; torch has its threads, and data sets their names."""
    typed = parser.parse_args()
    torch.set_num_threads(typed.threads)
    typed.datasets = typed.datasets or sorted(path.stem for path in typed.data.glob("*.h5ad"))
    return typed


def with_chosen_genes(
    adata: anndata.AnnData, n_genes: int, genes: str, batch_key: str | None = None
) -> anndata.AnnData:
    """The data set on its most variable genes, without cells that have no count left."""
    scrae.pp.select_genes(adata, genes, n_genes, batch_key=batch_key)
    chosen = adata[:, adata.var["scrae_selected"]].copy()
    sc.pp.filter_cells(chosen, min_counts=1)
    return chosen


def loader(
    data: Path, n_genes: int, genes: str = "hvg", n_cells: int | None = None
) -> Callable[[str], anndata.AnnData]:
    """A function that reads a data set of the folder by name, on its chosen genes, and keeps the last one.

    Of larger data sets than ``n_cells`` so many cells are drawn at random, always the same ones.
    """

    @lru_cache(maxsize=1)
    def load(name: str) -> anndata.AnnData:
        adata = anndata.read_h5ad(data / f"{name}.h5ad")
        if n_cells is not None and adata.n_obs > n_cells:
            sc.pp.sample(adata, n=n_cells, rng=0)
        return with_chosen_genes(adata, n_genes, genes)

    return load


def ask_peer(adata: anndata.AnnData, method: str, seed: int, peer: str | None) -> tuple[np.ndarray, dict[str, object]]:
    """The answer of another package (benchmarks/peers.py), in a process of the Python that has it, and its memory."""
    if peer is None:
        raise SystemExit(f"{method} is another package's: give --peer a Python that has it (make peers makes one)")
    with tempfile.TemporaryDirectory() as folder:
        counts, answer = Path(folder) / "counts.h5ad", Path(folder) / "answer.npy"
        adata.write_h5ad(counts)
        program = str(Path(__file__).with_name("peers.py"))
        asked = [peer, program, method, str(counts), str(seed), str(answer)]
        done = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True)
        return np.load(answer), {"peak_memory_mb": float(done.stdout.splitlines()[-1])}


def uninterrupted(work: Callable[[], T]) -> T:
    """What ``work`` gives; KeyboardInterrupt where it was told to stop, also if a training took that as its end.

    A training that was interrupted gives its best model so far, as users want it, which no table may hold.
    """
    noticed, told = socket.socketpair()
    with noticed, told:
        noticed.setblocking(False)
        told.setblocking(False)
        before = signal.set_wakeup_fd(told.fileno())  # is written to whatever handler Python has
        try:
            result = work()
        finally:
            signal.set_wakeup_fd(before)
        with suppress(BlockingIOError):  # no signal came
            if {signal.SIGINT, signal.SIGTERM} & set(noticed.recv(4096)):
                raise KeyboardInterrupt
    return result


def resumed(
    out: Path,
    keys: list[str],
    wanted: list[tuple[object, ...]],
    measure: Callable[..., dict[str, object]],
    float_format: str = "%.5f",
) -> pd.DataFrame:
    """Rows of ``wanted``: those in the file ``out`` as they are, the others measured and appended one by one.

    Ctrl-C, or SIGTERM, ends the program, and the run in hand leaves no row.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    done = set(pd.read_csv(out)[keys].itertuples(index=False, name=None)) if out.exists() else set()
    for key in tqdm([key for key in wanted if key not in done], disable=None):
        try:
            measured = uninterrupted(partial(measure, *key))
        except KeyboardInterrupt:
            raise SystemExit(
                f"interrupted: the runs so far are in {out}; the same command goes on from there"
            ) from None
        row = pd.DataFrame([dict(zip(keys, key, strict=True)) | measured])
        if out.exists() and list(pd.read_csv(out, nrows=0)) != list(row):
            raise SystemExit(f"{out} has other columns, of another version: move it away, or give another --out")
        row.to_csv(out, mode="a", header=not out.exists(), index=False, float_format=float_format)
    return measured_already(out, keys, wanted)


def measured_already(out: Path, keys: list[str], wanted: list[tuple[object, ...]]) -> pd.DataFrame:
    """Those rows of the file ``out`` that are in ``wanted``."""
    results, asked = pd.read_csv(out), set(wanted)
    return results[[key in asked for key in results[keys].itertuples(index=False, name=None)]]
