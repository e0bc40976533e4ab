"""Batches and other covariates taken out of coordinates, on cells whose types and batches are known."""

from __future__ import annotations

import numpy as np
import pytest

from scrae.integration import without_covariates


@pytest.fixture
def cells():
    """Coordinates of 600 cells: three types, two donors and two chemistries that shift them."""
    rng = np.random.default_rng(0)
    kind, donor, chemistry = rng.integers(3, size=600), rng.integers(2, size=600), rng.integers(2, size=600)
    coordinates = 8 * np.eye(3, 6)[kind] + rng.normal(size=(600, 6))
    coordinates[:, 3] += 4 * donor
    coordinates[:, 4] += 4 * chemistry
    return coordinates, kind, donor, chemistry


def shift(coordinates, kind, covariate):
    """Distance between the two levels' means, averaged over types."""
    means = [[coordinates[(kind == k) & (covariate == level)].mean(0) for level in (0, 1)] for k in range(3)]
    return np.mean([np.linalg.norm(a - b) for a, b in means])


def test_covariates_go_and_types_stay(cells):
    coordinates, kind, donor, chemistry = cells
    corrected = without_covariates(coordinates, np.stack([donor, chemistry], 1))
    assert shift(corrected, kind, donor) < 0.25 * shift(coordinates, kind, donor)
    assert shift(corrected, kind, chemistry) < 0.25 * shift(coordinates, kind, chemistry)
    types = [np.stack([x[kind == k].mean(0) for k in range(3)]) for x in (coordinates, corrected)]
    distances = [np.linalg.norm(means[:, None] - means[None], axis=2)[np.triu_indices(3, 1)] for means in types]
    np.testing.assert_allclose(distances[1], distances[0], rtol=0.2)


def test_the_same_seed_gives_the_same_bits(cells):
    coordinates, _, donor, _ = cells
    first, second = (without_covariates(coordinates, donor[:, None], random_state=3) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("codes", [np.zeros((600, 0), dtype=int), np.zeros((600, 2), dtype=int)])
def test_without_two_levels_nothing_changes(cells, codes):
    assert np.array_equal(without_covariates(cells[0], codes), cells[0])


def test_few_cells_are_corrected_and_a_handful_is_left_alone(cells):
    coordinates, _, donor, _ = cells
    for n_cells in (2, 29):
        assert np.array_equal(without_covariates(coordinates[:n_cells], donor[:n_cells, None]), coordinates[:n_cells])
    corrected = without_covariates(coordinates[:30], donor[:30, None])
    assert np.isfinite(corrected).all()
    assert not np.array_equal(corrected, coordinates[:30])
