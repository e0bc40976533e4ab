"""The zero-inflation layer of VASC, against NumPy and scipy."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import softmax

import scrae
from scrae.compute.rows import working_on
from scrae.data.sparse import SparseRows
from scrae.likelihoods.base import Likelihood
from scrae.likelihoods.zero_inflated_cross_entropy import (
    ZeroInflatedCrossEntropy,
    cross_entropy,
    probability_kept,
    relaxed_draw,
)


def test_an_entry_is_set_to_zero_with_the_double_exponential_of_its_expression():
    expression = torch.linspace(0.01, 1, 50, dtype=torch.float64)
    np.testing.assert_allclose(1 - probability_kept(expression), np.exp(-(expression.numpy() ** 2)), rtol=1e-9)
    small = torch.tensor([0.0, 1e-30, 1e-4])
    np.testing.assert_allclose(probability_kept(small), [0, 0, 1e-8], rtol=1e-6)


def test_the_relaxed_draw_is_distributed_as_a_gumbel_softmax_of_two():
    """That of numpy has two Gumbel variables, as published; ours has one uniform."""
    rng = np.random.default_rng(0)
    p = np.exp(-(0.7**2))
    theirs = softmax(np.log([p, 1 - p]) + rng.gumbel(size=(20_000, 2)), axis=1)[:, 1]
    kept = probability_kept(torch.tensor(0.7, dtype=torch.float64))
    ours = relaxed_draw(kept, torch.tensor(rng.uniform(size=20_000)))
    assert stats.ks_2samp(ours.numpy(), theirs).pvalue > 0.01
    assert (ours > 0.5).double().mean().item() == pytest.approx(1 - p, abs=0.01)


def test_cross_entropy_is_that_of_torch():
    rng = np.random.default_rng(0)
    share, target = torch.tensor(rng.uniform(size=(5, 7))), torch.tensor(rng.uniform(size=(5, 7)).round(1))
    theirs = torch.nn.functional.binary_cross_entropy(share, target, reduction="none").sum(1)
    np.testing.assert_allclose(cross_entropy(share, SparseRows.from_dense(target)), theirs, rtol=1e-9)
    wrong = torch.tensor([[1.0, 0.0]])
    assert torch.isfinite(cross_entropy(torch.tensor([[0.0, 1.0]]), SparseRows.from_dense(wrong))).all()


def a_layer_and_cells(spread):
    """In double precision: a layer, hidden units of 37 cells, and expression that is mostly zero."""
    torch.manual_seed(1)
    layer = ZeroInflatedCrossEntropy(8, 50).double()
    hidden = torch.randn(37, 8, dtype=torch.float64) * spread
    expression = torch.rand(37, 50, dtype=torch.float64) * (torch.rand(37, 50) < 0.3)
    expression[0] = 0
    expression[1, :2] = 1.0
    return layer, hidden, SparseRows.from_dense(expression)


@pytest.mark.parametrize("spread", [0.1, 3.0, 100.0], ids=["mild", "wide", "extreme"])
def test_the_compiled_loop_has_value_and_gradients_of_the_plain_formula_in_double(spread):
    layer, hidden, target = a_layer_and_cells(spread)
    nothing, weight = torch.zeros(37, dtype=torch.int64), torch.rand(37, dtype=torch.float64)

    def value_and_gradients(layer, log_prob, dtype):
        at = hidden.to(dtype).requires_grad_()
        torch.manual_seed(2)
        value = log_prob(layer, at, nothing, nothing, target.with_values(target.values.to(dtype)))
        return value, torch.autograd.grad((weight.to(dtype) * value).sum(), [at, *layer.parameters()])

    def plain(layer, at, log_library, group, target):
        with same_draws():
            return Likelihood.log_prob(layer, at, log_library, group, target)

    expected, expected_gradients = value_and_gradients(layer, plain, torch.float64)
    ours, gradients = value_and_gradients(layer.float(), ZeroInflatedCrossEntropy.log_prob, torch.float32)
    np.testing.assert_allclose(ours.detach(), expected.detach(), rtol=2e-5)
    for mine, exact in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(mine, exact, atol=2e-5 * float(exact.abs().max()))


@contextmanager
def same_draws():
    """torch draws other numbers in double than in single precision; within it double takes those of single."""

    class Singles:
        def draw_like(self, draw, own):
            return draw(own.float()).to(own.dtype)

    with working_on(Singles()):
        yield


def test_what_is_not_a_number_is_seen_in_the_compiled_loop():
    layer, hidden, target = a_layer_and_cells(1.0)
    hidden[4, 2] = torch.nan
    nothing = torch.zeros(37, dtype=torch.int64)
    value = layer.float().log_prob(hidden.float(), nothing, nothing, target.with_values(target.values.float()))
    assert value[4].isnan()
    assert value[:4].isfinite().all()


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
