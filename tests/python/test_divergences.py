"""Divergences in closed form and by draws: against torch's distributions, Monte Carlo, double loops and limits."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

import scrae
from scrae.regularisers import MixturePrior, NormalPrior, SpikeAndSlab, mmd, spike_and_slab_kl

ALL = ("mmd", "kl_normal", "kl_mixture", "kl_spike_and_slab")


def posterior(n_cells, n_latent, seed=0):
    """Means, log variances and slab logits."""
    torch.manual_seed(seed)
    return [torch.randn(n_cells, n_latent).double() for _ in range(3)]


def test_kl_to_the_normal_prior_equals_that_of_torch_distributions():
    mean, log_variance, _ = posterior(40, 6)
    theirs = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1)
    ours = NormalPrior(6).kl(mean, mean, log_variance)
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_density_of_the_mixture_prior_equals_that_of_torch_distributions():
    prior = MixturePrior(3, n_components=4).double()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.normal_()
    components = Independent(Normal(prior.means, (0.5 * prior.log_variances).exp()), 1)
    theirs = MixtureSameFamily(Categorical(logits=prior.logits), components)
    codes = torch.randn(50, 3).double()
    np.testing.assert_allclose(prior.log_prior(codes).detach(), theirs.log_prob(codes).detach(), rtol=1e-10)
    drawn = prior.sample(200_000).detach()
    np.testing.assert_allclose(drawn.mean(0), theirs.mean.detach(), atol=0.03)
    np.testing.assert_allclose(drawn.var(0), theirs.variance.detach(), rtol=0.03)


def drawn_kl(regulariser, outputs):
    """KL of each cell by one draw of its code."""
    parameters = regulariser.posterior(outputs)
    return regulariser.kl(regulariser.sample_codes(parameters), *parameters)


def penalty(regulariser, outputs):
    """The weighted KL of a forward pass."""
    parameters = regulariser.posterior(outputs)
    passed = SimpleNamespace(posterior=parameters, codes=regulariser.sample_codes(parameters))
    return regulariser.penalties(passed)["kl"].item()


def test_kl_to_a_mixture_of_one_component_is_the_exact_one_on_average():
    prior = MixturePrior(2, n_components=1).double()
    mean, log_variance, _ = (part.repeat(200_000, 1) for part in posterior(1, 2))
    with torch.no_grad():
        prior.log_variances.fill_(0.7)
        draws = drawn_kl(prior, torch.cat([mean, log_variance], 1))
    exact = kl_divergence(Normal(mean[0], (0.5 * log_variance[0]).exp()), Normal(prior.means[0], np.exp(0.35))).sum()
    assert draws.mean().item() == pytest.approx(exact.item(), abs=4 * draws.std().item() / np.sqrt(len(draws)))


def test_kl_to_a_mixture_of_several_components_equals_monte_carlo_of_torch_distributions():
    n = 200_000
    prior = MixturePrior(2, n_components=4).double()
    mean, log_variance, _ = (part.repeat(n, 1) for part in posterior(1, 2))
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.normal_()
        draws = drawn_kl(prior, torch.cat([mean, log_variance], 1))
        q = Independent(Normal(mean[0], (0.5 * log_variance[0]).exp()), 1)
        components = Independent(Normal(prior.means, (0.5 * prior.log_variances).exp()), 1)
        p = MixtureSameFamily(Categorical(logits=prior.logits), components)
        z = q.sample((n,))
        theirs = q.log_prob(z) - p.log_prob(z)
    error = np.hypot(draws.std().item(), theirs.std().item()) / np.sqrt(n)
    assert draws.mean().item() == pytest.approx(theirs.mean().item(), abs=4 * error)


def test_kl_to_the_spike_and_slab_prior_equals_monte_carlo():
    mean, log_variance, logit = posterior(3, 4)
    slab_probability, n = 0.3, 400_000
    rng = np.random.default_rng(0)
    q, p = torch.sigmoid(logit)[..., None], torch.tensor(slab_probability).double()
    used = torch.as_tensor(rng.random((3, 4, n))) < q
    slab = Normal(mean[..., None], (0.5 * log_variance).exp()[..., None])
    z = slab.mean + slab.stddev * torch.as_tensor(rng.standard_normal((3, 4, n)))
    in_slab = q.log() + slab.log_prob(z) - p.log() - Normal(0.0, 1.0).log_prob(z)
    ratio = torch.where(used, in_slab, (1 - q).log() - (1 - p).log()).sum(1)
    ours = spike_and_slab_kl(mean, log_variance, logit, slab_probability)
    error = ratio.std(1) / np.sqrt(n)
    assert ((ours - ratio.mean(1)).abs() < 4 * error).all()


def test_slab_without_spike_has_the_gaussian_kl_and_spike_without_slab_that_of_a_point():
    mean, log_variance, _ = posterior(5, 3)
    always = torch.full_like(mean, 60.0)
    gaussian = NormalPrior(3).kl(mean, mean, log_variance)
    np.testing.assert_allclose(spike_and_slab_kl(mean, log_variance, always, 1 - 1e-15), gaussian, rtol=1e-9)
    np.testing.assert_allclose(spike_and_slab_kl(mean, log_variance, -always, 0.5), 3 * np.log(2), rtol=1e-12)
    far = torch.full_like(mean, 2000.0).requires_grad_()
    spike_and_slab_kl(mean, log_variance, far, 0.5).sum().backward()
    assert torch.isfinite(far.grad).all()


def test_codes_of_the_spike_are_zero_and_those_of_the_slab_the_means():
    regulariser = SpikeAndSlab(2)
    outputs = torch.tensor([[1.5, -2.0, -30.0, -30.0, 40.0, -40.0]])
    np.testing.assert_allclose(regulariser.codes(outputs), [[1.5, 0.0]], atol=1e-6)
    drawn = regulariser.sample_codes(regulariser.posterior(outputs))
    np.testing.assert_allclose(drawn, [[1.5, 0.0]], atol=2e-3)


def test_mmd_equals_a_double_loop():
    torch.manual_seed(2)
    codes, prior = torch.randn(6, 3).double(), torch.randn(5, 3).double() + 1

    def k(a, b):
        return sum(6.0 * s / (6.0 * s + float(((a - b) ** 2).sum())) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))

    def pairs(x):
        return np.mean([k(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j])

    between = np.mean([k(a, b) for a in codes for b in prior])
    assert mmd(codes, prior).item() == pytest.approx(pairs(codes) + pairs(prior) - 2 * between, rel=1e-12)


def test_mmd_is_unbiased_and_sees_a_shift():
    torch.manual_seed(3)
    same = torch.stack([mmd(torch.randn(64, 4), torch.randn(64, 4)) for _ in range(200)])
    assert abs(same.mean()) < 4 * same.std() / np.sqrt(200)
    assert mmd(torch.randn(64, 4) + 1, torch.randn(64, 4)) > 10 * same.std()


def test_kl_warms_up_over_the_steps_asked_for():
    regulariser = NormalPrior(2, weight=3.0, warmup_steps=4)
    outputs = torch.randn(10, 4)
    full = 3.0 * regulariser.kl(outputs[:, :2], *regulariser.posterior(outputs)).mean().item()
    penalties = [penalty(regulariser, outputs) for _ in range(6)]
    np.testing.assert_allclose(penalties, [0, full / 4, full / 2, 3 * full / 4, full, full], rtol=1e-6)


def test_kl_warms_up_over_the_epochs_asked_for():
    regulariser = NormalPrior(2, weight=3.0, warmup_epochs=4)
    outputs = torch.randn(10, 4)
    full = 3.0 * regulariser.kl(outputs[:, :2], *regulariser.posterior(outputs)).mean().item()
    penalties = []
    for epoch in range(6):
        assert not regulariser.start_epoch(epoch, lambda: pytest.fail("the KL needs no codes"))
        penalties.append(penalty(regulariser, outputs))
    np.testing.assert_allclose(penalties, [0, full / 4, full / 2, 3 * full / 4, full, full], rtol=1e-6)


def test_the_smallest_variance_is_added_to_the_variance():
    outputs = torch.randn(10, 4)
    plain = NormalPrior(2).posterior(outputs)[1].exp()
    np.testing.assert_allclose(
        NormalPrior(2, smallest_variance=0.1).posterior(outputs)[1].exp(), plain + 0.1, rtol=1e-6
    )


@pytest.mark.parametrize("regulariser", ALL)
def test_every_divergence_trains_resumes_to_the_same_bits_and_samples_from_its_prior(pbmc, regulariser, tmp_path):
    genes = pbmc[:, :200].copy()
    genes = genes[np.asarray(genes.X.sum(1)).ravel() > 0].copy()
    options = {"regulariser": regulariser, "n_latent": 4, "contrast_weight": 0, "verbose": False}
    if regulariser.startswith("kl_"):
        options["warmup_steps"] = 9
    whole = scrae.SCRAE(**options).fit(genes, max_epochs=3)
    scrae.SCRAE(**options).fit(genes, max_epochs=1).save(tmp_path)
    resumed = scrae.SCRAE.load(tmp_path, verbose=False).fit(genes, max_epochs=3, resume=True)
    np.testing.assert_array_equal(resumed.embed(), whole.embed())
    assert np.isfinite(whole.history.to_numpy()).all()
    penalty = whole.history[regulariser.split("_")[0]]
    # The estimate of MMD is unbiased, so noise takes it below zero.
    assert penalty.mean() > -1 if regulariser == "mmd" else penalty.iloc[-1] > 0
    assert whole.sample(20).shape == (20, 200)


def test_components_of_the_mixture_prior_learn_with_the_codes(pbmc):
    model = scrae.SCRAE(regulariser="kl_mixture", n_components=5, max_epochs=1, verbose=False).fit(pbmc)
    before = MixturePrior(10, n_components=5)
    assert model.fitted.module.regulariser.means.shape == before.means.shape
    assert model.fitted.module.regulariser.log_variances.abs().max() > 1e-3  # started at zero


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regulariser": "kl_normal", "weight": -1.0}, "weight and warmup_steps must not be negative"),
        ({"regulariser": "kl_mixture", "n_components": 0}, "n_components must be at least 1"),
        ({"regulariser": "kl_spike_and_slab", "slab_probability": 1.0}, "slab_probability must be between 0 and 1"),
        ({"regulariser": "mmd", "weight": -1.0}, "weight must not be negative"),
        (
            {"regulariser": "kl_normal", "smallest_variance": -1.0},
            "warmup_epochs and smallest_variance must not be neg",
        ),
    ],
)
def test_options_out_of_range_are_refused(pbmc, options, message):
    with pytest.raises(ValueError, match=message):
        scrae.SCRAE(verbose=False, **options).fit(pbmc)
