"""Tools: the embedding, how far it can be trusted, and what is asked of it."""

from scrae.tl.differential import differential_expression
from scrae.tl.embedding import scrae
from scrae.tl.stability import stability

__all__ = ["differential_expression", "scrae", "stability"]
