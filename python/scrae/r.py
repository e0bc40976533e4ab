"""The thin door to R: a SingleCellExperiment comes in, arrays and plain values go out.

Two ways lead here, with the same functions behind them:

- ``python -m scrae.r FOLDER``: the worker of the R package. Python hosts R through rpy2, reads the object from
  ``FOLDER/cells.rds``, converts it with anndata2ri, works, and leaves arrays and ``result.json`` in the folder. What
  happens meanwhile is told on standard output, one JSON object a line.
- :func:`run_in_session`: the same job for an R session that holds this Python through reticulate.

:func:`from_sce` is for Python users who have a SingleCellExperiment in rpy2.

rpy2 and anndata2ri are the extra ``scrae[r]``; they are imported when an object has to be read, and not before.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from anndata import AnnData

    from scrae.model import SCRAE

JOB = "job.json"
CELLS = "cells.rds"
RESULT = "result.json"
MODEL = "model"
OTHER_GENES = "(other genes)"
"""Row of the object that is no gene: it marks cells whose counts all lie in genes that were left out in R."""

Emit = Callable[..., None]

# R code that leaves what anndata2ri converts faithfully: one named sparse assay, plain columns, no metadata. Integers
# and logicals with NA would arrive as numbers, ordered factors and dates in another form: they become text.
SLIM = """
function(sce, assay) {
  counts <- SummarizedExperiment::assay(sce, assay)
  if (is.data.frame(counts)) counts <- as.matrix(counts)
  if (methods::is(counts, "DelayedMatrix")) counts <- methods::as(counts, "dgCMatrix")
  for (form in c("dMatrix", "generalMatrix", "CsparseMatrix")) counts <- methods::as(counts, form)
  if (is.null(rownames(counts))) rownames(counts) <- paste0("gene", seq_len(nrow(counts)))
  if (is.null(colnames(counts))) colnames(counts) <- paste0("cell", seq_len(ncol(counts)))
  columns <- lapply(as.list(SummarizedExperiment::colData(sce)), function(column) {
    if (is.null(dim(column)) && methods::is(column, "Rle")) column <- as.vector(column)
    if (is.factor(column) && !is.ordered(column)) return(column)
    if (is.character(column) || (is.numeric(column) && !is.object(column) && !anyNA(column))) return(column)
    if (is.double(column) && !is.object(column)) return(column)
    if (is.atomic(column) && is.null(dim(column))) return(as.character(column))
    NULL
  })
  columns <- columns[!vapply(columns, is.null, NA)]
  frame <- S4Vectors::DataFrame(row.names = colnames(counts))
  for (name in names(columns)) frame[[name]] <- columns[[name]]
  SingleCellExperiment::SingleCellExperiment(list(counts = counts), colData = frame)
}
"""


def from_sce(sce: Any, assay: str = "counts") -> AnnData:
    """AnnData of raw counts from a SingleCellExperiment that rpy2 holds.

    Only what anndata2ri converts faithfully crosses: one assay, and the plain columns of ``colData``. The counts are
    copied, so that the R object may go afterwards.

    Parameters
    ----------
    sce
        SingleCellExperiment (or SummarizedExperiment) as rpy2 gives it, ``ro.r["sce"]`` for instance.
    assay
        Name of the assay with raw counts.

    Returns
    -------
    AnnData, cells x genes, with the counts in ``X`` (CSR).

    Raises
    ------
    ImportError
        rpy2 or anndata2ri is missing or does not fit this R.
    TypeError
        Not a SummarizedExperiment.
    ValueError
        No such assay.
    """
    ro, anndata2ri = _bridge()
    classes = [str(name) for name in ro.r["is"](sce)] if hasattr(sce, "rclass") else [type(sce).__name__]
    if "SummarizedExperiment" not in classes:
        raise TypeError(
            f"from_sce needs a SingleCellExperiment as rpy2 gives it, not {classes[0]!r}; in R, "
            "Seurat::as.SingleCellExperiment(object) makes one from a Seurat object"
        )
    ro.r('suppressPackageStartupMessages(loadNamespace("SingleCellExperiment"))')
    names = [str(name) for name in ro.r("function(x) as.character(SummarizedExperiment::assayNames(x))")(sce)]
    if assay not in names:
        raise ValueError(
            f"the object has no assay {assay!r}; it has {', '.join(map(repr, names)) or 'none with a name'}"
        )
    slim = ro.r(SLIM)(sce, assay)
    with (ro.default_converter + anndata2ri.converter).context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas and rpy2, about their own future
        converted = anndata2ri.converter.rpy2py(slim)
    return _of_its_own(converted)


def _of_its_own(converted: AnnData) -> AnnData:
    """The same AnnData with nothing in R's memory, and with names that can be written to h5ad."""
    from anndata import AnnData

    adata = AnnData(sp.csr_matrix(converted.X, copy=True), obs=converted.obs.copy(), var=converted.var[[]].copy())
    adata.obs_names = adata.obs_names.astype(str).astype(object)
    adata.var_names = adata.var_names.astype(str).astype(object)
    return adata


