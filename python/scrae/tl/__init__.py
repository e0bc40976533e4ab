"""Tools: the embedding."""

from scrae.tl.embedding import scrae

__all__ = ["scrae"]
