"""How embeddings are compared: clusterings, agreement with known labels, batches and how they mix, and PCA."""

from scrae.metrics.batches import connectivity, kbet, mixing, purity, variance_explained
from scrae.metrics.clusterings import RESOLUTIONS, SILHOUETTE_CELLS, kmeans, leiden
from scrae.metrics.principal_components import scaled_pca
from scrae.metrics.scores import SCORES, scores

__all__ = [
    "RESOLUTIONS",
    "SCORES",
    "SILHOUETTE_CELLS",
    "connectivity",
    "kbet",
    "kmeans",
    "leiden",
    "mixing",
    "purity",
    "scaled_pca",
    "scores",
    "variance_explained",
]