def _bridge() -> tuple[Any, Any]:
    """rpy2.robjects and anndata2ri."""
    try:
        import rpy2.rinterface_lib.callbacks as callbacks

        callbacks.consolewrite_print = callbacks.consolewrite_warnerror = _to_stderr
        import anndata2ri
        import rpy2.robjects as ro
    except Exception as error:  # a shared library that does not fit raises whatever it likes
        raise ImportError(
            f"Python cannot talk to R: {error}. It needs rpy2 and anndata2ri built for this R "
            "(pip install 'scrae[r]'; with R older than 4.5 also 'rpy2-rinterface<3.6.6'; "
            "with --no-cache-dir where R has changed)"
        ) from error
    return ro, anndata2ri


def _to_stderr(s: str) -> None:
    sys.stderr.write(s)


# -- jobs --------------------------------------------------------------------------------------------------------------


def _train(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    from scrae.model import SCRAE
    from scrae.pp import select_genes
    from scrae.pp.genes import SELECTED

    model = SCRAE(
        arguments.get("preset") or "default",
        random_state=arguments["random_state"],
        device=arguments.get("device") or "auto",
        verbose=bool(arguments.get("bar", False)),
        **arguments.get("settings", {}),
    )
    adata = cells()
    batch_key = arguments.get("batch_key")
    selection = arguments.get("select")
    if selection:
        emit("stage", text=f"choosing {selection['n_top']:,} genes ({selection['method']})")
        select_genes(adata, selection["method"], selection["n_top"], batch_key=batch_key)
        genes = adata.var[SELECTED].to_numpy()
    else:
        genes = np.asarray(adata.var_names != OTHER_GENES)
    emit("start", n_cells=adata.n_obs, n_genes=int(genes.sum()), device=str(model.device))
    model.fit(
        adata,
        genes=genes,
        batch_key=batch_key,
        categorical_covariate_keys=arguments.get("categorical_covariate_keys", []),
        max_epochs=arguments.get("max_epochs"),
        resume=bool(arguments.get("resume", False)),
        model_dir=arguments.get("model_dir"),
        on_epoch=lambda epoch, most, losses: emit("epoch", max_epochs=most, **losses | {"epoch": epoch}),
    )
    model.save(folder / MODEL)
    return _description(model) | {"embedding": _write(folder, "embedding", model.embed())}


def _map(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    model = _load(arguments)
    return {"embedding": _write(folder, "embedding", model.map(cells()))}


def _denoise(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    model = _load(arguments)
    means = model.denoise(cells(), library_size=arguments["library_size"], batch=arguments.get("batch"))
    cutoff = arguments.get("cutoff") or 0.0
    matrix: Any = means
    if cutoff > 0:
        means[means < cutoff] = 0.0
        matrix = sp.csr_matrix(means)
    return {"genes": _names(model), "matrix": _write(folder, "matrix", matrix)}


def _sample(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    model = _load(arguments)
    counts = model.sample(arguments["n"], random_state=arguments.get("random_state"), batch=arguments.get("batch"))
    return {"genes": _names(model), "matrix": _write(folder, "matrix", sp.csr_matrix(counts))}


def _select(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    from scrae.pp import select_genes
    from scrae.pp.genes import RANK, SELECTED

    adata = cells()
    select_genes(adata, arguments["method"], arguments["n_top"], batch_key=arguments.get("batch_key"))
    table = adata.var[adata.var[SELECTED]]
    return {"genes": table.sort_values(RANK, kind="stable").index.astype(str).tolist()}


def _example(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    from scrae.datasets import pbmc

    adata = pbmc()
    return {
        "genes": adata.var_names.tolist(),
        "cells": adata.obs_names.tolist(),
        "cell_type": adata.obs["cell_type"].astype(str).tolist(),
        "matrix": _write(folder, "matrix", adata.X),
    }


ACTIONS = {"train": _train, "map": _map, "denoise": _denoise, "sample": _sample, "select": _select, "example": _example}


def _load(arguments: dict[str, Any]) -> SCRAE:
    from scrae.model import SCRAE

    return SCRAE.load(arguments["model"], device=arguments.get("device") or "auto", verbose=False)


def _description(model: SCRAE) -> dict[str, Any]:
    history = model.history.reset_index()
    return {
        "genes": _names(model),
        "summary": _plain(model.summary),
        "parameters": _plain(model.settings_dict()) | {"preset": model.preset, "random_state": model.random_state},
        "history": {name: _plain(history[name].tolist()) for name in history},
    }


def _names(model: SCRAE) -> list[str] | None:
    return None if model.gene_names is None else [str(name) for name in model.gene_names]


def _write(folder: Path, name: str, matrix: Any) -> dict[str, Any]:
    """Write a matrix of cells x something as plain little-endian numbers; the answer says how to read it.

    A CSR matrix of cells x genes, entry by entry, is R's column-compressed matrix of genes x cells.
    """
    if isinstance(matrix, (sp.csr_matrix, sp.csr_array)):
        rows: Any = matrix.sorted_indices()  # R insists
        parts = {"indptr": rows.indptr.astype("<i4"), "indices": rows.indices.astype("<i4"), "data": rows.data}
        return {
            "shape": list(rows.shape),
            "sparse": {part: _write(folder, f"{name}.{part}", values) for part, values in parts.items()},
        }
    values = np.ascontiguousarray(matrix)
    kind = "i4" if values.dtype.kind == "i" else "f4"
    path = folder / f"{name}.{kind}"
    values.astype(f"<{kind}", copy=False).tofile(path)
    return {"shape": list(values.shape), "file": path.name}


def _plain(value: Any) -> Any:
    """A value as JSON knows it: no NaN, no numpy types, no tuples."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _run(folder: Path, sce: Callable[[], Any], emit: Emit) -> None:
    """Do the job in the folder; ``sce`` gives the R object when it is needed."""
    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    if job["action"] not in ACTIONS:
        raise ValueError(f"the R package asks for {job['action']!r}, which this version of scrae does not know")
    if job.get("threads"):
        import torch

        torch.set_num_threads(int(job["threads"]))

    def cells() -> AnnData:
        emit("stage", text="reading the counts")
        return from_sce(sce())

    result = ACTIONS[job["action"]](job["arguments"], cells, folder, emit)
    aside = folder / f".{RESULT}"
    aside.write_text(json.dumps(result), encoding="utf-8")
    aside.replace(folder / RESULT)


def _status() -> dict[str, Any]:
    """What is installed, and what stops scRAE from working from R."""
    from scrae import doctor

    findings = doctor.report()
    problems = doctor.problems(findings)
    try:
        _bridge()
    except ImportError as error:
        problems.append(str(error))
    return {"findings": findings, "problems": problems}


# -- the two doors -----------------------------------------------------------------------------------------------------


def run_in_session(folder: str) -> None:
    """Do the job in ``folder`` inside an R session; the object waits in the R package's own environment.

    Parameters
    ----------
    folder
        Job folder, with ``job.json``.
    """
    ro, _ = _bridge()
    _import_torch_with_its_own_blas()

    def sce() -> Any:
        return ro.r("get('sce', envir = getFromNamespace('session_job', 'scRAE'))")

    _run(Path(folder), sce, lambda *_, **__: None)


def _import_torch_with_its_own_blas() -> None:
    """Import torch so that it keeps its own matrix product: inside R, R's slow reference BLAS would stand in for it."""
    if "torch" in sys.modules or not hasattr(os, "RTLD_DEEPBIND"):
        return
    flags = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_NOW | os.RTLD_DEEPBIND)
    try:
        import torch  # noqa: F401
    finally:
        sys.setdlopenflags(flags)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the job in a folder as a process of its own; the exit status is 0, or 1 after an event "error".

    With ``--check`` instead of a folder: print findings and problems as JSON.
    """
    (given,) = sys.argv[1:] if arguments is None else arguments
    emit = _events()
    if given == "--check":
        emit("status", **_status())
        return 0
    folder = Path(given)
    _end_with_parent()

    def show_warning(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, (UserWarning, RuntimeWarning)):
            emit("warning", text=str(message))

    def sce() -> Any:
        ro, _ = _bridge()
        # Before an object of this class is there: R would attach the package then, and say so.
        ro.r('suppressPackageStartupMessages(loadNamespace("SingleCellExperiment"))')
        object_in_r = ro.r["readRDS"](str(folder / CELLS))
        (folder / CELLS).unlink()  # a copy of the counts that nobody needs from here on
        # R may have put its own handler in place. Until training takes over there is nothing worth keeping, and the
        # R package ends the process; afterwards the results are on their way.
        signal.signal(signal.SIGINT, _ignore)
        return object_in_r

    warnings.showwarning = show_warning
    signal.signal(signal.SIGINT, _ignore)
    try:
        _run(folder, sce, emit)
    except MemoryError as error:
        emit("error", kind="MemoryError", text=f"not enough memory: {error}")
        return 1
    except Exception as error:
        if os.environ.get("SCRAE_TRACEBACK"):
            import traceback

            traceback.print_exc()
        emit("error", kind=type(error).__name__, text=str(error))
        return 1
    emit("done")
    return 0


def _ignore(number: int, frame: Any) -> None:
    pass


def _events() -> Emit:
    """A function that prints events where standard output was; what others print goes to standard error from now on."""
    stream = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)

    def emit(event: str, **facts: Any) -> None:
        stream.write(json.dumps({"event": event} | _plain(facts)) + "\n")
        stream.flush()

    return emit


def _end_with_parent() -> None:
    """End this process when the R session is gone: its end of our standard input closes then."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(3)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
