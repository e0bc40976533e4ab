"""Informative genes: which of them the model is trained on."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scrae.inputs import read_cells

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
    work = AnnData(cells.counts[:, eligible], obs=pd.DataFrame(index=adata.obs_names.astype(str)))
    if batches is not None:
        work.obs["batch"] = pd.Categorical(batches)
    table = _highly_variable_genes(work, method, n_top)
    order = np.asarray(
        table.reset_index(drop=True).sort_values(**_order(method, batches is not None), kind="stable").index
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

    batch_key = "batch" if "batch" in work.obs else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        if method == "hvg":
            sc.pp.normalize_total(work)
            sc.pp.log1p(work)
            return sc.pp.highly_variable_genes(work, n_top_genes=n_top, batch_key=batch_key, inplace=False)
        try:
            return sc.pp.highly_variable_genes(
                work, flavor="seurat_v3", n_top_genes=n_top, batch_key=batch_key, inplace=False
            )
        except ValueError as error:
            raise ValueError(
                f"seurat_v3 could not fit its trend of variance on mean ({error}); too many genes have the same few "
                'counts (small batches, shallow data). Use method="hvg".'
            ) from error


def _order(method: str, batches: bool) -> dict[str, list[Any]]:
    """scanpy's order of its table: columns to sort by, and which of them ascend."""
    if method == "hvg" and not batches:
        return {"by": ["dispersions_norm"], "ascending": [False]}
    if method == "hvg":
        return {"by": ["highly_variable_nbatches", "dispersions_norm"], "ascending": [False, False]}
    if not batches:
        return {"by": ["variances_norm"], "ascending": [False]}
    return {"by": ["highly_variable_rank", "highly_variable_nbatches", "variances_norm"], "ascending": [True, False, False]}
