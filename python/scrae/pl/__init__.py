"""Plots: training curves, embeddings, clusters, batches, the selection of genes, and the report of a run."""

from scrae.pl.batches import batches
from scrae.pl.clusters import clusters
from scrae.pl.embedding import embedding
from scrae.pl.genes import gene_selection
from scrae.pl.history import history
from scrae.pl.report import report

__all__ = ["batches", "clusters", "embedding", "gene_selection", "history", "report"]
