"""The neighbour graph that is written for scanpy's clusterings."""

import gc

import numpy as np
import pytest
import scanpy as sc
import torch
from sklearn.neighbors import NearestNeighbors

import scrae
from scrae.clusters import neighbour_graph, shared_neighbours
from scrae.clusters.graph import communities
from scrae.compute import neighbours


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
        ({"random_state": -1}, "random_state must be a whole number of at least 0"),
    ],
)
def test_what_cannot_be_a_graph_is_refused(blood, arguments, message):
    with pytest.raises(ValueError, match=message):
        scrae.tl.neighbors(blood, **arguments)


@pytest.fixture(scope="module")
def many():
    """Types of unequal spread, from which some are outliers, (6,000, 12) in float32."""
    rng = np.random.default_rng(3)
    of_type = rng.choice(25, 6000, p=rng.dirichlet(np.ones(25)))
    spread = rng.gamma(3, 0.3, (25, 1))[of_type]
    return torch.as_tensor(
        (rng.normal(0, 4, (25, 12))[of_type] + spread * rng.normal(size=(6000, 12))).astype(np.float32)
    )


def test_of_many_cells_nearly_all_nearest_are_found_and_in_order(many, monkeypatch):
    monkeypatch.setattr(neighbours, "LOOKED_AT", 1000)
    expected = NearestNeighbors(n_neighbors=30).fit(many).kneighbors(many, return_distance=False)
    found = neighbours.nearest_among(many, 30, random_state=1, exact=5999).numpy()
    shared = np.mean([len(set(one) & set(other)) / 30 for one, other in zip(found, expected, strict=True)])
    assert shared >= 0.95
    assert all(len(set(row)) == 30 for row in found)
    np.testing.assert_array_equal(found[:, 0], np.arange(6000))
    apart = np.linalg.norm(many.numpy()[:, None] - many.numpy()[found], axis=2)
    assert (np.diff(apart, axis=1) > -1e-3).all()


def test_up_to_the_limit_the_nearest_are_exact_and_a_seed_gives_them_again(many, monkeypatch):
    np.testing.assert_array_equal(
        neighbours.nearest_among(many, 30, random_state=1, exact=6000), neighbours.nearest(many, many, 30)
    )
    monkeypatch.setattr(neighbours, "LOOKED_AT", 300)
    one, again, other = (neighbours.nearest_among(many, 30, random_state=seed, exact=1) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_cells_that_are_all_the_same_have_as_many_neighbours_as_others(monkeypatch):
    monkeypatch.setattr(neighbours, "LOOKED_AT", 20)
    found = neighbours.nearest_among(torch.ones(600, 4), 25, random_state=0, exact=1).numpy()
    assert found.shape == (600, 25)
    assert all(len(set(row)) == 25 for row in found)


@pytest.mark.parametrize(("n_cells", "k"), [(40, 1), (200, 7), (2500, 20)])
def test_overlaps_are_products_of_who_is_near_whom(n_cells, k):
    points = np.random.default_rng(n_cells).normal(size=(n_cells, 3))
    near = NearestNeighbors(n_neighbors=k).fit(points).kneighbors(points, return_distance=False)
    held = np.zeros((n_cells, n_cells))
    np.put_along_axis(held, near, 1.0, axis=1)
    shared = held @ held.T
    expected = np.where(shared / (2 * k - shared) >= 1 / 15, shared / (2 * k - shared), 0.0)
    np.fill_diagonal(expected, 0.0)
    graph = shared_neighbours(near)
    np.testing.assert_array_equal(graph.toarray(), expected)
    assert graph.has_canonical_format


def test_a_search_for_garbage_goes_on_after_a_graph_was_made(blood):
    gc.disable()
    communities(neighbour_graph(blood.obsm["X_scrae"]), 1.0, 0)
    assert not gc.isenabled()
    gc.enable()
    communities(neighbour_graph(blood.obsm["X_scrae"]), 1.0, 0)
    assert gc.isenabled()
