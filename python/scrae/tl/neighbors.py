"""A neighbour graph on which the clusterings of scanpy work at their defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch

from scrae.clusters import shared_neighbours
from scrae.compute.neighbours import nearest_among
from scrae.compute.whole_numbers import at_least, seed
from scrae.data.cells import require_anndata
from scrae.tl.embedding import finite_embedding

if TYPE_CHECKING:
    from anndata import AnnData

FEWEST, MOST = 20, 100  # neighbours, unless their number is given
BLOCK = 1024  # cells whose distances are computed at once


def neighbors(
    adata: AnnData,
    *,
    n_neighbors: int | None = None,
    key: str = "scrae",
    random_state: int = 0,
    copy: bool = False,
) -> AnnData | None:
    """Write a neighbour graph of the embedding in the place of that of ``scanpy.pp.neighbors``.

    Two cells are connected by the neighbours that they share (Jaccard index). The number of neighbours grows with the
    square root of the number of cells, so that ``scanpy.tl.leiden(adata)`` gives about as many clusters as there are
    types at its default resolution of 1. On the graph of ``scanpy.pp.neighbors`` it gives half as many again.

    Parameters
    ----------
    adata
        Cells with an embedding from :func:`scrae.tl.scrae`.
    n_neighbors
        Neighbours of each cell, itself among them; None: the square root of the number of cells, from 20 to 100. More
        neighbours give fewer clusters.
    key
        Name of the embedding: ``obsm["X_" + key]``.
    random_state
        Seed, which matters above 50,000 cells: the neighbours of each are then looked for among the 16,000 cells or
        more of the nearest groups.
    copy
        Return a changed copy and leave ``adata`` as it is.

    Returns
    -------
    None, or the copy, with ``obsp["connectivities"]`` (from 1/15 to 1), ``obsp["distances"]`` (to the nearest cells)
    and ``uns["neighbors"]``, which scanpy's functions read.

    Raises
    ------
    ValueError
        There is no embedding of that name, it is not finite, or ``n_neighbors`` is no whole number from 2 on.

    Examples
    --------
    >>> import scanpy, scrae
    >>> adata = scrae.datasets.pbmc()
    >>> scrae.tl.scrae(adata, max_epochs=5, verbose=False)
    >>> scrae.tl.neighbors(adata)
    >>> scanpy.tl.leiden(adata, flavor="igraph", n_iterations=2, directed=False)
    """
    require_anndata(adata, "scrae.tl.neighbors")
    embedding = finite_embedding(adata, key)
    asked = None if n_neighbors is None else at_least("n_neighbors", n_neighbors, 2)
    random_state = seed(random_state)
    n = len(embedding)
    k = min(n, asked or int(np.clip(round(np.sqrt(n)), FEWEST, MOST)))
    target = adata.copy() if copy else adata
    points = torch.as_tensor(np.ascontiguousarray(embedding, dtype=np.float32))
    near = nearest_among(points, k, random_state).numpy()
    target.obsp["connectivities"] = sp.csr_matrix(shared_neighbours(near))
    target.obsp["distances"] = _distances(embedding, near)
    target.uns["neighbors"] = {
        "connectivities_key": "connectivities",
        "distances_key": "distances",
        "params": {"n_neighbors": k, "method": "jaccard", "metric": "euclidean", "use_rep": f"X_{key}"},
    }
    return target if copy else None


def _distances(embedding: np.ndarray, near: np.ndarray) -> sp.csr_matrix:
    """Of each cell to its nearest others, (n_cells, n_cells): above 0 also where two cells are the same."""
    n, k = near.shape
    apart = np.concatenate(
        [
            np.sqrt(np.maximum(((embedding[first : first + BLOCK, None] - embedding[part]) ** 2).sum(-1), 1e-30))
            for first, part in ((first, near[first : first + BLOCK]) for first in range(0, n, BLOCK))
        ]
    ).ravel()
    cells = np.repeat(np.arange(n), k)
    others = cells != near.ravel()
    return sp.csr_matrix((apart[others], (cells[others], near.ravel()[others])), shape=(n, n))
