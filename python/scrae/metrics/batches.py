"""Do batches mix in an embedding, and how much of it do they explain? No type of a cell has to be known.

Each measure looks within groups of cells, since batches that hold the groups in other shares are not to be mixed across
them. Groups may be types, or clusters.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.stats import chi2
from sklearn.neighbors import NearestNeighbors, kneighbors_graph

LISI_NEIGHBOURS = 30
SHUFFLES = 3  # of the batches within groups, for what chance would give
GRAPH_NEIGHBOURS = 15
KBET_NEIGHBOURS = (10, 70)  # least and most, as in scIB; between them a quarter of a batch
KBET_LEVEL = 0.05
ALONE = 0.95  # share of a group's cells from which on it is said to be of one batch


def mixing(embedding: np.ndarray, batch: np.ndarray, groups: np.ndarray, random_state: int = 0) -> np.ndarray:
    """Return how well batches mix around each cell, relative to batches that are assigned at random within its group.

        m_i = (L_i - 1) / (mean(L') - 1)

    L is the inverse Simpson index of the batches among the 30 nearest cells of the group (LISI; Korsunsky et al. 2019,
    here with equal weights; in a small group among a third of its cells). L' is the same after the batches of the
    group's cells are shuffled. 0 means that all neighbours are from one batch, 1 that mixing is as good as by chance.

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions).
    batch, groups
        Batch and group of each cell, (n_cells,).
    random_state
        Seed of the shuffles.

    Returns
    -------
    float (n_cells,), missing in groups of one batch alone or of fewer than three cells.

    Examples
    --------
    >>> import numpy as np
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> embedding = scrae.metrics.scaled_pca(adata, 10)
    >>> groups = adata.obs["cell_type"].to_numpy()
    >>> batch = np.array(["A", "B"] * 350)
    >>> scrae.metrics.mixing(embedding, batch, groups).shape
    (700,)
    """
    rng = np.random.default_rng(random_state)
    result = np.full(len(embedding), np.nan)
    for cells in _groups(groups):
        code = np.unique(batch[cells], return_inverse=True)[1]
        if len(cells) < 3 or code.max() == 0:
            continue
        k = max(2, min(LISI_NEIGHBOURS, len(cells) // 3))
        near = NearestNeighbors(n_neighbors=k).fit(embedding[cells]).kneighbors(return_distance=False)
        by_chance = np.mean([_inverse_simpson(rng.permutation(code), near).mean() for _ in range(SHUFFLES)])
        if by_chance > 1:
            result[cells] = (_inverse_simpson(code, near) - 1) / (by_chance - 1)
    return result


def kbet(embedding: np.ndarray, batch: np.ndarray, groups: np.ndarray) -> float:
    """Return the share of cells whose neighbours come from the batches in the shares that these have in the group.

    A chi-square test at 0.05 decides for each cell.
    Büttner et al. (2019), A test metric for assessing single-cell RNA-seq batch correction: 1 - rejection rate, here
    with every cell tested. Mean over the groups that have two batches and enough cells, as in scIB; missing where there
    is none.

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions).
    batch, groups
        Batch and group of each cell, (n_cells,).

    Examples
    --------
    >>> import numpy as np
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> embedding = scrae.metrics.scaled_pca(adata, 10)
    >>> groups = adata.obs["cell_type"].to_numpy()
    >>> batch = np.array(["A", "B"] * 350)
    >>> bool(0 <= scrae.metrics.kbet(embedding, batch, groups) <= 1)
    True
    """
    accepted = []
    for cells in _groups(groups):
        names, code, sizes = np.unique(batch[cells], return_inverse=True, return_counts=True)
        n_neighbours = int(np.clip(sizes.mean() / 4, *KBET_NEIGHBOURS))
        if len(names) < 2 or len(cells) <= 2 * n_neighbours:
            continue
        graph = NearestNeighbors(n_neighbors=n_neighbours).fit(embedding[cells])
        near = code[graph.kneighbors(embedding[cells], return_distance=False)]  # the cell itself among them
        expected = n_neighbours * sizes / sizes.sum()
        statistic = sum(((near == b).sum(1) - expected[b]) ** 2 / expected[b] for b in range(len(names)))
        accepted.append((statistic <= chi2.isf(KBET_LEVEL, len(names) - 1)).mean())
    return float(np.mean(accepted)) if accepted else float("nan")


def connectivity(embedding: np.ndarray, groups: np.ndarray) -> float:
    """Return how well the cells of a group hang together in the neighbour graph, as a mean over groups.

    For each group this is the share of its cells in the largest connected component of its part of the graph.

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions).
    groups
        Group of each cell, (n_cells,).

    Examples
    --------
    >>> import numpy as np
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> embedding = scrae.metrics.scaled_pca(adata, 10)
    >>> groups = adata.obs["cell_type"].to_numpy()
    >>> bool(0 < scrae.metrics.connectivity(embedding, groups) <= 1)
    True
    """
    graph = kneighbors_graph(embedding, min(GRAPH_NEIGHBOURS, len(groups) - 1))
    shares = []
    for cells in _groups(groups):
        _, component = connected_components(graph[cells][:, cells], directed=False)
        shares.append(np.bincount(component).max() / len(cells))
    return float(np.mean(shares))


def variance_explained(embedding: np.ndarray, levels: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Return the share of the variance within groups that the levels of a column explain beyond chance.

        1 - [SS(within levels and groups) / (n - n_both)] / [SS(within groups) / (n - n_groups)]

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions).
    levels
        Level of each cell, (n_cells,).
    groups
        Group of each cell, (n_cells,); None: all cells are one.

    Returns
    -------
    The adjusted coefficient of determination over all axes, at least 0; 0 as well where no group has two levels.

    Examples
    --------
    >>> import numpy as np
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> embedding = scrae.metrics.scaled_pca(adata, 10)
    >>> groups = adata.obs["cell_type"].to_numpy()
    >>> bool(0 < scrae.metrics.variance_explained(embedding, groups) < 1)
    True
    """
    n = len(embedding)
    outer = np.zeros(n, dtype=int) if groups is None else np.unique(groups, return_inverse=True)[1]
    level = np.unique(levels, return_inverse=True)[1]
    both = np.unique(outer * (int(level.max()) + 1) + level, return_inverse=True)[1]
    n_outer, n_both = int(outer.max()) + 1, int(both.max()) + 1
    if n_both in (n_outer, n):
        return 0.0
    total, left = _within(embedding, outer), _within(embedding, both)
    return max(0.0, 1.0 - (left / (n - n_both)) / (total / (n - n_outer))) if total > 0 else 0.0


