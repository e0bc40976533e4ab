"""Tools: the embedding, how far it can be trusted, and what is asked of it."""

from scrae.tl.batches import batch_report
from scrae.tl.cluster import cluster
from scrae.tl.crossvalidation import molecular_cross_validation
from scrae.tl.denoise import denoise
from scrae.tl.differential import differential_expression
from scrae.tl.embedding import scrae
from scrae.tl.neighbors import neighbors
from scrae.tl.outliers import outliers
from scrae.tl.sample import sample
from scrae.tl.stability import stability
from scrae.tl.synthetic import compare_cells, sample_report

__all__ = [
    "batch_report",
    "cluster",
    "compare_cells",
    "denoise",
    "differential_expression",
    "molecular_cross_validation",
    "neighbors",
    "outliers",
    "sample",
    "sample_report",
    "scrae",
    "stability",
]
