"""Pairs of cells that belong together or do not: how they are given, and what they do to a training."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from scipy.linalg import fractional_matrix_power
from sklearn.covariance import empirical_covariance, shrunk_covariance
from sklearn.neighbors import NearestNeighbors

import scrae
from scrae.autoencoder.linking import cannot_link_loss, must_link_loss
from scrae.data.cells import read_cells
from scrae.data.covariates import Covariates
from scrae.data.links import Links
from scrae.data.minibatches import CountData
from scrae.posthoc import finish
from scrae.posthoc.linked_metric import relevant_components
from scrae.regularisers import DeepEmbeddedClustering, NoRegulariser

MUST = [("cell0", "cell2"), ("cell4", "cell2")]
CANNOT = [("cell0", "cell1"), ("cell3", "cell2")]


@pytest.mark.parametrize(
    "given",
    [
        MUST,
        np.array(MUST),
        pd.DataFrame(MUST, columns=["one", "other"]),
        [("cell2", "cell4"), ("cell2", "cell0"), ("cell0", "cell2")],  # a pair has no order and counts once
        [(0, 2), (4, 2)],
        np.array([(0, 2), (4, 2)], dtype=np.int32),
    ],
)
def test_pairs_are_given_by_name_or_position_in_any_table_of_two_columns(small, given):
    links = Links.read(read_cells(small), given, None)
    assert links.must.tolist() == [[0, 2], [2, 4]]
    assert len(links.cannot) == 0
    assert links


def test_pairs_of_a_matrix_are_positions(small):
    cells = read_cells(small.X)
    assert Links.read(cells, None, [(5, 3)]).cannot.tolist() == [[3, 5]]
    with pytest.raises(ValueError, match="has names of cells, and a matrix has none: give positions of rows, from 0"):
        Links.read(cells, [("cell0", "cell1")], None)


@pytest.mark.parametrize("nothing", [None, [], np.zeros((0, 2)), pd.DataFrame({"a": [], "b": []})])
def test_no_pairs_are_no_constraint(small, nothing):
    assert not Links.read(read_cells(small), nothing, nothing)


@pytest.mark.parametrize(
    ("must", "cannot", "message"),
    [
        ([("cell0", "cell1", "cell2")], None, r"must_link must be a table of two columns.*not of the shape \(1, 3\)"),
        (5, None, "must_link must be a table of two columns.*not 5$"),
        (None, [(0, 1), (2,)], r"cannot_link must be a table of two columns.*not \[\(0, 1\), \(2,\)\]$"),
        (["cell0", "cell1"], None, r"must_link must be a table of two columns.*not of the shape \(2,\)"),
        (None, [("cell0", "Cell1")], "1 cell.s. in cannot_link are not among the 60 to train on: 'Cell1'"),
        ([(0, 60), (-1, 3)], None, "2 cell.s. in must_link are not among the 60 to train on: '-1', '60'"),
        ([("cell7", "cell7")], None, "1 pair.s. in must_link are of a cell and itself: 'cell7'"),
        (MUST, [("cell2", "cell0")], "1 pair.s. of cannot_link are of cells that must_link ties .*'cell0 and cell2'"),
        (MUST, [("cell0", "cell4")], "also by way of other cells: 'cell0 and cell4'"),
    ],
)
def test_pairs_that_cannot_be_meant_are_refused_before_anything_is_trained(small, quick, must, cannot, message):
    with pytest.raises(ValueError, match=message):
        scrae.SCRAE(**quick).fit(small, must_link=must, cannot_link=cannot)


def test_pairs_may_not_contradict_types_of_cells_either(small, quick):
    small.obs["type"] = ["a", "b"] + ["Unknown"] * 58
    with pytest.raises(ValueError, match="ties together, also by way of other cells: 'cell0 and cell1'"):
        scrae.SCRAE(**quick).fit(small, labels_key="type", must_link=[("cell0", "cell1")])


def test_names_that_several_cells_share_cannot_be_paired(small):
    small.obs_names = ["twin", "twin", *small.obs_names[2:]]
    cells = read_cells(small)
    assert Links.read(cells, [("cell2", "cell3")], None)
    with pytest.raises(ValueError, match="1 name.s. in must_link are those of several cells .'twin'."):
        Links.read(cells, [("twin", "cell3")], None)


def test_pairs_of_labels_are_of_one_type_or_of_two_and_never_of_an_unlabelled_cell():
    rng = np.random.default_rng(0)
    labels = rng.choice(["a", "b", "c", "Unknown"], 400)
    labelled = np.flatnonzero(labels != "Unknown")
    links = Links.of_labels(labels, labelled, 0)
    assert (labels[links.must[:, 0]] == labels[links.must[:, 1]]).all()
    assert (labels[links.cannot[:, 0]] != labels[links.cannot[:, 1]]).all()
    assert set(np.unique(links.must)) | set(np.unique(links.cannot)) <= set(labelled)
    number = len(links.must) + len(links.cannot)
    assert 9.5 * len(labelled) < number <= 10 * len(labelled)
    assert len(links.must) / number == pytest.approx(1 / 3, abs=0.03)


def test_few_labels_give_all_of_their_pairs():
    links = Links.of_labels(np.array(["a", "b", "Unknown", "b", "a"]), np.array([0, 1, 3, 4]), 0)
    assert links.must.tolist() == [[0, 4], [1, 3]]
    assert links.cannot.tolist() == [[0, 1], [0, 3], [1, 4], [3, 4]]


def test_losses_of_pairs_are_those_of_scdcc():
    """-log sum_k q_ik q_jk, and -log of what is left (Tian et al. 2021), in NumPy."""
    rng = np.random.default_rng(0)
    codes, others, centroids = rng.normal(size=(7, 3)), rng.normal(size=(7, 3)), rng.normal(size=(4, 3))

    def assigned(z):
        kernel = 1 / (1 + np.square(z[:, None] - centroids).sum(2))
        return kernel / kernel.sum(1, keepdims=True)

    together = (assigned(codes) * assigned(others)).sum(1)
    dec = DeepEmbeddedClustering(3, n_clusters=4).double()
    known = {"n_used": torch.tensor(4), "all_centroids": torch.tensor(centroids)}
    dec.load_state_dict(dec.state_dict() | known)
    ours = dec.together(torch.tensor(codes), torch.tensor(others)).detach()
    np.testing.assert_allclose(ours, together, rtol=1e-12)
    assert float(must_link_loss(ours)) == pytest.approx(-np.log(together).mean(), rel=1e-12)
    assert float(cannot_link_loss(ours)) == pytest.approx(-np.log(1 - together).mean(), rel=1e-12)


def test_without_clusters_two_cells_are_together_by_students_t_of_their_distance():
    codes, others = torch.zeros(3, 2), torch.tensor([[0.0, 0.0], [1.0, 1.0], [3.0, 1.0]])
    together = NoRegulariser(2).together(codes, others)
    np.testing.assert_allclose(together, [1, 1 / 2, 1 / 6], rtol=1e-6)
    assert torch.isfinite(cannot_link_loss(together))


def distance(codes: np.ndarray, pairs: list[tuple[int, int]]) -> float:
    return float(np.mean([np.linalg.norm(codes[i] - codes[j]) for i, j in pairs]))


def test_linked_cells_come_together_and_others_apart(small, quick):
    rng = np.random.default_rng(1)
    cells = rng.permutation(60)
    must, cannot = ([(int(i), int(j)) for i, j in part.reshape(-1, 2)] for part in (cells[:30], cells[30:]))
    settings = quick | {"max_epochs": 40, "early_stopping": False}
    free = scrae.SCRAE(**settings).fit(small).codes()
    bound = scrae.SCRAE(**settings, must_link_weight=100.0, cannot_link_weight=100.0)
    held = bound.fit(small, must_link=must, cannot_link=cannot).codes()
    assert distance(held, must) / distance(held, cannot) < 0.7 * distance(free, must) / distance(free, cannot)
    assert {"must_link", "cannot_link"} <= set(bound.history)
    assert bound.history["must_link"].iloc[-1] < bound.history["must_link"].iloc[0]


def test_a_training_with_pairs_resumes_to_the_same_bits_and_with_others_is_refused(small, quick, tmp_path):
    pairs = {"must_link": MUST, "cannot_link": CANNOT}
    whole = scrae.SCRAE(**quick).fit(small, **pairs)
    scrae.SCRAE(**quick).fit(small, max_epochs=2, **pairs).save(tmp_path / "model")
    loaded = scrae.SCRAE.load(tmp_path / "model", verbose=False)
    with pytest.raises(ValueError, match="not the cells, genes, covariates and pairs that the training started with"):
        loaded.fit(small, max_epochs=4, resume=True)
    resumed = loaded.fit(small, max_epochs=4, resume=True, **pairs)
    np.testing.assert_array_equal(resumed.embed(), whole.embed())


def test_pairs_are_kept_for_the_clustering_of_scdcc(pbmc):
    cells = pbmc[:150, :120].copy()
    cells = cells[np.asarray(cells.X.sum(1)).ravel() > 0].copy()
    settings = {"n_latent": 4, "n_hidden": (16,), "batch_size": 32, "n_clusters": 3, "pretraining_epochs": 2}
    model = scrae.SCRAE("scdcc", **settings, tolerance=0.0, verbose=False)
    history = model.fit(cells, max_epochs=4, must_link=[(0, 1)], cannot_link=[(0, 2)]).history
    assert (history["must_link"] == 0).tolist() == [True, True, False, False]
    np.testing.assert_allclose(
        history["autoencoder"].iloc[3],
        history["reconstruction"].iloc[3] / cells.n_vars
        + history[["clustering", "must_link", "cannot_link"]].iloc[3].sum(),
        rtol=1e-5,
    )


def test_types_of_some_cells_stand_for_pairs_also_in_one_call(small, quick):
    small.obs["type"] = [None, "a", "b", "Unknown"] * 15
    model = scrae.SCRAE(**quick).fit(small, labels_key="type")
    assert {"must_link", "cannot_link"} <= set(model.history)
    labels = small.obs["type"].fillna("Unknown").to_numpy(dtype=str)
    links = Links.of_labels(labels, np.flatnonzero(labels != "Unknown"), 0)
    by_hand = scrae.SCRAE(**quick).fit(small, must_link=links.must, cannot_link=links.cannot)
    np.testing.assert_array_equal(model.embed(), by_hand.embed())
    scrae.tl.scrae(small, genes="all", labels_key="type", **quick)
    np.testing.assert_array_equal(small.obsm["X_scrae"], model.embed())
    small.obs["type"] = "a"
    with pytest.raises(ValueError, match="has one type only"):
        scrae.SCRAE(**quick).fit(small, labels_key="type")


def test_a_call_with_pairs_is_noted_with_their_name(small, quick):
    scrae.tl.scrae(small, genes="all", must_link=MUST, **quick)
    assert "must_link=must_link" in small.uns["scrae"]["call"]


def test_a_training_without_pairs_is_what_it_was(small, quick):
    one = scrae.SCRAE(**quick).fit(small)
    other = scrae.SCRAE(**quick, must_link_weight=50.0).fit(small, must_link=[], cannot_link=None)
    np.testing.assert_array_equal(one.embed(), other.embed())
    assert one.fitted.fingerprint == other.fitted.fingerprint


def test_constraints_work_with_counts_on_disk(small, quick, tmp_path):
    path = tmp_path / "cells.h5ad"
    anndata.AnnData(small.X, obs=small.obs, var=small.var).write_h5ad(path)
    one = scrae.SCRAE(**quick).fit(small, must_link=MUST, cannot_link=CANNOT).embed()
    np.testing.assert_array_equal(scrae.SCRAE(**quick).fit(path, must_link=MUST, cannot_link=CANNOT).embed(), one)


def test_the_metric_of_linked_cells_whitens_their_shrunk_covariance():
    """As many cells as there are dimensions count for equal variance; scikit-learn shrinks, scipy takes the root."""
    rng = np.random.default_rng(0)
    groups = rng.integers(5, size=40)
    x = rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6)) + 10 * rng.normal(size=(5, 6))[groups]
    within = x - np.array([x[groups == group].mean(0) for group in range(5)])[groups]
    degrees = 40 - 5
    covariance = empirical_covariance(within, assume_centered=True) * 40 / degrees
    expected = fractional_matrix_power(shrunk_covariance(covariance, 6 / (degrees + 6)), -0.5)
    np.testing.assert_allclose(relevant_components(x, groups), expected, rtol=1e-10)


def test_cells_without_partners_or_that_do_not_differ_give_no_metric():
    x = np.random.default_rng(0).normal(size=(6, 3))
    assert relevant_components(x, np.arange(6)) is None
    assert relevant_components(np.repeat(x[:2], 3, axis=0), np.repeat([0, 1], 3)) is None


def crossed(n_cells: int = 400) -> anndata.AnnData:
    """Two types of cells, by 15 genes, of which either is in two states by 40 genes, which say nothing of the type."""
    rng = np.random.default_rng(2)
    kind, state = rng.integers(2, size=(2, n_cells))
    mean = np.ones((n_cells, 120))
    mean[:, :15] *= np.where(kind, 3.0, 1.0)[:, None]
    mean[:, 15:55] *= np.where(state, 4.0, 1.0)[:, None]
    counts = rng.poisson(mean).astype(np.float32)
    obs = pd.DataFrame({"type": kind.astype(str)}, index=[f"cell{i}" for i in range(n_cells)])
    return anndata.AnnData(sp.csr_matrix(counts), obs=obs)


def test_a_tenth_of_the_labels_turns_the_embedding_towards_the_types_of_the_others():
    cells = crossed()
    types = cells.obs["type"].to_numpy()
    known = np.arange(400) < 40
    cells.obs["known"] = np.where(known, types, "Unknown")

    def agreement(**told) -> float:
        embedding = scrae.SCRAE(max_epochs=20, verbose=False).fit(cells, **told).embed()
        found = scrae.metrics.kmeans(embedding[:, :10], 2, 0)
        return scrae.metrics.scores(types[~known], found[~known])["ARI"]

    assert agreement() < 0.1  # by state
    assert agreement(labels_key="known") > 0.9


@pytest.mark.parametrize("alone", ["CD19+ B", "CD56+ NK", "CD34+"])
def test_a_type_of_which_no_cell_is_linked_stays_apart(pbmc, alone):
    """Of the cells around each cell of it in the embedding, as many are of it as without pairs."""
    types = pbmc.obs["cell_type"].to_numpy(dtype=str)
    pbmc.obs["known"] = np.where((np.arange(pbmc.n_obs) % 5 == 0) & (types != alone), types, "Unknown")
    own = types == alone

    def shared(**told) -> float:
        embedding = scrae.SCRAE(max_epochs=20, verbose=False).fit(pbmc, **told).embed()
        near = NearestNeighbors(n_neighbors=15).fit(embedding).kneighbors(embedding[own], return_distance=False)
        return float(own[near].mean())

    assert shared(labels_key="known") > shared() - 0.02


def test_the_metric_is_saved_answers_for_new_cells_and_gives_codes_back(pbmc, tmp_path):
    settings = {"n_latent": 4, "n_hidden": (32, 16), "n_pcs": 10, "max_epochs": 3, "verbose": False}
    model = scrae.SCRAE(**settings).fit(pbmc[:500], must_link=[(i, i + 1) for i in range(0, 100, 2)])
    model.save(tmp_path / "model")
    loaded = scrae.SCRAE.load(tmp_path / "model", verbose=False)
    np.testing.assert_array_equal(loaded.embed(pbmc[500:]), model.embed(pbmc[500:]))
    readout = loaded.fitted.readout
    np.testing.assert_allclose(readout.features(readout.landmarks)[:, :4], model.codes(), atol=1e-4)


def test_pairs_that_do_not_belong_together_alone_leave_the_read_out_as_it_is(small, quick):
    assert scrae.SCRAE(**quick).fit(small, cannot_link=CANNOT).fitted.readout.metric is None
    assert scrae.SCRAE(**quick).fit(small, must_link=MUST).fitted.readout.metric is not None


def test_of_many_linked_cells_some_stand_for_all(small, quick, monkeypatch):
    data = CountData(
        sp.csr_array(small.X),
        Covariates.none(60),
        torch.device("cpu"),
        links=Links.of_labels(np.array(["a", "b", "c"] * 20), np.arange(60), 0),
    )
    monkeypatch.setattr(finish, "LANDMARKS", 12)
    cells, groups = finish.linked_cells(data, 0)
    assert len(cells) == 12
    assert len(set(zip(cells.numpy() % 3, groups, strict=True))) == len(set(groups)) == 3
