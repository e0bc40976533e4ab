"""Synthetic cells as an object, with the names of their genes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import scipy.sparse as sp

from scrae.model import SCRAE

if TYPE_CHECKING:
    from anndata import AnnData


def sample(
    model: SCRAE,
    n: int,
    *,
    like: AnnData | None = None,
    codes: str = "cells",
    layer: str | None = None,
    random_state: int | None = None,
    batch: str | None = None,
) -> AnnData:
    """Draw synthetic cells as an AnnData object.

    Parameters
    ----------
    model
        A trained model.
    n
        Number of cells.
    like, codes, layer, random_state, batch
        As for :meth:`scrae.SCRAE.sample`.

    Returns
    -------
    AnnData (n, n_genes) with whole counts in ``X`` (CSR), the genes' names, and cells "synthetic0", "synthetic1", ...

    Raises
    ------
    ValueError
        As for :meth:`scrae.SCRAE.sample`.

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> model = scrae.SCRAE(max_epochs=3, verbose=False).fit(adata)
    >>> cells = scrae.tl.sample(model, 20, like=adata[adata.obs["cell_type"] == "CD19+ B"])
    >>> cells.shape, cells.obs_names[0]
    ((20, 765), 'synthetic0')
    """
    from anndata import AnnData

    counts = model.sample(n, like=like, codes=codes, layer=layer, random_state=random_state, batch=batch)
    names = [str(i) for i in range(counts.shape[1])] if model.gene_names is None else model.gene_names.astype(str)
    return AnnData(
        sp.csr_matrix(counts),
        pd.DataFrame(index=[f"synthetic{i}" for i in range(len(counts))]),
        pd.DataFrame(index=pd.Index(names, dtype=object)),
    )
