"""Which of many points are nearest, without most of the distances.

Along a few orthogonal axes A two points are at most as far from each other as they are, |A'(p - o)| <= |p - o|. Along
the axes on which the points vary most this bound is close, and one narrow matrix product gives it for all pairs. What
it leaves, some two in a hundred, is compared exactly: the result is that of comparing everything.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from scrae.compute.compilation import compiled
from scrae.compute.threads import over_rows

EXPLAINED = 0.95  # share of the variance of the points along the axes of the bound
FEW = 2048  # points up to which comparing everything is as fast
ENOUGH = 1024  # queries that save as much time as finding axes and order takes
WIDE = 1024  # dimensions from which finding the axes would take longer
COMPARED = 1024  # points that are compared with all at once, where everything is
CHUNK = 32  # neighbouring points that are left out together
BOUNDS = 2**21  # in memory at once


class NeighbourSearch:
    """The nearest of some points, for any others.

    Parameters
    ----------
    points
        Among which neighbours are sought, float (n_points, n_dimensions).
    n_queries
        For how many in all; None: many.
    """

    def __init__(self, points: Tensor, n_queries: int | None = None) -> None:
        self.points = points
        enough = n_queries is None or n_queries >= ENOUGH
        worth = enough and points.device.type == "cpu" and len(points) > FEW and points.shape[1] <= WIDE
        self._bound = _Bound(points) if worth else None

    def __call__(self, queries: Tensor, n: int) -> Tensor:
        """Positions of the ``n`` nearest points for each query, nearest first, int64 (n_queries, n).

        Parameters
        ----------
        queries
            (n_queries, n_dimensions).
        n
            At most n_points.
        """
        # In one array from the start: small ones that stay between large ones that go would scatter the memory.
        found = torch.empty((len(queries), n), dtype=torch.int64, device=queries.device)
        if self._bound is not None:
            self._bound.search(queries, self.points, found)
            return found
        for part, of_part in zip(torch.split(queries, COMPARED), torch.split(found, COMPARED), strict=True):
            of_part.copy_(torch.cdist(part, self.points).topk(n, largest=False).indices)
        return found


class _Bound:
    """Squares of distances along the leading principal axes of points: at most those of the whole distances.

    Each is a scalar product, |r|^2 + [r, 1] . [-2 q, |q|^2] for a query r and a point q along the axes, and the squares
    are made smaller by what rounding may add to it. Points that lie together stand in one chunk, a column of
    ``positions``: of most chunks even the least bound is too far.
    """

    def __init__(self, points: Tensor) -> None:
        n_points, n_dimensions = points.shape
        self.mean = points.mean(0)
        centred = points - self.mean
        variances, axes = torch.linalg.eigh((centred.T @ centred).double())
        explained = variances.flip(0).cumsum(0) / variances.sum()
        n_axes = min(int((explained < EXPLAINED).sum()) + 1, n_dimensions)
        self.axes = axes.flip(1)[:, :n_axes].to(points)
        self.rounded = 1 - 4 * (n_axes + n_dimensions) * torch.finfo(points.dtype).eps
        along = centred @ self.axes

        n_chunks = -(-n_points // CHUNK)
        self.positions = np.full((CHUNK, n_chunks), -1)
        self.positions.T.flat[:n_points] = _together(along.numpy(), np.arange(n_points))
        standing = torch.as_tensor(self.positions.ravel())
        factors = torch.cat([-2 * along, self.rounded * along.square().sum(1, keepdim=True)], 1)[standing]
        factors[standing < 0] = 0.0
        factors[standing < 0, -1] = torch.inf
        self.factors = factors.T.contiguous()

    def search(self, queries: Tensor, points: Tensor, found: Tensor) -> None:
        """Put positions of the nearest points into ``found``, (n_queries, n)."""
        size = max(1, min(BOUNDS // self.factors.shape[1], len(queries)))
        room = queries.new_empty(size, self.factors.shape[1])
        for part, of_part in zip(torch.split(queries, size), torch.split(found, size), strict=True):
            along = (part - self.mean) @ self.axes
            own = self.rounded * along.square().sum(1)
            bounds = torch.mm(torch.cat([along, along.new_ones(len(along), 1)], 1), self.factors, out=room[: len(part)])
            by_chunk = bounds.view(-1, *self.positions.shape).numpy()
            arrays = (tensor.contiguous().numpy() for tensor in (part, points, own))
            over_rows(len(part), _nearest_within, by_chunk, self.positions, *arrays, of_part.numpy())


def _together(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The cells in an order in which runs of :data:`CHUNK` lie together: halves along the widest axis, and so on."""
    if len(cells) <= CHUNK:
        return cells
    own = points[cells]
    half = -(-len(cells) // CHUNK) // 2 * CHUNK
    order = np.argpartition(own[:, own.var(0).argmax()], half)
    return np.concatenate([_together(points, cells[part]) for part in (order[:half], order[half:])])


@compiled(nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _square_of_distance(one: np.ndarray, other: np.ndarray) -> float:  # pragma: no cover (compiled)
    total: float = one.dtype.type(0)
    for dimension in range(len(one)):
        difference = one[dimension] - other[dimension]
        total += difference * difference
    return total


@compiled(nogil=True)
def _least(bounds: np.ndarray, least: np.ndarray) -> None:  # pragma: no cover (compiled)
    """The least bound of each chunk, all chunks side by side."""
    least[:] = bounds[0]
    for place in range(1, bounds.shape[0]):
        for chunk in range(bounds.shape[1]):
            bound = bounds[place, chunk]
            least[chunk] = bound if bound < least[chunk] else least[chunk]


@compiled(nogil=True)
def _nearer(distance: float, point: int, than: float, other: int) -> bool:  # pragma: no cover (compiled)
    """Whether a point comes before another one; of equally near ones the first does."""
    return distance < than or (distance == than and point < other)


@compiled(nogil=True)
def _put(distance: float, point: int, distances: np.ndarray, found: np.ndarray) -> None:  # pragma: no cover (compiled)
    """A point where it belongs among the nearest so far, if it is one of them."""
    n, rank = len(found), len(found)
    while rank > 0 and _nearer(distance, point, distances[rank - 1], found[rank - 1]):
        rank -= 1
        if rank + 1 < n:
            distances[rank + 1], found[rank + 1] = distances[rank], found[rank]
    if rank < n:
        distances[rank], found[rank] = distance, point


@compiled(nogil=True)
def _nearest_within(
    first: int,
    last: int,
    bounds: np.ndarray,
    positions: np.ndarray,
    queries: np.ndarray,
    points: np.ndarray,
    own: np.ndarray,
    found: np.ndarray,
) -> None:  # pragma: no cover (compiled)
    """The nearest points of queries ``first`` to ``last``.

    ``bounds`` (n_queries, CHUNK, n_chunks) lack the queries' ``own`` squares, (n_queries,).
    """
    n_places, n_chunks = positions.shape
    n = found.shape[1]
    least, distances = np.empty(n_chunks, bounds.dtype), np.empty(n, queries.dtype)
    for query in range(first, last):
        of_query, coordinates = found[query], queries[query]
        distances[:] = np.inf
        for rank in range(n):  # what stays where coordinates are no numbers
            of_query[rank] = rank
        _least(bounds[query], least)
        most_likely = np.argmin(least)
        for turn in range(-1, n_chunks):
            chunk = most_likely if turn < 0 else turn
            if turn == most_likely or least[chunk] + own[query] > distances[n - 1]:
                continue
            for place in range(n_places):
                point = positions[place, chunk]
                if point >= 0 and bounds[query, place, chunk] + own[query] <= distances[n - 1]:
                    distance = _square_of_distance(coordinates, points[point])
                    if _nearer(distance, point, distances[n - 1], of_query[n - 1]):
                        _put(distance, point, distances, of_query)
