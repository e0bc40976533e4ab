"""A training step on a device that is not the processor, by torch's device "meta": it has shapes, but no numbers.

What would mix devices, or would have the processor wait for a number from a GPU, raises an error there.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import scrae
from pretended_gpu import small_gpu
from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.autoencoder.presets import PRESETS
from scrae.data.covariates import Covariates
from scrae.data.links import Links
from scrae.data.minibatches import CountData
from scrae.training.loop import Training

META = torch.device("meta")


def training_on_meta(preset, counts, batch):
    settings = PRESETS[preset]
    module = RegularisedAutoencoder(settings, counts.shape[1], 2, 2)
    module.fit_constants(counts, batch)
    covariates = Covariates(batch[:, None], (2,), np.zeros((len(batch), 0), np.float32))
    links = Links(np.array([[0, 5], [7, 20]]), np.array([[1, 50], [3, 4]]))
    data = CountData(counts, covariates, META, has_batch=True, links=links)
    return Training(module.to(META), data, torch.arange(50), torch.arange(50, 60), None)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_no_tensor_of_a_step_leaves_the_device_and_nothing_waits_for_it(small, preset):
    counts, batch = sp.csr_array(small.X), np.arange(60) % 2
    training = training_on_meta(preset, counts, batch)
    training.model.train()
    minibatches = list(training.data.for_training(16, training.training_cells))
    assert [(len(cells), cells.device) for cells in minibatches] == [(13, META), (13, META), (12, META), (12, META)]
    for cells in minibatches:
        training._iteration(cells, tuple(training.phases))
    assert set(training.optimisers) == {phase.name for phase in training.phases}
    assert all(optimiser.state() for optimiser in training.optimisers.values())  # each has taken a step
    assert {parameter.device for parameter in training.model.parameters()} == {META}
    assert {total.device for total in training._losses._totals.values()} == {META}


def test_asking_the_device_for_a_number_is_an_error_there():
    with pytest.raises(RuntimeError, match="meta"):
        float(torch.zeros((), device=META))
    with pytest.raises(RuntimeError):
        torch.zeros(3, device=META) + torch.zeros(3)


def test_minibatches_of_a_device_have_shapes_that_follow_from_the_number_of_cells(small):
    counts = sp.csr_array(small.X)
    data = CountData(counts, Covariates.none(60), META)
    for cells in ([5, 3, 58], [0, 1, 2]):
        found = data.minibatch(torch.tensor(cells)).counts
        assert (found.values.device, found.values.shape) == (META, (3, counts.shape[1]))


@pytest.mark.parametrize("counts", [[[0, 3, 0, 1], [0, 0, 0, 0], [7, 0, 0, 2]], [[0, 0], [0, 0]], [[1, 2], [3, 4]]])
def test_a_block_of_cells_has_their_counts_in_the_order_asked_for(counts):
    counts = np.array(counts, dtype=np.float32)
    data = CountData(sp.csr_array(counts), Covariates.none(len(counts)), torch.device("cpu"))
    data._bounds, data._most = data._indptr, int(np.count_nonzero(counts, axis=1).max())  # as for another device
    order = torch.arange(len(counts)).flip(0)
    np.testing.assert_array_equal(data._dense(order).dense(), counts[order.numpy()])


def test_counts_that_a_gpu_has_no_room_for_are_refused_before_anything_is_computed(small, monkeypatch):
    counts = sp.csr_array(small.X)
    needed = 8 * counts.nnz + 8 * 61  # column and value of each entry, and where each cell begins
    small_gpu(monkeypatch, needed - 11, kept=10)
    monkeypatch.setattr("scrae.model.training_data.fingerprint", lambda *_: pytest.fail("goes through all counts"))
    with pytest.raises(
        ValueError, match="the counts take 9.*e-06 GB of memory, and 9.*e-06 GB are free on cuda; use dev"
    ):
        scrae.SCRAE(device="cuda", verbose=False).fit(small)
    with pytest.raises(ValueError, match="are free on cuda"):
        CountData(counts, Covariates.none(60), torch.device("cuda"))
    small_gpu(monkeypatch, needed - 10, kept=10)
    with pytest.raises(pytest.fail.Exception, match="goes through all counts"):
        scrae.SCRAE(device="cuda", verbose=False).fit(small)
