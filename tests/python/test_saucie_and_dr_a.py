"""The penalties of SAUCIE and the dual matching of DR-A: by hand on toys, and what they do to a model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import scrae
from scrae.regularisers import (
    DualMatching,
    activation_entropy,
    batch_mmd,
    bhattacharyya,
    spread,
    within_cluster_distance,
)
from scrae.regularisers.information_dimension import WIDTHS


def kernel(squared):
    return np.mean([np.exp(-squared / (2 * width)) for width in WIDTHS])


def test_activation_entropy_equals_numpy_by_hand_and_its_limits():
    activations = torch.tensor([[1.0, 0.0, 2.0], [0.5, 0.0, 0.5]]).double()
    p = np.array([1.5, 0.0, 2.5]) / 4
    by_hand = -sum(share * np.log(share) for share in p if share)
    assert activation_entropy(activations).item() == pytest.approx(by_hand, abs=1e-8)
    assert activation_entropy(torch.ones(4, 8).double()).item() == pytest.approx(np.log(8), abs=1e-7)
    assert activation_entropy(torch.eye(8).double()[:1]).item() == pytest.approx(0, abs=1e-7)
    inputs = torch.rand(4, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(activation_entropy, inputs)


def test_within_cluster_distance_equals_a_double_loop():
    generator = torch.Generator().manual_seed(0)
    activations, inputs = (torch.rand(5, n, generator=generator).double() for n in (3, 4))
    alike = np.array([[kernel(((a - b) ** 2).sum().item()) for b in activations] for a in activations])
    alike = (alike - alike.min()) / (alike.max() - alike.min())
    apart = np.array([[np.sqrt(((a - b) ** 2).sum().item() + 1e-3) for b in inputs] for a in inputs])
    assert within_cluster_distance(activations, inputs).item() == pytest.approx((alike * apart).mean(), rel=1e-10)


def test_mmd_between_batches_equals_a_double_loop_and_needs_two_batches():
    generator = torch.Generator().manual_seed(1)
    codes, batch = torch.randn(9, 2, generator=generator).double(), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 0])
    largest = max(((a - b) ** 2).sum().item() for a in codes for b in codes)

    def between(first, second):
        return np.mean([[kernel(((a - b) ** 2).sum().item() / largest) for b in codes[batch == second]]
                        for a in codes[batch == first]])  # fmt: skip

    by_hand = sum(abs(between(0, 0) + between(b, b) - 2 * between(0, b)) for b in (1, 2))
    assert batch_mmd(codes, batch).item() == pytest.approx(by_hand, rel=1e-10)
    assert batch_mmd(codes, torch.zeros(9, dtype=torch.int64)) == 0
    assert batch_mmd(codes, torch.ones(9, dtype=torch.int64)) == 0


@pytest.mark.slow
def test_saucie_uses_fewer_units_the_more_entropy_costs(pbmc):
    def used(weight):
        options = {"n_hidden": (64, 32), "entropy_weight": weight, "distance_weight": 0.0, "verbose": False}
        return scrae.SCRAE("saucie", **options).fit(pbmc, max_epochs=15).history["entropy"].iloc[-1] / weight

    assert used(1.0) < used(1e-3) - 0.3


@pytest.mark.slow
def test_saucie_brings_batches_together(small, quick):
    shifted = small.copy()
    shifted.X = shifted.X.toarray()
    shifted.X[shifted.obs["batch"] == "b", :10] *= 6
    batch = torch.as_tensor((shifted.obs["batch"] == "b").to_numpy().astype(int))
    gap = {}
    for weight in (0.0, 50.0):
        settings = quick | {"batch_weight": weight, "max_epochs": 150, "learning_rate": 3e-3, "batch_size": 60}
        model = scrae.SCRAE("saucie", **settings).fit(shifted, batch_key="batch")
        gap[weight] = batch_mmd(torch.as_tensor(model.embed()), batch).item()
    assert gap[50.0] < 0.5 * gap[0.0]


def test_dual_matching_losses_equal_numpy_by_hand():
    real, made = np.array([0.5, 2.0, 1.0]), np.array([1.0, 1.0, 3.0])
    distance = -np.log(np.sqrt(real / real.sum() * made / made.sum()).sum())
    assert bhattacharyya(torch.as_tensor(real), torch.as_tensor(made)).item() == pytest.approx(distance, rel=1e-12)
    assert bhattacharyya(torch.as_tensor(real), torch.as_tensor(real)).item() == pytest.approx(0, abs=1e-12)
    assert spread(torch.as_tensor(made)).item() == pytest.approx(-np.log(np.sqrt(made / 5).sum()), rel=1e-12)
    assert spread(torch.ones(16)).item() == pytest.approx(-np.log(16) / 2)


def test_losses_of_both_critics_by_hand_on_a_toy():
    """Critics that are one linear layer: what they say of a sample is softplus(w . x + b)."""
    regulariser = DualMatching(2, critic_hidden=())
    regulariser.connect(n_genes=3, n_hidden=4)
    cells, means = torch.randn(6, 3), torch.randn(6, 3)
    says = [
        np.log1p(np.exp(x.numpy() @ regulariser.data_critic.output.weight[0].detach().numpy()
                        + regulariser.data_critic.output.bias.item()))
        for x in (cells, means)
    ]  # fmt: skip
    real, made = (s / s.sum() for s in says)
    by_hand = -np.log(np.sqrt(real * made).sum())
    assert regulariser.data_critic_loss(cells, means).item() == pytest.approx(by_hand, abs=1e-6)
    codes = torch.randn(6, 2)
    torch.manual_seed(5)
    prior = torch.randn(6, 2)
    torch.manual_seed(5)
    critic = nn.Sequential(regulariser.code_critic.output, nn.Softplus())
    expected = bhattacharyya(critic(prior).squeeze(1), critic(codes).squeeze(1))
    assert regulariser.code_critic_loss(codes).item() == pytest.approx(expected.item(), abs=1e-6)


def test_dual_matching_steps_are_those_of_the_published_schedule(pbmc):
    model = scrae.SCRAE("dr_a", n_hidden=(16,), critic_hidden=(8,), verbose=False).fit(pbmc, max_epochs=1)
    table = {phase.name: phase for phase in model.fitted.module.phases()}
    due = {name: sum(phase.due(i) for i in range(9)) for name, phase in table.items()}
    assert due == {"autoencoder": 9, "code_critic": 3, "encoder_adversarial": 6, "data_critic": 9}
    encoder = {id(p) for p in model.fitted.module.encoder.parameters()}
    assert {id(p) for p in table["encoder_adversarial"].parameters} == encoder
    critics = {id(p) for p in model.fitted.module.regulariser.parameters()}
    assert not critics & {id(p) for p in table["autoencoder"].parameters}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "saucie", "entropy_weight": -1.0}, "weights must not be negative"),
        ({"preset": "dr_a", "data_weight": -1.0}, "data_weight must not be negative"),
    ],
)
def test_options_out_of_range_are_refused(small, settings, message):
    with pytest.raises(ValueError, match=message):
        scrae.SCRAE(**settings, n_hidden=(8,), verbose=False).fit(small)
