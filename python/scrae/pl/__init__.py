"""Plots: training curves, embeddings and the selection of genes."""

from scrae.pl.embedding import embedding
from scrae.pl.genes import gene_selection
from scrae.pl.history import history

__all__ = ["embedding", "gene_selection", "history"]
