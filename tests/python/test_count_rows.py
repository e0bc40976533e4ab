"""Blocks with their zeros, as a GPU has them, against stored entries one after the other, as a processor has them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from scrae.data.dense import DenseRows
from scrae.data.sparse import SparseRows
from scrae.data.transforms import CountTransform
from scrae.likelihoods import Likelihood

N_CELLS, N_GENES, N_HIDDEN = 7, 11, 5


@pytest.fixture
def block():
    rng = np.random.default_rng(0)
    block = rng.poisson(0.7, (N_CELLS, N_GENES)) * rng.integers(1, 40, (N_CELLS, N_GENES))
    block[3] = 0  # a cell without any count
    return torch.as_tensor(block, dtype=torch.float64)


def both(block):
    return SparseRows.from_dense(block), DenseRows.of(block)


def assert_same(sparse, dense):
    torch.testing.assert_close(dense, sparse, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", CountTransform.KINDS)
def test_transformed_counts_are_the_same(block, kind):
    transform = CountTransform(kind, N_GENES).double().fit(sp.csr_array(block.numpy()))
    sparse, dense = (transform(rows) for rows in both(block))
    assert_same(sparse.dense(), dense.dense())
    assert_same(sparse.sums, dense.sums)


@pytest.mark.parametrize("n_groups", [1, 2])
@pytest.mark.parametrize("name", sorted(set(Likelihood.registry) - {"none"}))
def test_likelihoods_and_their_gradients_are_the_same(block, name, n_groups):
    torch.manual_seed(0)
    kind = Likelihood.registry[name]
    likelihood = kind(N_HIDDEN, N_GENES, n_groups).double().eval()
    for parameter in likelihood.dispersions():
        torch.nn.init.normal_(parameter)
    transform = CountTransform(kind.target, N_GENES).double().fit(sp.csr_array(block.numpy()))
    hidden = torch.randn(N_CELLS, N_HIDDEN, dtype=torch.float64, requires_grad=True)
    library = block.sum(1).clamp_min(1).log().requires_grad_()
    group = torch.arange(N_CELLS) % n_groups
    wanted = [hidden, *likelihood.parameters()]
    found = []
    for rows in both(block):
        value = likelihood.log_prob(hidden, library, group, transform(rows))
        weights = torch.linspace(0.5, 2.0, N_CELLS, dtype=torch.float64)
        found.append((value.detach(), *torch.autograd.grad(value @ weights, wanted, allow_unused=True)))
    for sparse, dense in zip(*found, strict=True):
        assert_same(sparse, dense)


def test_entries_are_found_at_their_places_and_nothing_is_done_elsewhere(block):
    sparse, dense = both(block)
    of_rows, of_columns = torch.arange(N_CELLS) + 0.5, torch.arange(N_GENES) - 2.5
    of_groups, group = torch.arange(2 * N_GENES).view(2, N_GENES) * 1.0, torch.arange(N_CELLS) % 2
    stored = block != 0
    for rows in (sparse, dense):
        numbers = rows.by_row(of_rows) * rows.by_column(of_columns) + rows.by_group(of_groups, group)
        expected = torch.where(stored, of_rows[:, None] * of_columns + of_groups[group], 0.0)
        added = torch.zeros(N_CELLS, N_GENES)
        rows.add_to(added, numbers)
        torch.testing.assert_close(added, expected)
        torch.testing.assert_close(rows.add_sums(of_rows, numbers), of_rows + expected.sum(1))
        written = torch.full((N_CELLS, N_GENES), 3.0)
        rows.put(written, 9.0)
        torch.testing.assert_close(written, torch.where(stored, 9.0, 3.0))
        taken = torch.zeros(N_CELLS, N_GENES, dtype=torch.float64)
        rows.add_to(taken, rows.take(block))
        torch.testing.assert_close(taken, block)


def test_what_stands_between_entries_is_kept_with_other_values(block):
    background = torch.arange(N_GENES, dtype=torch.float64) - 100.0
    for rows in both(block):
        changed = rows.with_values(rows.values * 2.0, background)
        expected = torch.where(block != 0, block * 2.0, background)
        torch.testing.assert_close(changed.dense(), expected)
        torch.testing.assert_close(changed.with_values(changed.values + 1.0).dense()[3], background)


@pytest.mark.parametrize("kept", [0.0, 0.05, 1.0])  # share of the entries: a product of them alone, or of the block
@pytest.mark.parametrize("between", [False, True])
def test_products_are_those_of_the_dense_block(block, kept, between):
    drawn = torch.rand(block.shape, generator=torch.Generator().manual_seed(0))
    block = block * (drawn < kept)
    matrix = torch.randn(N_GENES, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    background = torch.arange(N_GENES, dtype=torch.float64) - 100.0
    for rows in both(block):
        changed = rows.with_values(rows.values, background) if between else rows
        expected = torch.where(block != 0, block, background) if between else block
        torch.testing.assert_close(changed.product(matrix), expected @ matrix)
