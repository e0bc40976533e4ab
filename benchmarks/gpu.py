"""What a GPU makes of training: beside scvi-tools' SCVI on the same card, and a whole call on many cells.

    python benchmarks/gpu.py --data DIR [--peer PYTHON] [--batch-sizes 128 1024] [--runs 3] [--cells 1000000]
                             [--out benchmarks/results/gpu.csv] [--markdown gpu.md] [--accuracy gpu_accuracy.csv]

Cells and genes are made of real ones (benchmarks/semisynthetic.py), 20,000 genes, 5 % of the entries above zero.
Training: 30,000 cells on their 2,000 most variable genes, networks of the same width (benchmarks/speed.py), the median
epoch of each run. Whole calls: ``scrae.tl.scrae`` with its defaults, but for the size of minibatches, on counts in
memory. A row for each run; rows that are there are not measured again.

``--accuracy`` names what ``benchmarks/accuracy.py --methods default --out FILE`` wrote on a machine with a GPU. It is
shown beside benchmarks/results/accuracy.csv, which comes from a processor.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import warnings
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scaling
import speed
import torch
from apart import in_a_process
from experiment import resumed
from semisynthetic import cells_in_memory
from tables import by_dataset, markdown, publish

import scrae

KEYS = ["what", "method", "batch_size", "run"]
TRAINED_ON, EPOCHS = 30_000, 4
FIGURES = {  # of a row, as the table calls them
    "training_cells_per_second": "training, cells/s",
    "embedding_cells_per_second": "embedding, cells/s",
    "seconds": "whole call, s",
    "training_seconds": "of it training, s",
    "epochs": "epochs",
    "gpu_mb": "memory of the GPU, MB",
}


def prepared(data: Path, path: Path) -> Path:
    """Cells on their chosen genes, written for all processes of the training."""
    adata = anndata.AnnData(cells_in_memory(data, TRAINED_ON, scaling.GENES, scaling.SHARE))
    scrae.pp.select_genes(adata, n_top=speed.N_GENES)
    anndata.AnnData(adata.X[:, adata.var["scrae_selected"].to_numpy()]).write_h5ad(path)
    return path


def measure_whole(data: Path, n_cells: int, batch_sizes: list[int]) -> dict[str, float]:
    """One call of scrae.tl.scrae for each size of minibatches, in this process, figures by name and size."""
    warnings.simplefilter("ignore")
    adata = anndata.AnnData(cells_in_memory(data, n_cells, scaling.GENES, scaling.SHARE, os.cpu_count() or 1))
    figures = {}
    for size in batch_sizes:
        torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        scrae.tl.scrae(adata, batch_size=size, verbose=False)
        seconds = time.perf_counter() - started
        found = adata.uns["scrae"]
        found = {
            "training_cells_per_second": found["summary"]["training_cells_per_second"],
            "seconds": seconds,
            "training_seconds": float(found["history"]["seconds"].sum()),
            "epochs": found["summary"]["epochs"],
            "gpu_mb": torch.cuda.max_memory_allocated() / 1e6,
        }
        figures |= {f"{name} {size}": value for name, value in found.items()}
    return figures


def table(results: pd.DataFrame) -> str:
    """Medians over runs, and the spread where there are several."""

    def shown(values: pd.Series) -> str | None:
        known = values.dropna()
        if known.empty:
            return None
        spread = f" ({known.min():,.0f} to {known.max():,.0f})" if len(known) > 1 else ""
        return f"{known.median():,.0f}{spread}"

    parts = []
    for (what, card), rows in results.groupby(["what", "card"], sort=False):
        names = [name for name in FIGURES if rows[name].notna().any()]
        cells = rows.groupby(["method", "batch_size"], sort=False)[names].agg(shown)
        cells.index = [f"{method}, minibatches of {size}" for method, size in cells.index]
        parts.append(markdown(cells.rename(columns=FIGURES), f"{what}, {rows['cells'].iloc[0]:,} cells, {card}"))
    return "\n\n".join(parts)


def accuracy(on_gpu: Path, on_processor: Path) -> str:
    """NMI of k-means of the same data sets and seeds, from both."""
    both = {name: pd.read_csv(path) for name, path in (("GPU", on_gpu), ("processor", on_processor))}
    keys = pd.MultiIndex.from_frame(both["GPU"][["dataset", "method", "seed"]])
    rows = []
    for name, results in both.items():
        same = pd.MultiIndex.from_frame(results[["dataset", "method", "seed"]]).isin(keys)
        rows.append(results[same].assign(method=name))
    return by_dataset(pd.concat(rows), "kmeans_NMI", "NMI of k-means, default preset")


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--peer", help="a Python with scvi-tools, to run beside")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[128, 1024])
    parser.add_argument("--runs", type=int, default=3, help="of each training")
    parser.add_argument("--cells", type=int, default=1_000_000, help="of the whole call; 0: none")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu.csv"))
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--accuracy", type=Path)
    parser.add_argument("--tables-only", action="store_true", help="from the rows that are there")
    parser.add_argument("--measure-whole", action="store_true", help="for the processes that this program starts")
    typed = parser.parse_args()
    if typed.measure_whole:
        print(json.dumps(measure_whole(typed.data, typed.cells, typed.batch_sizes)))
        return
    if not typed.tables_only:
        measure(typed)
    text = table(pd.read_csv(typed.out))
    if typed.accuracy:
        text += "\n\n" + accuracy(typed.accuracy, Path(__file__).parent / "results/accuracy.csv")
    publish(text, typed.markdown)


def measure(typed: Any) -> None:
    """Rows that are not there yet."""
    if not torch.cuda.is_available():
        raise SystemExit("there is no GPU here")
    card = torch.cuda.get_device_name()
    pythons = {"scrae": sys.executable} | ({"scvi": typed.peer} if typed.peer else {})
    wanted: list[tuple[object, ...]] = [
        ("training", method, size, run) for run in range(typed.runs) for size in typed.batch_sizes for method in pythons
    ]
    wanted += [("whole", "scrae", size, 0) for size in typed.batch_sizes if typed.cells]
    whole: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chosen.h5ad"

        def row(what: str, method: str, size: int, run: int) -> dict[str, object]:
            if what == "training":
                chosen = path if path.exists() else prepared(typed.data, path)
                asked = ("--prepared", chosen, "--epochs", EPOCHS, "--batch-size", size)
                found = in_a_process(speed.__file__, "--measure", method, *asked, python=pythons[method])
            else:
                if not whole:
                    asked = ("--data", typed.data, "--cells", typed.cells, "--batch-sizes", *typed.batch_sizes)
                    whole.update(in_a_process(__file__, "--measure-whole", *asked))
                found = {name: whole[f"{name} {size}"] for name in FIGURES if f"{name} {size}" in whole}
            figures = {name: found.get(name, np.nan) for name in FIGURES}
            return {"cells": TRAINED_ON if what == "training" else typed.cells, "card": card} | figures

        resumed(typed.out, KEYS, wanted, row, "%.1f")


if __name__ == "__main__":
    main()
