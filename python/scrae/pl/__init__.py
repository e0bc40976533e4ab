"""Plots: training curves, embeddings, clusters, batches and the selection of genes."""

from scrae.pl.batches import batches
from scrae.pl.clusters import clusters
from scrae.pl.embedding import embedding
from scrae.pl.genes import gene_selection
from scrae.pl.history import history

__all__ = ["batches", "clusters", "embedding", "gene_selection", "history"]
