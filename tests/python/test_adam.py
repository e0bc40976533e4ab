"""Our Adam against torch.optim.Adam, to the bit."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from scrae.training.adam import Adam

SHAPES = ((5, 3), (7,), (2, 4))


def parameters(dtype=torch.float32):
    torch.manual_seed(1)
    return [nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in SHAPES]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_steps_are_those_of_torch(weight_decay, dtype):
    mine, theirs = parameters(dtype), parameters(dtype)
    ours = Adam(mine, 0.01, (0.5, 0.9), 1e-6, weight_decay)
    reference = torch.optim.Adam(theirs, 0.01, (0.5, 0.9), 1e-6, weight_decay, fused=True)
    for step in range(20):
        if step == 10:
            ours.learning_rate = reference.param_groups[0]["lr"] = 0.003
        gradients = [torch.randn(shape, dtype=dtype) for shape in SHAPES]
        if step % 3 == 0:
            gradients[1] = None
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient
        ours.step(gradients)
        reference.step()
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert not torch.equal(mine[0], parameters(dtype)[0])


def test_the_layout_of_a_gradient_does_not_matter():
    one, other = parameters(), parameters()
    gradients = [torch.randn(shape) for shape in SHAPES]
    Adam(one, 0.01).step(gradients)
    Adam(other, 0.01).step([gradients[0].T.contiguous().T, *gradients[1:]])
    assert torch.equal(one[0], other[0])


def test_parameters_without_a_gradient_stay_and_are_not_in_the_state():
    mine = parameters()
    optimiser = Adam(mine, 0.01)
    optimiser.step([None] * 3)
    assert all(torch.equal(a, b) for a, b in zip(mine, parameters(), strict=True))
    optimiser.step([None, torch.ones(7), None])
    assert set(optimiser.state()) == {"1.step", "1.exp_avg", "1.exp_avg_sq"}


def test_a_state_that_was_loaded_goes_on_to_the_same_bits():
    mine, theirs = parameters(), parameters()
    first = Adam(mine, 0.01)
    gradients = [[torch.randn(shape) for shape in SHAPES] for _ in range(4)]
    for of_step in gradients[:2]:
        first.step(of_step)
    with torch.no_grad():
        for to, of in zip(theirs, mine, strict=True):
            to.copy_(of)
    second = Adam(theirs, 0.01)
    second.load_state(first.state())
    for of_step in gradients[2:]:
        first.step(of_step)
        second.step(of_step)
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


@pytest.mark.slow
def test_training_does_not_load_torchs_compiler():
    """It takes longer to load than some trainings."""
    code = (
        "import sys, scrae; scrae.SCRAE(max_epochs=1, verbose=False).fit(scrae.datasets.pbmc());"
        "print('torch._dynamo' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False"]
