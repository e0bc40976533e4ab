"""The mixture that cells are drawn from, and dispersions fitted to finished codes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy import stats
from scipy.optimize import minimize_scalar

import scrae
from scrae.posthoc.density import CellDensity
from scrae.posthoc.dispersion import fit_dispersions


def test_draws_have_the_moments_of_the_cells():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(4, 4))
    values = rng.normal(size=(4000, 4)) @ factor + [1, 2, 3, 8]
    density = CellDensity.fit(values[:, :3], values[:, 3])
    codes, log_library = density.draw(50_000, rng)
    drawn = np.column_stack([codes, log_library])
    np.testing.assert_allclose(drawn.mean(0), values.mean(0), atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(values.T), atol=0.15 * np.abs(np.cov(values.T)).max())
    assert values[:, 3].min() <= log_library.min() < log_library.max() <= values[:, 3].max()


def test_sizes_go_with_codes():
    rng = np.random.default_rng(1)
    kind = rng.integers(2, size=600)
    codes = rng.normal(size=(600, 2)) + 20 * kind[:, None]
    drawn, log_library = CellDensity.fit(codes, 6 + 2 * kind + 0.1 * rng.normal(size=600)).draw(1000, rng)
    of_second = drawn[:, 0] > 10
    assert of_second.mean() == pytest.approx(kind.mean(), abs=0.05)
    np.testing.assert_allclose([log_library[~of_second].mean(), log_library[of_second].mean()], [6, 8], atol=0.05)


@pytest.mark.parametrize("n", [2, 19, 41])
def test_few_cells_and_codes_that_do_not_vary_have_a_density_too(n):
    rng = np.random.default_rng(2)
    codes = np.column_stack([rng.normal(size=n), np.ones(n)])
    density = CellDensity.fit(codes, np.full(n, 5.0))
    assert len(density.weights) == max(1, n // 20)
    drawn, log_library = density.draw(10, rng)
    np.testing.assert_allclose(drawn[:, 1], 1, atol=0.2)
    np.testing.assert_array_equal(log_library, 5)


def test_a_density_is_what_its_description_says():
    rng = np.random.default_rng(3)
    density = CellDensity.fit(rng.normal(size=(100, 3)), rng.normal(size=100))
    again = CellDensity.from_description(density.description())
    for one, other in zip(
        density.draw(9, np.random.default_rng(0)), again.draw(9, np.random.default_rng(0)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_dispersions_are_the_most_likely_ones_of_each_gene_by_scipy():
    """Counts x = Poisson(m gamma), gamma of shape r; scipy is given the means that the model has."""
    rng = np.random.default_rng(4)
    r = np.repeat([0.5, 5.0, 50.0], 10)
    mean = rng.uniform(3, 12, size=30)
    counts = rng.poisson(mean * rng.gamma(r, 1 / r, size=(3000, 30))).astype(np.float32)
    plain = {"likelihood": "nb", "n_latent": 1, "n_hidden": (8,), "max_epochs": 3, "n_pcs": 0, "smoothing": 0}
    left, found = (
        scrae.SCRAE(**plain, dispersion_steps=steps, verbose=False).fit(sp.csr_matrix(counts)) for steps in (0, 300)
    )
    means = found.denoise(library_size="observed").astype(np.float64)

    def surprise(log_r: float, gene: int) -> float:
        r = np.exp(log_r)
        return -stats.nbinom.logpmf(counts[:, gene], r, r / (r + means[:, gene])).sum()

    best = [minimize_scalar(surprise, bounds=(-4, 8), args=(gene,), method="bounded").x for gene in range(30)]
    assert np.abs(left.fitted.module.likelihood.log_r.detach().numpy()).max() < 0.2
    np.testing.assert_allclose(found.fitted.module.likelihood.log_r.detach().numpy().ravel(), best, atol=0.25)


@pytest.fixture(scope="module")
def trainings(_pbmc):
    def trained(steps):
        return scrae.SCRAE(n_hidden=(32,), max_epochs=15, dispersion_steps=steps, verbose=False).fit(_pbmc[:500])

    return trained(0), trained(50)


def test_dispersions_change_neither_embedding_nor_denoised_means(trainings):
    before, after = trainings
    np.testing.assert_array_equal(before.embed(), after.embed())
    np.testing.assert_array_equal(before.denoise(), after.denoise())


def test_cells_that_were_not_seen_are_more_probable_with_their_dispersions(trainings, pbmc):
    before, after = (model.negative_log_likelihood(pbmc[500:]) for model in trainings)
    assert after.mean() < before.mean() - 5
    assert (after < before).mean() > 0.8


def test_dispersions_stay_as_they_were_where_the_likelihood_is_no_number(trainings, pbmc):
    model = trainings[0]
    module, data = model.fitted.module, model.fitted.data(*model.fitted.training_cells)
    before = module.likelihood.log_r.detach().clone()
    weight = module.likelihood.log_mean.weight.detach().clone()
    with torch.no_grad():
        module.likelihood.log_mean.weight.fill_(torch.nan)
    fit_dispersions(module, data, torch.arange(data.n_cells), 3)
    with torch.no_grad():
        module.likelihood.log_mean.weight.copy_(weight)
    torch.testing.assert_close(module.likelihood.log_r.detach(), before, rtol=0, atol=0)


def test_cells_of_which_nothing_is_expected_are_empty_and_no_nan(pbmc, quick):
    model = scrae.SCRAE(likelihood="gaussian", **quick).fit(pbmc)
    with torch.no_grad():
        model.fitted.module.likelihood.log_normalised.bias.fill_(-1000.0)
    np.testing.assert_array_equal(model.sample(3), np.zeros((3, 765)))


def test_likelihoods_without_a_dispersion_have_nothing_to_fit(pbmc, quick):
    model = scrae.SCRAE(likelihood="poisson", **quick).fit(pbmc)
    assert model.fitted.module.likelihood.dispersions() == []
    assert model.sample(3).shape == (3, 765)
