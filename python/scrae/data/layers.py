"""The layers of an AnnData object that have a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anndata import AnnData


def named_layers(adata: AnnData) -> dict[str, Any]:
    """Matrix by name. From version 0.13 on, anndata lists ``X`` among the layers, under the name None."""
    return {name: matrix for name, matrix in adata.layers.items() if name is not None}
