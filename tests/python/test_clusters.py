"""Clusters without a number: the graph, the separation of groups, the tree, and the call that makes them."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.stats import truncnorm
from sklearn.metrics import adjusted_rand_score, jaccard_score
from sklearn.neighbors import NearestNeighbors

import scrae
from pictures import assert_file_shows, ticks_of
from scrae.clusters import LEVELS, Landmarks, agreement, grow, neighbour_graph
from scrae.clusters.crossed_factors import crossed_pairs
from scrae.clusters.graph import NEIGHBOURS, communities
from scrae.clusters.overlap import PRUNED
from scrae.clusters.separation import distance_of_a_cut, separation
from scrae.clusters.tree import WITHIN
from treated_cells import treated_cells


def groups(sizes, apart, n_dimensions=5, seed=0):
    """Points in normal groups whose centres are so far apart, and the groups."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(len(sizes)), sizes)
    centres = apart / np.sqrt(2) * np.eye(len(sizes), n_dimensions)
    return centres[of] + rng.normal(size=(len(of), n_dimensions)), of


# -- the graph ------------------------------------------------------------------------------------------------------


def test_weights_are_the_jaccard_indices_of_the_neighbours():
    points, _ = groups((40, 30), 4)
    graph = neighbour_graph(points).toarray()
    near = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(points).kneighbors_graph(points).toarray().astype(bool)
    for i, j in [(0, 1), (3, 17), (39, 40), (50, 69)]:
        expected = jaccard_score(near[i], near[j])
        assert graph[i, j] == pytest.approx(expected if expected >= PRUNED else 0.0)
    assert (graph == graph.T).all()
    np.testing.assert_array_equal(neighbour_graph(points[:, ::-1]).toarray(), graph)  # however it lies in memory
    assert not graph.diagonal().any()


def test_communities_of_separate_groups_are_the_groups():
    points, of = groups((60, 50, 40), 30)
    found = communities(neighbour_graph(points), 0.1, 0, 3)
    assert adjusted_rand_score(of, found) == 1
    np.testing.assert_array_equal(found, communities(neighbour_graph(points), 0.1, 0, 3))


# -- the separation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.5, 0.2, 0.01])
def test_the_distance_of_a_cut_is_that_of_two_truncated_normal_distributions(share):
    at = truncnorm.isf(share, -np.inf, np.inf)
    low, high = truncnorm(-np.inf, at), truncnorm(at, np.inf)
    expected = (high.mean() - low.mean()) / np.sqrt((high.var() + low.var()) / 2)
    assert distance_of_a_cut(share) == pytest.approx(expected, rel=1e-6)


def test_one_group_that_is_cut_in_two_is_one_apart_at_most():
    points, _ = groups((4000,), 0, 3)
    for share in (0.5, 0.2, 0.05):
        upper = points[:, 0] > np.quantile(points[:, 0], 1 - share)
        assert separation(points[~upper], points[upper]) == pytest.approx(1.0, abs=0.06)


def test_groups_of_noise_are_not_apart_in_many_dimensions_where_any_two_can_be_parted():
    points = np.random.default_rng(0).normal(size=(60, 50))
    assert separation(points[:30], points[30:]) < 0.5


def test_separation_grows_with_the_distance_and_does_not_depend_on_the_number_of_cells_or_the_scale():
    few, many = (groups((n, n), 6)[0] for n in (200, 5000))
    assert separation(few[:200], few[200:]) == pytest.approx(separation(many[:5000], many[5000:]), rel=0.15)
    assert separation(many[:5000], many[5000:]) == pytest.approx(6 / distance_of_a_cut(0.5), rel=0.05)
    assert separation(1e4 * few[:200], 1e4 * few[200:]) == pytest.approx(separation(few[:200], few[200:]))
    near = groups((200, 200), 3)[0]
    assert separation(near[:200], near[200:]) < separation(few[:200], few[200:])


def test_groups_of_one_cell_or_of_equal_cells_have_an_answer():
    points, _ = groups((50, 50), 5)
    assert separation(points[:1], points[1:]) == 0
    assert separation(np.zeros((5, 3)), np.ones((5, 3))) == np.inf
    assert separation(np.ones((5, 3)), np.ones((5, 3))) == 0
    assert np.isfinite(separation(points[:2], points[50:52]))


