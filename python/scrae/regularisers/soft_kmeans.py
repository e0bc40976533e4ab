"""Weighted soft k-means and inflated affinities: the clustering losses of scziDesk (Chen et al. 2020)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scrae._errors import Refusal
from scrae.regularisers.base import ForwardPass
from scrae.regularisers.centroids import squared_distances
from scrae.regularisers.clustering import ClusteredCodes


def weighted_soft_kmeans(codes: Tensor, centroids: Tensor) -> Tensor:
    """mean_i sum_k w_ik |z_i - mu_k|^2, scalar, the weights differentiated with the rest.

    w_ik = g_ik^2 / sum_k' g_ik'^2, g_ik = exp(-|z_i - mu_k|^2) / sum_k' exp(-|z_i - mu_k'|^2): soft k-means, inflated.
    """
    distances = squared_distances(codes, centroids)
    weights = torch.softmax(-2.0 * distances, dim=1)  # the square of a softmax, made to sum to 1 again
    return (weights * distances).sum(1).mean()


def inflated_affinity_kl(codes: Tensor) -> Tensor:
    """KL(Q || P) = sum_i sum_j!=i q_ij log(q_ij / p_ij) over the cells of a minibatch, scalar.

    p_ij = (1 + |z_i - z_j|^2)^-1 / sum_j'!=i (1 + |z_i - z_j'|^2)^-1 and its inflation q_ij = p_ij^2 / sum_j' p_ij'^2,
    as in Markov clustering: near cells are drawn nearer. Both are differentiated, as in the published code.
    """
    others = ~torch.eye(len(codes), dtype=torch.bool, device=codes.device)
    log_kernel = -torch.log1p(squared_distances(codes, codes)[others].view(len(codes), -1))
    log_p = torch.log_softmax(log_kernel, dim=1)
    log_q = torch.log_softmax(2.0 * log_kernel, dim=1)
    return (log_q.exp() * (log_q - log_p)).sum()


class SoftKMeans(ClusteredCodes):
    """soft_kmeans_weight * :func:`weighted_soft_kmeans` + inflation_weight * :func:`inflated_affinity_kl`.

    Parameters
    ----------
    n_latent
        Number of latent dimensions.
    soft_kmeans_weight, inflation_weight
        alpha and gamma.
    **options
        As for :class:`ClusteredCodes`.
    """

    name = "soft_kmeans"

    def __init__(
        self, n_latent: int, *, soft_kmeans_weight: float = 1e-3, inflation_weight: float = 1e-3, **options: Any
    ) -> None:
        super().__init__(n_latent, **options)
        if soft_kmeans_weight < 0 or inflation_weight < 0:
            raise Refusal(
                f"weights must not be negative, not {soft_kmeans_weight} and {inflation_weight}",
                "negative",
                names=["soft_kmeans_weight", "inflation_weight"],
                values=[soft_kmeans_weight, inflation_weight],
            )
        self.soft_kmeans_weight = soft_kmeans_weight
        self.inflation_weight = inflation_weight

    def penalties(self, passed: ForwardPass) -> dict[str, Tensor]:
        if self.preparing:
            nothing = passed.codes.new_zeros(())
            return {"soft_kmeans": nothing, "inflation": nothing}
        return {
            "soft_kmeans": self.soft_kmeans_weight * weighted_soft_kmeans(passed.codes, self.centroids),
            "inflation": self.inflation_weight * inflated_affinity_kl(passed.codes),
        }
