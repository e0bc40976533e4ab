"""Minibatches: even, complete, and the counts they came from."""

from __future__ import annotations

import numpy as np
import scanpy as sc
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import scrae
from scrae.data.covariates import Covariates
from scrae.data.minibatches import CountData, even_batches, shuffled
from scrae.data.sparse import SparseRows
from scrae.data.transforms import CountTransform


@given(n=st.integers(2, 3000), batch_size=st.integers(2, 200))
def test_minibatches_are_even_and_never_of_one_cell(n, batch_size):
    parts = even_batches(torch.arange(n), batch_size)
    sizes = [len(part) for part in parts]
    assert torch.cat(parts).tolist() == list(range(n))
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 2
    assert max(sizes) <= batch_size or len(sizes) == n // 2


@given(n=st.integers(0, 500), block=st.integers(1, 40), buffer=st.integers(1, 200), seed=st.integers(0, 1000))
def test_shuffling_gives_each_cell_once_and_keeps_to_few_blocks_at_a_time(n, block, buffer, seed):
    torch.manual_seed(seed)
    cells = 3 * torch.arange(n) + 1
    buffers = shuffled(cells, block, buffer)
    assert torch.cat(buffers).sort().values.equal(cells)
    if n > buffer:
        blocks = [set(((part - 1) // 3 // block).tolist()) for part in buffers]
        assert max(map(len, blocks)) <= buffer // block + 3  # one at either end, and the short one


def test_cells_that_fit_a_buffer_come_in_any_order():
    cells = torch.arange(100)
    torch.manual_seed(3)
    (order,) = shuffled(cells, block=10, buffer=100)
    torch.manual_seed(3)
    assert order.equal(cells[torch.randperm(100)])


def test_buffers_mix_cells_of_all_the_file():
    """Sorted by type, as files often are: each minibatch has about the shares of the whole."""
    torch.manual_seed(0)
    first_half = torch.cat(shuffled(torch.arange(100_000), block=50, buffer=20_000)) < 50_000
    shares = first_half.float().view(-1, 100).mean(1)
    assert abs(shares.mean().item() - 0.5) < 1e-6
    assert shares.std().item() < 1.2 * 0.05  # the binomial's for 100 cells


@settings(deadline=None)
@given(
    seed=st.integers(0, 1000),
    cells=st.integers(1, 12),
    genes=st.integers(1, 9),
    density=st.floats(0, 1),
)
def test_a_minibatch_is_the_rows_asked_for_in_that_order(seed, cells, genes, density):
    rng = np.random.default_rng(seed)
    dense = (rng.poisson(2, (cells, genes)) * (rng.random((cells, genes)) < density)).astype(np.float32)
    codes, numbers = rng.integers(0, 3, (cells, 1)), rng.normal(size=(cells, 2)).astype(np.float32)
    data = CountData(sp.csr_array(dense), Covariates(codes, (3,), numbers), torch.device("cpu"), has_batch=True)
    order = rng.permutation(cells)
    minibatch = data.minibatch(torch.as_tensor(order))
    np.testing.assert_array_equal(minibatch.counts.dense(), dense[order])
    np.testing.assert_array_equal(minibatch.counts.sums, dense[order].sum(1))
    np.testing.assert_array_equal(minibatch.covariates, np.hstack([np.eye(3)[codes[order, 0]], numbers[order]]))
    np.testing.assert_array_equal(minibatch.batch, codes[order, 0])


def test_all_cells_in_order_come_once():
    dense = np.arange(35, dtype=np.float32).reshape(7, 5)
    data = CountData(sp.csr_array(dense), Covariates.none(7), torch.device("cpu"))
    parts = [m.counts.dense() for m in data.in_order(3)]
    np.testing.assert_array_equal(torch.cat(parts), dense)


def test_transforms_equal_their_formulas_and_keep_zeros():
    dense = np.array([[0, 1, 9], [4, 0, 0], [2, 2, 2]], dtype=np.float32)
    rows = SparseRows.from_dense(torch.as_tensor(dense))
    library = dense.sum(1, keepdims=True)
    expected = {
        "counts": dense,
        "log1p": np.log1p(dense),
        "lognorm": np.log1p(dense / library * np.median(library)),
        "log2_max": np.log2(1 + dense) / np.log2(10),
    }
    for kind, values in expected.items():
        transform = CountTransform(kind, 3).fit(sp.csr_array(dense))
        np.testing.assert_allclose(transform(rows).dense(), values, rtol=1e-6)
    for kind in ("counts", "log1p", "log2_max"):
        transform = CountTransform(kind, 3).fit(sp.csr_array(dense))
        np.testing.assert_allclose(transform.inverse(transform(rows).dense()), dense, rtol=1e-5, atol=1e-5)


def test_scaled_input_is_what_scanpy_gives_to_pca(pbmc):
    genes = pbmc[:, :200].copy()
    genes.X = sp.csr_matrix(np.hstack([genes.X.toarray()[:, :199], np.zeros((700, 1), dtype=np.float32)]))
    genes = genes[np.asarray(genes.X.sum(1)).ravel() > 0].copy()
    counts = sp.csr_array(genes.X)
    transform = CountTransform("scaled", 200).fit(counts)
    ours = transform(SparseRows.from_dense(torch.as_tensor(counts.toarray()))).dense()
    sc.pp.normalize_total(genes)
    sc.pp.log1p(genes)
    genes.X = genes.X.toarray()
    sc.pp.scale(genes, max_value=10)
    np.testing.assert_allclose(ours, genes.X, atol=2e-5)
    assert float(ours.max()) == 10.0


def test_the_scale_of_a_gene_that_every_cell_has_is_right_for_millions_of_cells():
    rng = np.random.default_rng(0)
    n = 3_000_000
    housekeeping = np.clip(rng.normal(150, 30, n).round(), 1, 999)
    counts = np.column_stack([housekeeping, 1000 - housekeeping]).astype(np.float32)  # all cells have the same total
    transform = CountTransform("scaled", 2).fit(sp.csr_array(counts))
    expected = np.log1p(counts.astype(np.float64))
    np.testing.assert_allclose(transform.gene_mean, expected.mean(0), rtol=1e-6)
    np.testing.assert_allclose(transform.gene_sd, expected.std(0, ddof=1), rtol=1e-4)


def test_hidden_entries_of_scaled_input_are_the_mean_of_their_gene(pbmc):
    model = scrae.SCRAE(input_transform="scaled", mask_rate=0.5, max_epochs=1, verbose=False).fit(pbmc)
    module = model.fitted.module.train()
    rows = SparseRows.from_dense(torch.as_tensor(pbmc.X[:100].toarray()))
    torch.manual_seed(0)
    hidden = module.encoder_input(rows)
    whole = module.eval().encoder_input(rows).dense()
    kept = hidden != 0
    assert 0.49 < float(kept.float().mean()) < 0.51
    torch.testing.assert_close(hidden[kept], 2 * whole[kept])
