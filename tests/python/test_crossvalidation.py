"""Denoising: molecules that were held out, and genes that a sorted type of cells does not express."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import mean_poisson_deviance

import scrae
from scrae.tl.crossvalidation import UNSEEN, gene_means, split_molecules, sums_of_scores


def test_scores_are_scikit_learn_s_deviance_and_numpy_s_correlation():
    rng = np.random.default_rng(0)
    truth, expected = rng.poisson(2.0, (5, 40)).astype(float), rng.gamma(2.0, size=(5, 40))
    deviance, _, correlation = sums_of_scores(truth, expected, 50.0)
    assert deviance == pytest.approx(5 * mean_poisson_deviance(truth.ravel(), expected.ravel()))
    logs = [np.log1p(50 * x / x.sum(1, keepdims=True)) for x in (truth, expected)]
    assert correlation == pytest.approx(sum(np.corrcoef(a, b)[0, 1] for a, b in zip(*logs, strict=True)))


def test_gene_means_are_right_where_a_gene_has_more_molecules_than_single_precision_counts():
    per_cell = np.array([301.0, 7.0, 1.0])
    of_all = gene_means(sp.csr_array(np.tile(per_cell, (100_000, 1)).astype(np.float32)))
    shares = 100_000 * per_cell + UNSEEN
    np.testing.assert_allclose(of_all(slice(0, 2)), 309 * np.tile(shares / shares.sum(), (2, 1)), rtol=1e-12)


def test_each_molecule_is_on_one_side_and_thinning_is_binomial():
    rng = np.random.default_rng(2)
    counts = sp.csr_array(rng.poisson(3.0, (300, 80)).astype(np.float32))
    one, other = split_molecules(counts, 0.3, 4)
    assert abs(one + other - counts).max() == 0
    deviation = (one.toarray() - 0.3 * counts.toarray()) / np.sqrt(0.21 * np.maximum(counts.toarray(), 1))
    assert abs(deviation[counts.toarray() > 0].mean()) < 0.03
    assert deviation[counts.toarray() > 0].std() == pytest.approx(1, abs=0.02)


@pytest.mark.slow
def test_denoised_means_predict_held_out_molecules_better_than_counts_and_than_gene_means(pbmc):
    scores = scrae.tl.molecular_cross_validation(pbmc, n_hidden=(64,), max_epochs=60)
    assert scores["poisson"].idxmin() == "denoised"
    assert scores["squared_error"].idxmin() == "denoised"
    assert scores["correlation"].idxmax() == "denoised"
    assert np.isinf(scores.loc["counts", "poisson"])


def test_where_cells_differ_by_counting_noise_alone_nothing_beats_the_mean_by_much():
    rng = np.random.default_rng(1)
    counts = rng.poisson(rng.gamma(0.7, size=120) * np.ones((300, 1)))
    adata = anndata.AnnData(sp.csr_matrix(counts.astype(np.float32)))
    scores = scrae.tl.molecular_cross_validation(adata, n_hidden=(32,), max_epochs=40)["poisson"]
    assert scores["denoised"] > 0.99 * scores["mean"]


def test_shares_out_of_range_and_cells_with_too_few_molecules_are_refused(small, quick):
    with pytest.raises(ValueError, match="between 0 and 1, not 1"):
        scrae.tl.molecular_cross_validation(small, share=1, **quick)
    counts = small.X.toarray()
    counts[:3] = 0
    counts[:3, 0] = 1
    with pytest.raises(ValueError, match="3 of 60 cells have no molecule on one side"):
        scrae.tl.molecular_cross_validation(anndata.AnnData(sp.csr_matrix(counts)), **quick)


@pytest.mark.slow
def test_markers_of_other_sorted_types_stay_near_zero_when_denoised(shared):
    adata = shared("zheng_sorted_3874")
    scrae.pp.select_genes(adata, "hvg", 1000)
    markers = {"CD79A": "CD19+ B", "CD14": "CD14+ Monocyte", "NKG7": "CD56+ NK"}
    names = adata.var_names.to_numpy()
    chosen = adata.var["scrae_selected"].to_numpy() | np.isin(names, list(markers))
    cells = adata[np.random.default_rng(0).choice(adata.n_obs, 1500, replace=False), chosen].copy()
    cells = cells[np.asarray(cells.X.sum(1)).ravel() > 0].copy()
    model = scrae.SCRAE(n_hidden=(64,), max_epochs=40, verbose=False).fit(cells)
    means, kinds = model.denoise(), cells.obs["cell_type"].astype(str).to_numpy()
    for gene in markers:
        column = means[:, np.flatnonzero(names[chosen] == gene)[0]]
        own = column[kinds == markers[gene]].mean()
        for other in {"CD19+ B", "CD14+ Monocyte"} - {markers[gene]}:
            assert column[kinds == other].mean() < 0.15 * own, f"{gene} in {other}"
