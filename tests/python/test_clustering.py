"""Models that cluster while they train: k-means, DEC, weighted soft k-means, and their stages."""

from __future__ import annotations

import warnings
from itertools import combinations

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import adjusted_rand_score, homogeneity_score

import scrae
from scrae.regularisers import (
    clustering_loss,
    inflated_affinity_kl,
    kmeans,
    number_of_clusters,
    soft_assignment,
    target_distribution,
    weighted_soft_kmeans,
)
from scrae.regularisers.centroids import squared_distances

PRESETS = ("scdeepcluster", "sczidesk")


def toy(n=7, clusters=3, dimensions=2, seed=0):
    """Codes and centroids, double."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, dimensions, generator=generator).double() for rows in (n, clusters)]


def blobs(seed=0, per_blob=60, blobs=4):
    """Codes in well separated groups, and the groups."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 12, size=(blobs, 5))
    groups = np.repeat(np.arange(blobs), per_blob)
    return torch.as_tensor(centres[groups] + rng.normal(size=(len(groups), 5))).float(), groups


def test_kmeans_finds_the_least_sum_of_squares_of_all_partitions():
    torch.manual_seed(0)
    codes = torch.randn(9, 2)

    def spread(members):
        group = codes[list(members)]
        return (group - group.mean(0)).square().sum().item()

    cells = set(range(9))
    halves = (set(half) for size in range(1, 9) for half in combinations(cells, size))
    least = min(spread(half) + spread(cells - half) for half in halves)
    assert squared_distances(codes, kmeans(codes, 2)).amin(1).sum().item() == pytest.approx(least, rel=1e-6)


def test_kmeans_draws_from_torchs_random_state_alone():
    codes = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))  # no groups: the start decides
    torch.manual_seed(1)
    np.random.seed(0)
    one = kmeans(codes, 12)
    torch.manual_seed(1)
    np.random.seed(5)
    assert torch.equal(kmeans(codes, 12), one)


def test_kmeans_finds_groups_and_copes_with_equal_cells():
    codes, groups = blobs()
    assert adjusted_rand_score(groups, squared_distances(codes, kmeans(codes, 4)).argmin(1)) == 1
    assert torch.equal(kmeans(torch.ones(5, 2), 3), torch.ones(3, 2))
    with pytest.raises(ValueError, match="n_clusters=6 are more than the 5 cells"):
        kmeans(torch.ones(5, 2), 6)


@pytest.mark.parametrize("number", [2, 4, 7])
def test_the_number_of_clusters_is_that_of_separate_groups(number):
    torch.manual_seed(0)
    assert number_of_clusters(blobs(blobs=number)[0]) == number


def test_dec_target_distribution_equals_numpy_by_hand():
    codes, centroids = toy()
    q = np.zeros((7, 3))
    for i in range(7):
        for j in range(3):
            q[i, j] = 1 / (1 + ((codes[i] - centroids[j]) ** 2).sum())
        q[i] /= q[i].sum()
    np.testing.assert_allclose(soft_assignment(codes, centroids), q, rtol=1e-12)
    p = np.array([[q[i, j] ** 2 / q[:, j].sum() for j in range(3)] for i in range(7)])
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose(target_distribution(torch.as_tensor(q)), p, rtol=1e-12)
    by_hand = np.mean([sum(p[i, j] * np.log(p[i, j] / q[i, j]) for j in range(3)) for i in range(7)])
    assert clustering_loss(torch.as_tensor(p), torch.as_tensor(q)).item() == pytest.approx(by_hand, rel=1e-12)


def test_dec_gradient_equals_that_of_the_paper_and_finite_differences():
    """Xie et al. 2016: dL/dz_i = 2 sum_j (1 + |z_i - mu_j|^2)^-1 (p_ij - q_ij)(z_i - mu_j), and minus that for mu_j."""
    codes, centroids = (t.requires_grad_() for t in toy())
    p = target_distribution(soft_assignment(*toy(seed=1)))

    def loss(z, mu):
        return clustering_loss(p, soft_assignment(z, mu))

    by_codes, by_centroids = torch.autograd.grad(loss(codes, centroids), (codes, centroids))
    difference = codes[:, None] - centroids
    pull = (p - soft_assignment(codes, centroids)) / (1 + difference.square().sum(2))
    step = 2 * pull[..., None] * difference / len(codes)
    np.testing.assert_allclose(by_codes, step.sum(1).detach(), rtol=1e-10)
    np.testing.assert_allclose(by_centroids, -step.sum(0).detach(), rtol=1e-10)
    assert torch.autograd.gradcheck(loss, (codes, centroids))


