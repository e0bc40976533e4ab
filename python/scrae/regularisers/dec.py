"""Deep embedded clustering: the clustering loss of scDeepCluster."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scrae._errors import Refusal
from scrae.regularisers.base import ForwardPass
from scrae.regularisers.centroids import CELLS_AT_ONCE, squared_distances
from scrae.regularisers.clustering import ClusteredCodes


def soft_assignment(codes: Tensor, centroids: Tensor) -> Tensor:
    """q_ij = (1 + |z_i - mu_j|^2)^-1 / sum_j' (1 + |z_i - mu_j'|^2)^-1: Student's t with one degree of freedom.

    (n_cells, n_clusters) from (n_cells, n_latent) and (n_clusters, n_latent); rows sum to 1.
    """
    kernel = 1.0 / (1.0 + squared_distances(codes, centroids))
    return kernel / kernel.sum(1, keepdim=True)


def target_distribution(q: Tensor) -> Tensor:
    """p_ij = (q_ij^2 / f_j) / sum_j' (q_ij'^2 / f_j'), f_j = sum_i q_ij: q sharpened, large clusters held back.

    (n_cells, n_clusters) from the same.
    """
    weight = q.square() / q.sum(0)
    return weight / weight.sum(1, keepdim=True)


def clustering_loss(p: Tensor, q: Tensor) -> Tensor:
    """KL(P || Q) = sum_j p_ij log(p_ij / q_ij), mean over cells i, scalar; p and q are (n_cells, n_clusters)."""
    return (torch.xlogy(p, p) - p * q.log()).sum(1).mean()


class DeepEmbeddedClustering(ClusteredCodes):
    """weight * KL(P || Q), P the target of the soft assignment Q, held over an epoch.

    Xie et al. 2016; of single cells: Tian et al. 2019. Q is of the codes without noise, while the reconstruction is of
    noisy ones.

    Parameters
    ----------
    n_latent
        Number of latent dimensions.
    weight
        Of the loss, in nats: gamma.
    **options
        As for :class:`ClusteredCodes`.
    """

    name = "dec"

    def __init__(self, n_latent: int, *, weight: float = 1.0, **options: Any) -> None:
        super().__init__(n_latent, **options)
        if weight < 0:
            raise Refusal(
                f"weight must not be negative, not {weight}",
                "negative",
                names=["weight"],
                values=[weight],
            )
        self.weight = weight
        self.targets = torch.zeros(0)  # of every cell by its position; made anew when an epoch starts

    def refresh(self, cells: Tensor, codes: Tensor) -> None:
        self.targets = codes.new_zeros(int(cells.max()) + 1, self.number)
        q = torch.cat([soft_assignment(part, self.centroids) for part in torch.split(codes, CELLS_AT_ONCE)])
        self.targets[cells] = target_distribution(q)

    def together(self, codes: Tensor, others: Tensor) -> Tensor:
        """sum_k q_ik q_jk: that both draw the same cluster (scDCC, Tian et al. 2021)."""
        return (soft_assignment(codes, self.centroids) * soft_assignment(others, self.centroids)).sum(1)

    def penalties(self, passed: ForwardPass) -> dict[str, Tensor]:
        if self.preparing:
            return {"clustering": passed.codes.new_zeros(())}
        q = soft_assignment(passed.codes_without_noise, self.centroids)
        return {"clustering": self.weight * clustering_loss(self.targets[passed.minibatch.cells], q)}
