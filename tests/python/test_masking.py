"""Hidden entries: as many as asked for, each by itself, the same in every form of the cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy import stats

from scrae.data.sparse import SparseRows
from scrae.networks.masking import masked

RATE = 0.7


def cells(dtype=torch.float32, with_background=True):
    rng = np.random.default_rng(0)
    rows = SparseRows.from_dense(torch.as_tensor(rng.poisson(0.4, (300, 120)) * 2.5, dtype=dtype))
    background = torch.as_tensor(rng.uniform(1, 2, 120), dtype=dtype)
    return replace(rows, background=background) if with_background else rows


def hidden_of(rows, seed):
    torch.manual_seed(seed)
    return masked(rows, RATE) == 0


def test_the_share_that_is_hidden_is_the_one_asked_for_in_every_gene_and_cell():
    hidden = torch.stack([hidden_of(cells(), seed) for seed in range(20)]).numpy()
    total = hidden.size
    assert abs(hidden.sum() - RATE * total) < 4 * np.sqrt(RATE * (1 - RATE) * total)
    for axes in ((0, 1), (0, 2), (1, 2)):  # by gene, by cell, by draw
        counts, n = hidden.sum(axes), total // hidden.sum(axes).size
        chi_square = ((counts - RATE * n) ** 2 / (RATE * (1 - RATE) * n)).sum()
        assert stats.chi2.sf(chi_square, counts.size) > 1e-3


def test_entries_are_hidden_independently_of_their_neighbours_and_of_the_next_draw():
    first, second = (hidden_of(cells(), seed).double() - RATE for seed in (0, 1))
    pairs = {
        "next gene": (first[:, :-1], first[:, 1:]),
        "four genes on": (first[:, :-4], first[:, 4:]),
        "next cell": (first[:-1], first[1:]),
        "next draw": (first, second),
    }
    for name, (a, b) in pairs.items():
        correlation = float((a * b).mean()) / (RATE * (1 - RATE))
        assert abs(correlation) < 4 / np.sqrt(a.numel()), name


def test_what_is_left_is_scaled_up_and_a_seed_gives_the_same_again():
    rows = cells()
    torch.manual_seed(1)
    seen = masked(rows, RATE)
    left = seen != 0
    torch.testing.assert_close(seen[left], rows.dense()[left] / (1 - RATE))
    assert torch.equal(hidden_of(rows, 1), ~left)


def test_the_compiled_loop_hides_what_plain_torch_hides_in_double():
    torch.manual_seed(2)
    compiled = masked(cells(), RATE)
    torch.manual_seed(2)
    plain = masked(cells(torch.float64), RATE)
    torch.testing.assert_close(compiled.double(), plain, rtol=1e-6, atol=0)


def test_of_sparse_cells_only_stored_entries_are_hidden_and_they_stay_sparse():
    rows = cells(with_background=False)
    torch.manual_seed(3)
    seen = masked(rows, RATE)
    assert isinstance(seen, SparseRows)
    assert len(seen.values) == len(rows.values)
    left = seen.values != 0
    assert abs(float(left.float().mean()) - (1 - RATE)) < 4 * np.sqrt(RATE * (1 - RATE) / len(left))
    torch.testing.assert_close(seen.values[left], rows.values[left] / (1 - RATE))
