"""Tools: the embedding, and how far it can be trusted."""

from scrae.tl.embedding import scrae
from scrae.tl.stability import stability

__all__ = ["scrae", "stability"]
