"""What a user waits for, against the size of the data: choice of genes, training, embedding, neighbours, clusters.

    python benchmarks/scaling.py --data DIR [--cells 1000 4000 16000 64000] [--chosen 500 1000 2000 4000 8000]
                                 [--shares 0.02 0.05 0.1] [--threads 2] [--out scaling.csv]
                                 [--markdown scaling.md] [--figure scaling.png]
    python benchmarks/scaling.py --data DIR --whole 70000 [--from memory h5ad zarr seurat] [--epochs 1]
                                 [--genes 20000 --share 0.05] [--batches 50] [--out ...] ...

DIR has what benchmarks/semisynthetic.py draws cells from, 20,000 genes each where nothing else is said. The first form
varies, one at a time, the number of cells (2,000 genes chosen, 5 % of the entries above zero), of genes chosen and the
share of entries (16,000 cells), and fits time = a size^b to each part. Parts: choosing genes; a step of training,
median of 100 and more; what else fitting does (checks, the read-out); the embedding of all cells; their neighbour graph
and Leiden clusters (scanpy). The second form is scrae.tl.scrae with its defaults (or that many epochs) on so many
cells, in memory, or from a file that is larger than what it holds; ``seurat``: RunSCRAE on a Seurat object, by the R
package in R_LIBS, session and worker together. With ``--batches`` the cells, in memory or h5ad, are dealt into so many
batches, which see the genes in other ways (benchmarks/made_batches.py), and the call has a ``batch_key``. Each
measurement is a process of its own; memory is the most that it had of its own (RssAnon) above what it had with the
counts read in. A row for each; rows that are there are not measured again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from apart import in_a_process
from experiment import command, options, resumed
from figures import save
from made_batches import Design, in_batches
from memory import memory_of_all_mb, own_memory_mb
from scipy.io import mmwrite
from semisynthetic import cells_in_memory, source_in, write_cells
from tables import markdown, publish

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import NullLocator

GENES = 20_000
CELLS, CHOSEN, SHARE = 16_000, 2000, 0.05  # of what is not varied
STEPS = 100  # of training, at least
SCANPY_IS_EXACT_BELOW = 8192  # cells; neighbours of more are pynndescent's
KEYS = ["cells", "chosen", "share"]
SOURCES = ["memory", "h5ad", "zarr", "seurat"]
KEYS_OF_WHOLE = ["cells", "source", "epochs", "genes", "share", "batches"]
PARTS = {
    "choice": "choice of genes",
    "step": "a step of training",
    "rest_of_fit": "the rest of fitting",
    "embed": "embedding",
    "neighbours": "neighbours",
    "leiden": "Leiden",
}
VARIED = {"cells": "cells", "chosen": "genes chosen", "entries": "entries above zero (all genes)"}


@contextmanager
def watched(memory_mb: Callable[[], float], every: float = 0.02) -> Iterator[list[tuple[float, float]]]:
    """Times and what was held at them, one now and one every so many seconds until the end."""
    held, done = [(time.time(), memory_mb())], threading.Event()

    def watch() -> None:
        while not done.wait(every):
            held.append((time.time(), memory_mb()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield held
    finally:
        done.set()
        watcher.join()


def grown(held: list[tuple[float, float]], since: float = 0.0) -> float:
    """The most that was held after this time, above what was held before it (or first)."""
    before = [mb for when, mb in held if when <= since] or [held[0][1]]
    return max(mb for when, mb in held if when > since) - before[-1]


def timed(what: Callable[[], Any]) -> float:
    started = time.perf_counter()
    what()
    return time.perf_counter() - started


def measure_parts(data: Path, n_cells: int, n_chosen: int, share: float) -> dict[str, float]:
    """Seconds of each part, in this process."""
    import anndata
    import scanpy as sc

    import scrae

    warnings.simplefilter("ignore")
    adata = anndata.AnnData(cells_in_memory(data, n_cells, GENES, share))
    entries = adata.X.nnz
    model = scrae.SCRAE(verbose=False, early_stopping=False)
    epochs = max(2, -(-STEPS * model.settings.batch_size // n_cells))
    with watched(own_memory_mb) as held:
        choice = timed(lambda: scrae.pp.select_genes(adata, n_top=n_chosen))
        fit = timed(lambda: model.fit(adata, genes=adata.var["scrae_selected"].to_numpy(), max_epochs=epochs))
        embed = timed(lambda: adata.obsm.__setitem__("X_scrae", model.embed(adata)))
    few = adata[:500].copy()  # what umap and pynndescent compile at their first use is not to count
    sc.pp.neighbors(few, use_rep="X_scrae", transformer="pynndescent" if n_cells >= SCANPY_IS_EXACT_BELOW else None)
    steps_an_epoch = -(-n_cells // model.settings.batch_size)
    return {
        "entries": entries,
        "choice": choice,
        "step": float(model.history["seconds"].median()) / steps_an_epoch,
        "rest_of_fit": fit - float(model.history["seconds"].sum()),
        "embed": embed,
        "neighbours": timed(lambda: sc.pp.neighbors(adata, use_rep="X_scrae")),
        "leiden": timed(lambda: sc.tl.leiden(adata, flavor="igraph", n_iterations=2, directed=False)),
        "memory_mb": grown(held),
    }


def measure_whole(path: Path, source: str, epochs: int | None) -> dict[str, float]:
    """One call of scrae.tl.scrae in this process, with a batch_key where there are batches."""
    import anndata

    import scrae

    warnings.simplefilter("ignore")
    adata = anndata.read_h5ad(path) if source == "memory" else None
    with watched(own_memory_mb) as held:
        started = time.perf_counter()
        if adata is None:
            from scrae.data.files import cells_on_disk  # which earlier versions do not have

            adata = cells_on_disk(path)
        mapped = time.perf_counter() - started
        scrae.tl.scrae(adata, batch_key="batch" if "batch" in adata.obs else None, max_epochs=epochs, verbose=False)
        seconds = time.perf_counter() - started
    summary = adata.uns["scrae"]["summary"]
    return {
        "entries": int(adata.X.nnz),
        "epochs_done": summary["epochs"],
        "seconds": seconds,
        "mapping": mapped,
        "training": float(adata.uns["scrae"]["history"]["seconds"].sum()),
        "cells_per_second": summary["training_cells_per_second"],
        "memory_mb": grown(held),
    }


def stored(folder: str | Path, data: Path, n_cells: int, kind: str, n_genes: int = GENES, share: float = SHARE) -> Path:
    """A file in the folder with so many cells, h5ad, zarr or mtx (genes x cells, for R); made at the first call."""
    path = Path(folder) / f"{n_cells}.{kind}"
    if not path.exists() and kind == "mtx":
        mmwrite(path, cells_in_memory(data, n_cells, n_genes, share).T)
    elif not path.exists():
        write_cells(path, data, n_cells, n_genes, share)
    return path


def with_batches(path: Path, batches: int) -> Path:
    """The cells of a file dealt into batches that see the genes in other ways, whatever the cells' types; in a file."""
    import anndata

    dealt = path.with_name(f"{path.stem}-{batches}.h5ad")
    if not dealt.exists():
        adata = anndata.read_h5ad(path)
        adata.obs["cell_type"] = "any"
        in_batches(adata, Design(path.stem, batches, 0.5, 0.0, 0.0, 0.5, None, 0, 0)).write_h5ad(dealt)
    return dealt


