"""How embeddings are compared: clusterings, their agreement with known labels, and the PCA that stands beside them."""

from scrae.metrics.clusterings import RESOLUTIONS, SILHOUETTE_CELLS, kmeans, leiden
from scrae.metrics.principal_components import scaled_pca
from scrae.metrics.scores import SCORES, scores

__all__ = ["RESOLUTIONS", "SCORES", "SILHOUETTE_CELLS", "kmeans", "leiden", "scaled_pca", "scores"]
