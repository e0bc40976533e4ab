"""Likelihoods against scipy, their gradients against finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from scrae.data.sparse import SparseRows
from scrae.likelihoods import (
    Gaussian,
    NegativeBinomial,
    Poisson,
    ZeroInflatedNegativeBinomial,
    log_prob_gaussian,
    log_prob_negative_binomial,
    log_prob_poisson,
    log_prob_zinb,
)
from scrae.likelihoods.negative_binomial import TABLED, log_binomial_by_gene

MEANS = [1e-8, 1e-3, 0.7, 3.0, 250.0, 1e6]
DISPERSIONS = [1e-4, 0.1, 1.0, 30.0, 1e4]
COUNTS = [0, 1, 2, 17, 1000, 1_000_000]
LOGITS = [-30.0, -2.0, 0.0, 3.0, 30.0]


def one_entry(count):
    return SparseRows.from_dense(torch.tensor([[float(count)]], dtype=torch.float64))


def tensor(value):
    return torch.tensor([[value]], dtype=torch.float64)


def scipy_nb(count, mean, dispersion):
    """scipy's nbinom, with the tail it rounds to -inf computed in high precision."""
    r = 1.0 / dispersion
    value = stats.nbinom.logpmf(count, r, r / (r + mean))
    if np.isfinite(value) and mean / r > 1e-10:
        return value
    import mpmath

    with mpmath.workdps(60):
        r, mu = 1 / mpmath.mpf(dispersion), mpmath.mpf(mean)
        exact = mpmath.loggamma(count + r) - mpmath.loggamma(r) - mpmath.loggamma(count + 1)
        return float(exact + r * mpmath.log(r / (r + mu)) + count * mpmath.log(mu / (r + mu)))


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("dispersion", DISPERSIONS)
def test_negative_binomial_equals_scipy_at_extreme_values(mean, dispersion):
    for count in COUNTS:
        ours = log_prob_negative_binomial(
            tensor(math.log(mean)), tensor(-math.log(dispersion)), one_entry(count)
        ).item()
        assert ours == pytest.approx(scipy_nb(count, mean, dispersion), rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("dispersion", DISPERSIONS)
def test_zinb_equals_a_mixture_of_scipy_nbinom_and_zero(mean, dispersion):
    for count in COUNTS:
        nb = scipy_nb(count, mean, dispersion)
        for logit in LOGITS:
            log_pi, log_not_pi = -np.logaddexp(0, -logit), -np.logaddexp(0, logit)
            expected = log_not_pi + nb if count else np.logaddexp(log_pi, log_not_pi + nb)
            ours = log_prob_zinb(
                tensor(math.log(mean)), tensor(-math.log(dispersion)), tensor(logit), one_entry(count)
            ).item()
            assert ours == pytest.approx(expected, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("mean", MEANS)
def test_poisson_equals_scipy_at_extreme_values(mean):
    for count in COUNTS:
        ours = log_prob_poisson(tensor(math.log(mean)), one_entry(count)).item()
        assert ours == pytest.approx(stats.poisson.logpmf(count, mean), rel=1e-9, abs=1e-12)


def random_block(seed, cells=5, genes=7, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    counts = torch.poisson(normal(cells, genes).exp() * 2, generator=generator)
    return counts, normal(cells, genes), normal(1, genes), normal(cells, genes)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_log_probabilities_of_whole_blocks_equal_scipy(seed):
    counts, log_mean, log_r, logit = random_block(seed)
    rows = SparseRows.from_dense(counts)
    mean, r = log_mean.exp().numpy(), log_r.exp().numpy()
    nb = stats.nbinom.logpmf(counts.numpy(), r, r / (r + mean))
    np.testing.assert_allclose(log_prob_negative_binomial(log_mean, log_r, rows), nb.sum(1), rtol=1e-9)
    pi = torch.sigmoid(logit).numpy()
    zinb = np.log(pi * (counts.numpy() == 0) + (1 - pi) * np.exp(nb))
    np.testing.assert_allclose(log_prob_zinb(log_mean, log_r, logit, rows), zinb.sum(1), rtol=1e-9)
    poisson = stats.poisson.logpmf(counts.numpy(), mean)
    np.testing.assert_allclose(log_prob_poisson(log_mean, rows), poisson.sum(1), rtol=1e-9)
    gaussian = stats.norm.logpdf(counts.numpy(), log_mean.numpy(), r)
    np.testing.assert_allclose(log_prob_gaussian(log_mean, log_r, rows), gaussian.sum(1), rtol=1e-9)


@pytest.mark.parametrize("shared_over", ["cells", "nothing"])
def test_gradients_equal_finite_differences(shared_over):
    counts, log_mean, log_r, logit = random_block(1)
    rows = SparseRows.from_dense(counts)
    if shared_over == "nothing":
        log_r = random_block(2)[1]
    inputs = tuple(t.clone().requires_grad_(True) for t in (log_mean, log_r, logit))
    assert torch.autograd.gradcheck(lambda m, r, z: log_prob_zinb(m, r, z, rows), inputs)
    assert torch.autograd.gradcheck(lambda m, r: log_prob_negative_binomial(m, r, rows), inputs[:2])
    assert torch.autograd.gradcheck(lambda m: log_prob_poisson(m, rows), inputs[:1])
    assert torch.autograd.gradcheck(lambda m, r: log_prob_gaussian(m, r, rows), inputs[:2])


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("dispersion", DISPERSIONS)
def test_gradients_at_extreme_values_equal_autograd_of_the_plain_formula(mean, dispersion):
    for count in COUNTS[:-1]:
        inputs = [tensor(math.log(mean)), tensor(-math.log(dispersion)), tensor(-1.0)]
        for value in inputs:
            value.requires_grad_(True)
        ours = torch.autograd.grad(log_prob_zinb(*inputs, one_entry(count)).sum(), inputs)

        log_mean, log_r, logit = inputs
        r, x = log_r.exp(), torch.tensor(float(count), dtype=torch.float64)
        log_total = torch.logaddexp(log_r, log_mean)
        nb = torch.lgamma(x + r) - torch.lgamma(r) - torch.lgamma(x + 1)
        nb = nb + r * (log_r - log_total) + x * (log_mean - log_total)
        log_not_pi = torch.nn.functional.logsigmoid(-logit)
        plain = log_not_pi + nb
        if count == 0:
            plain = torch.logaddexp(torch.nn.functional.logsigmoid(logit), log_not_pi + nb)
        expected = torch.autograd.grad(plain.sum(), inputs)
        for mine, theirs in zip(ours, expected, strict=True):
            assert mine.item() == pytest.approx(theirs.item(), rel=1e-4, abs=1e-7 * max(1, count, 1 / dispersion))


def test_looked_up_binomials_equal_scipy_for_small_large_and_fractional_counts():
    x = np.array([1.0, 2.0, TABLED, TABLED + 1, 0.5, 2.5, 1e6])
    r = np.exp(np.linspace(-9, 9, 6))
    rows = SparseRows.from_dense(torch.as_tensor(np.repeat(x[:, None], 6, 1)))
    value, by_log_r = log_binomial_by_gene(rows, torch.as_tensor(r))
    n, r = np.repeat(x, 6), np.tile(r, 7)
    np.testing.assert_allclose(value, -special.betaln(n, r) - np.log(n), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(by_log_r, r * (special.digamma(n + r) - special.digamma(r)), rtol=1e-6)


def test_a_dispersion_shared_by_all_cells_is_the_same_as_one_repeated_for_each():
    counts, log_mean, log_r, logit = random_block(3)
    counts[0, :2] = torch.tensor([TABLED + 3.0, 0.5])
    rows = SparseRows.from_dense(counts)
    shared, repeated = (r.clone().requires_grad_() for r in (log_r, log_r.expand_as(counts)))
    results = [log_prob_zinb(log_mean, r, logit, rows) for r in (shared, repeated)]
    torch.testing.assert_close(*results)
    gradients = [torch.autograd.grad(x.sum(), r)[0] for x, r in zip(results, (shared, repeated), strict=True)]
    torch.testing.assert_close(gradients[0], gradients[1].sum(0, keepdim=True))


def test_single_precision_stays_finite_and_close_to_double():
    generator = torch.Generator().manual_seed(0)
    log_mean = torch.empty(200, 50, dtype=torch.float64).uniform_(-18, 14, generator=generator)
    log_r = torch.empty(1, 50, dtype=torch.float64).uniform_(-9, 9, generator=generator)
    logit = torch.empty(200, 50, dtype=torch.float64).uniform_(-15, 15, generator=generator)
    counts = torch.poisson(torch.empty(200, 50, dtype=torch.float64).uniform_(0, 3, generator=generator))
    double = log_prob_zinb(log_mean, log_r, logit, SparseRows.from_dense(counts))
    inputs = [t.float().requires_grad_(True) for t in (log_mean, log_r, logit)]
    single = log_prob_zinb(*inputs, SparseRows.from_dense(counts.float()))
    np.testing.assert_allclose(single.detach(), double, rtol=1e-4)
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(single.sum(), inputs))


@pytest.mark.parametrize(
    "family", [ZeroInflatedNegativeBinomial, NegativeBinomial, Poisson, Gaussian], ids=lambda f: f.name
)
def test_sample_means_equal_the_stated_means(family):
    """Draws of a likelihood have its mean (times the share that is not dropped out)."""
    torch.manual_seed(0)
    layer = family(4, 6)
    log_library = torch.full((20_000,), math.log(600.0))
    with torch.no_grad():
        parameters = layer(torch.randn(1, 4).expand(20_000, 4), log_library, torch.zeros(20_000, dtype=torch.long))
        if family is Gaussian:
            parameters = (parameters[0].abs(), torch.full_like(parameters[1], -2.9), parameters[2])
        expected = layer.mean(parameters)[0]
        if family is ZeroInflatedNegativeBinomial:
            expected = expected * (1 - torch.sigmoid(parameters[2][0]))
        drawn = layer.sample(parameters).mean(0)
    np.testing.assert_allclose(drawn, expected, rtol=0.06, atol=0.5)


def test_means_of_counts_sum_to_the_library_size():
    layer = ZeroInflatedNegativeBinomial(4, 6)
    log_library = torch.log(torch.tensor([10.0, 1e5]))
    mean = layer.mean(layer(torch.randn(2, 4), log_library, torch.zeros(2, dtype=torch.long)))
    np.testing.assert_allclose(mean.sum(1).detach(), [10.0, 1e5], rtol=1e-5)


def test_dispersion_per_batch_is_the_parameter_of_that_batch():
    layer = NegativeBinomial(4, 6, n_groups=2)
    with torch.no_grad():
        layer.log_r[1] = 2.0
    _, log_r = layer(torch.randn(3, 4), torch.zeros(3), torch.tensor([0, 1, 0]))
    assert log_r[:, 0].tolist() == [0.0, 2.0, 0.0]
