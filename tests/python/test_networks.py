"""The layer that takes genes, dense or sparse, against torch's own linear layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import linear

from scrae.data.sparse import SPARSE_BELOW, SparseRows
from scrae.networks.layers import GeneLinear


def rows_of(seed, cells, genes, density, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(cells, genes, generator=generator, dtype=dtype)
    return SparseRows.from_dense(values * (torch.rand(cells, genes, generator=generator) < density))


@settings(deadline=None)
@given(seed=st.integers(0, 1000), cells=st.integers(1, 12), genes=st.integers(1, 400), density=st.floats(0, 1))
def test_transposed_rows_and_products_equal_those_of_the_dense_block(seed, cells, genes, density):
    rows = rows_of(seed, cells, genes, density)
    matrix = torch.randn(genes, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    np.testing.assert_array_equal(rows.transposed().dense(), rows.dense().T)
    np.testing.assert_allclose(rows.times(matrix), rows.dense() @ matrix, atol=1e-12)


def test_rows_without_zeros_are_the_same_block_of_fewer_entries():
    rows = SparseRows.from_dense(torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 4.0]]))
    hidden = rows.with_values(torch.tensor([0.0, 2.0, 3.0, 0.0]))
    assert hidden.without_zeros().values.tolist() == [2.0, 3.0]
    np.testing.assert_array_equal(hidden.without_zeros().dense(), hidden.dense())
    assert rows.without_zeros() is rows


@pytest.mark.parametrize("density", [0.0, SPARSE_BELOW / 2, 0.9])
@pytest.mark.parametrize("background", [False, True])
def test_the_first_layer_equals_torchs_of_the_dense_block_and_so_do_its_derivatives(density, background):
    layer = GeneLinear(40, 7).double()
    rows = rows_of(0, 9, 40, density)
    if background:
        rows = replace(rows, background=torch.linspace(-1, 1, 40, dtype=torch.float64))
    direction = torch.randn(9, 7, dtype=torch.float64)
    theirs = linear(rows.dense(), layer.weight.T, layer.bias)
    expected = torch.autograd.grad(theirs, [layer.weight, layer.bias], direction)
    for x in (rows, rows.dense()):
        ours = layer(x)
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(torch.autograd.grad(ours, [layer.weight, layer.bias], direction), expected)
    with torch.no_grad():
        torch.testing.assert_close(layer(rows), theirs)


def test_the_first_layer_begins_where_torchs_would():
    torch.manual_seed(4)
    theirs = torch.nn.Linear(40, 7)
    torch.manual_seed(4)
    ours = GeneLinear(40, 7)
    assert torch.equal(ours.weight, theirs.weight.T)
    assert torch.equal(ours.bias, theirs.bias)
