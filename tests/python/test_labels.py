"""Types of cells from partial labels: probabilities, unknown cells, and labels that say too little."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

import scrae
from scrae.posthoc.cell_types import fit_cell_types

pytestmark = pytest.mark.slow

UNSEEN = "CD19+ B"
SETTINGS = {"n_hidden": (64,), "max_epochs": 60, "verbose": False}


@pytest.fixture(scope="module")
def fitted(_pbmc):
    return scrae.SCRAE(**SETTINGS).fit(_pbmc)


@pytest.fixture
def tenth(pbmc):
    """The cells with labels for one in five of each type, and for two at least, and which these are."""
    rank = pbmc.obs.groupby("cell_type", observed=True).cumcount().to_numpy()
    labelled = (rank % 5 == 0) | (rank < 2)
    pbmc.obs["known"] = np.where(labelled, pbmc.obs["cell_type"].astype(str), "Unknown")
    return pbmc, labelled


def mixture(n: int, seed: int, shift: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Features of three types that lie around the corners of a triangle, with unit variance, and their types."""
    rng = np.random.default_rng(seed)
    code = rng.integers(3, size=n)
    return shift * np.eye(3)[code] + rng.normal(size=(n, 3)), np.array(["a", "b", "c"])[code]


def test_probabilities_are_those_of_bayes_rule_on_a_mixture_of_normals():
    types = fit_cell_types(*mixture(4000, 0))
    features, _ = mixture(500, 1)
    density = np.stack([stats.multivariate_normal(2.0 * np.eye(3)[k]).pdf(features) for k in range(3)], 1)
    difference = np.abs(types.probabilities(features) - density / density.sum(1, keepdims=True))
    assert difference.mean() < 0.02
    assert difference.max() < 0.1


def test_temperature_brings_confidence_to_the_accuracy_where_a_few_labels_overfit():
    rng = np.random.default_rng(2)
    features, labels = mixture(60, 3, shift=1.0)
    types = fit_cell_types(np.hstack([features, rng.normal(size=(60, 40))]), labels)
    new, truth = mixture(4000, 4, shift=1.0)
    probabilities = types.probabilities(np.hstack([new, rng.normal(size=(4000, 40))]))
    accuracy = (types.types[probabilities.argmax(1)] == truth).mean()
    assert types.temperature > 1
    assert abs(probabilities.max(1).mean() - accuracy) < 0.1


def test_familiarity_is_uniform_for_cells_like_the_labelled_and_least_for_those_far_from_all():
    types = fit_cell_types(*mixture(1500, 5))
    same, _ = mixture(1500, 6)
    assert stats.kstest(types.conformal_p_values(same), "uniform").pvalue > 1e-3
    np.testing.assert_allclose(types.conformal_p_values(np.full((2, 3), -20.0)), 1 / 1501)


def test_a_fifth_of_the_labels_gives_the_others_as_well_as_neighbours_do(fitted, tenth):
    adata, labelled = tenth
    embedding, truth = fitted.embed(), adata.obs["cell_type"].astype(str).to_numpy()
    predicted = fitted.fit_labels(adata, "known").predict(unknown_rate=0)
    neighbours = KNeighborsClassifier(10).fit(embedding[labelled], truth[labelled]).predict(embedding[~labelled])
    assert (predicted[~labelled] == truth[~labelled]).mean() > (neighbours == truth[~labelled]).mean() - 0.02


def test_probabilities_sum_to_one_agree_with_the_names_and_carry_the_cells(fitted, tenth):
    adata, _ = tenth
    fitted.fit_labels(adata, "known")
    table = fitted.predict(adata[:50], return_probabilities=True)
    assert list(table.index) == list(adata.obs_names[:50])
    assert list(table.columns[:-1]) == sorted(set(adata.obs["known"]) - {"Unknown"})
    np.testing.assert_allclose(table.iloc[:, :-1].sum(axis=1), 1)
    names = fitted.predict(adata[:50], unknown_rate=0)
    np.testing.assert_array_equal(table.iloc[:, :-1].idxmax(axis=1), names)


def test_labels_change_neither_the_embedding_nor_the_weights(fitted, tenth):
    adata, _ = tenth
    before = fitted.embed()
    fitted.fit_labels(adata, "known")
    np.testing.assert_array_equal(fitted.embed(), before)


