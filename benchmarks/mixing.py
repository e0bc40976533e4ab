"""Scores of an integrated embedding: do batches mix, and do types stay apart? Each from 0 to 1, higher is better.

After Luecken et al. (2022), Benchmarking atlas-level data integration in single-cell genomics; overall, types count
0.6 and batches 0.4, as there.
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import silhouette_samples
from sklearn.neighbors import NearestNeighbors

import scrae

NEIGHBOURS = 90  # of LISI: three times the perplexity of 30
OF_BATCHES = ("iLISI", "kBET", "connectivity", "batch_ASW")
OF_TYPES = ("NMI", "ARI", "type_ASW")


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
