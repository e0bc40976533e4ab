"""The term between two masked views, against scipy, finite differences and what it is there for."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.special import log_softmax, logsumexp

import scrae
from scrae.autoencoder.contrast import contrastive_loss, nt_xent
from scrae.autoencoder.partners import partner_groups
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


def nt_xent_by_hand(a: np.ndarray, b: np.ndarray, temperature: float) -> float:
    """As Chen et al. (2020) write it: a loop over the 2 n views."""
    views = np.concatenate([a, b])
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    n, losses = len(a), []
    for i, view in enumerate(views):
        similar = views @ view / temperature
        losses.append(logsumexp(np.delete(similar, i)) - similar[(i + n) % (2 * n)])
    return float(np.mean(losses))


@pytest.mark.parametrize("temperature", [0.07, 0.5, 2.0])
def test_nt_xent_is_that_of_numpy(views, temperature):
    one_batch = torch.zeros(12, dtype=torch.int64)
    loss = nt_xent(*views, one_batch, temperature)
    assert float(loss) == pytest.approx(nt_xent_by_hand(*(v.numpy() for v in views), temperature), rel=1e-12)


def test_nt_xent_within_batches_is_that_of_each_batch(views):
    batch = torch.tensor([0, 1, 1, 0, 0, 0, 1, 2, 1, 0, 1, 0])
    parts = [[view[batch == b].numpy() for view in views] for b in range(3)]
    expected = sum(len(a) * nt_xent_by_hand(a, b, 0.5) for a, b in parts) / 12
    assert float(nt_xent(*views, batch, 0.5)) == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(lambda x, y: nt_xent(x, y, batch, 0.5), [v.requires_grad_() for v in views])


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


@pytest.fixture
def plates():
    """Counts of 480 cells on 40 plates of 12 from two laboratories, which see another half of the genes well."""
    rng = np.random.default_rng(0)
    batch = np.repeat(np.arange(40), 12)
    mean = np.where((batch % 2)[:, None] == (np.arange(60) % 2), 4.0, 2.0) * rng.uniform(0.5, 2, 60)
    return sp.csr_array(rng.poisson(mean).astype(np.float32)), batch


def test_small_batches_are_joined_with_similar_ones_until_a_cell_has_others_to_be_told_from(plates):
    counts, batch = plates
    group = partner_groups(counts, batch, 40, batch_size=128)
    sizes = np.bincount(group[batch])
    assert sizes[sizes > 0].min() * 128 / 480 >= 8
    assert len(set(group)) > 5  # and no more than that
    assert (group % 2 == np.arange(40) % 2).all()  # within a laboratory
    assert (group[group] == group).all()


def test_batches_that_are_large_enough_stay_for_themselves_and_none_is_left_alone(plates):
    counts, batch = plates
    assert partner_groups(counts, batch // 20, 2, 128).tolist() == [0, 1]
    assert partner_groups(counts, np.where(batch < 38, 0, 1), 2, 128).tolist() == [0, 0]
    assert partner_groups(counts, np.where(batch < 38, 0, 1), 2, 480).tolist() == [0, 1]
    three = np.where(batch < 20, batch % 2, 2)  # 120, 120 and 240 cells
    assert partner_groups(counts, three, 3, 64).tolist() == [0, 1, 2]


def test_a_training_on_many_small_batches_has_cells_to_tell_apart(plates):
    counts, batch = plates
    adata = anndata.AnnData(sp.csr_matrix(counts), obs={"plate": batch.astype(str)})
    model = scrae.SCRAE(max_epochs=2, verbose=False).fit(adata, batch_key="plate")
    names = model.fitted.coding.levels["plate"]
    expected = partner_groups(counts, np.array([names.index(str(b)) for b in batch]), 40, 128)
    assert model.fitted.module.partners.tolist() == expected.tolist()
    # Among eight cells and more, at the start nearly by chance: 3 log 8 = 6.2. In plates it was 3 log 3.2 at the most.
    assert model.history["contrast"].iloc[0] > 3 * np.log(4.5)
