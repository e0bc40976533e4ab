"""k-means on codes: where the centroids of the clustering models start."""

from __future__ import annotations

import torch
from torch import Tensor

from scrae._errors import Refusal

RESTARTS = 20  # as in the published codes
MOST_ITERATIONS = 300
CELLS_AT_ONCE = 4096  # whose differences to every centroid are in memory


def squared_distances(codes: Tensor, centroids: Tensor) -> Tensor:
    """|z_i - mu_k|^2, (n_cells, n_clusters), from (n_cells, n_latent) and (n_clusters, n_latent)."""
    return (codes[:, None, :] - centroids).square().sum(2)


def nearest_centroid(codes: Tensor, centroids: Tensor) -> Tensor:
    """Index of the nearest centroid, int64 (n_cells,)."""
    return torch.cat([squared_distances(part, centroids).argmin(1) for part in torch.split(codes, CELLS_AT_ONCE)])


def kmeans(codes: Tensor, n_clusters: int) -> Tensor:
    """Centroids (n_clusters, n_latent) with the least sum of squared distances of :data:`RESTARTS` k-means++ starts.

    Draws from torch's random state.

    Raises
    ------
    ValueError
        There are more clusters than cells.
    """
    if n_clusters > len(codes):
        raise Refusal(
            f"n_clusters={n_clusters} are more than the {len(codes)} cells to train on",
            "more_clusters_than_cells",
            n_clusters=n_clusters,
            n_cells=len(codes),
        )
    runs = [_lloyd(codes, _plus_plus(codes, n_clusters)) for _ in range(RESTARTS)]
    return min(runs, key=lambda run: float(run[1]))[0]


def _plus_plus(codes: Tensor, n_clusters: int) -> Tensor:
    """Cells drawn one by one, each with a probability that grows with its squared distance to those drawn before."""
    chosen = [int(torch.randint(len(codes), ()))]
    nearest = squared_distances(codes, codes[chosen]).squeeze(1)
    for _ in range(n_clusters - 1):
        weight = nearest if bool(nearest.sum() > 0) else torch.ones_like(nearest)
        chosen.append(int(torch.multinomial(weight, 1)))
        nearest = torch.minimum(nearest, squared_distances(codes, codes[chosen[-1:]]).squeeze(1))
    return codes[chosen]


def _lloyd(codes: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Centroids after convergence, and the sum of squared distances. A cluster that runs empty stays where it is."""
    assigned = torch.full((len(codes),), -1, device=codes.device)
    for _ in range(MOST_ITERATIONS):
        distances = torch.cdist(codes, centroids)
        now = distances.argmin(1)
        if torch.equal(now, assigned):
            break
        assigned = now
        number = torch.bincount(assigned, minlength=len(centroids)).to(codes.dtype)[:, None]
        sums = torch.zeros_like(centroids).index_add_(0, assigned, codes)
        centroids = torch.where(number > 0, sums / number.clamp_min(1.0), centroids)
    return centroids, (codes - centroids[nearest_centroid(codes, centroids)]).square().sum()
