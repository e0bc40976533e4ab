"""Informative genes: which of them the model is trained on."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scrae.inputs import read_cells
from scrae.threads import threads_of_torch_kept

if TYPE_CHECKING:
    from anndata import AnnData

METHODS = ("hvg", "seurat_v3")
SELECTED = "scrae_selected"
RANK = "scrae_rank"
MIN_CELLS = 10  # genes seen in fewer cells are left out (Mondal et al. 2021, section 4)


def select_genes(
    adata: AnnData,
    method: str = "hvg",
    n_top: int = 2000,
    layer: str | None = None,
    batch_key: str | None = None,
) -> None:
    """Rank genes by how much they vary and select the first ``n_top``.

    Genes seen in fewer than 10 cells (in small data: 1 cell in 100, at least 2) are never selected. Both methods are
    scanpy's own, on counts that are checked first.

    Parameters
    ----------
    adata
        Cells x genes with raw counts.
    method
        ``"hvg"``: normalised dispersion of log-normalised expression within bins of the mean, the paper's choice;
        ``"seurat_v3"``: variance of counts standardised by a loess trend on the mean.
    n_top
        How many genes; all that may be selected, if there are fewer.
    layer
        Layer with raw counts; None: ``adata.X``.
    batch_key
        Column of ``adata.obs``: select within each batch and combine the ranks, as scanpy does.

    Returns
    -------
    Nothing. ``adata.var["scrae_selected"]`` (bool), ``adata.var["scrae_rank"]`` (1 is the most variable; missing for
    genes that were not ranked) and ``adata.uns["scrae_genes"]`` (method and arguments).

    Raises
    ------
    scrae.CountsError
        What was given are not raw counts.
    ValueError
        Unknown method, ``n_top`` below 2, or no gene that may be selected.
    """
    from anndata import AnnData

    if method not in METHODS:
        raise ValueError(f"method={method!r} is not known; choose one of {', '.join(map(repr, METHODS))}")
    if n_top < 2:
        raise ValueError(f"n_top must be at least 2, not {n_top}")
    cells = read_cells(adata, layer)
    batches = None if batch_key is None else cells.covariate(batch_key)
    min_cells = _least_cells(adata.n_obs)
    eligible = np.flatnonzero(np.bincount(cells.counts.indices, minlength=adata.n_vars) >= min_cells)
    if len(eligible) < 2:
        raise ValueError(f"{len(eligible)} gene(s) are seen in {min_cells} or more cells: too few to choose from")
    n_top = min(n_top, len(eligible))
    counts = sp.csr_matrix(cells.counts[:, eligible])  # scanpy 1.11 normalises sparse arrays wrongly
    work = AnnData(counts, obs=pd.DataFrame(index=adata.obs_names.astype(str)))
    if batches is not None:
        work.obs["batch"] = pd.Categorical(batches)
    table = _highly_variable_genes(work, method, n_top)
    columns = _order(method, batches is not None)
    order = np.asarray(
        table.reset_index(drop=True).sort_values(list(columns), ascending=list(columns.values()), kind="stable").index
    )
    rank = np.full(adata.n_vars, np.nan)
    rank[eligible[order]] = np.arange(1, len(eligible) + 1)
    adata.var[RANK] = rank
    adata.var[SELECTED] = rank <= n_top
    adata.uns["scrae_genes"] = {
        "method": method,
        "n_top": n_top,
        "layer": layer or "X",
        "batch_key": batch_key or "",
        "min_cells": min_cells,
    }


def _least_cells(n_cells: int) -> int:
    return min(MIN_CELLS, max(2, n_cells // 100))


def _highly_variable_genes(work: AnnData, method: str, n_top: int) -> pd.DataFrame:
    """scanpy's table of genes; ``work`` holds counts, and batches in ``obs["batch"]``, and is used up."""
    import scanpy as sc

    flavor = {"hvg": "seurat", "seurat_v3": "seurat_v3"}[method]
    with threads_of_torch_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        if method == "hvg":
            sc.pp.normalize_total(work)
            sc.pp.log1p(work)
        try:
            table: pd.DataFrame = sc.pp.highly_variable_genes(
                work,
                flavor=flavor,
                n_top_genes=n_top,
                batch_key="batch" if "batch" in work.obs else None,
                inplace=False,
            )
        except ValueError as error:
            raise ValueError(
                f"{method}: the trend of variance on mean could not be fitted ({error}); too many genes have the same "
                'few counts (shallow data, small batches). Use method="hvg", or fewer batches.'
            ) from error
    return table


def _order(method: str, batches: bool) -> dict[str, bool]:
    """scanpy's order of its table: columns to sort by, and whether each ascends."""
    if method == "hvg":
        by_batches = {"highly_variable_nbatches": False} if batches else {}
        return by_batches | {"dispersions_norm": False}
    by_batches = {"highly_variable_rank": True, "highly_variable_nbatches": False} if batches else {}
    return by_batches | {"variances_norm": False}
