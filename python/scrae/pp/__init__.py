"""Preprocessing: the choice of genes."""

from scrae.pp.genes import select_genes

__all__ = ["select_genes"]
