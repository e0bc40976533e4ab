"""The nearest points by a bound are those of comparing everything."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from scrae.compute.neighbour_search import NeighbourSearch, _Bound
from scrae.compute.neighbours import nearest

N_POINTS = 3000


def clustered(rng, n_dimensions):
    """Cells of twenty types: most of the variance along few axes, and noise along all."""
    types = rng.normal(size=(20, 8)) @ rng.normal(size=(8, n_dimensions))
    return types[rng.integers(20, size=N_POINTS)] + 0.3 * rng.normal(size=(N_POINTS, n_dimensions))


def with_an_outlier(rng):
    points = clustered(rng, 40)
    points[17] *= 1e4
    return points


POINTS = {
    "types in 168 dimensions": lambda rng: clustered(rng, 168),
    "types in 10": lambda rng: clustered(rng, 10),
    "noise without a structure": lambda rng: rng.normal(size=(N_POINTS, 60)),
    "one dimension": lambda rng: rng.normal(size=(N_POINTS, 1)),
    "an outlier": with_an_outlier,
    "far from the origin": lambda rng: clustered(rng, 30) + 100.0,
}


@pytest.mark.parametrize("kind", POINTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neighbours_are_those_of_comparing_everything_in_double_precision(kind, dtype):
    rng = np.random.default_rng(0)
    points = torch.as_tensor(POINTS[kind](rng)).to(dtype)
    queries = torch.cat([points[:500], points[500:900] + 0.1 * torch.as_tensor(rng.normal(size=(400, 1))).to(dtype)])
    expected = NearestNeighbors(n_neighbors=8, algorithm="kd_tree").fit(points.double()).kneighbors(queries.double())[0]
    found = NeighbourSearch(points)(queries, 8)
    apart = (queries.double()[:, None] - points.double()[found]).norm(dim=2).numpy()
    # Two points that are equally far up to rounding may change places.
    np.testing.assert_allclose(apart, expected, rtol=1e-5, atol=1e-6)
    assert all(len(set(row)) == 8 for row in found.tolist())


def test_a_bound_is_never_above_the_distance_and_leaves_most_points_out():
    points = torch.as_tensor(clustered(np.random.default_rng(1), 168)).float()
    bound = _Bound(points)
    along = (points - bound.mean) @ bound.axes
    own = bound.rounded * along.square().sum(1, keepdim=True)
    bounds = own + torch.cat([along, torch.ones(N_POINTS, 1)], 1) @ bound.factors
    standing = torch.as_tensor(bound.positions.ravel())
    assert sorted(standing[standing >= 0].tolist()) == list(range(N_POINTS))
    assert torch.isinf(bounds[:, standing < 0]).all()
    distances = torch.cdist(points.double(), points.double()).square()
    assert (bounds[:, standing >= 0].double() <= distances[:, standing[standing >= 0]]).all()
    sixth = distances.kthvalue(6, dim=1).values[:, None]
    assert (bounds <= sixth).double().mean() < 0.1


def test_of_equal_points_those_that_come_first_are_taken():
    found = NeighbourSearch(torch.ones(N_POINTS, 20))(torch.ones(2, 20), 5)
    assert found.tolist() == [[0, 1, 2, 3, 4]] * 2


def test_all_points_are_neighbours_if_all_are_asked_for():
    points = torch.as_tensor(clustered(np.random.default_rng(2), 12)).float()
    found = NeighbourSearch(points)(points[:3], N_POINTS)
    assert (found.sort(1).values == torch.arange(N_POINTS)).all()


def test_the_number_of_threads_changes_nothing():
    points = torch.as_tensor(clustered(np.random.default_rng(3), 50)).float()
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(NeighbourSearch(points)(points, 10))
    torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_queries_that_are_no_numbers_get_positions_of_points():
    points = torch.as_tensor(clustered(np.random.default_rng(4), 12)).float()
    found = NeighbourSearch(points)(torch.full((2, 12), torch.nan), 4)
    assert found.shape == (2, 4)
    assert ((found >= 0) & (found < N_POINTS)).all()


def test_no_query_has_no_neighbours():
    points = torch.as_tensor(clustered(np.random.default_rng(5), 12)).float()
    assert NeighbourSearch(points)(points[:0], 4).shape == (0, 4)


@pytest.mark.parametrize(("n_points", "n_queries"), [(500, 500), (N_POINTS, 100)])
def test_few_points_or_queries_are_compared_with_everything(n_points, n_queries):
    points = torch.as_tensor(clustered(np.random.default_rng(6), 12)[:n_points]).float()
    search = NeighbourSearch(points, n_queries)
    assert search._bound is None
    expected = NearestNeighbors(n_neighbors=5).fit(points).kneighbors(points[:n_queries], return_distance=False)
    np.testing.assert_array_equal(nearest(points[:n_queries], points, 5), expected)
