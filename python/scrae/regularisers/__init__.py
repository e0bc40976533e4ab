"""The regulariser family: how codes are held to a prior. One idea a file."""

from scrae.regularisers.adversarial import FixedPrior, LearnedPrior, gradient_penalty
from scrae.regularisers.base import Autoencoder, ForwardPass, NoRegulariser, Regulariser
from scrae.regularisers.centroids import kmeans
from scrae.regularisers.clustering import ClusteredCodes
from scrae.regularisers.dec import DeepEmbeddedClustering, clustering_loss, soft_assignment, target_distribution
from scrae.regularisers.dual_matching import DualMatching, bhattacharyya, spread
from scrae.regularisers.information_dimension import (
    InformationDimension,
    activation_entropy,
    batch_mmd,
    within_cluster_distance,
)
from scrae.regularisers.mmd import MMDPrior, mmd
from scrae.regularisers.number_of_clusters import number_of_clusters
from scrae.regularisers.soft_kmeans import SoftKMeans, inflated_affinity_kl, weighted_soft_kmeans
from scrae.regularisers.sphere import UnitSphere
from scrae.regularisers.variational import MixturePrior, NormalPrior, SpikeAndSlab, spike_and_slab_kl

__all__ = [
    "Autoencoder",
    "ClusteredCodes",
    "DeepEmbeddedClustering",
    "DualMatching",
    "FixedPrior",
    "ForwardPass",
    "InformationDimension",
    "LearnedPrior",
    "MMDPrior",
    "MixturePrior",
    "NoRegulariser",
    "NormalPrior",
    "Regulariser",
    "SoftKMeans",
    "SpikeAndSlab",
    "UnitSphere",
    "activation_entropy",
    "batch_mmd",
    "bhattacharyya",
    "clustering_loss",
    "gradient_penalty",
    "inflated_affinity_kl",
    "kmeans",
    "mmd",
    "number_of_clusters",
    "soft_assignment",
    "spike_and_slab_kl",
    "spread",
    "target_distribution",
    "weighted_soft_kmeans",
    "within_cluster_distance",
]