# -- the tree -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tree():
    points, of = groups((300, 200, 150, 100), 12)
    points[of == 3] -= (points[of == 3].mean(0) - points[of == 2].mean(0)) * 0.55  # nearer to each other
    return grow(neighbour_graph(points), points, points), of


def test_well_separated_groups_are_found_at_every_level(tree):
    tree, of = tree
    for least in LEVELS.values():
        assert adjusted_rand_score(of, tree.clusters(tree.nodes(least))) > 0.97


def test_numbers_follow_the_tree(tree):
    tree, of = tree
    found = tree.clusters(tree.nodes(LEVELS["default"]))
    first, second = (pd.Series(found[of == group]).mode()[0] for group in (2, 3))
    assert abs(first - second) == 1


def test_every_number_of_clusters_is_nested_in_the_next(tree):
    tree, _ = tree
    assert len(tree.nodes_of(1)) == 1
    for n in range(2, tree.n_leaves + 1):
        coarse, fine = (tree.clusters(tree.nodes_of(k)) for k in (n - 1, n))
        assert len(np.unique(fine)) == n
        assert (pd.DataFrame({"fine": fine, "coarse": coarse}).groupby("fine")["coarse"].nunique() == 1).all()
    assert (tree.heights[:-1] <= tree.heights[-1]).all()
    assert tree.sizes[-1] == 750


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_one_cluster_at_every_level(seed):
    points = np.random.default_rng(seed).normal(size=(600, 10))
    tree = grow(neighbour_graph(points), points, points, seed)
    assert tree.n_leaves > 1
    assert [len(tree.nodes(least)) for least in LEVELS.values()] == [1, 1, 1]


def test_groups_that_hang_together_in_the_graph_need_to_lie_further_apart():
    points, _ = groups((300, 12), 8, 3)
    tree = grow(sp.csr_array(np.ones((312, 312)) - np.eye(312)), points, points)
    assert tree.heights == pytest.approx(np.maximum.accumulate(tree.separations) / WITHIN)


# -- crossed factors ------------------------------------------------------------------------------------------------


def crossed(types, factor, sizes=80, own=0.0, seed=0):
    """Points of types (rows of means) in two batches, which are ``factor`` apart and ``own`` more in each type."""
    rng = np.random.default_rng(seed)
    types = np.asarray(types, dtype=float)
    of_type, of_batch = (grid.ravel() for grid in np.meshgrid(range(len(types)), (0, 1), indexing="ij"))
    means = types[of_type] + of_batch[:, None] * (
        np.asarray(factor, dtype=float) + own * rng.normal(size=types.shape)[of_type]
    )
    clusters = np.repeat(np.arange(2 * len(types)), sizes)
    return means[clusters] + rng.normal(size=(len(clusters), types.shape[1])), clusters


THREE = 10 * np.eye(3, 8)  # 14 apart
ASIDE = 8 * np.eye(8)[7]


def test_a_factor_that_parts_three_types_in_the_same_way_is_found():
    points, clusters = crossed(THREE, ASIDE)
    assert sorted(crossed_pairs([points], clusters)) in ([(0, 1), (2, 3), (4, 5)], [(1, 0), (3, 2), (5, 4)])


def test_the_same_level_of_the_factor_stands_first_in_each_pair():
    points, clusters = crossed(THREE, ASIDE)
    renamed = np.asarray([3, 0, 1, 5, 4, 2])[clusters]  # type 0: 3 and 0, type 1: 1 and 5, type 2: 4 and 2
    assert {frozenset(pairs) for pairs in [crossed_pairs([points], renamed)]} <= {
        frozenset({(3, 0), (1, 5), (4, 2)}),
        frozenset({(0, 3), (5, 1), (2, 4)}),
    }


def test_differences_that_are_each_types_own_are_no_factor():
    rng = np.random.default_rng(0)
    points, clusters = groups((80,) * 8, 14, 8)
    assert crossed_pairs([points], clusters) == []
    points, clusters = crossed(THREE, np.zeros(8), own=3.0)  # each type in two parts, which differ in ways of their own
    assert crossed_pairs([points], clusters) == []
    assert crossed_pairs([rng.normal(size=(600, 8))], rng.integers(0, 6, 600)) == []  # noise
    assert crossed_pairs([points[:40]], clusters[:40]) == []  # a single cluster