def in_python(
    data: Path, path: Path, source: str, epochs: int, threads: int, python: str = sys.executable
) -> dict[str, float]:
    """:func:`measure_whole` in a process of its own; 0 epochs: the default."""
    asked = ("--data", data, "--threads", threads, "--measure-whole", path, source, epochs)
    return in_a_process(__file__, *asked, python=python)


def measure_r(*asked: object) -> dict[str, float]:
    """One call of RunSCRAE in an R session; memory is that of the session and its worker together."""
    program = str(Path(__file__).parent / "run_scrae.R")
    session = subprocess.Popen(["Rscript", program, *map(str, asked)], stdout=subprocess.PIPE, text=True)
    with watched(lambda: memory_of_all_mb(session.pid), every=0.1) as held:
        printed, _ = session.communicate()
    if session.returncode:
        raise SystemExit("the R session failed; what it said is above")
    figures: dict[str, float] = json.loads(printed.splitlines()[-1])
    figures["memory_mb"] = grown(held, since=figures.pop("called"))
    return figures


def exponents(results: pd.DataFrame, varied: str) -> dict[str, float]:
    """b of time = a size^b for each part, by least squares on the logarithms."""
    size = np.log(results[varied].to_numpy(dtype=float))
    return {part: float(np.polyfit(size, np.log(results[part].to_numpy(dtype=float)), 1)[0]) for part in PARTS}


def of_varied(results: pd.DataFrame, varied: str) -> pd.DataFrame:
    """Rows in which only this differs from the usual size, by size."""
    fixed = {"cells": CELLS, "chosen": CHOSEN, "share": SHARE}
    fixed.pop("share" if varied == "entries" else varied)
    same = np.logical_and.reduce([results[name] == value for name, value in fixed.items()])
    return results[same].sort_values(varied)


def table(results: pd.DataFrame) -> str:
    """Seconds by size, a table for each thing varied, and the exponents below."""
    tables = []
    for varied, title in VARIED.items():
        rows = of_varied(results, varied)
        if len(rows) < 2:
            continue
        cells = rows[[*PARTS, "memory_mb"]].map("{:.3g}".format)
        cells["memory_mb"] = rows["memory_mb"].map("{:,.0f}".format)
        cells.index = [f"{size:,.0f}" for size in rows[varied]]
        cells.loc["**exponent**"] = [f"**{b:.2f}**" for b in exponents(rows, varied).values()] + [None]
        tables.append(markdown(cells.rename(columns=PARTS | {"memory_mb": "memory, MB"}), f"seconds, by {title}"))
    return "\n\n".join(tables)