def test_weighted_soft_kmeans_equals_numpy_by_hand_and_is_kmeans_for_groups_far_apart():
    codes, centroids = toy()
    total = 0.0
    for z in codes.numpy():
        d = ((z - centroids.numpy()) ** 2).sum(1)
        g = np.exp(-(d - d.min())) / np.exp(-(d - d.min())).sum()
        w = g**2 / (g**2).sum()
        total += (w * d).sum()
    assert weighted_soft_kmeans(codes, centroids).item() == pytest.approx(total / 7, rel=1e-12)
    inputs = tuple(t.requires_grad_() for t in (codes, centroids))
    assert torch.autograd.gradcheck(weighted_soft_kmeans, inputs)
    grouped, groups = blobs()
    centres = torch.stack([grouped[groups == g].mean(0) for g in range(4)])
    hard = squared_distances(grouped, centres).amin(1).mean()
    assert weighted_soft_kmeans(grouped, centres).item() == pytest.approx(hard.item(), rel=1e-4)


def test_inflated_affinity_equals_a_double_loop_and_its_gradient_finite_differences():
    codes = toy(n=5)[0]
    p = np.array([[0 if i == j else 1 / (1 + ((a - b) ** 2).sum().item()) for j, b in enumerate(codes)]
                  for i, a in enumerate(codes)])  # fmt: skip
    p /= p.sum(1, keepdims=True)
    q = p**2 / (p**2).sum(1, keepdims=True)
    by_hand = sum(q[i, j] * np.log(q[i, j] / p[i, j]) for i in range(5) for j in range(5) if i != j)
    assert inflated_affinity_kl(codes).item() == pytest.approx(by_hand, rel=1e-12)
    assert torch.autograd.gradcheck(inflated_affinity_kl, codes.requires_grad_())


@pytest.fixture
def groups():
    """240 cells of 3 groups that differ in half of 40 genes."""
    rng = np.random.default_rng(0)
    group = rng.permutation(np.repeat(np.arange(3), 80))
    profile = rng.gamma(1.0, 4.0, size=(3, 40))
    return rng.poisson(profile[group] * rng.uniform(0.5, 2, size=(240, 1))).astype(np.float32), group


QUICK = {"n_latent": 4, "n_hidden": (32,), "batch_size": 32, "learning_rate": 1e-3, "verbose": False}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("n_clusters", [3, None])
def test_clustering_models_find_groups_whose_number_is_given_or_estimated(groups, preset, n_clusters):
    counts, group = groups
    options = QUICK | {"noise_sd": 0.5, "pretraining_epochs": 20, "n_clusters": n_clusters}
    model = scrae.SCRAE(preset, **options).fit(counts, max_epochs=60)
    found = model.clusters()
    assert found.shape == (240,)
    if n_clusters is None:  # Leiden may cut a group in two, but no cluster is of two groups
        assert 3 <= found.max() + 1 <= 9
        assert homogeneity_score(group, found) > 0.95
    else:
        assert adjusted_rand_score(group, found) > 0.95
    np.testing.assert_array_equal(model.clusters(counts[:50]), found[:50])
    penalties = model.history[["clustering"] if preset == "scdeepcluster" else ["soft_kmeans", "inflation"]]
    assert (penalties.iloc[:20] == 0).all(axis=None)
    assert (penalties.iloc[20:] > 0).all(axis=None)


def test_training_ends_when_clusters_no_longer_change(groups):
    options = QUICK | {"noise_sd": 0.1, "pretraining_epochs": 20, "n_clusters": 3, "tolerance": 0.05}
    model = scrae.SCRAE("scdeepcluster", **options).fit(groups[0], max_epochs=200)
    assert model.summary["stop_reason"] == "converged"
    assert 20 < model.summary["epochs"] < 200
    again = model.fit(groups[0], max_epochs=300, resume=True)
    assert again.summary["stop_reason"] == "converged"
    assert again.summary["epochs"] == model.summary["epochs"]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("stop", [4, 5, 6, 8, 9])
def test_a_resume_in_any_stage_comes_to_the_same_bits(groups, preset, stop, tmp_path):
    """Pre-training ends after 5 epochs; looks are at every second one."""
    options = QUICK | {"pretraining_epochs": 5, "check_every": 2, "tolerance": 0.0}
    whole = scrae.SCRAE(preset, **options).fit(groups[0], max_epochs=11)
    scrae.SCRAE(preset, **options).fit(groups[0], max_epochs=stop).save(tmp_path)
    resumed = scrae.SCRAE.load(tmp_path, verbose=False).fit(groups[0], max_epochs=11, resume=True)
    for name, tensor in whole.fitted.training_state.items():
        if name != "progress":  # holds seconds
            assert torch.equal(tensor, resumed.fitted.training_state[name]), name
    np.testing.assert_array_equal(resumed.clusters(), whole.clusters())


