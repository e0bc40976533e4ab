"""Denoised expression in a layer beside the counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scrae.data.cells import require_anndata
from scrae.model import SCRAE

if TYPE_CHECKING:
    from anndata import AnnData


def denoise(
    adata: AnnData,
    model: SCRAE,
    *,
    layer: str | None = None,
    library_size: str | float = "common",
    batch: str | None = None,
    key_added: str = "denoised",
    copy: bool = False,
) -> AnnData | None:
    """Write denoised expression into a layer.

    Cells of a batch that the model was not trained on are decoded as if from the average of the known batches, as by
    :meth:`scrae.SCRAE.denoise`.

    Parameters
    ----------
    adata
        Cells x genes with raw counts and the model's genes.
    model
        A trained model.
    layer
        Layer with raw counts; None: ``adata.X``.
    library_size, batch
        As for :meth:`scrae.SCRAE.denoise`.
    key_added
        Name of the layer.
    copy
        Return a changed copy and leave ``adata`` as it is.

    Returns
    -------
    None, or the copy, with ``layers[key_added]``: float32 (n_cells, n_genes), dense, the expected counts of the genes
    that the model knows, and NaN for other genes.

    Raises
    ------
    ValueError
        Genes of the model are missing, or as for :meth:`scrae.SCRAE.denoise`.

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> model = scrae.SCRAE(max_epochs=3, verbose=False).fit(adata)
    >>> scrae.tl.denoise(adata, model)
    >>> adata.layers["denoised"].shape
    (700, 765)
    """
    require_anndata(adata, "scrae.tl.denoise")
    means = model.denoise(adata, layer=layer, library_size=library_size, batch=batch)
    target = adata.copy() if copy else adata
    names = model.gene_names
    if names is None:
        target.layers[key_added] = means
    else:
        whole = np.full(adata.shape, np.nan, dtype=np.float32)
        whole[:, adata.var_names.get_indexer(pd.Index(names.astype(str)))] = means
        target.layers[key_added] = whole
    return target if copy else None