def purity(embedding: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the share of each cell's 15 nearest cells that are of its own group.

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions).
    groups
        Group of each cell, (n_cells,).

    Returns
    -------
    float (n_cells,), from 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> embedding = scrae.metrics.scaled_pca(adata, 10)
    >>> groups = adata.obs["cell_type"].to_numpy()
    >>> scrae.metrics.purity(embedding, groups).shape
    (700,)
    """
    k = min(GRAPH_NEIGHBOURS, len(groups) - 1)
    near = NearestNeighbors(n_neighbors=k).fit(embedding).kneighbors(return_distance=False)
    result: np.ndarray = (groups[near] == groups[:, None]).mean(1)
    return result


def batch_alone(of_group: np.ndarray, of_all: np.ndarray) -> str:
    """The batch that a group of cells is of alone; nothing where it is of several, or where there is only one."""
    names, counts = np.unique(of_group, return_counts=True)
    alone = counts.max() >= ALONE * counts.sum() and len(np.unique(of_all)) > 1
    return str(names[counts.argmax()]) if alone else ""


def _groups(groups: np.ndarray) -> list[np.ndarray]:
    """Positions of the cells of each group."""
    return [np.flatnonzero(groups == name) for name in np.unique(groups)]


def _inverse_simpson(code: np.ndarray, near: np.ndarray) -> np.ndarray:
    shares = np.stack([(code[near] == b).mean(1) for b in range(int(code.max()) + 1)], 1)
    result: np.ndarray = 1 / (shares**2).sum(1)
    return result


def _within(embedding: np.ndarray, code: np.ndarray) -> float:
    """Sum of squares about the means of the groups."""
    sums = np.zeros((int(code.max()) + 1, embedding.shape[1]))
    np.add.at(sums, code, embedding)
    means = sums / np.bincount(code)[:, None]
    return float(((embedding - means[code]) ** 2).sum())
