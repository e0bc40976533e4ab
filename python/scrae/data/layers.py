"""The matrices of an AnnData object: layers by name, and one of them read a block of cells at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import scipy.sparse as sp

from scrae.data import lazy

if TYPE_CHECKING:
    from anndata import AnnData

CELLS = 4096  # that are read at once, but of dask a block


def named_layers(adata: AnnData) -> dict[str, Any]:
    """Matrix by name. From version 0.13 on, anndata lists ``X`` among the layers, under the name None."""
    return {name: matrix for name, matrix in adata.layers.items() if name is not None}


def matrix_of(adata: AnnData, layer: str | None) -> Any:
    """The matrix of a layer; ``adata.X`` for None, and where the layer has gone meanwhile."""
    return adata.X if layer is None else named_layers(adata).get(layer, adata.X)


def rows_in_blocks(matrix: Any) -> Iterator[sp.csr_array]:
    """All cells of a matrix in their order, of any kind that AnnData holds (dense, sparse, dask), some at a time."""
    edges = lazy.edges(matrix) if lazy.is_lazy(matrix) else [*range(0, matrix.shape[0], CELLS), matrix.shape[0]]
    for start, stop in pairwise(edges):
        part = matrix[start:stop]
        yield sp.csr_array(part.compute() if hasattr(part, "compute") else part)
