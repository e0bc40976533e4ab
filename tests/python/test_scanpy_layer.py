"""The scverse surface: genes, tl, plots, scores, data."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from sklearn import metrics as sklearn_metrics
from sklearn.neighbors import KNeighborsTransformer, NearestNeighbors

import scrae
from pictures import assert_file_shows, legend_of
from scrae.datasets import unscaled_counts


def test_pbmc_counts_are_whole_and_give_back_what_scanpy_stores():
    adata = scrae.datasets.pbmc()
    assert adata.shape == (700, 765)
    assert adata.obs["cell_type"].nunique() == 10
    counts = adata.X.toarray()
    np.testing.assert_array_equal(counts, np.rint(counts))
    assert (np.sort(np.where(counts == 0, np.inf, counts), axis=1)[:, 0] == 1).all()
    stored = sc.datasets.pbmc68k_reduced().raw.X.toarray()
    factor = np.expm1(stored).sum(1) / counts.sum(1)
    np.testing.assert_allclose(np.log1p(counts * factor[:, None]), stored, atol=2e-3)


def test_pbmc_counts_equal_those_recovered_by_others(shared):
    theirs = shared("zheng_pbmc68k_700")
    ours = scrae.datasets.pbmc()
    np.testing.assert_array_equal(ours[theirs.obs_names, theirs.var_names].X.toarray(), theirs.X.toarray())


def test_values_that_are_no_logged_scaled_counts_are_not_taken_for_counts():
    with pytest.raises(RuntimeError, match="from a whole number"):
        unscaled_counts(sp.csr_matrix(np.log1p([[1.0, 1.5, 2.0]])))
    with pytest.raises(RuntimeError, match="without any count"):
        unscaled_counts(sp.csr_matrix([[0.0, 0.0], [1.0, 2.0]]))


@pytest.mark.parametrize("n_top", [50, 300])
def test_hvg_are_the_genes_that_scanpy_selects(pbmc, n_top):
    scrae.pp.select_genes(pbmc, "hvg", n_top)
    theirs = pbmc[:, pbmc.var["scrae_rank"].notna()].copy()
    sc.pp.normalize_total(theirs)
    sc.pp.log1p(theirs)
    sc.pp.highly_variable_genes(theirs, n_top_genes=n_top)
    assert set(pbmc.var_names[pbmc.var["scrae_selected"]]) == set(theirs.var_names[theirs.var["highly_variable"]])
    assert pbmc.var["scrae_selected"].sum() == n_top


@pytest.mark.parametrize("n_top", [50, 300])
@pytest.mark.parametrize("batch_key", [None, "batch"])
def test_seurat_v3_genes_are_those_that_scanpy_selects(pbmc, n_top, batch_key):
    pbmc.obs["batch"] = ["x", "y"] * 350
    scrae.pp.select_genes(pbmc, "seurat_v3", n_top, batch_key=batch_key)
    theirs = pbmc[:, pbmc.var["scrae_rank"].notna()].copy()
    theirs.X = theirs.X.astype(np.float64)
    batches = [theirs] if batch_key is None else [theirs[theirs.obs["batch"] == name].copy() for name in "xy"]
    for cells in batches:
        sc.pp.highly_variable_genes(cells, n_top_genes=n_top, flavor="seurat_v3")
    variances = np.mean([cells.var["variances_norm"] for cells in batches], axis=0)
    np.testing.assert_allclose(theirs.var["scrae_statistic"], variances, rtol=1e-9)
    sc.pp.highly_variable_genes(theirs, n_top_genes=n_top, flavor="seurat_v3", batch_key=batch_key)
    ours = set(pbmc.var_names[pbmc.var["scrae_selected"]])
    # With batches, scanpy 1.12 takes other variances than it does in each batch alone, by up to 0.3 percent.
    same = np.allclose(theirs.var["variances_norm"], variances, rtol=1e-9)
    assert len(ours ^ set(theirs.var_names[theirs.var["highly_variable"]])) <= (0 if same else 2)


def test_genes_are_selected_within_batches_as_scanpy_does(pbmc):
    pbmc.obs["batch"] = ["x", "y"] * 350
    scrae.pp.select_genes(pbmc, "hvg", 200, batch_key="batch")
    theirs = pbmc[:, pbmc.var["scrae_rank"].notna()].copy()
    sc.pp.normalize_total(theirs)
    sc.pp.log1p(theirs)
    sc.pp.highly_variable_genes(theirs, n_top_genes=200, batch_key="batch")
    assert set(pbmc.var_names[pbmc.var["scrae_selected"]]) == set(theirs.var_names[theirs.var["highly_variable"]])


def test_ranks_are_a_ranking_and_the_selection_its_head(pbmc):
    scrae.pp.select_genes(pbmc, n_top=120)
    rank = pbmc.var["scrae_rank"].dropna()
    assert sorted(rank) == list(range(1, len(rank) + 1))
    assert (pbmc.var["scrae_rank"] <= 120).equals(pbmc.var["scrae_selected"])
    assert pbmc.uns["scrae_genes"]["method"] == "hvg"


def test_rare_genes_are_never_selected(pbmc):
    scrae.pp.select_genes(pbmc)
    seen_in = np.asarray((pbmc.X > 0).sum(0)).ravel()
    assert pbmc.var["scrae_selected"].equals(pd.Series(seen_in >= 7, index=pbmc.var_names))


def test_selection_that_cannot_be_done_says_why(pbmc, small):
    with pytest.raises(ValueError, match="'hvg', 'seurat_v3'"):
        scrae.pp.select_genes(pbmc, "hvgs")
    with pytest.raises(ValueError, match="at least 2"):
        scrae.pp.select_genes(pbmc, n_top=1)
    with pytest.raises(ValueError, match="seen in 2 or more of 60 cells: too few"):
        scrae.pp.select_genes(small[:, :1].copy())
    sc.pp.log1p(pbmc)
    with pytest.raises(scrae.CountsError, match="fractional"):
        scrae.pp.select_genes(pbmc)


def test_one_call_adds_the_embedding_and_what_describes_it(pbmc, tmp_path):
    result = scrae.tl.scrae(pbmc, n_genes=300, max_epochs=3, verbose=False)
    assert result is None
    assert pbmc.obsm["X_scrae"].shape == (700, 30)
    record = pbmc.uns["scrae"]
    assert len(record["genes"]) == 300
    assert record["params"]["genes"] == "hvg"
    assert record["summary"]["stop_reason"] == "max_epochs"
    assert list(record["history"]["epoch"]) == [1, 2, 3]
    pbmc.write_h5ad(tmp_path / "out.h5ad")
    stored = anndata.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(stored.obsm["X_scrae"], pbmc.obsm["X_scrae"])
    pd.testing.assert_frame_equal(stored.uns["scrae"]["history"], record["history"])
    assert stored.uns["scrae"]["params"]["n_latent"] == 10


def test_one_call_equals_the_estimator(pbmc):
    scrae.tl.scrae(pbmc, n_genes=300, max_epochs=3, verbose=False, random_state=4)
    model = scrae.SCRAE(max_epochs=3, verbose=False, random_state=4)
    model.fit(pbmc, genes=pbmc.var["scrae_selected"].to_numpy())
    np.testing.assert_array_equal(pbmc.obsm["X_scrae"], model.embed())


@pytest.mark.slow
def test_highly_variable_genes_are_used_where_they_are_set(pbmc, quick):
    pbmc.var["highly_variable"] = np.arange(765) % 3 == 0
    scrae.tl.scrae(pbmc, **quick)
    assert list(pbmc.uns["scrae"]["genes"]) == list(pbmc.var_names[::3])
    assert "scrae_selected" not in pbmc.var
    scrae.tl.scrae(pbmc, genes="hvg", n_genes=50, key_added="few", **quick)
    assert len(pbmc.uns["few"]["genes"]) == 50
    assert pbmc.obsm["X_few"].shape == (700, 3)


def test_copy_leaves_the_object_alone(small, quick):
    changed = scrae.tl.scrae(small, genes="all", copy=True, **quick)
    assert "X_scrae" in changed.obsm
    assert "X_scrae" not in small.obsm
    assert "scrae" not in small.uns


@pytest.mark.slow
def test_stability_is_the_agreement_of_the_clusters_of_two_seeds_and_writes_nothing(pbmc):
    quick = {"genes": "all", "max_epochs": 3, "verbose": False}
    before = pbmc.copy()
    agreement = scrae.tl.stability(pbmc, 2, random_state=5, **quick)
    clusters = []
    for seed in (5, 6):
        scrae.tl.scrae(before, random_state=seed, **quick)
        clusters.append(scrae.metrics.leiden(before.obsm["X_scrae"], random_state=seed))
    expected = sklearn_metrics.adjusted_rand_score(*clusters)
    np.testing.assert_array_equal(agreement.to_numpy(), [[1, expected], [expected, 1]])
    assert list(agreement.index) == list(agreement.columns) == [5, 6]
    assert "X_scrae" not in pbmc.obsm
    assert "scrae" not in pbmc.uns


def test_stability_of_one_run_is_refused(pbmc):
    with pytest.raises(ValueError, match="at least 2 runs"):
        scrae.tl.stability(pbmc, 1)


def test_scores_are_those_of_scikit_learn_and_nmi_is_geometric():
    rng = np.random.default_rng(0)
    labels, clusters = rng.integers(0, 4, 200), rng.integers(0, 6, 200)
    labels[:150] = clusters[:150] % 4
    ours = scrae.metrics.scores(labels, clusters)
    table = sklearn_metrics.cluster.contingency_matrix(labels, clusters) / 200
    p, q = table.sum(axis=1), table.sum(axis=0)
    mutual = np.nansum(table * np.log(np.where(table > 0, table, 1) / np.outer(p, q)))
    entropies = -(p * np.log(p)).sum(), -(q * np.log(q)).sum()
    assert ours["NMI"] == pytest.approx(mutual / np.sqrt(np.prod(entropies)))
    assert ours["homogeneity"] == pytest.approx(mutual / entropies[0])
    assert ours["completeness"] == pytest.approx(mutual / entropies[1])
    assert ours["ARI"] == pytest.approx(sklearn_metrics.adjusted_rand_score(labels, clusters))
    assert ours["AMI"] == pytest.approx(sklearn_metrics.adjusted_mutual_info_score(labels, clusters))
    assert all(v == pytest.approx(1.0) for v in scrae.metrics.scores(labels, labels + 7).values())
    with pytest.raises(ValueError, match="one of each per cell"):
        scrae.metrics.scores(labels, clusters[:5])


def test_kmeans_and_leiden_find_groups_that_are_there():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(3), 60)
    embedding = (10 * np.eye(3)[groups] + rng.normal(size=(180, 3))).astype(np.float32)
    for clusters in (scrae.metrics.kmeans(embedding, 3), scrae.metrics.leiden(embedding, resolution=0.3)):
        assert scrae.metrics.scores(groups, clusters)["ARI"] == pytest.approx(1.0)


def test_leiden_without_a_resolution_takes_the_one_whose_clusters_stand_apart_best():
    rng = np.random.default_rng(0)
    embedding = (4 * rng.normal(size=(4, 5))[np.arange(400) % 4] + rng.normal(size=(400, 5))).astype(np.float32)
    each = [scrae.metrics.leiden(embedding, resolution) for resolution in scrae.metrics.RESOLUTIONS]
    judged = [sklearn_metrics.silhouette_score(embedding, clusters) for clusters in each]
    assert len({len(set(clusters)) for clusters in each}) > 1
    assert np.array_equal(scrae.metrics.leiden(embedding, None), each[int(np.argmax(judged))])


def test_training_curves_show_every_epoch_of_both_losses(small, quick, tmp_path):
    model = scrae.SCRAE(**quick | {"max_epochs": 6}).fit(anndata.concat([small, small], index_unique="-"))
    figure = scrae.pl.history(model)
    reconstruction, critic = figure.axes
    np.testing.assert_array_equal(reconstruction.lines[0].get_ydata(), model.history["reconstruction"])
    np.testing.assert_array_equal(reconstruction.lines[1].get_ydata(), model.history["validation_reconstruction"])
    np.testing.assert_array_equal(critic.lines[1].get_ydata(), model.history["critic_gap"])
    assert legend_of(reconstruction) == ["training cells", "held-out cells"]
    best = model.history["validation_reconstruction"].idxmin()
    assert [text.get_text() for text in reconstruction.texts] == [f"best: {best}"]
    assert reconstruction.get_ylabel() == "negative log-likelihood\n(nats per cell)"
    assert critic.get_ylabel() == "critic's estimate of the\nWasserstein distance"
    assert [panel.get_xlabel() for panel in figure.axes] == ["epoch", "epoch"]
    figure.savefig(tmp_path / "curves.png", dpi=100)
    colours = [*(line.get_color() for line in reconstruction.lines[:2]), critic.lines[1].get_color()]
    assert len(set(colours)) == 3
    assert_file_shows(tmp_path / "curves.png", figure, dpi=100, colours=colours)
    plain = scrae.SCRAE(regulariser="none", early_stopping=False, **quick).fit(small)
    assert len(scrae.pl.history(plain.history).axes) == 1
    contrastive = scrae.SCRAE("contrastive_sc", n_latent=3, max_epochs=3, batch_size=30, verbose=False).fit(small)
    (panel,) = scrae.pl.history(contrastive).axes
    np.testing.assert_array_equal(panel.lines[0].get_ydata(), contrastive.history["contrast"])
    assert panel.get_ylabel() == "contrastive loss\n(nats per cell)"
    with pytest.raises(ValueError, match="run scrae.tl.scrae"):
        scrae.pl.history(small)


def test_scatter_plots_show_every_cell_and_name_every_group_in_a_sensible_order(small, tmp_path):
    small.obsm["X_umap"] = np.random.default_rng(0).normal(size=(60, 2))
    small.obs["leiden"] = pd.Categorical([str(i % 12) for i in range(60)])
    figure = scrae.pl.embedding(small, ["batch", "leiden"], titles=["Batch", "Cluster"])
    left, right = figure.axes
    dots = left.collections[0]
    cell_of = {tuple(place): cell for cell, place in enumerate(small.obsm["X_umap"])}
    cells = [cell_of[tuple(place)] for place in dots.get_offsets()]
    assert sorted(cells) == list(range(60))
    colours = {batch: left.collections[1 + i].get_facecolor() for i, batch in enumerate("ab")}  # of the legend
    for cell, colour in zip(cells, dots.get_facecolor(), strict=True):
        np.testing.assert_array_equal(colour, colours[small.obs["batch"].iloc[cell]][0])
    assert not np.array_equal(colours["a"], colours["b"])
    assert (left.get_xlabel(), left.get_ylabel()) == ("UMAP 1", "UMAP 2")
    assert legend_of(left) == ["a", "b"]
    assert legend_of(right) == [str(i) for i in range(12)]
    assert right.get_title() == "Cluster"
    figure.savefig(tmp_path / "cells.png", dpi=100)
    assert_file_shows(tmp_path / "cells.png", figure, dpi=100, colours=[colours["a"][0], colours["b"][0]])
    with pytest.raises(ValueError, match="obs\\['leidn'\\] is missing"):
        scrae.pl.embedding(small, "leidn")
    with pytest.raises(ValueError, match="obsm\\['X_tsne'\\] is missing; there are: X_umap"):
        scrae.pl.embedding(small, "batch", basis="X_tsne")


def test_scaled_pca_is_the_singular_value_decomposition_of_scaled_log_expression(pbmc):
    before = pbmc.X.copy()
    components = scrae.metrics.scaled_pca(pbmc, 5)
    counts = pbmc.X.toarray().astype(np.float64)
    totals = counts.sum(1, keepdims=True)
    expression = np.log1p(counts / totals * np.median(totals))
    scaled = np.clip((expression - expression.mean(0)) / expression.std(0, ddof=1), -10, 10)
    left, values, _ = np.linalg.svd(scaled - scaled.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(components), np.abs(left[:, :5] * values[:5]), atol=0.01)
    assert (before != pbmc.X).nnz == 0


@pytest.mark.slow
def test_scanpy_finds_neighbours_as_it_does_among_many_cells(pbmc):
    """From some thousands of cells on scanpy leaves it to pynndescent, whose 0.7 it could not read."""
    pbmc.obsm["X_scrae"] = np.random.default_rng(0).normal(size=(pbmc.n_obs, 10)).astype(np.float32)
    sc.pp.neighbors(pbmc, use_rep="X_scrae", transformer="pynndescent", random_state=0)
    found = pbmc.obsp["distances"].tocsr()
    exact = NearestNeighbors(n_neighbors=15).fit(pbmc.obsm["X_scrae"]).kneighbors(return_distance=False)
    shared = [len(np.intersect1d(found[i].indices, exact[i])) for i in range(pbmc.n_obs)]
    assert np.mean(shared) > 13


class NeighboursAsArray(KNeighborsTransformer):
    """Exact neighbours in the container that pynndescent 0.7 returns."""

    def fit_transform(self, cells, y=None):
        return sp.csr_array(super().fit_transform(cells, y))


def test_scanpy_cannot_read_the_container_of_neighbours_for_which_pynndescent_has_an_upper_bound(pbmc):
    """Where this fails, scanpy can: raise pynndescent's bound if scanpy's oldest version that is allowed can, too."""
    pbmc.obsm["X_scrae"] = np.random.default_rng(0).normal(size=(pbmc.n_obs, 10)).astype(np.float32)
    with pytest.raises(AttributeError, match="csr_array.*getnnz"):
        sc.pp.neighbors(pbmc, use_rep="X_scrae", transformer=NeighboursAsArray(n_neighbors=15))
    sc.pp.neighbors(pbmc, use_rep="X_scrae", transformer=KNeighborsTransformer(n_neighbors=15))  # as a csr_matrix
    assert pbmc.obsp["distances"].shape == (pbmc.n_obs, pbmc.n_obs)
