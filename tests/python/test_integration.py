"""Batches and other covariates taken out of coordinates, on cells whose types and batches are known."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from scrae.data.covariates import CovariateCoding, Covariates, warn_of_nested
from scrae.metrics import purity
from scrae.posthoc.integration import without_covariates, without_trend


@pytest.fixture
def cells():
    """Coordinates of 600 cells: three types, two donors and two chemistries that shift them."""
    rng = np.random.default_rng(0)
    kind, donor, chemistry = rng.integers(3, size=600), rng.integers(2, size=600), rng.integers(2, size=600)
    coordinates = 8 * np.eye(3, 6)[kind] + rng.normal(size=(600, 6))
    coordinates[:, 3] += 4 * donor
    coordinates[:, 4] += 4 * chemistry
    return coordinates, kind, donor, chemistry


def levels(*covariates):
    """Covariates with these codes."""
    return Covariates.categorical(np.stack(covariates, 1), tuple(int(c.max()) + 1 for c in covariates))


def shift(coordinates, kind, covariate):
    """Distance between the two levels' means, averaged over types."""
    means = [[coordinates[(kind == k) & (covariate == level)].mean(0) for level in (0, 1)] for k in range(3)]
    return np.mean([np.linalg.norm(a - b) for a, b in means])


def test_covariates_go_and_types_stay(cells):
    coordinates, kind, donor, chemistry = cells
    corrected = without_covariates(coordinates, levels(donor, chemistry))
    assert shift(corrected, kind, donor) < 0.25 * shift(coordinates, kind, donor)
    assert shift(corrected, kind, chemistry) < 0.25 * shift(coordinates, kind, chemistry)
    types = [np.stack([x[kind == k].mean(0) for k in range(3)]) for x in (coordinates, corrected)]
    distances = [np.linalg.norm(means[:, None] - means[None], axis=2)[np.triu_indices(3, 1)] for means in types]
    np.testing.assert_allclose(distances[1], distances[0], rtol=0.2)


