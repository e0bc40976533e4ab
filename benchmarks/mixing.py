"""Scores of an integrated embedding: do batches mix, and do types stay apart? Each from 0 to 1, higher is better.

After Luecken et al. (2022), Benchmarking atlas-level data integration in single-cell genomics; overall, types count
0.6 and batches 0.4, as there. Two scores stand beside them, which drawing the cells of a type together does not raise:
whether types that one batch holds alone are still found, and whether types lie as far from each other as they do within
the batches.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_samples
from sklearn.neighbors import NearestNeighbors

import scrae
from scrae.clusters.graph import communities, neighbour_graph
from scrae.metrics.batches import batch_alone
from scrae.metrics.clusterings import RESOLUTIONS

NEIGHBOURS = 90  # of LISI: three times the perplexity of 30
OF_BATCHES = ("iLISI", "kBET", "connectivity", "batch_ASW")
OF_TYPES = ("NMI", "ARI", "type_ASW")
BESIDE = ("isolated_F1", "distances")
LEAST_ALONE = 10  # cells of a type that is looked for
FEWEST = 5  # cells of a type in a batch whose mean says where it lies
COMPONENTS = 20  # of a batch on its own


def ilisi(embedding: np.ndarray, batch: np.ndarray) -> float:
    """Median over cells of the inverse Simpson index of the batches of its neighbours, 1 to B, scaled to 0 to 1.

    Neighbours count alike, where Korsunsky et al. (2019) weight them by distance.
    """
    names, code = np.unique(batch, return_inverse=True)
    near = (
        NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(batch) - 1)).fit(embedding).kneighbors(return_distance=False)
    )
    shares = np.stack([(code[near] == b).mean(1) for b in range(len(names))], 1)
    return float((np.median(1 / (shares**2).sum(1)) - 1) / (len(names) - 1))


def batch_asw(embedding: np.ndarray, batch: np.ndarray, types: np.ndarray) -> float:
    """Mean over types of 1 - |silhouette width of the batches within the type|; types of one batch do not count."""
    widths = []
    for name in np.unique(types):
        cells = types == name
        n_batches = len(np.unique(batch[cells]))
        if 1 < n_batches < cells.sum():
            widths.append(1 - np.abs(silhouette_samples(embedding[cells], batch[cells])).mean())
    return float(np.mean(widths)) if widths else float("nan")


def type_asw(embedding: np.ndarray, types: np.ndarray) -> float:
    """Silhouette width of the types, from -1 to 1, scaled to 0 to 1."""
    return float((silhouette_samples(embedding, types).mean() + 1) / 2)


def mixing_scores(embedding: np.ndarray, batch: np.ndarray, types: np.ndarray, seed: int = 0) -> dict[str, float]:
    """All scores; NMI and ARI are those of k-means with the true number of types."""
    clusters = scrae.metrics.kmeans(embedding, len(np.unique(types)), seed)
    agreement = scrae.metrics.scores(types, clusters)
    result = {
        "iLISI": ilisi(embedding, batch),
        "kBET": scrae.metrics.kbet(embedding, batch, types),
        "connectivity": scrae.metrics.connectivity(embedding, types),
        "batch_ASW": batch_asw(embedding, batch, types),
        "NMI": agreement["NMI"],
        "ARI": agreement["ARI"],
        "type_ASW": type_asw(embedding, types),
    }
    batches, kinds = (np.nanmean([result[s] for s in scores]) for scores in (OF_BATCHES, OF_TYPES))
    return result | {"batches": float(batches), "types": float(kinds), "overall": float(0.4 * batches + 0.6 * kinds)}


def isolated_f1(embedding: np.ndarray, batch: np.ndarray, types: np.ndarray) -> float:
    """How well types that one batch holds alone are found: mean of :func:`best_f1`; missing where there are none.

    Types of fewer than :data:`LEAST_ALONE` cells do not count.
    """
    names, sizes = np.unique(types, return_counts=True)
    alone = [name for name in names[sizes >= LEAST_ALONE] if batch_alone(batch[types == name], batch)]
    return float(np.mean(list(best_f1(embedding, types, alone).values()))) if alone else float("nan")


def best_f1(embedding: np.ndarray, types: np.ndarray, wanted: list[str]) -> dict[str, float]:
    """The largest F1 that a Leiden cluster has for each of the wanted types, over ``scrae.metrics.RESOLUTIONS``."""
    graph = neighbour_graph(embedding)
    found = dict.fromkeys(wanted, 0.0)
    for resolution in RESOLUTIONS:
        clusters = communities(graph, resolution, random_state=0)
        sizes = np.bincount(clusters)
        for name in wanted:
            cells = types == name
            shared = np.bincount(clusters[cells], minlength=len(sizes))
            found[name] = max(found[name], float((2 * shared / (sizes + cells.sum())).max()))
    return found


def distances_within_batches(log_counts: sp.csr_matrix, batch: np.ndarray, types: np.ndarray) -> np.ndarray:
    """Distances between the means of types on 20 principal components of each batch on its own, over their mean there.

    After scGraph (Wang et al. 2024): what a batch says of its types alone no correction has touched.

    Parameters
    ----------
    log_counts
        Log-normalised counts, (n_cells, n_genes).
    batch, types
        Of each cell, (n_cells,).

    Returns
    -------
    Mean over batches, (n_types, n_types) in the order of the names; missing where no batch has five cells of both.
    """
    names = np.unique(types)
    found = np.full((len(np.unique(batch)), len(names), len(names)), np.nan)
    for of_batch, level in zip(found, np.unique(batch), strict=True):
        cells = np.flatnonzero(batch == level)
        held = [i for i, name in enumerate(names) if (types[cells] == name).sum() >= FEWEST]
        if len(held) > 1:
            components = PCA(min(COMPONENTS, len(cells) - 1), random_state=0).fit_transform(log_counts[cells].toarray())
            distances = _between_means(components, types[cells], names[held])
            of_batch[np.ix_(held, held)] = distances / distances[np.triu_indices(len(held), 1)].mean()
    known = np.isfinite(found)
    return np.where(known.any(0), np.nansum(found, 0) / np.maximum(known.sum(0), 1), np.nan)


def distances_kept(embedding: np.ndarray, types: np.ndarray, expected: np.ndarray) -> float:
    """Correlation, over pairs of types, of the distance between their means with :func:`distances_within_batches`."""
    pairs = np.triu_indices(len(expected), 1)
    known = np.isfinite(expected[pairs])
    if known.sum() < 3:
        return float("nan")
    distances = _between_means(embedding, types, np.unique(types))
    return float(np.corrcoef(distances[pairs][known], expected[pairs][known])[0, 1])


def _between_means(embedding: np.ndarray, types: np.ndarray, names: np.ndarray) -> np.ndarray:
    means = np.stack([embedding[types == name].mean(0) for name in names])
    return np.linalg.norm(means[:, None] - means, axis=2)
