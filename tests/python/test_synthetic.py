"""Synthetic cells beside real ones, and real cells that the model does not explain."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import roc_auc_score

import scrae

pytestmark = pytest.mark.slow

CONCORDANCES = ["mean", "variance", "zero_fraction", "correlation", "library_size"]


@pytest.fixture(scope="module")
def fitted(_pbmc):
    return scrae.SCRAE(n_hidden=(64,), max_epochs=60, verbose=False).fit(_pbmc)


def independent(counts: np.ndarray, seed: int = 0) -> np.ndarray:
    """The same counts of each gene, dealt to other cells: all genes right, no pair right."""
    rng = np.random.default_rng(seed)
    return rng.permuted(counts, axis=0)


def test_two_halves_of_the_real_cells_cannot_be_told_apart(pbmc):
    order = np.random.default_rng(0).permutation(700)
    report = scrae.tl.compare_cells(pbmc.X[order[:350]], pbmc.X[order[350:]])
    assert 0.42 < report["classifier_auc"] < 0.58
    assert (report[CONCORDANCES] > 0.8).all()


def test_cells_with_independent_genes_are_right_gene_by_gene_and_wrong_pair_by_pair(pbmc):
    counts = pbmc.X.toarray()
    report = scrae.tl.compare_cells(counts, independent(counts))
    np.testing.assert_allclose(report[["mean", "variance", "zero_fraction"]], 1)
    assert report["correlation"] < 0.2
    assert report["classifier_auc"] > 0.9


def test_concordance_tells_equal_from_proportional(pbmc):
    counts = pbmc.X.toarray()
    report = scrae.tl.compare_cells(counts, 3 * counts)
    assert report["mean"] < 0.9
    assert report["correlation"] > 0.8
    assert report["classifier_auc"] > 0.9


def test_synthetic_cells_are_hard_to_tell_from_real_ones_those_of_the_prior_easy(fitted, pbmc):
    of_prior = scrae.tl.compare_cells(pbmc.X, fitted.sample(700, codes="prior"))
    report = scrae.tl.sample_report(pbmc, fitted)
    assert report["classifier_auc"] < 0.85 < of_prior["classifier_auc"]
    assert report["correlation"] > of_prior["correlation"]
    assert (report[CONCORDANCES] > 0.8).all()


def test_cells_drawn_from_the_prior_are_nearer_to_real_ones_than_independent_genes(fitted, pbmc):
    report = scrae.tl.sample_report(pbmc, fitted)
    apart = scrae.tl.compare_cells(pbmc.X, independent(pbmc.X.toarray()))
    assert report["correlation"] > apart["correlation"] + 0.3
    assert report["classifier_auc"] < apart["classifier_auc"]
    assert (report[["mean", "zero_fraction"]] > 0.8).all()
    np.testing.assert_array_equal(report, scrae.tl.sample_report(pbmc, fitted))


def test_sets_that_cannot_be_compared_are_refused(pbmc):
    with pytest.raises(ValueError, match="765 genes, synthetic ones 700"):
        scrae.tl.compare_cells(pbmc.X, pbmc.X[:, :700])
    with pytest.raises(ValueError, match="700 real and 29 synthetic cells: 30 or more"):
        scrae.tl.compare_cells(pbmc.X, pbmc.X[:29])
    with pytest.raises(scrae.CountsError, match="synthetic is not a matrix of raw counts"):
        scrae.tl.compare_cells(pbmc.X, np.log1p(pbmc.X.toarray()))


def test_doublets_and_cells_with_shuffled_genes_stand_out(fitted, pbmc):
    rng = np.random.default_rng(0)
    kinds = pbmc.obs["cell_type"].astype(str).to_numpy()
    one, other = rng.integers(700, size=(2, 400))
    different = kinds[one] != kinds[other]
    doublets = pbmc.X[one[different]] + pbmc.X[other[different]]
    shuffled = sp.csr_matrix(rng.permuted(pbmc.X[:100].toarray(), axis=1))
    ordinary = scrae.tl.outliers(pbmc, fitted)["score"]
    assert (ordinary > 3).mean() < 0.05
    for strange, least in ((doublets, 0.8), (shuffled, 0.98)):
        cells = anndata.AnnData(sp.csr_matrix(strange), var=pbmc.var)
        score = scrae.tl.outliers(cells, fitted, reference=pbmc)["score"]
        truth = np.r_[np.zeros(700), np.ones(len(score))]
        assert roc_auc_score(truth, np.r_[ordinary, score]) > least


def test_score_does_not_follow_the_library_size_and_a_reference_of_the_same_cells_changes_nothing(fitted, pbmc):
    found = scrae.tl.outliers(pbmc, fitted)
    library = np.log(np.asarray(pbmc.X.sum(1)).ravel())
    assert abs(np.corrcoef(found["negative_log_likelihood"], library)[0, 1]) > 0.5
    assert abs(np.corrcoef(found["score"], library)[0, 1]) < 0.3
    np.testing.assert_array_equal(found, scrae.tl.outliers(pbmc, fitted, reference=pbmc))
    assert list(found.index) == list(pbmc.obs_names)
    with pytest.raises(ValueError, match="49 cells to compare with are too few"):
        scrae.tl.outliers(pbmc, fitted, reference=pbmc[:49])


def test_surprise_of_a_cell_does_not_depend_on_the_others(fitted, pbmc):
    surprise = fitted.negative_log_likelihood(pbmc)
    assert surprise.shape == (700,)
    np.testing.assert_allclose(fitted.negative_log_likelihood(pbmc[::-1])[::-1], surprise, rtol=1e-4)