def test_the_same_seed_gives_the_same_bits(cells):
    coordinates, _, donor, _ = cells
    first, second = (without_covariates(coordinates, levels(donor), random_state=3) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("covariates", [(), (np.zeros(600, dtype=int), np.zeros(600, dtype=int))])
def test_without_two_levels_nothing_changes(cells, covariates):
    given = levels(*covariates) if covariates else Covariates.none(600)
    assert np.array_equal(without_covariates(cells[0], given), cells[0])


def test_few_cells_are_corrected_and_a_handful_is_left_alone(cells):
    coordinates, _, donor, _ = cells
    for n_cells in (2, 29):
        few = without_covariates(coordinates[:n_cells], levels(donor[:n_cells]))
        assert np.array_equal(few, coordinates[:n_cells])
    corrected = without_covariates(coordinates[:30], levels(donor[:30]))
    assert np.isfinite(corrected).all()
    assert not np.array_equal(corrected, coordinates[:30])


def test_types_outlive_many_small_plates_that_hold_them_unequally(monkeypatch):
    """40 plates of 15 cells, 60 % of them of one type, and nothing else that plates differ in."""
    rng = np.random.default_rng(0)
    plate, most = np.repeat(np.arange(40), 15), rng.integers(6, size=40)
    kind = np.where(rng.uniform(size=600) < 0.6, most[plate], rng.integers(6, size=600))
    coordinates = 2 * np.eye(6, 10)[kind] + 0.6 * rng.normal(size=(600, 10))
    before = purity(coordinates, kind).mean()
    assert purity(without_covariates(coordinates, levels(plate)), kind).mean() > before - 0.02
    monkeypatch.setattr("scrae.posthoc.integration.TAU", 0.0)  # Harmony's default: all plates in all clusters
    assert purity(without_covariates(coordinates, levels(plate)), kind).mean() < before - 0.1


def test_only_the_batch_is_mixed_mildly_where_it_was_taken_out_before(cells, monkeypatch):
    import harmonypy

    coordinates, _, donor, chemistry = cells
    asked, run = [], harmonypy.run_harmony
    monkeypatch.setattr(harmonypy, "run_harmony", lambda *a, **k: asked.append(k["theta"]) or run(*a, **k))
    for mild in (False, True):
        without_covariates(coordinates, levels(donor, chemistry), mild=mild)
        without_covariates(coordinates, levels(np.zeros_like(donor), chemistry), mild=mild)
    assert asked == [[2.0, 2.0], [2.0], [1.0, 2.0], [2.0]]


@pytest.fixture
def numbered(cells):
    """The cells' types and coordinates, and two numbers: types differ in the first, and it moves cells far."""
    coordinates, kind, _, _ = cells
    rng = np.random.default_rng(1)
    numbers = np.stack([1.5 * kind + rng.normal(size=600), rng.normal(size=600)], 1)
    return (
        coordinates,
        coordinates + 10 * numbers[:, :1] * np.eye(6)[4] + 3 * numbers[:, 1:] * np.eye(6)[5],
        kind,
        numbers,
    )


def test_lines_along_numbers_go_and_what_types_differ_in_stays(numbered):
    before, moved, kind, numbers = numbered
    corrected = without_trend(moved, numbers)

    def types(x):
        means = np.stack([x[kind == k].mean(0) for k in range(3)])
        return np.linalg.norm(means[:, None] - means, axis=2)[np.triu_indices(3, 1)]

    np.testing.assert_allclose(types(corrected), types(before), rtol=0.1)
    for k in range(3):  # within each type, where nothing but the numbers made the lines
        v, x = numbers[kind == k] - numbers[kind == k].mean(0), corrected[kind == k]
        assert np.abs(np.linalg.lstsq(v, x - x.mean(0), rcond=None)[0]).max() < 0.3
    # One line through all cells, which is what regressing out usually means, takes the types along.
    v = numbers - numbers.mean(0)
    flat = moved - v @ np.linalg.lstsq(v, moved - moved.mean(0), rcond=None)[0]
    assert np.abs(types(flat) / types(before) - 1).max() > 0.2


def test_numbers_and_levels_are_both_taken_out(numbered, cells):
    _, moved, kind, numbers = numbered
    donor = cells[2]
    given = Covariates(donor[:, None], (2,), numbers.astype(np.float32))
    corrected = without_covariates(moved, given, random_state=2)
    assert shift(corrected, kind, donor) < 0.3 * shift(moved, kind, donor)
    slopes = [np.polyfit(numbers[kind == k, 0], corrected[kind == k], 1)[0] for k in range(3)]
    assert np.abs(slopes).max() < 1
    assert np.array_equal(corrected, without_covariates(moved, given, random_state=2))


def coding(**levels):
    """A donor and what is said of its cells; numbers have no levels."""
    scales = {name: (40.0, 10.0) for name, named in levels.items() if named is None}
    return CovariateCoding({"donor": ["A", "B", "C"]} | {k: v for k, v in levels.items() if v}, "donor", scales)


def test_a_covariate_that_follows_from_the_batch_is_named_with_what_each_batch_has():
    donor = np.arange(30) % 3
    sex = (donor == 2).astype(np.int64)
    said = (
        r"obs\['sex'\] has one value in each level of adata.obs\['donor'\] \('A: f', 'B: f', 'C: m'\).*"
        "what sets the values of 'sex' apart is taken out with 'donor'"
    )
    with pytest.warns(UserWarning, match=said):
        warn_of_nested(coding(sex=["f", "m"]), levels(donor, sex))
    age = np.array([-1.0, 0.0, 1.0], dtype=np.float32)[donor]
    with pytest.warns(UserWarning, match=r"obs\['age'\] has one value .* \('A: 30', 'B: 40', 'C: 50'\)"):
        warn_of_nested(coding(age=None), Covariates(donor[:, None], (3,), age[:, None]))


def test_covariates_that_vary_within_batches_are_not_named():
    donor = np.arange(30) % 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_nested(coding(phase=["G1", "S"]), levels(donor, np.arange(30) % 2))
        one_cell = (np.arange(30) == 7).astype(np.int64)
        warn_of_nested(coding(phase=["G1", "S"]), levels(donor, one_cell))
        warn_of_nested(coding(phase=["G1", "S"]), levels(donor, np.zeros(30, dtype=np.int64)))
        warn_of_nested(CovariateCoding.none(), Covariates.none(30))
