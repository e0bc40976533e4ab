"""Neighbours, graph and clusters of many cells: processor time, memory, and how many of the nearest cells are found.

    python benchmarks/many_cells.py --data DIR [--cells 100000 300000 1000000] [--tasks neighbours exact ...]
                                    [--runs 1] [--threads 1] [--epochs 1] [--out many_cells.csv]
                                    [--markdown many_cells.md]

``neighbours`` are the 100 nearest of each cell, as ``scrae.tl.neighbors`` looks for them; ``exact`` are those found by
``scrae.compute.neighbours.nearest``, which leaves no cell out; ``graph`` is the whole of ``scrae.tl.neighbors``. They
work on cells made from the embedding of zeisel_1799: each lies somewhere between a cell and one of its 15 nearest, with
noise of a third of the spread around them. ``found`` is the share of the 100 nearest, by comparing 500 cells with all.
``clusters`` is ``scrae.tl.cluster`` on cells made of sorted blood cells (benchmarks/semisynthetic.py, 2,000 genes, 5 %
of the entries above zero), whose embedding was learned from 10,000 of them. Trainings are the default's unless
``--epochs`` says otherwise.

Every run is a process of its own, in which compiled loops are loaded; memory is the most above what the cells take. A
row for each run; rows that are there are not measured again.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse as sp
import torch
from apart import in_a_process
from experiment import command, loader, options, resumed
from memory import own_memory_mb
from scaling import grown, watched
from semisynthetic import cells_in_memory
from tables import markdown, publish

import scrae
from scrae.compute.neighbours import nearest, nearest_among

SOURCE, NEAR = "zeisel_1799", 15
NEIGHBOURS, JUDGED = 100, 500
GENES, SHARE, LEARNED_FROM = 2000, 0.05, 10_000
KEYS = ["cells", "task", "run"]
TASKS = {
    "neighbours": "neighbours, s",
    "exact": "by comparing all that may be near, s",
    "graph": "`scrae.tl.neighbors`, s",
    "clusters": "`scrae.tl.cluster`, s",
}


def made_embedding(data: Path, n_cells: int, epochs: int | None) -> torch.Tensor:
    """Cells between those of an embedding and their neighbours, float32 (n_cells, n_columns)."""
    source = loader(data, GENES)(SOURCE)
    real = torch.as_tensor(scrae.SCRAE(max_epochs=epochs, verbose=False).fit(source).embed())
    near = nearest(real, real, NEAR + 1)[:, 1:]
    spread = (real[near] - real[:, None]).square().mean((1, 2)).sqrt()
    rng = np.random.default_rng(0)
    one = torch.as_tensor(rng.integers(len(real), size=n_cells))
    other = near[one, torch.as_tensor(rng.integers(NEAR, size=n_cells))]
    way = torch.as_tensor(rng.uniform(size=(n_cells, 1)).astype(np.float32))
    noise = torch.as_tensor(rng.normal(size=(n_cells, real.shape[1])).astype(np.float32))
    return torch.lerp(real[one], real[other], way) + noise * spread[one][:, None] / 3


def share_found(points: torch.Tensor, found: torch.Tensor) -> float:
    """Share of the nearest of some points that are among those found, by comparing these with all."""
    judged = torch.as_tensor(np.random.default_rng(1).choice(len(points), min(JUDGED, len(points)), replace=False))
    shares = []
    for cell in judged.tolist():
        true = (points - points[cell]).square().sum(1).topk(found.shape[1], largest=False).indices
        shares.append(np.isin(true.numpy(), found[cell].numpy()).mean())
    return float(np.mean(shares))


def clustered_cells(data: Path, n_cells: int, epochs: int | None) -> anndata.AnnData:
    """Made blood cells with their embedding."""
    adata = anndata.AnnData(cells_in_memory(data, n_cells, GENES, SHARE, processes=2))
    sc.pp.filter_cells(adata, min_counts=1)
    few = adata[: min(LEARNED_FROM, adata.n_obs)].copy()
    model = scrae.SCRAE(max_epochs=epochs, verbose=False).fit(few)
    adata.obsm["X_scrae"] = model.embed(adata)
    return adata


def prepared(
    data: Path, n_cells: int, task: str, epochs: int | None
) -> tuple[Callable[[], Any], Callable[[Any], float]]:
    """The call that is measured, and the share of the nearest in its result; loops are loaded by a small call."""
    if task == "clusters":
        adata = clustered_cells(data, n_cells, epochs)
        scrae.tl.cluster(adata[:2000].copy())
        return lambda: scrae.tl.cluster(adata), lambda _: np.nan
    points = made_embedding(data, n_cells, epochs)
    if task == "graph":
        made = anndata.AnnData(sp.csr_matrix((n_cells, 1), dtype=np.float32), obsm={"X_scrae": points.numpy()})
        scrae.tl.neighbors(made[:3000].copy())
        return lambda: scrae.tl.neighbors(made), lambda _: np.nan

    def search(among: torch.Tensor) -> torch.Tensor:
        return nearest(among, among, NEIGHBOURS) if task == "exact" else nearest_among(among, NEIGHBOURS, 0)

    search(points[:3000])
    return lambda: search(points), lambda found: share_found(points, found)


def measure(data: Path, n_cells: int, task: str, epochs: int | None) -> dict[str, float]:
    """Processor seconds, memory and accuracy of one task, in this process."""
    warnings.simplefilter("ignore")
    call, judged = prepared(data, n_cells, task, epochs)
    with watched(own_memory_mb) as held:
        started = time.process_time()
        result = call()
        seconds = time.process_time() - started
    return {"seconds": seconds, "memory_mb": grown(held), "found": judged(result)}


def table(rows: pd.DataFrame) -> str:
    """Medians over runs: seconds, and in brackets memory and the share found."""

    def shown(of_task: pd.DataFrame) -> str:
        middle = of_task[["seconds", "memory_mb", "found"]].median()
        found = "" if np.isnan(middle["found"]) else f", {middle['found']:.3f} found"
        return f"{middle['seconds']:.1f} ({middle['memory_mb'] / 1e3:.1f} GB{found})"

    cells = {
        f"{n_cells:,}": {TASKS[task]: shown(of_task) for task, of_task in of_size.groupby("task", sort=False)}
        for n_cells, of_size in rows.groupby("cells")
    }
    named = pd.DataFrame(cells).T
    return markdown(named[[name for name in TASKS.values() if name in named]], "cells")


def main() -> None:
    parser = command(__doc__, "many_cells", n_genes=None)
    parser.add_argument("--cells", type=int, nargs="*", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=TASKS)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="of the trainings; the default's if nothing is said")
    parser.add_argument("--measure", nargs=2, metavar=("CELLS", "TASK"), help=argparse.SUPPRESS)
    typed = options(parser)
    if typed.measure:
        print(json.dumps(measure(typed.data, int(typed.measure[0]), typed.measure[1], typed.epochs)))
        return

    def apart(n_cells: int, task: str, _: int) -> dict[str, float]:
        asked = ["--data", typed.data, "--threads", typed.threads, "--measure", n_cells, task]
        return in_a_process(__file__, *asked, *(["--epochs", typed.epochs] if typed.epochs else []))

    wanted = [(n_cells, task, run) for n_cells in typed.cells for task in typed.tasks for run in range(typed.runs)]
    publish(table(resumed(typed.out, KEYS, wanted, apart, "%.4f")), typed.markdown)


if __name__ == "__main__":
    main()
