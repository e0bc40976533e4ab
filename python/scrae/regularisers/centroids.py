"""Centroids among codes: distances to them, and where those of the clustering models start."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from scrae._errors import Refusal

RESTARTS = 20  # as in the published codes
CELLS_AT_ONCE = 4096  # whose differences to every centroid are in memory


def squared_distances(codes: Tensor, centroids: Tensor) -> Tensor:
    """|z_i - mu_k|^2, (n_cells, n_clusters), from (n_cells, n_latent) and (n_clusters, n_latent)."""
    return (codes[:, None, :] - centroids).square().sum(2)


def nearest_centroid(codes: Tensor, centroids: Tensor) -> Tensor:
    """Index of the nearest centroid, int64 (n_cells,)."""
    return torch.cat([squared_distances(part, centroids).argmin(1) for part in torch.split(codes, CELLS_AT_ONCE)])


def kmeans(codes: Tensor, n_clusters: int) -> Tensor:
    """Centroids (n_clusters, n_latent) with the least sum of squared distances of :data:`RESTARTS` k-means++ starts.

    By scikit-learn, with a seed drawn from torch's random state.

    Raises
    ------
    ValueError
        There are more clusters than cells.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    if n_clusters > len(codes):
        raise Refusal(
            f"n_clusters={n_clusters} are more than the {len(codes)} cells to train on",
            "more_clusters_than_cells",
            n_clusters=n_clusters,
            n_cells=len(codes),
        )
    search = KMeans(n_clusters, n_init=RESTARTS, random_state=int(torch.randint(2**31 - 1, ())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct codes than clusters: some are the same
        found = search.fit(codes.double().cpu().numpy())
    return torch.as_tensor(found.cluster_centers_).to(codes)