def _short(size: float) -> str:
    """1,600 as 1.6k."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{size / unit:.3g}{name}"
    return f"{size:g}"


def draw(results: pd.DataFrame, path: Path) -> None:
    """A panel for each thing varied: seconds of each part, both on log scales."""
    fig, axes = plt.subplots(1, len(VARIED), figsize=(13, 5), sharey=True, layout="constrained")
    for axis, (varied, title) in zip(axes, VARIED.items(), strict=True):
        rows = of_varied(results, varied)
        if len(rows) > 1:
            for (part, name), b in zip(PARTS.items(), exponents(rows, varied).values(), strict=True):
                axis.plot(rows[varied], rows[part], "o-", ms=4, label=f"{name}: {b:.2f}")
        axis.set(xscale="log", yscale="log", xlabel=title)
        if len(rows) > 1:
            axis.set_xticks(rows[varied], [_short(size) for size in rows[varied]], minor=False)
            axis.xaxis.set_minor_locator(NullLocator())
            axis.legend(
                title="exponent of each part", loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=8,
                frameon=False,
            )  # fmt: skip
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("seconds")
    save(fig, path)


def parts_at_sizes(typed: argparse.Namespace) -> None:
    sizes = [(n, CHOSEN, SHARE) for n in typed.cells]
    sizes += [(CELLS, n, SHARE) for n in typed.chosen] + [(CELLS, CHOSEN, share) for share in typed.shares]
    wanted: list[tuple[object, ...]] = list(dict.fromkeys(sizes))
    results = resumed(
        typed.out,
        KEYS,
        wanted,
        lambda *size: in_a_process(__file__, "--data", typed.data, "--threads", typed.threads, "--measure", *size),
    )
    publish(table(results), typed.markdown)
    if typed.figure is not None:
        draw(results, typed.figure)


def whole_calls(typed: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:

        def one(n_cells: int, source: str, epochs: int, n_genes: int, share: float, batches: int) -> dict[str, float]:
            kind = {"seurat": "mtx", "zarr": "zarr"}.get(source, "h5ad")
            path = stored(folder, typed.data, n_cells, kind, n_genes, share)
            if source == "seurat":
                return measure_r(path, typed.threads, epochs)
            if batches:
                path = with_batches(path, batches)
            return in_python(typed.data, path, source, epochs, typed.threads)

        asked = (typed.epochs, typed.genes, typed.share, typed.batches)
        wanted = [(n, source, *asked) for n in typed.whole for source in typed.sources]
        results = resumed(typed.out, KEYS_OF_WHOLE, wanted, one)
    shown = results.drop(columns=KEYS_OF_WHOLE).map("{:,.0f}".format)
    shown.index = [f"{row.cells:,} cells, {row.source}" for row in results.itertuples()]
    publish(markdown(shown, f"{typed.genes:,} genes"), typed.markdown)


def main() -> None:
    parser = command(__doc__, "scaling", n_genes=None)
    parser.add_argument("--cells", type=int, nargs="*", default=[1000, 4000, 16_000, 64_000])
    parser.add_argument("--chosen", type=int, nargs="*", default=[500, 1000, 2000, 4000, 8000])
    parser.add_argument("--shares", type=float, nargs="*", default=[0.02, 0.05, 0.1])
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--whole", type=int, nargs="*", help="numbers of cells of whole calls")
    parser.add_argument("--from", dest="sources", nargs="*", default=["memory"], choices=SOURCES)
    parser.add_argument("--epochs", type=int, default=0, help="of whole calls (0: the default)")
    parser.add_argument("--genes", type=int, default=GENES, help="of the cells of whole calls")
    parser.add_argument("--share", type=float, default=SHARE, help="of their entries above zero")
    parser.add_argument("--batches", type=int, default=0, help="of the cells of whole calls")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--measure-whole", nargs=3, help=argparse.SUPPRESS)
    typed = options(parser)
    source_in(typed.data)
    if typed.measure:
        n_cells, n_chosen, share = typed.measure
        print(json.dumps(measure_parts(typed.data, int(n_cells), int(n_chosen), float(share))))
    elif typed.measure_whole:
        path, source, epochs = typed.measure_whole
        print(json.dumps(measure_whole(Path(path), source, int(epochs) or None)))
    elif typed.whole:
        if typed.batches and not {"memory", "h5ad"}.issuperset(typed.sources):
            parser.error("--batches asks for cells from memory or h5ad")
        whole_calls(typed)
    else:
        parts_at_sizes(typed)


if __name__ == "__main__":
    main()