def test_a_parallelogram_of_two_pairs_is_read_as_types_only_along_a_side_that_is_twice_as_long():
    near, far = 10 * np.eye(2, 8)[1:] * 1.2, 10 * np.eye(2, 8)[1:] * 3
    points, clusters = crossed(np.concatenate([np.zeros((1, 8)), near]), 10 * np.eye(8)[0])
    assert crossed_pairs([points], clusters) == []
    points, clusters = crossed(np.concatenate([np.zeros((1, 8)), far]), 10 * np.eye(8)[0])
    assert sorted(map(sorted, crossed_pairs([points], clusters))) == [[0, 1], [2, 3]]


def test_a_factor_has_to_be_seen_in_every_space():
    points, clusters = crossed(THREE, ASIDE)
    stretched = sp.csr_array(points * np.r_[np.ones(7), 3.0])  # there the factor is longer than the types are apart
    assert len(crossed_pairs([points, sp.csr_array(points)], clusters)) == 3
    assert crossed_pairs([points, stretched], clusters) == []


def test_noise_in_the_means_is_not_taken_for_differences_of_each_types_own():
    points, clusters = crossed(np.tile(THREE, (1, 20)), np.tile(ASIDE, 20) / 8, sizes=20)
    means = np.stack([points[clusters == cluster].mean(0) for cluster in range(6)])
    own = [(means[1] - means[0] - means[3] + means[2]) / 2, (means[1] - means[0] + means[3] - means[2]) / 2]
    assert 4 * (own[0] ** 2).sum() > (own[1] ** 2).sum()  # as the means are, it looks like that
    assert len(crossed_pairs([points], clusters)) == 3


