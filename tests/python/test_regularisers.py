"""The adversarial priors, the library's KL and the choice between regularisers."""

from __future__ import annotations

from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

import scrae
from scrae.networks.library_size import kl_of_normals, log_library_size
from scrae.regularisers import (
    DeepEmbeddedClustering,
    DualMatching,
    FixedPrior,
    InformationDimension,
    LearnedPrior,
    MixturePrior,
    MMDPrior,
    NoRegulariser,
    NormalPrior,
    Regulariser,
    SoftKMeans,
    SpikeAndSlab,
    UnitSphere,
    gradient_penalty,
)
from scrae.regularisers.critic import Critic
from scrae.training.loop import Training


def test_gradient_penalty_equals_a_derivative_by_hand():
    """A critic w2 . leaky(W1 z + b1) + b2 has the gradient W1^T (w2 * slope)."""
    torch.manual_seed(0)
    critic = Critic(4, [6]).double()
    codes, prior = torch.randn(9, 4).double(), torch.randn(9, 4).double()
    mix = torch.rand(9, 1).double()
    ours = gradient_penalty(critic, codes, prior, mix)

    first, last = critic.hidden[0], critic.output
    z_avg = mix * codes + (1 - mix) * prior
    pre = z_avg @ first.weight.T + first.bias
    slope = (pre > 0).double() * 0.8 + 0.2
    gradient = (slope * last.weight) @ first.weight
    by_hand = ((gradient.square().sum(1).sqrt() - 1) ** 2).mean()
    assert ours.item() == pytest.approx(by_hand.item(), rel=1e-12)

    weights = [first.weight, last.weight]
    for mine, theirs in zip(torch.autograd.grad(ours, weights), torch.autograd.grad(by_hand, weights), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10)


@pytest.mark.parametrize("widths", [[], [6], [8, 5, 7]])
def test_the_critics_gradient_and_what_it_gives_the_weights_equal_autograd(widths):
    torch.manual_seed(1)
    critic = Critic(4, widths).double()
    codes = torch.randn(9, 4).double().requires_grad_()
    (theirs,) = torch.autograd.grad(critic(codes).sum(), codes, create_graph=True)
    ours = critic.gradient(codes)
    np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=1e-10)
    weights = [p for p in critic.parameters() if p.dim() == 2]
    by_autograd = torch.autograd.grad(theirs.square().sum(), weights)
    for mine, expected in zip(torch.autograd.grad(ours.square().sum(), weights), by_autograd, strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-10)


def test_gradient_penalty_is_zero_for_a_critic_of_slope_one():
    critic = Critic(3, [])
    with torch.no_grad():
        critic.output.weight.copy_(torch.tensor([[0.6, 0.0, 0.8]]))
    penalty = gradient_penalty(critic, torch.randn(5, 3), torch.randn(5, 3), torch.rand(5, 1))
    assert penalty.item() == pytest.approx(0.0, abs=1e-10)


def test_kl_of_normals_equals_torch_distributions():
    mean, prior_mean = torch.randn(50).double(), torch.randn(50).double()
    variance, prior_variance = torch.rand(50).double() + 1e-3, torch.rand(50).double() + 1e-3
    theirs = kl_divergence(Normal(mean, variance.sqrt()), Normal(prior_mean, prior_variance.sqrt()))
    np.testing.assert_allclose(kl_of_normals(mean, variance, prior_mean, prior_variance), theirs, rtol=1e-9)


