"""Time and memory of the selection of genes: at the size of a large study, and beside the R packages.

    python benchmarks/genes.py [--data DIR] [--cells 70000] [--genes 20000] [--methods m3drop,danb,...]
    python benchmarks/genes.py --r LIBRARY [--data DIR] [--dataset zheng_sorted_3874]

The large data are semi-synthetic (benchmarks/semisynthetic.py). Each measurement is a process of its own; memory is
the peak of the process above what it held with the counts read in. The second form runs the packages M3Drop and
SCMarker, installed in LIBRARY, and ours, one after the other, on the whole data set: each one call in a process of its
own that holds the counts in memory, in R in the form that the package is fastest with, after a call on 200 cells that
loads and compiles what is loaded and compiled at first use. Seconds are elapsed and of the processor (one thread each):
on a busy machine the second are the ones to compare.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from apart import in_a_process
from memory import peak_memory_mb, restart_peak
from semisynthetic import SOURCE, cells_in_memory, source_in

METHODS = ("hvg", "seurat_v3", "m3drop", "danb", "danb_dispersion", "danb_variance", "scmarker")
STEPS_OF_R = {  # the calls of the packages that do what each method does
    "m3drop": "M3DropFeatureSelection(M3DropConvertData(sparse, is.counts = TRUE), suppress.plot = TRUE)",
    "danb": "NBumiFeatureSelectionCombinedDrop(NBumiFitModel(dense))",
    "danb_dispersion": "NBumiFeatureSelectionHighVar(NBumiFitModel(dense))",
    "danb_variance": "{ fit <- NBumiFitModel(dense); NBumiHVG(dense, fit, suppress.plot = TRUE) }",
    "scmarker": "getMarker(GeneFilter(ModalFilter(dense, geneK = 10, cellK = 10)), k = 300, n = 30)",
}


def measure(path: Path, method: str) -> dict[str, float]:
    """One selection in this process."""
    import anndata

    import scrae

    warnings.simplefilter("ignore")
    adata = anndata.read_h5ad(path)
    scrae.pp.select_genes(adata[:200].copy(), "hvg" if method in ("hvg", "seurat_v3") else "m3drop", 20)
    restart_peak()
    before = peak_memory_mb()
    started, used = time.perf_counter(), time.process_time()
    scrae.pp.select_genes(adata, method)
    return {
        "seconds": time.perf_counter() - started,
        "processor": time.process_time() - used,
        "peak_mb": peak_memory_mb() - before,
        "selected": int(adata.var["scrae_selected"].sum()),
        "cells": adata.n_obs,
        "genes": adata.n_vars,
        "entries": int(adata.X.nnz),
        "input_mb": sum(part.nbytes for part in (adata.X.data, adata.X.indices, adata.X.indptr)) / 2**20,
    }


def seconds_of_r(folder: Path, library: str, method: str) -> tuple[float, float]:
    """Seconds of the package's own calls, elapsed and of the processor, without reading the counts."""
    code = f"""
    .libPaths(c("{library}", .libPaths()))
    suppressPackageStartupMessages({{library(Matrix); library(M3Drop); library(SCMarker)}})
    sparse <- as(readMM("{folder}/counts.mtx"), "CsparseMatrix")
    dimnames(sparse) <- list(paste0("g", seq_len(nrow(sparse))), paste0("c", seq_len(ncol(sparse))))
    dense <- as.matrix(sparse)
    select <- function(sparse, dense) invisible(capture.output(suppressWarnings({STEPS_OF_R[method]})))
    few <- rowSums(dense[, 1:200]) > 0
    select(sparse[few, 1:200], dense[few, 1:200])
    invisible(gc())
    started <- proc.time()
    select(sparse, dense)
    took <- proc.time() - started
    cat("\\nseconds", took[["elapsed"]], took[["user.self"]] + took[["sys.self"]], "\\n")
    """
    done = subprocess.run(["Rscript", "-e", code], stdout=subprocess.PIPE, text=True, check=True)
    elapsed, processor = map(float, done.stdout.split("seconds")[-1].split())
    return elapsed, processor


def against_r(data: Path, dataset: str, library: str, methods: list[str], folder: Path) -> None:
    import anndata
    from scipy.io import mmwrite

    adata = anndata.read_h5ad(data / f"{dataset}.h5ad")
    adata = adata[:, np.asarray((adata.X > 0).sum(0)).ravel() > 0].copy()
    path = folder / "counts.h5ad"
    adata.write_h5ad(path)
    mmwrite(folder / "counts.mtx", sp.coo_matrix(adata.X.T.astype(int)))
    print(f"{dataset}: {adata.n_obs:,} cells x {adata.n_vars:,} genes, seconds of one run: elapsed (of the processor)")
    print("| method | R | scRAE | ratio |\n|---|---|---|---|")
    for method in methods:
        if method in STEPS_OF_R:
            theirs, their_processor = seconds_of_r(folder, library, method)
            result = in_a_process(__file__, "--measure", method, "--prepared", path)
            ours, processor = result["seconds"], result["processor"]
            print(
                f"| {method} | {theirs:.2f} ({their_processor:.2f}) | {ours:.3f} ({processor:.3f}) | "
                f"{theirs / ours:.0f} ({their_processor / processor:.0f}) |",
                flush=True,
            )


def at_size(data: Path, n_cells: int, n_genes: int, share: float, methods: list[str], folder: Path) -> None:
    import anndata

    path = folder / "large.h5ad"
    anndata.AnnData(cells_in_memory(data, n_cells, n_genes, share)).write_h5ad(path)
    first = True
    for method in methods:
        result = in_a_process(__file__, "--measure", method, "--prepared", path)
        if first:
            filled = result["entries"] / result["cells"] / result["genes"]
            size = f"{n_cells:,} cells x {n_genes:,} genes, {filled:.1%} above zero"
            print(f"{size}, {result['input_mb']:,.0f} MB of counts")
            print("| method | seconds (of the processor) | peak MB above the counts | genes |\n|---|---|---|---|")
            first = False
        seconds = f"{result['seconds']:.1f} ({result['processor']:.1f})"
        print(f"| {method} | {seconds} | {result['peak_mb']:,.0f} | {result['selected']} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cells", type=int, default=70_000)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--share", type=float, default=0.05, help="share of entries above zero (default: %(default)s)")
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated (default: all)")
    parser.add_argument("--r", metavar="LIBRARY", help="R library with M3Drop and SCMarker: compare with them instead")
    parser.add_argument("--dataset", default=SOURCE, help="for --r (default: %(default)s)")
    parser.add_argument("--measure", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--prepared", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.prepared, options.measure)))
        return
    methods = options.methods.split(",")
    source_in(options.data)
    with tempfile.TemporaryDirectory() as folder:
        if options.r:
            against_r(options.data, options.dataset, options.r, methods, Path(folder))
        else:
            at_size(options.data, options.cells, options.genes, options.share, methods, Path(folder))


if __name__ == "__main__":
    main()