def test_types_come_back_from_a_saved_model(fitted, tenth, tmp_path):
    adata, _ = tenth
    fitted.fit_labels(adata, "known").save(tmp_path)
    again = scrae.SCRAE.load(tmp_path).predict(adata, return_probabilities=True)
    np.testing.assert_allclose(again, fitted.predict(adata, return_probabilities=True), atol=1e-12)


def test_cells_of_a_type_that_the_reference_lacks_are_called_unknown_far_more_often_than_known_ones(pbmc):
    reference = pbmc[(pbmc.obs["cell_type"] != UNSEEN).to_numpy()].copy()
    model = scrae.SCRAE(**SETTINGS).fit(reference[::2].copy()).fit_labels(reference[::2].copy(), "cell_type")
    unseen = model.predict(pbmc[pbmc.obs["cell_type"] == UNSEEN], return_probabilities=True)["conformal_p_value"]
    seen = model.predict(reference[1::2], return_probabilities=True)["conformal_p_value"]
    assert (seen <= 0.05).mean() < 0.15
    assert roc_auc_score(np.r_[np.ones(len(unseen)), np.zeros(len(seen))], -np.r_[unseen, seen]) > 0.6


def test_unknown_is_as_frequent_among_known_cells_as_allowed(fitted, tenth):
    adata, labelled = tenth
    fitted.fit_labels(adata, "known")
    called = fitted.predict(unknown_rate=0.1, unlabeled_category="none of these") == "none of these"
    assert 0.02 < called[~labelled].mean() < 0.2
    assert not (fitted.predict(unknown_rate=0) == "Unknown").any()


def test_labels_that_say_too_little_are_refused_with_what_they_say(fitted, pbmc):
    pbmc.obs["known"] = "Unknown"
    with pytest.raises(ValueError, match=r"\['known'\] has no labelled cell.*two or more"):
        fitted.fit_labels(pbmc, "known")
    pbmc.obs["known"] = ["B"] * 20 + ["Unknown"] * 680
    with pytest.raises(ValueError, match=r"one type only \('B', 20 cells\)"):
        fitted.fit_labels(pbmc, "known")
    with pytest.raises(ValueError, match="no column 'cell_typ'; did you mean 'cell_type'"):
        fitted.fit_labels(pbmc, "cell_typ")
    with pytest.raises(ValueError, match="give an AnnData, not a matrix"):
        fitted.fit_labels(pbmc.X, "cell_type")


@pytest.mark.parametrize("missing", [None, np.nan, "?"])
def test_a_missing_label_and_the_named_category_are_no_label(fitted, pbmc, missing):
    labels = pbmc.obs["cell_type"].astype(object)
    labels[(pbmc.obs.groupby("cell_type", observed=True).cumcount() % 2 == 1).to_numpy()] = missing
    pbmc.obs["known"] = labels
    fitted.fit_labels(pbmc, "known", unlabeled_category="?")
    columns = fitted.predict(pbmc[:3], return_probabilities=True).columns
    assert set(columns) == {*pbmc.obs["cell_type"].astype(str), "conformal_p_value"}


def test_a_type_with_one_cell_is_kept_with_a_word(fitted, pbmc):
    labels = pbmc.obs["cell_type"].astype(str).to_numpy(dtype=object)
    labels[0] = "rare"
    pbmc.obs["known"] = labels
    with pytest.warns(UserWarning, match=r"1 of 11 types have a single labelled cell \('rare'\)"):
        fitted.fit_labels(pbmc, "known")
    assert "rare" in fitted.predict(pbmc[:3], return_probabilities=True)


def test_two_cells_of_two_types_are_enough_to_predict(fitted, pbmc):
    pbmc.obs["known"] = ["a", "b"] + ["Unknown"] * 698
    with pytest.warns(UserWarning, match="2 of 2 types have a single labelled cell"):
        fitted.fit_labels(pbmc, "known")
    assert list(fitted.predict(pbmc[:2])) == ["a", "b"]  # nothing held out: no cell can be called unknown


def test_predictions_before_labels_and_impossible_rates_are_refused(pbmc, quick):
    model = scrae.SCRAE(**quick).fit(pbmc)
    with pytest.raises(scrae.NotFittedError, match=r"call fit_labels\(adata, labels_key\) first"):
        model.predict()
    model.fit_labels(pbmc, "cell_type")
    with pytest.raises(ValueError, match=r"a share of cells, in \[0, 1\), not 1"):
        model.predict(unknown_rate=1)
    with pytest.raises(scrae.NotFittedError, match="call fit_labels"):
        model.fit(pbmc).predict()