def test_log_library_of_a_cell_without_counts_is_finite():
    from scrae.data.sparse import SparseRows

    rows = SparseRows.from_dense(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    assert log_library_size(rows).tolist() == pytest.approx([0.0, np.log(7.0)])


def trained(pbmc, regulariser, **options):
    """A model trained for some epochs whose critic started from the same weights whatever the regulariser."""
    model = scrae.SCRAE(
        regulariser=regulariser, max_epochs=3, n_hidden=(32,), early_stopping=False, verbose=False, **options
    )
    run = Training.run

    def with_given_start(training, *arguments):
        torch.manual_seed(7)
        module = training.model
        for parameter in module.parameters():
            if parameter.dim() > 1:
                nn.init.zeros_(parameter)
        for part in (module.encoder, module.decoder, module.regulariser.critic):
            for parameter in part.parameters():
                nn.init.normal_(parameter, std=0.1)
        for parameter in module.likelihood.parameters():
            nn.init.normal_(parameter, std=0.1)
        generator = module.regulariser.generator
        if not isinstance(generator, nn.Identity):
            with torch.no_grad():
                generator.output.weight.copy_(torch.eye(model.settings.n_latent))
                generator.output.bias.zero_()
        torch.manual_seed(8)
        return run(training, *arguments)

    with mock.patch.object(Training, "run", with_given_start):
        return model.fit(pbmc)


def test_a_learned_prior_whose_generator_is_the_identity_equals_the_fixed_prior_step_by_step(pbmc, monkeypatch):
    """G = I without learning: one linear layer of unit weights whose own phase does not move it."""
    options = {"pull": 0.5, "adversarial_learning_rate": 1e-3}
    fixed = trained(pbmc, "fixed_prior", **options)
    phases = LearnedPrior.phases

    def without_the_generators_step(self, *arguments):
        return [phase for phase in phases(self, *arguments) if phase.name != "prior"]

    monkeypatch.setattr(LearnedPrior, "phases", without_the_generators_step)
    learned = trained(pbmc, "learned_prior", prior_hidden=(), **options)
    for column in ("reconstruction", "critic", "critic_gap", "gradient_penalty", "encoder_adversarial"):
        np.testing.assert_allclose(learned.history[column], fixed.history[column], rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(learned.embed(), fixed.embed())


def test_the_adversarial_step_moves_the_encoder_alone(pbmc):
    model = scrae.SCRAE(pull=1.0, max_epochs=1, verbose=False).fit(pbmc)
    table = {phase.name: phase for phase in model.fitted.module.phases()}
    assert list(table) == ["autoencoder", "encoder_adversarial", "prior", "critic"]
    assert {id(p) for p in table["encoder_adversarial"].parameters} == {
        id(p) for p in model.fitted.module.encoder.parameters()
    }
    assert not {id(p) for p in table["autoencoder"].parameters} & {
        id(p) for p in model.fitted.module.regulariser.parameters()
    }
    schedule = {name: [phase.due(i) for i in range(10)] for name, phase in table.items()}
    assert sum(schedule["autoencoder"]) == 10
    assert sum(schedule["critic"]) == 8
    assert sum(schedule["prior"]) == sum(schedule["encoder_adversarial"]) == 2
    assert not any(a and b for a, b in zip(schedule["critic"], schedule["prior"], strict=True))


def energy_distance(a, b):
    """Szekely's energy distance between two samples of codes (zero if and only if the distributions are equal)."""
    from scipy.spatial.distance import cdist

    return 2 * cdist(a, b).mean() - cdist(a, a).mean() - cdist(b, b).mean()


@pytest.mark.slow
@pytest.mark.parametrize("pulled", [True, False])
def test_the_adversarial_phases_bring_codes_to_the_prior_if_and_only_if_the_encoder_is_pulled(pulled):
    """An encoder that can only shift and scale its codes, far from N(0, I): the signs of the losses are right."""
    torch.manual_seed(0)
    cells = torch.randn(256, 2)
    encoder = nn.Linear(2, 2)
    with torch.no_grad():
        encoder.weight.copy_(0.3 * torch.eye(2))
        encoder.bias.fill_(3.0)
    prior = FixedPrior(2, pull=1.0 if pulled else 0.0, adversarial_learning_rate=3e-3)
    phases = prior.phases(
        SimpleNamespace(
            encode=lambda _: encoder(cells), encoder_parameters=lambda: list(encoder.parameters()), learning_rate=1e-2
        )
    )
    normal = torch.randn(256, 2).numpy()
    start = energy_distance(encoder(cells).detach().numpy(), normal)
    optimisers = {p.name: torch.optim.Adam(p.parameters, lr=p.learning_rate, betas=p.betas) for p in phases}
    for iteration in range(3000):
        for phase in phases:
            if phase.due(iteration):
                loss = next(iter(phase.loss(None).values()))
                for parameter, gradient in zip(
                    phase.parameters, torch.autograd.grad(loss, phase.parameters), strict=True
                ):
                    parameter.grad = gradient
                optimisers[phase.name].step()
    share_left = energy_distance(encoder(cells).detach().numpy(), normal) / start
    assert share_left < 0.2 if pulled else share_left == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pbmc", "cao_worm_neuron"])
def test_the_learned_prior_comes_closer_to_the_codes_than_a_normal_and_the_critic_sees_it(name, pbmc, shared):
    adata = pbmc if name == "pbmc" else shared(name)
    if name == "cao_worm_neuron":
        adata = adata[::2].copy()
    scrae.pp.select_genes(adata, n_top=500)
    adata = adata[:, adata.var["scrae_selected"]]
    adata = adata[np.asarray(adata.X.sum(1)).ravel() > 0]
    model = scrae.SCRAE(verbose=False, n_hidden=(64,)).fit(adata)
    codes = model.codes()
    normal = np.random.default_rng(0).normal(size=codes.shape)
    learned = np.mean([energy_distance(codes, model.sample_codes(len(codes), random_state=s)) for s in range(3)])
    assert learned < 0.75 * energy_distance(codes, normal)
    gap = model.history["critic_gap"]
    assert gap.tail(5).mean() < 0.8 * gap.rolling(5).mean().max()


def test_no_regulariser_adds_nothing_and_has_nothing_to_sample(pbmc, quick):
    model = scrae.SCRAE(regulariser="none", contrast_weight=0, **quick).fit(pbmc)
    assert set(model.history) == {"autoencoder", "reconstruction", "validation_reconstruction", "seconds"}
    np.testing.assert_allclose(model.history["autoencoder"], model.history["reconstruction"], rtol=1e-6)
    with pytest.raises(ValueError, match="no prior to sample from"):
        model.sample(3, codes="prior")
    assert model.sample(3).shape == (3, 765)


def test_a_new_regulariser_is_one_class_and_one_preset(pbmc, quick, monkeypatch, tmp_path):
    """Adding a member of the family takes no more: settings, training, history, files and errors know it at once."""
    from scrae.autoencoder.presets import PRESETS
    from scrae.autoencoder.settings import Settings

    class ShrunkCodes(Regulariser):
        name = "shrunk_codes"

        def __init__(self, n_latent, *, shrinkage=1.0):
            super().__init__(n_latent)
            self.shrinkage = shrinkage

        def penalties(self, passed):
            return {"shrinkage": self.shrinkage * passed.codes.square().sum(1).mean()}

    try:
        shrunk = Settings(regulariser="shrunk_codes", standardise_codes=False, regulariser_options={"shrinkage": 50.0})
        monkeypatch.setitem(PRESETS, "shrunk", shrunk)
        model = scrae.SCRAE("shrunk", **quick).fit(pbmc)
        model.save(tmp_path)
        loaded = scrae.SCRAE.load(tmp_path, verbose=False)
        with pytest.raises(TypeError, match="has no setting 'shrinkag'; did you mean 'shrinkage'"):
            scrae.SCRAE("shrunk", shrinkag=1.0)
    finally:
        del Regulariser.registry["shrunk_codes"]
    plain = scrae.SCRAE(regulariser="none", standardise_codes=False, **quick).fit(pbmc)
    assert "shrinkage" in model.history
    np.testing.assert_array_equal(loaded.embed(pbmc), model.embed())
    assert np.square(model.codes()).mean() < 0.5 * np.square(plain.codes()).mean()


def test_every_regulariser_is_found_by_its_name():
    assert Regulariser.registry == {
        "none": NoRegulariser,
        "fixed_prior": FixedPrior,
        "learned_prior": LearnedPrior,
        "mmd": MMDPrior,
        "kl_normal": NormalPrior,
        "kl_mixture": MixturePrior,
        "sphere": UnitSphere,
        "kl_spike_and_slab": SpikeAndSlab,
        "dec": DeepEmbeddedClustering,
        "soft_kmeans": SoftKMeans,
        "information_dimension": InformationDimension,
        "dual_matching": DualMatching,
    }
