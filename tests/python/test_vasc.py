"""The zero-inflation layer of VASC, against NumPy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import softmax

import scrae
from scrae.data.sparse import SparseRows
from scrae.likelihoods.zero_inflated_cross_entropy import (
    ZeroInflatedCrossEntropy,
    cross_entropy,
    log_odds_of_zero,
    relaxed_draw,
)


def test_an_entry_is_set_to_zero_with_the_double_exponential_of_its_expression():
    expression = torch.linspace(0.01, 1, 50, dtype=torch.float64)
    np.testing.assert_allclose(
        torch.sigmoid(log_odds_of_zero(expression)), np.exp(-(expression.numpy() ** 2)), rtol=1e-9
    )
    assert torch.isfinite(log_odds_of_zero(torch.tensor([0.0, 1e-30]))).all()


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_the_relaxed_draw_is_distributed_as_a_gumbel_softmax_of_two(temperature):
    """That of numpy has two Gumbel variables, as published; ours has one uniform."""
    rng = np.random.default_rng(0)
    p = np.exp(-(0.7**2))
    logits = np.log([p, 1 - p]) + rng.gumbel(size=(20_000, 2))
    theirs = softmax(logits / temperature, axis=1)[:, 1]
    log_odds = log_odds_of_zero(torch.tensor(0.7, dtype=torch.float64))
    ours = relaxed_draw(log_odds, torch.tensor(rng.uniform(size=20_000)), temperature)
    assert stats.ks_2samp(ours.numpy(), theirs).pvalue > 0.01
    assert (ours > 0.5).double().mean().item() == pytest.approx(1 - p, abs=0.01)


def test_a_cold_draw_is_zero_or_one():
    uniform = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    drawn = relaxed_draw(log_odds_of_zero(torch.tensor(0.7, dtype=torch.float64)), uniform, 1e-4)
    assert ((drawn < 1e-6) | (drawn > 1 - 1e-6)).double().mean() > 0.99


def test_cross_entropy_is_that_of_torch():
    rng = np.random.default_rng(0)
    share, target = torch.tensor(rng.uniform(size=(5, 7))), torch.tensor(rng.uniform(size=(5, 7)))
    theirs = torch.nn.functional.binary_cross_entropy(share, target, reduction="none").sum(1)
    np.testing.assert_allclose(cross_entropy(share, target), theirs, rtol=1e-9)
    assert torch.isfinite(cross_entropy(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]]))).all()


def test_the_draw_is_there_in_training_and_its_expectation_afterwards():
    torch.manual_seed(0)
    likelihood = ZeroInflatedCrossEntropy(4, 6).double()
    hidden, nothing = torch.randn(3, 4, dtype=torch.float64), torch.zeros(3, dtype=torch.int64)
    cells = torch.rand(3, 6, dtype=torch.float64)
    row, column = torch.meshgrid(torch.arange(3), torch.arange(6), indexing="ij")
    target = SparseRows(row.flatten(), column.flatten(), cells.flatten(), 3, 6)
    once, again = (likelihood.log_prob(hidden, nothing, nothing, target) for _ in range(2))
    assert not torch.equal(once, again)
    likelihood.eval()
    m = 1 / (1 + np.exp(-(hidden @ likelihood.expression.weight.T + likelihood.expression.bias).detach().numpy()))
    m *= 1 - np.exp(-(m**2))
    x = cells.numpy()
    expected = (x * np.log(m) + (1 - x) * np.log(1 - m)).sum(1)
    np.testing.assert_allclose(likelihood.log_prob(hidden, nothing, nothing, target).detach(), expected, rtol=1e-9)
    parameters = likelihood(hidden, nothing, nothing)
    drawn = torch.stack([likelihood.sample(parameters) for _ in range(4000)]).mean(0)
    np.testing.assert_allclose(drawn.detach(), likelihood.expected(parameters).detach(), atol=0.04)


def test_vasc_has_two_dimensions_and_explains_expression_between_zero_and_one_alone(pbmc):
    model = scrae.SCRAE("vasc", verbose=False).fit(
        pbmc[:, :100].copy()[pbmc[:, :100].X.sum(1).A1 > 0].copy(), max_epochs=2
    )
    assert model.embed().shape[1] == 2
    with pytest.raises(ValueError, match="likelihood='zi_cross_entropy' explains target=\"log2_max\" alone"):
        scrae.SCRAE("vasc", target="counts")
