"""Types of a few cells, which their genes set apart and no graph shows."""

import numpy as np
import pytest
import scipy.sparse as sp

import scrae
from scrae.clusters import LEVELS, RareType, find_rare_types, grow, neighbour_graph, with_rare_types

N_GENES = 400


def counts_of(n_cells, rng, raised=(), times=12.0):
    """Poisson counts of one type; ``raised`` are genes that it expresses so many times as much."""
    mean = np.random.default_rng(99).lognormal(-1.2, 0.6, N_GENES)
    mean[list(raised)] *= times
    return rng.poisson(mean * rng.lognormal(0, 0.2, (n_cells, 1)))


def found_in(counts, communities, seed=0):
    """Rare types, with an embedding that shows the communities and nothing else."""
    totals = np.maximum(counts.sum(1, keepdims=True), 1)
    expression = sp.csr_array(np.log1p(counts / totals * np.median(totals)))
    embedding = 10 * communities[:, None] + np.random.default_rng(seed).normal(size=(len(counts), 5))
    return find_rare_types(expression, communities, embedding, LEVELS["default"], seed)


def mixture(seed=0):
    """300 + 300 cells of two types, and ten of a third among the first."""
    rng = np.random.default_rng(seed)
    parts = [
        counts_of(290, rng),
        counts_of(10, rng, raised=range(20, 36)),
        counts_of(300, rng, raised=range(40, 70)),
    ]
    return np.concatenate(parts), np.repeat([0, 1], 300)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ten_cells_with_genes_of_their_own_are_found_where_the_embedding_does_not_show_them(seed):
    (found,) = found_in(*mixture(seed), seed)
    assert len(np.intersect1d(found.cells, np.arange(290, 300))) >= 9
    assert len(found.cells) <= 12
    assert found.separation > LEVELS["default"]
    assert found.stability > 0.75
    assert found.confidence.shape == found.cells.shape
    assert found.confidence.min() >= 0
    assert found.confidence.max() <= 1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nothing_is_found_where_the_same_counts_are_permuted_within_each_gene(seed):
    counts, communities = mixture(seed)
    rng = np.random.default_rng(seed)
    permuted = np.stack([rng.permutation(counts[:, gene]) for gene in range(N_GENES)], axis=1)
    assert found_in(permuted, communities, seed) == []


def test_one_gene_alone_makes_no_type():
    rng = np.random.default_rng(0)
    counts = np.concatenate([counts_of(290, rng), counts_of(10, rng, raised=[20], times=200.0)])
    assert found_in(counts, np.zeros(300, dtype=int)) == []


def test_doublets_of_two_types_are_no_type():
    rng = np.random.default_rng(0)
    one, other = counts_of(290, rng), counts_of(300, rng, raised=range(40, 70))
    doublets = counts_of(10, rng) + counts_of(10, rng, raised=range(40, 70))
    assert found_in(np.concatenate([one, doublets, other]), np.repeat([0, 1], 300)) == []


def test_cells_of_another_type_that_lie_in_the_wrong_community_are_no_type():
    rng = np.random.default_rng(0)
    parts = [counts_of(290, rng), counts_of(10, rng, raised=range(40, 70)), counts_of(300, rng, raised=range(40, 70))]
    assert found_in(np.concatenate(parts), np.repeat([0, 1], 300)) == []


def test_too_few_cells_or_genes_have_no_rare_types():
    counts, communities = mixture()
    assert found_in(counts[::20], communities[::20]) == []
    assert found_in(counts[:, :8], communities) == []


@pytest.fixture(scope="module")
def tree():
    rng = np.random.default_rng(0)
    cells = np.concatenate([rng.normal(size=(80, 5)) + at for at in (0, 8, 30)])
    return grow(neighbour_graph(cells), cells, cells)


def rare(cells, separation):
    return RareType(np.asarray(cells), separation, np.ones(len(cells)), 1.0)


@pytest.mark.parametrize("separations", [(1.3,), (2.0, 1.4), (50.0, 1.3)])
def test_a_rare_type_is_a_leaf_and_all_else_stays_nested(tree, separations):
    types = [rare(np.arange(6) + 80 * i, separation) for i, separation in enumerate(separations)]
    grown = with_rare_types(tree, types)
    assert grown.n_leaves == tree.n_leaves + len(types)
    assert grown.sizes[-1] == 240
    assert (np.bincount(grown.children.ravel(), minlength=len(grown.sizes))[:-1] == 1).all()
    assert all(grown.sizes[tree_leaf] == 6 for tree_leaf in grown.rare)
    for i, pair in enumerate(grown.children):
        for child in pair[pair >= grown.n_leaves]:
            assert grown.heights[child - grown.n_leaves] <= grown.heights[i]
    for least in (1.25, 1.35, 1.6):
        found = grown.clusters(grown.nodes(least))
        for one in types:
            alone = np.bincount(found)[found[one.cells[0]]] == len(one.cells)
            assert alone == (one.separation >= least)
        others = np.setdiff1d(np.arange(240), np.concatenate([one.cells for one in types]))
        before = tree.clusters(tree.nodes(least))
        assert len(set(zip(found[others], before[others], strict=True))) == before.max() + 1


def test_what_is_a_cluster_already_stays_what_it_is(tree):
    assert with_rare_types(tree, [rare(np.arange(80, 150), 3.0)]) is tree


def test_a_leaf_that_loses_all_its_cells_is_left_out(tree):
    leaf = int(np.argmin(tree.sizes[: tree.n_leaves]))
    whole = np.flatnonzero(tree.leaf == leaf)
    grown = with_rare_types(tree, [rare(np.union1d(whole, np.flatnonzero(tree.leaf != leaf)[: 2 * len(whole)]), 2.0)])
    assert (grown.sizes > 0).all()
    assert grown.sizes[-1] == 240


def test_progenitors_among_blood_cells_are_found_by_their_genes_where_asked_for():
    adata = scrae.datasets.pbmc()
    adata.obsm["X_scrae"] = scrae.metrics.scaled_pca(adata, 30, 0)
    scrae.tl.cluster(adata)
    assert "found_by" not in adata.uns["scrae_clusters"]["clusters"]
    scrae.tl.cluster(adata, rare=True)
    assert adata.uns["scrae_clusters"]["params"]["rare"]
    table = adata.uns["scrae_clusters"]["clusters"]
    (name,) = table.index[table["found_by"] == "genes"]
    cells = (adata.obs["scrae_clusters"] == name).to_numpy()
    progenitors = (adata.obs["cell_type"] == "CD34+").to_numpy()
    assert 2 * np.sum(cells & progenitors) / (cells.sum() + progenitors.sum()) > 0.6
    assert table.loc[name, "separation"] >= LEVELS["default"]
    assert table.loc[name, "stability"] > 0.75
    tree = adata.uns["scrae_clusters"]["tree"]
    assert tree["reason"].str.startswith("a few cells with genes of their own").sum() == 1