def test_a_loss_that_is_not_finite_while_it_clusters_is_undone(groups, monkeypatch):
    from scrae.regularisers import DeepEmbeddedClustering

    penalties, calls = DeepEmbeddedClustering.penalties, []

    def spoiled(self, passed):
        result = penalties(self, passed)
        calls.append(self.preparing)
        return {name: value * np.nan for name, value in result.items()} if calls.count(False) == 12 else result

    monkeypatch.setattr(DeepEmbeddedClustering, "penalties", spoiled)
    options = QUICK | {"pretraining_epochs": 5, "n_clusters": 3, "tolerance": 0.0}
    with pytest.warns(RuntimeWarning, match="half the learning rates"):
        model = scrae.SCRAE("scdeepcluster", **options).fit(groups[0], max_epochs=9)
    assert model.summary["epochs"] == 9
    assert np.isfinite(model.history.to_numpy()).all()
    assert set(model.clusters()) <= {0, 1, 2}


def test_the_best_epoch_is_one_of_the_clustering_stage(groups):
    options = QUICK | {"pretraining_epochs": 8, "n_clusters": 3, "tolerance": 0.0}
    model = scrae.SCRAE("scdeepcluster", early_stopping=True, patience=2, **options).fit(groups[0], max_epochs=30)
    assert model.summary["best_epoch"] > 8
    assert len(np.unique(model.clusters())) > 1


def test_clusters_are_asked_for_in_vain_where_there_are_none(groups):
    model = scrae.SCRAE("scdeepcluster", **QUICK).fit(groups[0], max_epochs=1)
    with pytest.raises(ValueError, match="before the 400 epochs of pre-training had passed"):
        model.clusters()
    with pytest.raises(ValueError, match="regulariser 'learned_prior' makes no clusters"):
        scrae.SCRAE(**QUICK).fit(groups[0], max_epochs=1).clusters()


@pytest.mark.slow
def test_one_call_writes_the_clusters_as_categories_that_h5ad_keeps(pbmc, tmp_path):
    options = QUICK | {"genes": "all", "pretraining_epochs": 1, "n_clusters": 12}
    scrae.tl.scrae(pbmc, preset="scdeepcluster", max_epochs=3, key_added="dec", **options)
    model = scrae.SCRAE("scdeepcluster", **QUICK, pretraining_epochs=1, n_clusters=12).fit(pbmc, max_epochs=3)
    clusters = pbmc.obs["dec_clusters"]
    np.testing.assert_array_equal(clusters.astype(int), model.clusters())
    assert list(clusters.cat.categories) == sorted(clusters.unique(), key=int)
    pbmc.write_h5ad(tmp_path / "clustered.h5ad")
    assert anndata.read_h5ad(tmp_path / "clustered.h5ad").obs["dec_clusters"].equals(clusters)
    pbmc.obs["scrae_clusters"] = "mine"
    scrae.tl.scrae(pbmc, genes="all", max_epochs=1, **QUICK)
    assert (pbmc.obs["scrae_clusters"] == "mine").all()
    again = anndata.read_h5ad(tmp_path / "clustered.h5ad")
    scrae.tl.scrae(again, genes="all", max_epochs=1, key_added="dec", **QUICK)
    assert "dec_clusters" not in again.obs  # they were those of the model that is gone


def test_one_call_that_ends_before_there_are_clusters_says_so_and_keeps_the_embedding(small):
    with pytest.warns(UserWarning, match="no clusters yet"):
        scrae.tl.scrae(small, genes="all", preset="sczidesk", max_epochs=1, **QUICK)
    assert small.obsm["X_scrae"].shape == (60, 4)
    assert "scrae_clusters" not in small.obs


def test_no_label_reaches_the_model(groups):
    """The same clusters whatever the labels beside the counts."""
    counts, group = groups
    options = QUICK | {"pretraining_epochs": 3}
    found = []
    for labels in (group, np.zeros(240)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adata = anndata.AnnData(counts, obs=pd.DataFrame({"cell_type": labels.astype(str)}))
        adata.obs_names = [f"cell{i}" for i in range(240)]
        found.append(scrae.SCRAE("scdeepcluster", **options).fit(adata, max_epochs=5).clusters())
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_clusters": 0}, "n_clusters must be at least 1"),
        ({"tolerance": 1.0}, "tolerance in"),
        ({"weight": -1.0}, "weight must not be negative"),
    ],
)
def test_options_out_of_range_are_refused(groups, options, message):
    with pytest.raises(ValueError, match=message):
        scrae.SCRAE("scdeepcluster", **QUICK, **options).fit(groups[0])
