"""From counts to clusters and a map: what a user waits for, beside scanpy's route by principal components.

    python benchmarks/waiting.py --data DIR [--cells 1000 3000 10000 30000] [--runs 3] [--threads 2]
                                 [--out waiting.csv] [--markdown waiting.md]

DIR has what benchmarks/semisynthetic.py draws cells from; 20,000 genes, 5 % of the entries above zero. Routes:
``scrae`` (scrae.tl.scrae, scrae.tl.cluster, sc.pp.neighbors and sc.tl.umap on the embedding), ``quick`` (the same with
``n_steps=400``), and ``scanpy`` (totals, logarithms, 2,000 genes, scaling, 50 components, neighbours, Leiden, UMAP, at
their defaults). Every run is a process of its own, in which the loops that numba compiles are compiled already. Only
``first`` counts them: the same calls in an installation without compiled loops, for the smallest number of cells. A row
for each run; rows that are there are not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from apart import in_a_process
from experiment import command, options, resumed
from scaling import SCANPY_IS_EXACT_BELOW
from semisynthetic import cells_in_memory
from tables import markdown, publish

GENES, SHARE = 20_000, 0.05
KEYS = ["cells", "route", "run"]
PARTS = ["embedding", "clusters", "map"]
ROUTES = ["scrae", "quick", "scanpy", "first"]


def steps_of(route: str) -> dict[str, Callable[[Any], None]]:
    """The calls of a route by what they give."""
    import scanpy as sc

    import scrae

    def components(adata: Any) -> None:
        sc.pp.normalize_total(adata)
        sc.pp.log1p(adata)
        sc.pp.highly_variable_genes(adata, n_top_genes=2000)
        chosen = adata[:, adata.var["highly_variable"]].copy()
        sc.pp.scale(chosen, max_value=10)
        sc.pp.pca(chosen)
        adata.obsm["X_pca"] = chosen.obsm["X_pca"]

    def leiden(adata: Any) -> None:
        sc.pp.neighbors(adata)
        sc.tl.leiden(adata, flavor="igraph", n_iterations=2, directed=False)

    def umap(adata: Any) -> None:
        sc.pp.neighbors(adata, use_rep="X_scrae")  # scrae.tl.neighbors has more edges, which UMAP takes its time for
        sc.tl.umap(adata)

    if route == "scanpy":
        return {"embedding": components, "clusters": leiden, "map": sc.tl.umap}
    fewer = {"n_steps": 400} if route == "quick" else {}
    return {
        "embedding": lambda adata: scrae.tl.scrae(adata, verbose=False, **fewer),
        "clusters": scrae.tl.cluster,
        "map": umap,
    }


def measure(data: Path, n_cells: int, route: str) -> dict[str, float]:
    """Seconds of each part, in this process."""
    import anndata

    warnings.simplefilter("ignore")
    calls = steps_of(route)
    adata = anndata.AnnData(cells_in_memory(data, n_cells, GENES, SHARE))
    if route != "first":  # what is loaded and compiled at the first use of a session is not to count
        few = adata[:500].copy()
        for name, call in calls.items():
            if name == "embedding" and route != "scanpy":
                import scrae

                scrae.tl.scrae(few, max_epochs=1, verbose=False)
            else:
                call(few)
        if n_cells >= SCANPY_IS_EXACT_BELOW:
            import scanpy as sc

            use_rep = "X_pca" if route == "scanpy" else "X_scrae"
            sc.pp.neighbors(few, use_rep=use_rep, transformer="pynndescent")
    figures = {}
    for name, call in calls.items():
        started = time.perf_counter()
        call(adata)
        figures[name] = time.perf_counter() - started
    return figures | {"whole": sum(figures.values())}


def table(rows: pd.DataFrame) -> str:
    """Medians over runs, with the range of the whole."""
    shown = {}
    for (cells, route), of_route in rows.groupby(["cells", "route"], sort=False):
        whole = of_route["whole"]
        line = {part: f"{of_route[part].median():.1f}" for part in PARTS}
        line["together"] = f"{whole.median():.1f} ({whole.min():.1f} to {whole.max():.1f})"
        shown[f"{cells:,}, {route}"] = line
    return markdown(pd.DataFrame(shown).T, "seconds, by cells and route")


def apart(typed: argparse.Namespace, n_cells: int, route: str) -> dict[str, float]:
    """:func:`measure` in a process of its own; ``first`` with an empty folder of compiled loops."""
    asked = (__file__, "--data", typed.data, "--threads", typed.threads, "--measure", n_cells, route)
    if route != "first":
        return in_a_process(*asked)
    before = os.environ.get("NUMBA_CACHE_DIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NUMBA_CACHE_DIR"] = folder
        try:
            return in_a_process(*asked)
        finally:
            os.environ.pop("NUMBA_CACHE_DIR")
            if before is not None:
                os.environ["NUMBA_CACHE_DIR"] = before


def main() -> None:
    parser = command(__doc__, "waiting", n_genes=None)
    parser.add_argument("--cells", type=int, nargs="*", default=[1000, 3000, 10_000, 30_000])
    parser.add_argument("--routes", nargs="*", default=ROUTES)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("CELLS", "ROUTE"), help=argparse.SUPPRESS)
    typed = options(parser)
    if typed.measure:
        print(json.dumps(measure(typed.data, int(typed.measure[0]), typed.measure[1])))
        return
    wanted = [
        (cells, route, run)
        for cells in typed.cells
        for route in typed.routes
        for run in range(typed.runs)
        if route != "first" or cells == min(typed.cells)
    ]
    rows = resumed(typed.out, KEYS, wanted, lambda cells, route, _: apart(typed, cells, route), "%.2f")
    publish(table(rows), typed.markdown)


if __name__ == "__main__":
    main()
