"""How each batch sees each gene: factors found from cells whose types and batches are known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import scrae
from scrae.data.covariates import Covariates
from scrae.data.minibatches import CountData
from scrae.posthoc.gene_factors import GeneFactors


def cells_of(shares, sd=0.5, seed=0):
    """Counts of 600 cells of three types in batches: shares of the types in each; log factors, type and batch."""
    rng = np.random.default_rng(seed)
    n_batches = len(shares)
    batch = rng.integers(n_batches, size=600)
    kind = np.array([rng.choice(3, p=shares[b]) for b in batch])
    logs = rng.normal(0, sd, (n_batches, 150))
    mean = rng.gamma(2.0, 1.5, 150) * np.ones((3, 150))
    for k in range(3):
        mean[k, 30 * k : 30 * k + 30] *= 5
    counts = rng.poisson(mean[kind] * np.exp(logs[batch]) * rng.uniform(0.5, 1.5, (600, 1)))
    return sp.csr_array(counts.astype(np.float32)), logs, kind, batch


def agreement(found, logs):
    """Correlation of what was found with the truth, both about their means over batches."""
    return np.corrcoef((found - found.mean(0)).ravel(), (logs - logs.mean(0)).ravel())[0, 1]


@pytest.mark.parametrize(
    "shares",
    [
        [[1 / 3, 1 / 3, 1 / 3]] * 2,
        [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]],
        [[0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]],
    ],
    ids=["equal shares", "unequal shares", "a type that a batch lacks"],
)
def test_factors_are_those_that_the_counts_were_made_with(shares):
    counts, logs, _, batch = cells_of(shares)
    found = GeneFactors.fit(counts, batch, len(shares)).logs.numpy()
    assert agreement(found, logs) > 0.9
    # The means of the batches alone, which is what centring genes by batch takes, blame the types' shares on batches.
    normalised = counts.toarray() / counts.sum(1)[:, None]
    means = np.log(np.stack([normalised[batch == b].mean(0) for b in range(len(shares))]))
    if shares[0] != shares[1]:
        assert agreement(found, logs) > agreement(means, logs)


def test_without_the_factors_batches_of_a_type_have_the_same_means():
    counts, _, kind, batch = cells_of([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    factors = GeneFactors.fit(counts, batch, 2)

    data = CountData(counts, Covariates.categorical(batch[:, None], (2,)), torch.device("cpu"), has_batch=True)
    minibatch = data.minibatch(torch.arange(600))
    divided = factors.divided_rows(minibatch.counts, minibatch.batch).dense().numpy()

    def apart(of):
        shares = of / of.sum(1, keepdims=True) + 1e-4  # some genes are not seen
        means = [[shares[(kind == k) & (batch == b)].mean(0) for b in (0, 1)] for k in range(3)]
        return np.mean([np.abs(np.log(one / other)).mean() for one, other in means])

    assert apart(divided) < 0.35 * apart(counts.toarray())
    assert ((divided > 0) == (counts.toarray() > 0)).all()


def test_batches_that_were_dealt_out_at_random_have_hardly_a_factor():
    counts, _, _, batch = cells_of([[1 / 3, 1 / 3, 1 / 3]] * 2, sd=0.0)
    assert np.abs(GeneFactors.fit(counts, batch, 2).logs.numpy()).mean() < 0.06


def test_small_batches_have_none_and_where_all_are_small_there_are_none():
    counts, logs, _, batch = cells_of([[1 / 3, 1 / 3, 1 / 3]] * 3)
    few = np.flatnonzero((batch < 2) | (np.arange(600) < 60))  # 20 or so of the third
    found = GeneFactors.fit(sp.csr_array(counts[few]), batch[few], 3).logs.numpy()
    assert (found[2] == 0).all()
    assert agreement(found[:2], logs[:2]) > 0.9
    assert GeneFactors.fit(sp.csr_array(counts[:50]), batch[:50], 3) is None
    assert GeneFactors.fit(counts, np.zeros(600, dtype=int), 1) is None


def test_same_cells_same_factors():
    counts, _, _, batch = cells_of([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    first, second = (GeneFactors.fit(counts, batch, 2).logs for _ in range(2))
    assert torch.equal(first, second)


def test_a_training_without_batches_asks_for_no_factors_and_no_partners(small, quick, monkeypatch):
    """So that its embedding is to the bit what it was before there were any."""
    for name in ("scrae.model.fitting.GeneFactors.fit", "scrae.autoencoder.autoencoder.partner_groups"):
        monkeypatch.setattr(name, lambda *_: pytest.fail("asked for"))
    model = scrae.SCRAE(**quick).fit(small)
    assert model.fitted.module.partners.tolist() == [0]
    assert not len(model.fitted.readout.correction)
