"""Arrays of dask train what they would train in memory, and are never computed as a whole."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp

import scrae
from scrae.data.cells import read_cells
from scrae.data.on_disk import is_on_disk

CELLS = 150  # of a block


def sparse_blocks(matrix):
    parts = [sp.csr_matrix(matrix[start : start + CELLS]) for start in range(0, matrix.shape[0], CELLS)]
    return da.concatenate([da.from_array(part, chunks=part.shape, asarray=False) for part in parts])


def dense_blocks(matrix):
    return da.from_array(matrix.toarray(), chunks=(CELLS, 100))  # cut across the genes, too


@pytest.fixture(params=[sparse_blocks, dense_blocks])
def lazy(pbmc, request):
    adata = pbmc.copy()
    adata.X = request.param(pbmc.X)
    return adata


@pytest.fixture
def computed(monkeypatch):
    """Numbers of cells of what is computed."""
    sizes, compute = [], da.Array.compute

    def noted(array, *arguments, **named):
        sizes.append(array.shape[0])
        return compute(array, *arguments, **named)

    monkeypatch.setattr(da.Array, "compute", noted)
    return sizes


def test_counts_are_computed_by_blocks_of_cells_and_put_on_disk(pbmc, lazy, computed):
    counts = read_cells(lazy).counts
    assert (counts != sp.csr_array(pbmc.X)).nnz == 0
    assert is_on_disk(counts)
    assert computed == [150, 150, 150, 150, 100]


def test_embedding_genes_and_clusters_are_those_of_counts_in_memory(pbmc, lazy, computed):
    before = lazy.X
    for adata in (pbmc, lazy):
        scrae.tl.scrae(adata, n_genes=200, max_epochs=2, verbose=False)
    assert max(computed) == CELLS
    for adata in (pbmc, lazy):
        scrae.tl.cluster(adata)  # looks at up to 20,000 cells at once
    assert np.array_equal(pbmc.obsm["X_scrae"], lazy.obsm["X_scrae"])
    assert list(pbmc.var["scrae_selected"]) == list(lazy.var["scrae_selected"])
    assert list(pbmc.obs["scrae_clusters"]) == list(lazy.obs["scrae_clusters"])
    assert lazy.X is before


def test_a_bare_array_and_a_trained_model_take_them(pbmc, lazy, computed):
    model = scrae.SCRAE(max_epochs=2, verbose=False).fit(pbmc.X)
    other = scrae.SCRAE(max_epochs=2, verbose=False).fit(lazy.X)
    assert np.array_equal(model.embed(), other.embed())
    assert np.array_equal(model.embed(pbmc.X), model.embed(lazy.X))
    assert max(computed) == CELLS


def test_a_wrong_value_is_named_by_its_cell_in_whatever_block(pbmc, lazy):
    values = pbmc.X.toarray()
    values[400, 3] = 0.5
    lazy.X = da.from_array(values, chunks=(CELLS, 765))
    wrong = f"0.5, cell '{pbmc.obs_names[400]}', gene '{pbmc.var_names[3]}'"
    with pytest.raises(scrae.CountsError, match=wrong):
        scrae.tl.scrae(lazy, genes="all", max_epochs=2)
    with pytest.raises(scrae.CountsError, match="cell '400'"):
        scrae.SCRAE().fit(lazy.X)
