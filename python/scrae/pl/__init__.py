"""Plots: training curves and embeddings."""

from scrae.pl.embedding import embedding
from scrae.pl.history import history

__all__ = ["embedding", "history"]
