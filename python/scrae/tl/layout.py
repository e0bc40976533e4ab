"""A picture's two axes from an embedding, where an object has none."""

from __future__ import annotations

import numpy as np

from scrae.compute.compilation import dispensable_caches
from scrae.compute.threads import threads_of_torch_kept

MOST_CELLS = 20_000  # are laid out
FEWEST = 30  # cells that a UMAP is worth
NEIGHBOURS = 15


def umap_of(embedding: np.ndarray, random_state: int) -> np.ndarray:
    """UMAP by scanpy at its defaults, float64 (n_cells, 2); NaN for cells beyond a sample of :data:`MOST_CELLS`.

    Of fewer than :data:`FEWEST` cells these are the first two axes of the embedding.
    """
    import anndata
    import scanpy as sc

    if len(embedding) < FEWEST:
        first = np.asarray(embedding, dtype=np.float64)[:, :2]
        return np.pad(first, ((0, 0), (0, 2 - first.shape[1])))
    cells = np.arange(len(embedding))
    if len(cells) > MOST_CELLS:
        cells = np.sort(np.random.default_rng(random_state).choice(cells, MOST_CELLS, replace=False))
    work = anndata.AnnData(obsm={"X": np.ascontiguousarray(embedding[cells])})
    with threads_of_torch_kept(), dispensable_caches():
        sc.pp.neighbors(work, n_neighbors=NEIGHBOURS, use_rep="X", random_state=random_state)
        sc.tl.umap(work, random_state=random_state)
    result = np.full((len(embedding), 2), np.nan)
    result[cells] = work.obsm["X_umap"]
    return result
