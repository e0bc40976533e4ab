"""Every goal of speed and scale as a row: what is asked, what this machine does, all in one run.

    python benchmarks/goals.py --data DIR [--peer PYTHON] [--before PYTHON] [--runs 5] [--rounds 40] [--calls 3]
                               [--cells 3000 70000] [--on-disk 200000] [--markdown goals.md]

Rows: training beside scvi-tools' SCVI (benchmarks/speed.py, with all threads and with one), a step beside its bare
matrix products (benchmarks/profile_step.py), whole calls in Python and on Seurat objects, and training from files
beside training from memory (benchmarks/scaling.py, 20,000 genes). Medians over runs, with the least and the largest;
calls on the fewest cells are repeated ``--calls`` times, longer ones are made once. R has scRAE in R_LIBS; without R,
without ``--peer`` or without a GPU the rows that need them say so. ``--before`` is a Python with scRAE of an earlier
commit, measured in turn with this one: a file that runs
``PYTHONPATH=(a clone at that commit)/python python "$@"`` will do.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import profile_step
import scaling
import speed
import torch
from tables import markdown, publish

MINUTES_15, GB_4 = 900.0, 4096.0
FIGURES = [  # of speed.py: name there and here, unit, goal
    ("training_cells_per_second", "training, times scvi-tools' cells/s", "cells/s", 3.0),
    ("first_embedding_cells_per_second", "embedding, the first call, times scvi-tools' cells/s", "cells/s", 1.0),
    ("embedding_cells_per_second", "embedding, later calls, times scvi-tools' cells/s", "cells/s", 1.0),
    ("peak_memory_mb", "peak memory, times scvi-tools'", "MB", None),
]


@dataclass(frozen=True)
class Goal:
    """One row.

    Attributes
    ----------
    what
        What is measured.
    asked
        At least this, or at most where ``at_most``; None: shown beside the goals.
    measured
        The figure; None: there was nothing to measure with.
    said
        How the figure came about, or what was missing.
    runs
        The figure of each run, where there are several.
    before
        That of the earlier commit, median over as many runs.
    """

    what: str
    asked: float | None
    measured: float | None
    said: str
    at_most: bool = True
    runs: Sequence[float] = ()
    before: float | None = None

    @property
    def reached(self) -> str:
        if self.measured is None:
            return "not measured"
        if self.asked is None:
            return "-"
        return "yes" if (self.measured <= self.asked if self.at_most else self.measured >= self.asked) else "no"


def earlier(typed: Namespace) -> dict[str, str]:
    """The Python of the earlier commit by its name among the methods, if there is one."""
    return {} if typed.before is None else {"before": typed.before}


def of_runs(what: str, asked: float | None, runs: dict[str, list[float]], said: str, *, at_most: bool = True) -> Goal:
    """A row by the median of several runs of ``scrae``, and of ``before`` where there are any."""
    before = float(np.median(runs["before"])) if "before" in runs else None
    return Goal(what, asked, float(np.median(runs["scrae"])), said, at_most, runs["scrae"], before)


def beside_scvi(typed: Namespace, folder: Path) -> Iterator[Goal]:
    """At equal width and batch size, all threads and one."""
    path = speed.prepared(typed.data, "cao_worm_neuron", folder)
    for threads in (os.cpu_count() or 1, 1):
        how_many = f"{threads} thread{'s' * (threads > 1)}"
        if typed.peer is None:
            yield Goal(f"{FIGURES[0][1]}, {how_many}", 3.0, None, "no --peer", at_most=False)
            continue
        pythons = {"scrae": sys.executable, "scvi": typed.peer} | earlier(typed)
        runs = speed.alternating(path, pythons, typed.runs, threads=threads)
        for figure, name, unit, asked in FIGURES:
            own, other = (speed.median(runs[method], figure) for method in ("scrae", "scvi"))
            found = {method: speed.ratios(runs, figure, method) for method in runs if method != "scvi"}
            yield of_runs(f"{name}, {how_many}", asked, found, f"{own:,.0f} and {other:,.0f} {unit}", at_most=False)


def beside_bare_products(typed: Namespace) -> Iterator[Goal]:
    """A step of the default model."""
    torch.set_num_threads(1)
    for name in ("pbmc3k_2638", "cao_worm_neuron"):
        counts = profile_step.chosen_counts(typed.data / f"{name}.h5ad")
        medians, _ = profile_step.measure(counts, (256, 128), rounds=typed.rounds)
        whole, bare = medians[profile_step.WHOLE], medians[profile_step.BARE]
        said = f"{whole:.1f} and {bare:.1f} ms, one thread"
        yield Goal(f"a step, times its bare matrix products ({name})", 1.5, whole / bare, said)


def whole_calls(typed: Namespace, folder: Path) -> Iterator[Goal]:
    """All defaults, 20,000 genes, in Python and on a Seurat object, with what is held meanwhile."""
    pythons = {"scrae": sys.executable} | earlier(typed)
    for n_cells in typed.cells:
        size = f"{n_cells:,} cells x {scaling.GENES:,} genes"
        seconds = 30.0 if n_cells <= 3000 else MINUTES_15
        turns = range(typed.calls if n_cells == min(typed.cells) else 1)
        path = scaling.stored(folder, typed.data, n_cells, "h5ad")
        calls = [
            {
                method: scaling.in_python(typed.data, path, "memory", 0, typed.threads, python)
                for method, python in pythons.items()
            }
            for _ in turns
        ]
        yield from both_figures("scrae.tl.scrae", size, seconds, calls, "beside the counts")
        if shutil.which("Rscript") is None:
            yield Goal(f"RunSCRAE, {size}, s", seconds, None, "no R")
            continue
        path = scaling.stored(folder, typed.data, n_cells, "mtx")
        calls = [{"scrae": scaling.measure_r(path, typed.threads, 0)} for _ in turns]
        yield from both_figures("RunSCRAE", size, seconds, calls, "above the object, worker's too")


def both_figures(
    call: str, size: str, seconds: float, calls: list[dict[str, dict[str, float]]], where: str
) -> Iterator[Goal]:
    """Seconds and memory of a whole call, from the figures of each method in each turn."""
    epochs = f"{calls[0]['scrae']['epochs_done']:.0f} epochs"
    for figure, unit, asked in (("seconds", "s", seconds), ("memory_mb", f"MB {where}", GB_4)):
        runs = {method: [turn[method][figure] for turn in calls] for method in calls[0]}
        yield of_runs(f"{call}, {size}, {unit}", asked, runs, epochs)


def from_disk(typed: Namespace, folder: Path) -> Iterator[Goal]:
    """Cells/s from files, as a share of what they are from memory, and what is held."""
    size = f"{typed.on_disk:,} cells"
    cells_per_second = {}
    for source in ("memory", "h5ad", "zarr"):
        path = scaling.stored(folder, typed.data, typed.on_disk, "zarr" if source == "zarr" else "h5ad")
        found = scaling.in_python(typed.data, path, source, 1, typed.threads)
        cells_per_second[source] = found["cells_per_second"]
        if source != "memory":
            own, other = cells_per_second[source], cells_per_second["memory"]
            yield Goal(
                f"training from {source}, share of the cells/s from memory, {size}", 0.8, own / other,
                f"{own:,.0f} and {other:,.0f} cells/s, one epoch", at_most=False,
            )  # fmt: skip
            yield Goal(f"scrae.tl.scrae from {source}, MB, {size}", GB_4, found["memory_mb"], "one epoch")


def on_a_gpu(typed: Namespace, folder: Path) -> Iterator[Goal]:
    """Training throughput with batches of 1024."""
    what = "training on a GPU, cells/s, batches of 1024"
    if not torch.cuda.is_available():
        yield Goal(what, 200_000, None, "no GPU", at_most=False)
        return
    path = speed.prepared(typed.data, "cao_worm_neuron", folder)
    runs = speed.alternating(path, {"scrae": sys.executable}, typed.runs, epochs=40, batch_size=1024)
    found = speed.median(runs["scrae"], "training_cells_per_second")
    yield Goal(what, 200_000, found, torch.cuda.get_device_name(), at_most=False)


def table(goals: list[Goal]) -> str:
    """Goals as Markdown."""

    def shown(figure: float | None) -> str | None:
        return None if figure is None else f"{figure:,.0f}" if figure >= 100 else f"{figure:.2f}"

    rows = {
        goal.what: {
            "asked": None if goal.asked is None else f"at {'most' if goal.at_most else 'least'} {shown(goal.asked)}",
            "before": shown(goal.before),
            "measured": shown(goal.measured),
            "spread": f"{shown(min(goal.runs))} to {shown(max(goal.runs))}" if len(goal.runs) > 1 else None,
            "reached": goal.reached,
            "": goal.said,
        }
        for goal in goals
    }
    found = pd.DataFrame(rows).T
    return markdown(found if found["before"].notna().any() else found.drop(columns="before"), "goal")


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--peer", help="a Python with scvi-tools, to run beside")
    parser.add_argument("--before", help="a Python with scRAE of an earlier commit, to run beside")
    parser.add_argument("--runs", type=int, default=5, help="of each training beside the peer")
    parser.add_argument("--rounds", type=int, default=40, help="of steps and bare products")
    parser.add_argument("--calls", type=int, default=3, help="of whole calls on the fewest cells")
    parser.add_argument("--cells", type=int, nargs="*", default=[3000, 70_000], help="of whole calls")
    parser.add_argument("--on-disk", type=int, default=200_000, help="cells of files")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of whole calls")
    parser.add_argument("--markdown", type=Path)
    typed = parser.parse_args()
    goals: list[Goal] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = (
            beside_scvi(typed, folder), beside_bare_products(typed), whole_calls(typed, folder),
            from_disk(typed, folder), on_a_gpu(typed, folder),
        )  # fmt: skip
        for part in parts:
            for goal in part:
                goals.append(goal)
                print(f"{goal.what}: {goal.measured} ({goal.said})", file=sys.stderr, flush=True)
    publish(table(goals), typed.markdown)


if __name__ == "__main__":
    main()
