"""From counts in R's memory to an AnnData of its own."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import sys
import warnings
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from scrae._errors import Coded

if TYPE_CHECKING:
    from anndata import AnnData

SLIM = "slim.R"  # a function that leaves what anndata2ri converts faithfully


class NoBridge(Coded, ImportError):
    """rpy2 or anndata2ri is missing or does not fit this R."""


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
    ro, anndata2ri = bridge()
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
    slim = ro.r((files("scrae.r") / SLIM).read_text(encoding="utf-8"))(sce, assay)
    with (ro.default_converter + anndata2ri.converter).context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas and rpy2, about their own future
        converted = anndata2ri.converter.rpy2py(slim)
    return _of_its_own(converted)


def from_r(cells: Any) -> AnnData:
    """AnnData of what a job is given: a SingleCellExperiment, or its :func:`parts <from_parts>`."""
    return from_parts(cells) if "list" in cells.rclass else from_sce(cells)


def from_parts(parts: Any) -> AnnData:
    """AnnData of what the R package hands over, which needs no more of R than its matrices.

    Parameters
    ----------
    parts
        List in R of ``counts``, a dgCMatrix (genes x cells, both named), ``columns``, a named list of text or numbers
        for each cell, and perhaps ``embedding``, a matrix of numbers, cells x axes.

    Returns
    -------
    AnnData, cells x genes, with the counts in ``X`` (CSR), the columns in ``obs`` and the embedding in
    ``obsm["X_scrae"]``.
    """
    import pandas as pd
    from anndata import AnnData

    ro, anndata2ri = bridge()
    counts, columns = parts.rx2("counts"), parts.rx2("columns")
    genes, cells = (pd.Index(names, dtype=object) for names in ro.r["dimnames"](counts))
    obs = pd.DataFrame({name: list(columns.rx2(name)) for name in columns.names}, index=cells)
    with (ro.default_converter + anndata2ri.scipy2ri.converter).context():
        converted = anndata2ri.scipy2ri.converter.rpy2py(counts)
    adata = AnnData(sp.csr_matrix(converted.T, copy=True), obs, pd.DataFrame(index=genes))
    if "embedding" in parts.names:
        adata.obsm["X_scrae"] = np.array(parts.rx2("embedding"))
    return adata


def _of_its_own(converted: AnnData) -> AnnData:
    """The same AnnData with nothing in R's memory, and with names that can be written to h5ad."""
    from anndata import AnnData

    adata = AnnData(sp.csr_matrix(converted.X, copy=True), obs=converted.obs.copy(), var=converted.var[[]].copy())
    adata.obs_names = adata.obs_names.astype(str).astype(object)
    adata.var_names = adata.var_names.astype(str).astype(object)
    return adata


def forget() -> None:
    """Have R give back the memory of what Python no longer holds: it does not know how much that is."""
    ro, _ = bridge()
    gc.collect()
    ro.r("invisible(gc())")


def bridge() -> tuple[Any, Any]:
    """rpy2.robjects and anndata2ri."""
    try:
        import rpy2.rinterface_lib.callbacks as callbacks

        callbacks.consolewrite_print = callbacks.consolewrite_warnerror = _to_stderr
        import anndata2ri
        import rpy2.robjects as ro
    except Exception as error:  # a shared library that does not fit raises whatever it likes
        raise _no_bridge(error) from error
    return ro, anndata2ri


def look_for_bridge() -> None:
    """Whether :func:`bridge` has what it needs, without starting R.

    Raises
    ------
    ImportError
        rpy2 or anndata2ri is missing or does not fit this R.
    """
    try:
        for name in ("rpy2", "anndata2ri"):
            if importlib.util.find_spec(name) is None:
                importlib.import_module(name)  # says so
        import rpy2.rinterface_lib.openrlib  # noqa: F401 (loads R's library, which has what this rpy2 asks for or not)
    except Exception as error:
        raise _no_bridge(error) from error


def _no_bridge(error: Exception) -> NoBridge:
    return NoBridge(
        f"Python cannot talk to R: {error}. It needs rpy2 and anndata2ri built for this R "
        "(pip install 'scrae[r]'; with R older than 4.5 also 'rpy2-rinterface<3.6.6'; "
        "with --no-cache-dir where R has changed)",
        "no_bridge",
    )


def _to_stderr(s: str) -> None:
    sys.stderr.write(s)
