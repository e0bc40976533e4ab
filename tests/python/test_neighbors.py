"""The neighbour graph that is written for scanpy's clusterings."""

import numpy as np
import pytest
import scanpy as sc
from sklearn.neighbors import NearestNeighbors

import scrae


@pytest.fixture
def blood():
    adata = scrae.datasets.pbmc()
    adata.obsm["X_scrae"] = scrae.metrics.scaled_pca(adata, 30, 0)
    return adata


def test_weights_are_shared_neighbours_and_distances_those_of_scikit_learn(blood):
    blood = blood[:120].copy()
    scrae.tl.neighbors(blood, n_neighbors=15)
    points = blood.obsm["X_scrae"]
    apart, near = NearestNeighbors(n_neighbors=15).fit(points).kneighbors(points)
    distances = blood.obsp["distances"].toarray()
    for cell in range(120):
        np.testing.assert_allclose(distances[cell, near[cell, 1:]], apart[cell, 1:], rtol=1e-6)
        assert np.count_nonzero(distances[cell]) == 14
    held = [set(row) for row in near]
    shared = np.array([[len(one & other) / len(one | other) for other in held] for one in held])
    np.fill_diagonal(shared, 0)
    np.testing.assert_allclose(blood.obsp["connectivities"].toarray(), np.where(shared >= 1 / 15, shared, 0))


@pytest.mark.parametrize(("n_cells", "expected"), [(15, 15), (100, 20), (700, 26)])
def test_the_number_of_neighbours_follows_the_number_of_cells(blood, n_cells, expected):
    blood = blood[:n_cells].copy()
    scrae.tl.neighbors(blood)
    assert blood.uns["neighbors"]["params"]["n_neighbors"] == expected


def test_scanpy_clusters_and_draws_cells_by_the_graph_at_its_defaults(blood):
    scrae.tl.neighbors(blood)
    sc.tl.leiden(blood, flavor="igraph", n_iterations=2, directed=False)
    assert scrae.metrics.scores(blood.obs["cell_type"], blood.obs["leiden"])["NMI"] > 0.5
    sc.tl.umap(blood, maxiter=10)
    assert np.isfinite(blood.obsm["X_umap"]).all()


def test_the_embedding_is_taken_by_its_name_and_a_copy_leaves_the_object(blood):
    blood.obsm["X_mine"] = blood.obsm.pop("X_scrae")
    changed = scrae.tl.neighbors(blood, key="mine", copy=True)
    assert changed.uns["neighbors"]["params"]["use_rep"] == "X_mine"
    assert not blood.obsp
    assert "neighbors" not in blood.uns


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"key": "none"}, "adata.obsm has no 'X_none'"),
        ({"n_neighbors": 1}, "n_neighbors must be a whole number of at least 2"),
        ({"n_neighbors": 15.5}, "n_neighbors must be a whole number"),
    ],
)
def test_what_cannot_be_a_graph_is_refused(blood, arguments, message):
    with pytest.raises(ValueError, match=message):
        scrae.tl.neighbors(blood, **arguments)
