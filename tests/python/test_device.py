"""A training step on a device that is not the processor, by torch's device "meta": it has shapes, but no numbers.

What would mix devices, or would have the processor wait for a number from a GPU, raises an error there.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.autoencoder.presets import PRESETS
from scrae.data.covariates import Covariates
from scrae.data.minibatches import CountData
from scrae.training.loop import Means, Training

META = torch.device("meta")


def training_on_meta(preset, counts, batch):
    settings = PRESETS[preset]
    module = RegularisedAutoencoder(settings, counts.shape[1], 2, 2)
    module.fit_constants(counts, batch)
    covariates = Covariates(batch[:, None], (2,), np.zeros((len(batch), 0), np.float32))
    data = CountData(counts, covariates, META, has_batch=True)
    return Training(module.to(META), data, torch.arange(50), torch.arange(50, 60), None)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_no_tensor_of_a_step_leaves_the_device_and_nothing_waits_for_it(small, preset):
    counts, batch = sp.csr_array(small.X), np.arange(60) % 2
    training = training_on_meta(preset, counts, batch)
    training.model.train()
    losses, done = Means(), []
    for minibatch in training.data.in_random_order(16, training.training_cells):
        for phase in training.phases:
            losses.add(training._step(phase, phase.loss(minibatch)))
            done.append(phase.name)
    assert done == [phase.name for phase in training.phases] * 4
    assert {parameter.device for parameter in training.model.parameters()} == {META}
    assert {total.device for total in losses._totals.values()} == {META}


def test_asking_the_device_for_a_number_is_an_error_there():
    with pytest.raises(RuntimeError, match="meta"):
        float(torch.zeros((), device=META))
    with pytest.raises(RuntimeError):
        torch.zeros(3, device=META) + torch.zeros(3)


def test_minibatches_of_a_device_are_gathered_as_those_of_the_processor(small):
    """By the shapes of what is on the device, which follow from numbers that the processor knows."""
    counts, covariates = sp.csr_array(small.X), Covariates.none(60)
    here, there = (CountData(counts, covariates, device) for device in (torch.device("cpu"), META))
    cells = torch.tensor([5, 3, 58])
    for name in ("row", "column", "values"):
        ours = getattr(there.minibatch(cells).counts, name)
        assert (ours.device, ours.shape) == (META, getattr(here.minibatch(cells).counts, name).shape)
