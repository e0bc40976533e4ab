"""Pairs of cells that belong together or do not: how they are given, and what they do to a training."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

import scrae
from scrae.autoencoder.linking import cannot_link_loss, must_link_loss
from scrae.data.cells import read_cells
from scrae.data.links import Links
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
    dec.load_state_dict(dec.state_dict() | {"n_used": torch.tensor(4)})
    dec.all_centroids.data = torch.tensor(centroids)
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
    assert history["must_link"].isna().tolist() == [True, True, False, False]
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
