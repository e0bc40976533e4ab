"""Training and embedding speed, and peak memory, beside scvi-tools' SCVI of the same width in the same run.

    python benchmarks/speed.py --data DIR [--dataset cao_worm_neuron] [--runs 5] [--threads 1] [--peer PYTHON]

Each measurement is a process of its own. Medians over runs; the ratio to the peer is taken run by run, the two
alternating, so that a machine that changes its pace does not decide it. ``--peer`` is a Python with scvi-tools
(``make peers`` makes one in .venv-peers).
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from apart import in_a_process

WIDTH, N_LATENT, BATCH_SIZE, N_GENES, EPOCHS = 128, 10, 128, 2000, 10
EMBEDDINGS = 6  # calls in a process


def speeds_of_embedding(embed: Callable[[], object], n_cells: int) -> dict[str, float]:
    """Cells per second of the first call after training, and the median of the calls that follow it."""
    seconds = []
    for _ in range(EMBEDDINGS):
        started = time.perf_counter()
        embed()
        seconds.append(time.perf_counter() - started)
    first, *later = seconds
    return {
        "first_embedding_cells_per_second": n_cells / first,
        "embedding_cells_per_second": n_cells / float(np.median(later)),
    }


def measure_scrae(path: str, epochs: int, batch_size: int) -> dict[str, float]:
    """One training, and embedding, with scRAE's default model of hidden width 128."""
    import anndata
    import torch

    import scrae

    chosen = anndata.read_h5ad(path)
    model = scrae.SCRAE(
        n_hidden=WIDTH, n_latent=N_LATENT, batch_size=batch_size, early_stopping=False, verbose=False, max_epochs=epochs
    )
    model.fit(chosen)
    return {
        "training_cells_per_second": model.summary["training_cells_per_second"],
        **speeds_of_embedding(model.embed, chosen.n_obs),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "threads": torch.get_num_threads(),
    }


def measure_scvi(path: str, epochs: int, batch_size: int) -> dict[str, float]:
    """The same with scvi-tools' SCVI: as many cells, epochs, hidden units and latent dimensions."""
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import anndata
    import scvi
    import torch

    adata = anndata.read_h5ad(path)
    scvi.settings.seed = 0
    scvi.model.SCVI.setup_anndata(adata)
    model = scvi.model.SCVI(adata, n_hidden=WIDTH, n_latent=N_LATENT, n_layers=1)
    stamps: list[float] = []

    import lightning.pytorch as lightning

    class Clock(lightning.Callback):  # type: ignore[misc]
        def on_train_epoch_start(self, *_: object) -> None:
            stamps.append(time.perf_counter())

        def on_train_epoch_end(self, *_: object) -> None:
            stamps[-1] = time.perf_counter() - stamps[-1]

    model.train(
        max_epochs=epochs,
        train_size=1.0,
        batch_size=batch_size,
        accelerator="auto",
        enable_progress_bar=False,
        callbacks=[Clock()],
    )
    return {
        "training_cells_per_second": adata.n_obs / float(np.median(stamps)),
        **speeds_of_embedding(model.get_latent_representation, adata.n_obs),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "threads": torch.get_num_threads(),
    }


FIGURES = (
    "training_cells_per_second",
    "first_embedding_cells_per_second",
    "embedding_cells_per_second",
    "peak_memory_mb",
)
MEASURED = {"scrae": measure_scrae, "before": measure_scrae, "scvi": measure_scvi}


def prepared(data: Path, dataset: str, folder: Path) -> Path:
    """The data set on its 2000 most variable genes, written once for all processes."""
    import anndata

    import scrae

    adata = anndata.read_h5ad(data / f"{dataset}.h5ad")
    scrae.pp.select_genes(adata, n_top=N_GENES)
    chosen = adata[:, adata.var["scrae_selected"]].copy()
    chosen = anndata.AnnData(chosen.X[np.asarray(chosen.X.sum(1)).ravel() > 0])
    path = folder / "chosen.h5ad"
    chosen.write_h5ad(path)
    print(f"{dataset}: {chosen.n_obs:,} cells x {chosen.n_vars:,} genes, hidden {WIDTH}, batch {BATCH_SIZE}")
    return path


def alternating(
    path: Path,
    pythons: dict[str, str],
    runs: int,
    *,
    epochs: int = EPOCHS,
    threads: int | None = None,
    batch_size: int = BATCH_SIZE,
) -> dict[str, list[dict[str, float]]]:
    """Figures of each run of each method, the methods taking turns.

    Parameters
    ----------
    path
        What :func:`prepared` wrote.
    pythons
        Which Python runs each of "scrae", "before" (scRAE of an earlier commit) and "scvi".
    runs, epochs, batch_size
        How many runs, and of what.
    threads
        Of torch; None: as many as it takes by itself.
    """
    asked = ["--prepared", path, "--epochs", epochs, "--batch-size", batch_size]
    asked += [] if threads is None else ["--threads", threads]
    found: dict[str, list[dict[str, float]]] = {method: [] for method in pythons}
    for _ in range(runs):
        for method, python in pythons.items():
            found[method].append(in_a_process(__file__, "--measure", method, *asked, python=python))
    return found


def median(runs: list[dict[str, float]], figure: str) -> float:
    """Of a figure over runs."""
    return float(np.median([run[figure] for run in runs]))


def ratios(runs: dict[str, list[dict[str, float]]], figure: str, method: str = "scrae") -> list[float]:
    """A figure of each run of a method, as a multiple of SCVI's in the same turn."""
    return [own[figure] / other[figure] for own, other in zip(runs[method], runs["scvi"], strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--dataset", default="cao_worm_neuron")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--threads", type=int, help="of torch (default: as many as it takes by itself)")
    parser.add_argument("--peer", help="a Python with scvi-tools, to run beside")
    parser.add_argument("--measure", choices=MEASURED, help=argparse.SUPPRESS)
    parser.add_argument("--prepared", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        import torch

        if options.threads:
            torch.set_num_threads(options.threads)
        print(json.dumps(MEASURED[options.measure](options.prepared, options.epochs, options.batch_size)))
        return
    if not (options.data / f"{options.dataset}.h5ad").exists():
        raise SystemExit(f"there is no {options.dataset}.h5ad in {options.data}: give --data")

    import tempfile

    pythons = {"scrae": sys.executable} | ({"scvi": options.peer} if options.peer else {})
    how = {"epochs": options.epochs, "threads": options.threads, "batch_size": options.batch_size}
    with tempfile.TemporaryDirectory() as folder:
        runs = alternating(prepared(options.data, options.dataset, Path(folder)), pythons, options.runs, **how)
    for figure in FIGURES:
        for method, measured in runs.items():
            values = [run[figure] for run in measured]
            print(
                f"{figure:32} {method:6} median {np.median(values):10,.0f}   ({min(values):,.0f} - {max(values):,.0f})"
            )
        if options.peer:
            print(f"{figure:32} scrae / scvi, run by run: median {np.median(ratios(runs, figure)):.2f}")
    print(f"threads {runs['scrae'][0]['threads']:.0f}, {options.runs} runs of {options.epochs} epochs")


if __name__ == "__main__":
    main()
