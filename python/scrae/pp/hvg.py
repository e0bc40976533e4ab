"""Highly variable genes, as scanpy finds them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scrae.pp.findings import Findings
from scrae.threads import threads_of_torch_kept

if TYPE_CHECKING:
    from anndata import AnnData


def highly_variable(
    counts: sp.csr_array, genes: np.ndarray, method: str, n_top: int, batches: np.ndarray | None
) -> Findings:
    """Rank genes by scanpy's table.

    Parameters
    ----------
    counts
        Cells x genes.
    genes
        Positions of the genes that may be selected.
    method
        ``"hvg"``: dispersion of log-normalised expression, normalised in bins of the mean; ``"seurat_v3"``: variance of
        counts standardised by a loess trend on the mean.
    n_top
        How many genes scanpy is to select in each batch.
    batches
        Batch of each cell, or None.

    Returns
    -------
    All genes. ``statistic``: the normalised dispersion, or the standardised variance.

    Raises
    ------
    ValueError
        The trend of variance on mean cannot be fitted.
    """
    from anndata import AnnData

    chosen = sp.csr_matrix(counts[:, genes])  # scanpy 1.11 normalises sparse arrays wrongly
    work = AnnData(chosen, obs=pd.DataFrame(index=np.arange(counts.shape[0]).astype(str)))
    if batches is not None:
        work.obs["batch"] = pd.Categorical(batches)
    table = _table(work, method, n_top).reset_index(drop=True)
    columns = _order(method, batches is not None)
    order = table.sort_values(list(columns), ascending=list(columns.values()), kind="stable").index
    statistic = table["dispersions_norm" if method == "hvg" else "variances_norm"].to_numpy(dtype=float)
    return Findings(np.asarray(order), {"statistic": statistic})


def _table(work: AnnData, method: str, n_top: int) -> pd.DataFrame:
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