def test_batches_are_joined_at_the_default_level_and_apart_at_the_fine_one():
    points, clusters = crossed(THREE, ASIDE)
    tree = grow(neighbour_graph(points), points, points)
    by_default, fine, broad = (tree.clusters(tree.nodes(LEVELS[level])) for level in ("default", "fine", "broad"))
    assert adjusted_rand_score(clusters // 2, by_default) == 1
    assert adjusted_rand_score(clusters // 2, broad) == 1
    assert adjusted_rand_score(clusters, fine) == 1
    assert (tree.factors > 0).sum() == 3
    assert (np.diff(tree.children[tree.factors > 0]) != 0).all()


def test_a_tree_with_a_factor_holds_every_cell_once_and_never_falls():
    points, _ = crossed(THREE, ASIDE)
    tree = grow(neighbour_graph(points), points, points)
    assert tree.sizes[-1] == len(points)
    assert sorted(tree.children.ravel()) == list(range(2 * tree.n_leaves - 2))
    above = dict(enumerate(np.r_[np.zeros(tree.n_leaves), tree.heights]))
    for node, children in enumerate(tree.children, start=tree.n_leaves):
        assert above[node] >= max(above[int(child)] for child in children)
    for n in range(2, tree.n_leaves + 1):
        coarse, fine = (tree.clusters(tree.nodes_of(k)) for k in (n - 1, n))
        assert len(set(zip(fine, coarse, strict=True))) == n


def test_cells_that_hardly_belong_to_a_cluster_are_less_sure(tree):
    points, of = groups((200, 200), 3.2)
    graph = neighbour_graph(points)
    sure = agreement(graph, of)
    between = np.abs(points[:, 0] - points[:, 1]) < 0.5
    assert sure.of_cells[between].mean() < sure.of_cells[~between].mean()
    assert ((sure.of_cells >= 0) & (sure.of_cells <= 1)).all()
    made_up = agreement(graph, np.random.default_rng(0).integers(2, size=400))
    assert made_up.of_clusters.max() < 0.75 < sure.of_clusters.min()


def test_cells_beside_the_landmarks_take_the_cluster_around_them():
    points, of = groups((900, 600), 12)
    landmarks = Landmarks.of(points, 0, most=300)
    clusters, confidence = landmarks.spread(of[landmarks.cells], np.ones(300))
    np.testing.assert_array_equal(clusters, of)
    assert (confidence == 1).all()
    assert Landmarks.of(points, 0).around is None


# -- the call -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def _embedded():
    adata = scrae.datasets.pbmc()
    scrae.tl.scrae(adata, max_epochs=30, verbose=False)
    scrae.tl.cluster(adata)
    return adata


@pytest.fixture
def embedded(_embedded):
    return _embedded.copy()


def test_one_call_writes_clusters_confidence_and_what_was_judged(embedded, tmp_path):
    found = embedded.uns["scrae_clusters"]
    clusters = embedded.obs["scrae_clusters"]
    names = [str(i) for i in range(len(found["clusters"]))]
    assert list(clusters.cat.categories) == list(found["clusters"].index) == names
    assert 3 <= len(names) <= 12
    assert adjusted_rand_score(embedded.obs["cell_type"], clusters) > 0.35
    assert embedded.obs["scrae_cluster_confidence"].between(0, 1).all()
    assert list(clusters.value_counts()[names]) == list(found["clusters"]["n_cells"])
    assert found["tree"]["kept_apart"].sum() == len(names) - 1
    assert (found["tree"]["height"][found["tree"]["kept_apart"]] >= LEVELS["default"]).all()
    embedded.write_h5ad(tmp_path / "clustered.h5ad")
    stored = anndata.read_h5ad(tmp_path / "clustered.h5ad")
    pd.testing.assert_frame_equal(stored.uns["scrae_clusters"]["tree"], found["tree"], check_index_type=False)
    assert list(stored.obs["scrae_clusters"]) == list(clusters)


def test_b_cells_are_set_apart_by_their_genes(embedded):
    of_b_cells = embedded.obs["scrae_clusters"][embedded.obs["cell_type"] == "CD19+ B"].mode()[0]
    genes = embedded.uns["scrae_clusters"]["clusters"]["genes"][of_b_cells].split(", ")
    assert {"CD79A", "CD79B"} & set(genes)


def test_levels_are_nested_and_a_number_is_kept(embedded):
    found = {}
    for level in ("broad", "default", "fine", 3):
        scrae.tl.cluster(embedded, level=level)
        found[level] = embedded.obs["scrae_clusters"].astype(str)
    for fine, coarse in (("fine", "default"), ("default", "broad")):
        assert (pd.crosstab(found[fine], found[coarse]) > 0).sum(axis=1).max() == 1
    assert found[3].nunique() == 3
    for n in (1, 2, 5):
        scrae.tl.cluster(embedded, level=n)
        assert embedded.obs["scrae_clusters"].nunique() == n
    scrae.tl.cluster(embedded, resolution=LEVELS["default"] / LEVELS["broad"])
    assert list(embedded.obs["scrae_clusters"]) == list(found["broad"])


def test_the_same_seed_gives_the_same_clusters_and_counts_elsewhere_too(embedded):
    expected = embedded.obs["scrae_clusters"].copy()
    scrae.tl.cluster(embedded)
    pd.testing.assert_series_equal(embedded.obs["scrae_clusters"], expected)
    embedded.layers["counts"] = embedded.X.copy()
    embedded.X = np.zeros(embedded.shape, dtype=np.float32)
    scrae.tl.cluster(embedded, layer="counts")
    pd.testing.assert_series_equal(embedded.obs["scrae_clusters"], expected)


def test_log_normalised_values_do_as_well_as_counts(embedded):
    import scanpy as sc

    expected = embedded.obs["scrae_clusters"].copy()
    sc.pp.normalize_total(embedded)
    sc.pp.log1p(embedded)
    scrae.tl.cluster(embedded)
    assert adjusted_rand_score(embedded.obs["scrae_clusters"], expected) > 0.95


def test_a_copy_is_changed_where_one_is_asked_for(embedded):
    changed = scrae.tl.cluster(embedded, copy=True, key_added="groups")
    assert "groups" in changed.obs
    assert "group_confidence" in changed.obs
    assert "batch_key" not in changed.uns["groups"]["params"]
    assert "groups" not in embedded.obs


def test_clusters_of_one_batch_alone_are_said_to_be_so(embedded):
    of_two = embedded.obs["scrae_clusters"].isin(["0"]).to_numpy()
    rng = np.random.default_rng(0)
    embedded.obs["donor"] = np.where(of_two, "a", rng.choice(["a", "b"], embedded.n_obs))
    scrae.tl.cluster(embedded, batch_key="donor")
    assert embedded.uns["scrae_clusters"]["params"]["batch_key"] == "donor"
    table = embedded.uns["scrae_clusters"]["clusters"]
    mostly = pd.crosstab(embedded.obs["scrae_clusters"], of_two).idxmax(axis=1)
    assert set(table["batch"][mostly]) == {"a"}
    assert set(table["batch"][~mostly]) == {""}


@pytest.fixture
def treated():
    return treated_cells()


def test_a_difference_that_all_types_share_is_told_and_joined_and_kept_apart_at_the_fine_level(treated, tmp_path):
    with pytest.warns(UserWarning, match="clusters 0, 1, 2 hold groups .* a batch, a treatment or a state") as told:
        scrae.tl.cluster(treated)
    assert adjusted_rand_score(treated.obs["type"], treated.obs["scrae_clusters"]) == 1
    (factor,) = treated.uns["scrae_clusters"]["factors"].to_dict("records")
    assert factor["n_cells"] == factor["n_cells_other"] == 180
    of_treatment = {f"gene{i}" for i in range(30, 35)}
    assert of_treatment in [set(factor[name].split(", ")) for name in ("genes", "genes_other")]
    assert all(gene in str(told[0].message) for gene in of_treatment)
    joins = treated.uns["scrae_clusters"]["tree"].query("factor > 0")
    assert len(joins) == 3
    assert not joins["kept_apart"].any()
    assert joins["reason"].str.startswith("differ as others do, by factor 1").all()
    treated.write_h5ad(tmp_path / "treated.h5ad")
    read = anndata.read_h5ad(tmp_path / "treated.h5ad").uns["scrae_clusters"]["factors"]
    assert read["clusters"].tolist() == ["0, 1, 2"]

    scrae.tl.cluster(treated, level="fine")
    both = treated.obs["type"].astype(str) + treated.obs["treated"].astype(str)
    assert adjusted_rand_score(both, treated.obs["scrae_clusters"]) == 1
    assert treated.uns["scrae_clusters"]["factors"].empty


def test_a_treatment_that_is_named_is_taken_out_and_needs_no_telling(treated):
    treated.obs["treatment"] = np.where(treated.obs["treated"], "yes", "no")
    scrae.tl.cluster(treated, batch_key="treatment")
    assert treated.uns["scrae_clusters"]["factors"].empty


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda a: a.obsm.clear(), {}, r"call scrae\.tl\.scrae\(adata\) first"),
        (lambda a: None, {"key": "mine"}, "adata.obsm has no 'X_mine'"),
        (lambda a: None, {"level": "coarse"}, "'broad', 'default', 'fine', nor a number of"),
        (lambda a: None, {"level": 0}, "level=0 is none of"),
        (lambda a: None, {"level": True}, "level=True is none of"),
        (lambda a: None, {"level": 10_000}, "fall into .* groups at most"),
        (lambda a: None, {"resolution": 0}, "resolution must be positive"),
        (lambda a: None, {"resolution": "high"}, "resolution must be positive"),
        (lambda a: None, {"batch_key": "donr"}, "adata.obs has no column 'donr'"),
        (lambda a: a.uns.pop("scrae_clusters"), {}, "is not the work of an earlier call"),
        (lambda a: a.obsm["X_scrae"].__setitem__((0, 0), np.nan), {}, "not finite"),
    ],
)
def test_what_cannot_be_clustered_is_refused_and_nothing_is_changed(embedded, change, arguments, message):
    change(embedded)
    before = embedded.obs.copy(), list(embedded.uns)
    with pytest.raises(ValueError, match=message):
        scrae.tl.cluster(embedded, **arguments)
    pd.testing.assert_frame_equal(embedded.obs, before[0])
    assert list(embedded.uns) == before[1]


def test_the_picture_shows_cells_tree_and_stability(embedded, tmp_path):
    figure = scrae.pl.clusters(embedded)
    cells, tree, stability = figure.axes
    table = embedded.uns["scrae_clusters"]["clusters"]
    assert ticks_of(tree.yaxis) == [f"{name}  ({size:,})" for name, size in table["n_cells"].items()]
    assert sorted(text.get_text() for text in cells.texts) == list(table.index)
    assert [bar.get_width() for bar in stability.patches] == list(table["stability"])
    figure.savefig(tmp_path / "clusters.png", dpi=80)
    assert_file_shows(tmp_path / "clusters.png", figure, 80, embedded.uns["scrae_clusters_colors"])


def test_a_picture_without_clusters_says_what_to_call(pbmc):
    with pytest.raises(ValueError, match=r"call scrae\.tl\.cluster\(adata\) first"):
        scrae.pl.clusters(pbmc)
