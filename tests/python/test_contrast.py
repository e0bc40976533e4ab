"""The term between two masked views, against scipy, finite differences and what it is there for."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.special import log_softmax

import scrae
from scrae.autoencoder.contrast import contrastive_loss
from scrae.data.covariates import Covariates
from scrae.data.minibatches import CountData


@pytest.fixture
def views():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(12, 3))
    return torch.tensor(codes), torch.tensor(codes + 0.3 * rng.normal(size=(12, 3)))


def by_hand(a: np.ndarray, b: np.ndarray, temperature: float) -> float:
    cosine = [[x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in b] for x in a]
    s = np.array(cosine) / temperature
    return -(np.diag(log_softmax(s, axis=1)) + np.diag(log_softmax(s, axis=0))).mean() / 2


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_loss_is_the_mean_of_both_log_softmaxes_of_scipy(views, temperature):
    one_batch = torch.zeros(12, dtype=torch.int64)
    loss = contrastive_loss(*views, one_batch, temperature)
    assert float(loss) == pytest.approx(by_hand(*(v.numpy() for v in views), temperature), rel=1e-12)


def test_cells_of_other_batches_are_no_negatives(views):
    batch = torch.tensor([0, 1, 1, 0, 0, 0, 1, 2, 1, 0, 1, 0])
    parts = [views[0][batch == b].numpy() for b in range(3)], [views[1][batch == b].numpy() for b in range(3)]
    expected = sum(len(a) * by_hand(a, b, 0.5) for a, b in zip(*parts, strict=True)) / 12
    assert float(contrastive_loss(*views, batch, 0.5)) == pytest.approx(expected, rel=1e-12)
    moved = views[0] + 5.0 * (batch == 1)[:, None], views[1] + 5.0 * (batch == 1)[:, None]
    alone = torch.arange(12)
    assert float(contrastive_loss(*moved, alone, 0.5)) == 0.0


def test_gradient_agrees_with_finite_differences_also_with_batches(views):
    a, b = (v.requires_grad_() for v in views)
    batch = torch.tensor([0, 1, 1, 0, 0, 0, 1, 2, 1, 0, 1, 0])
    assert torch.autograd.gradcheck(lambda x, y: contrastive_loss(x, y, batch, 0.5), (a, b))


@pytest.mark.slow
def test_a_cell_is_found_again_from_another_view_of_it(pbmc):
    """Chance is log of the cells in a minibatch; a model without the term is the rival."""

    def last(weight: float) -> float:
        model = scrae.SCRAE(contrast_weight=weight, max_epochs=20, early_stopping=False, verbose=False).fit(pbmc)
        network = model.fitted.module
        data = CountData(sp.csr_array(pbmc.X), Covariates.none(pbmc.n_obs), torch.device("cpu"))
        minibatch = data.minibatch(torch.arange(100))
        torch.manual_seed(0)
        network.train()
        with torch.no_grad():
            return float(network.contrast(network.forward_pass(minibatch)))

    assert last(100.0) + 0.1 < last(0.0) < np.log(100)


def test_training_records_the_term_and_leaves_it_out_where_nothing_is_masked(small, quick):
    history = scrae.SCRAE(**quick, contrast_weight=2.0).fit(small).history
    assert (history["contrast"] > 0).all()
    history = scrae.SCRAE(**quick, contrast_weight=2.0, mask_rate=0.0).fit(small).history
    assert "contrast" not in history
