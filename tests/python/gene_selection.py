"""A selection of genes in one call, for the tests of the methods and of what they have in common."""

from __future__ import annotations

import pytest

import scrae
from scrae.pp.genes import METHODS, MODELLED

every_method = pytest.mark.parametrize("method", METHODS)
every_modelled = pytest.mark.parametrize("method", list(MODELLED))


def select(adata, method, n_top=50, **arguments):
    """The columns of ``adata.var`` after a selection, and the fit; SCMarker with thresholds that suit small data."""
    options = {"k": 20, "n": 5} if method == "scmarker" and "k" not in arguments else {}
    work = adata.copy()
    scrae.pp.select_genes(work, method, n_top, **options | arguments)
    return work.var, work.uns["scrae_genes"]["fit"]
