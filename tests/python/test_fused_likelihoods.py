"""What is compiled for single precision on a processor, against numpy and against the plain formulas in double."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from scrae.compute import elementary
from scrae.compute.bfloat16 import WideLinear, multiplies_bfloat16, rounded_products, wide_linear
from scrae.compute.threads import over_rows
from scrae.data.sparse import SparseRows
from scrae.likelihoods import NegativeBinomial, ZeroInflatedNegativeBinomial
from scrae.likelihoods.base import Likelihood

CELLS, GENES, WIDTH = 37, 50, 8


def test_exp_log_and_log1p_are_numpys_to_a_few_units_in_the_last_place():
    x = np.linspace(-86.9, 87.9, 5001, dtype=np.float32)
    np.testing.assert_allclose([elementary.exp(v) for v in x], np.exp(x.astype(np.float64)), rtol=4e-7)
    assert elementary.exp(np.float32(-1e4)) == elementary.exp(np.float32(-87))
    x = np.concatenate([np.linspace(0, 1, 1001), np.logspace(-30, 0, 301)]).astype(np.float32)
    np.testing.assert_allclose([elementary.log1p(v) for v in x], np.log1p(x.astype(np.float64)), rtol=4e-7)
    x = np.concatenate([np.logspace(-37, 38, 1501), np.linspace(0.4, 2.1, 1001)]).astype(np.float32)
    np.testing.assert_allclose([elementary.log(v) for v in x], np.log(x.astype(np.float64)), rtol=4e-7)
    assert np.isnan(elementary.log(np.float32(np.nan)))


def drawn(seed, spread, n_groups):
    """A layer in double precision, and cells with large, fractional and no counts."""
    torch.manual_seed(seed)
    hidden = torch.randn(CELLS, WIDTH, dtype=torch.float64) * spread
    counts = torch.poisson(torch.rand(CELLS, GENES, dtype=torch.float64) * 3)
    counts[0] = 0
    counts[1, :4] = torch.tensor([0.5, 17.0, 1000.0, 2.5])
    log_library = counts.sum(1).clamp_min(1).log()
    return hidden, SparseRows.from_dense(counts), log_library, torch.arange(CELLS) % n_groups


@pytest.mark.parametrize("family", [NegativeBinomial, ZeroInflatedNegativeBinomial], ids=lambda f: f.name)
@pytest.mark.parametrize("n_groups", [1, 3])
@pytest.mark.parametrize("spread", [0.3, 30.0], ids=["mild", "extreme"])
def test_log_probabilities_and_gradients_equal_the_plain_formula_in_double(family, n_groups, spread):
    hidden, counts, log_library, group = drawn(3, spread, n_groups)
    layer = family(WIDTH, GENES, n_groups).double()
    with torch.no_grad():
        layer.log_r.uniform_(-3, 5)
    weight = torch.rand(CELLS, dtype=torch.float64)

    def value_and_gradients(layer, log_prob, dtype):
        inputs = [t.to(dtype).requires_grad_() for t in (hidden.detach(), log_library.detach())]
        target = counts.with_values(counts.values.to(dtype))
        value = log_prob(layer, inputs[0], inputs[1], group, target)
        return value, torch.autograd.grad((weight.to(dtype) * value).sum(), [*inputs, *layer.parameters()])

    expected, expected_gradients = value_and_gradients(layer, Likelihood.log_prob, torch.float64)
    ours, gradients = value_and_gradients(layer.float(), family.log_prob, torch.float32)
    np.testing.assert_allclose(ours.detach(), expected.detach(), rtol=2e-5)
    for mine, plain in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(mine, plain, atol=2e-5 * float(plain.abs().max()))


@pytest.mark.parametrize("family", [NegativeBinomial, ZeroInflatedNegativeBinomial], ids=lambda f: f.name)
def test_what_is_not_a_number_does_not_get_lost(family):
    """The training loop looks at the loss to see that it must go back."""
    hidden, counts, log_library, group = drawn(0, 1.0, 1)
    hidden[4, 2] = torch.nan
    target = counts.with_values(counts.values.float())
    value = family(WIDTH, GENES).log_prob(hidden.float(), log_library.float(), group, target)
    assert value[4].isnan()
    assert value[:4].isfinite().all()


def test_rows_are_done_once_each_whatever_the_number_of_threads_and_errors_come_out():
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            done, names = np.zeros(4, int), set()

            def mark(first, last, by, done=done, names=names):
                done[first:last] += by
                names.add(threading.current_thread().name)

            over_rows(4, mark, 3)
            assert done.tolist() == [3] * 4
            assert len(names) <= threads

        def fail(first, last):
            if first:
                raise ValueError("row 1 is wrong")

        with pytest.raises(ValueError, match="row 1"):
            over_rows(2, fail)
    finally:
        torch.set_num_threads(before)


def gradients_of_wide(weight_as):
    torch.manual_seed(0)
    x = torch.randn(64, 40, requires_grad=True)
    stored = torch.nn.Parameter(torch.randn(300, 40) if weight_as == "rows" else torch.randn(40, 300))
    bias = torch.nn.Parameter(torch.randn(300))
    y = wide_linear(x, stored if weight_as == "rows" else stored.T, bias)
    direction = torch.randn(64, 300, generator=torch.Generator().manual_seed(1))
    return y, stored, torch.autograd.grad(y, [x, stored, bias], direction)


@pytest.mark.parametrize("weight_as", ["rows", "columns"])
def test_rounded_products_differ_by_rounding_only_and_gradients_lie_as_their_parameters(weight_as):
    """torch's fused Adam reads a gradient in the order of memory."""
    exact, _, exact_gradients = gradients_of_wide(weight_as)
    with rounded_products():
        rounded, stored, gradients = gradients_of_wide(weight_as)
    for ours, theirs in zip((rounded, *gradients), (exact, *exact_gradients), strict=True):
        assert float((ours - theirs).detach().norm() / theirs.detach().norm()) < 0.01
    assert gradients[1].stride() == stored.stride()
    assert torch.equal(rounded, exact) != multiplies_bfloat16("cpu")
    with rounded_products(False):
        assert torch.equal(gradients_of_wide(weight_as)[0], exact)
    assert torch.equal(gradients_of_wide(weight_as)[0], exact)


@pytest.mark.skipif(not hasattr(torch.backends.mkldnn, "matmul"), reason="this torch has no such setting")
def test_products_leave_torchs_own_setting_as_it_was():
    before = torch.backends.mkldnn.matmul.fp32_precision
    with rounded_products():
        WideLinear(8, 20)(torch.randn(4, 8)).sum().backward()
    assert torch.backends.mkldnn.matmul.fp32_precision == before


@pytest.mark.slow
def test_where_nothing_can_be_kept_loops_are_compiled_anew_in_each_process():
    nowhere = {"NUMBA_CACHE_DIR": os.devnull + "/kept", "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
    code = "import numpy; from scrae.pp import moments; n = numpy.zeros(3, int); moments._count(n, n); print(n)"
    run = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | nowhere, capture_output=True, text=True, check=True
    )
    assert run.stdout == "[3 0 0]\n"
