"""The regularisers of SAUCIE (Amodio et al. 2019): few used units, tight clusters, batches on top of each other."""

from __future__ import annotations

import torch
from torch import Tensor

from scrae._errors import Refusal
from scrae.regularisers.base import ForwardPass, Regulariser
from scrae.regularisers.centroids import squared_distances

# Of the Gaussian kernel, as published: from so narrow that only equal points are near, to so wide that all are.
WIDTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 5, 10, 15, 20, 25, 30, 35, 100, 1e3, 1e4, 1e5, 1e6)


def multiscale_kernel(squared: Tensor) -> Tensor:
    """mean over widths s of exp(-d^2 / (2 s)), elementwise, of squared distances d^2."""
    return torch.stack([torch.exp(-squared / (2.0 * width)) for width in WIDTHS]).mean(0)


def activation_entropy(activations: Tensor) -> Tensor:
    """-sum_j p_j log p_j, p_j the share of unit j in the activations of all cells, scalar.

    Low where few units do the work: then a pattern of units that are on is a cluster (the paper's ID regularisation).

    Parameters
    ----------
    activations
        Not negative, (n_cells, n_units).
    """
    share = activations.sum(0) / activations.sum().clamp_min(1e-12)
    return -(share * torch.log(share + 1e-9)).sum()


def within_cluster_distance(activations: Tensor, inputs: Tensor) -> Tensor:
    """mean_ij k_ij |x_i - x_j|, k_ij the kernel of the activations of i and j scaled to [0, 1], scalar.

    Cells whose activations are alike, so in one cluster, must have been alike in the data.

    Parameters
    ----------
    activations, inputs
        (n_cells, n_units) and (n_cells, n_genes).
    """
    # |a - b|^2 as |a|^2 - 2 a b + |b|^2: layers are wide, and all differences of all units would fill the memory
    length = activations.square().sum(1)
    squared = (length[:, None] - 2.0 * activations @ activations.T + length).clamp_min(0.0)
    alike = multiscale_kernel(squared)
    alike = alike - alike.min()
    alike = alike / alike.max().clamp_min(1e-12)
    # 1e-3 as published: the root has no slope at 0
    return (alike * torch.sqrt(torch.cdist(inputs, inputs).square() + 1e-3)).mean()


def batch_mmd(codes: Tensor, batch: Tensor) -> Tensor:
    """sum over batches b > 0 of |mean k(z, z') within 0 + the same within b - 2 mean k between 0 and b|, scalar.

    Distances are divided by the largest one, so that the scale of the codes does not matter. Batches that the
    minibatch has no cell of count nothing.

    Parameters
    ----------
    codes
        (n_cells, n_latent).
    batch
        int64 (n_cells,); 0 is the reference.
    """
    squared = squared_distances(codes, codes)
    kernel = multiscale_kernel(squared / squared.max().clamp_min(1e-12))
    # A batch has the number of its first cell here, so that nobody need ask a GPU which batches there are.
    first = (batch[:, None] == batch).to(torch.uint8).argmax(1)
    member = torch.zeros_like(kernel).scatter_(1, first[:, None], 1.0)
    reference = (batch == 0).to(kernel.dtype)
    n_cells, n_reference = member.sum(0), reference.sum()
    # Batches, but for the reference, that have cells here; none without cells of the reference.
    counted = (n_cells > 0) & (reference @ member == 0) & (n_reference > 0)
    n_cells, n_reference = n_cells.clamp_min(1.0), n_reference.clamp_min(1.0)
    to_reference = reference @ kernel
    within = (member * (kernel @ member)).sum(0) / n_cells.square()
    between = (to_reference @ member) / (n_reference * n_cells)
    of_reference = to_reference @ reference / n_reference.square()
    return torch.where(counted, of_reference + within - 2.0 * between, 0.0).abs().sum()


class InformationDimension(Regulariser):
    """entropy_weight * entropy + distance_weight * within-cluster distance + batch_weight * MMD between batches.

    The first two look at the decoder's last hidden layer (after a ReLU, over its maximum), the last at the codes, and
    only where the model was told the batch. The penalties were published beside a squared error per gene:
    ``per_gene=True``.

    Parameters
    ----------
    n_latent
        Number of latent dimensions.
    entropy_weight, distance_weight, batch_weight
        lambda_c, lambda_d and lambda_b.
    """

    name = "information_dimension"
    compares_batches = True
    steps_alike = True

    def __init__(
        self, n_latent: int, *, entropy_weight: float = 0.1, distance_weight: float = 0.2, batch_weight: float = 0.1
    ) -> None:
        super().__init__(n_latent)
        if min(entropy_weight, distance_weight, batch_weight) < 0:
            raise Refusal(
                f"weights must not be negative, not {entropy_weight}, {distance_weight} and {batch_weight}",
                "negative",
                names=["entropy_weight", "distance_weight", "batch_weight"],
                values=[entropy_weight, distance_weight, batch_weight],
            )
        self.entropy_weight = entropy_weight
        self.distance_weight = distance_weight
        self.batch_weight = batch_weight

    def penalties(self, passed: ForwardPass) -> dict[str, Tensor]:
        activations = torch.relu(passed.hidden)
        activations = activations / activations.max().clamp_min(1e-12)
        return {
            "entropy": self.entropy_weight * activation_entropy(activations),
            "within_cluster": self.distance_weight * within_cluster_distance(activations, passed.inputs),
            "batch_mmd": self.batch_weight * batch_mmd(passed.codes, passed.minibatch.batch),
        }
