"""Nearest neighbours of points: exactly, or among the points of the nearest groups."""

from __future__ import annotations

import torch
from torch import Tensor

from scrae.compute.neighbour_search import NeighbourSearch

EXACT = 50_000  # points up to which each is compared with every other
OF_GROUP = 256  # points of a group, on average
ROUNDS = 1  # of moving the centres of the groups
LOOKED_AT = 16_384  # points that each is compared with at least, where there are more than EXACT


def nearest(points: Tensor, others: Tensor, n: int) -> Tensor:
    """Positions of the ``n`` nearest of ``others`` for each point, nearest first, int64 (n_points, n).

    Parameters
    ----------
    points, others
        (n_points, n_dimensions) and (n_others, n_dimensions).
    n
        At most n_others.
    """
    return NeighbourSearch(others, len(points))(points, n)


def nearest_among(points: Tensor, n: int, random_state: int, exact: int = EXACT) -> Tensor:
    """Positions of the ``n`` nearest points for each, itself among them, nearest first, int64 (n_points, n).

    Up to ``exact`` points they are the nearest of all. Of more, the points are put into groups around centres, and
    those of a group are compared with its own and those of the groups whose centres are nearest to its centre.

    Parameters
    ----------
    points
        (n_points, n_dimensions).
    n
        At most n_points.
    random_state
        Seed of the centres.
    exact
        Points up to which each is compared with every other.
    """
    if len(points) <= exact:
        return nearest(points, points, n)
    centres, group = _groups(points, random_state)
    order = torch.argsort(group, stable=True)
    members = torch.split(order, torch.bincount(group, minlength=len(centres)).tolist())
    sizes = torch.tensor([len(of_group) for of_group in members])
    found = torch.empty((len(points), n), dtype=torch.int64)
    for position, of_group in enumerate(members):
        if not len(of_group):
            continue
        near = torch.argsort(torch.cdist(centres[position : position + 1], centres)[0], stable=True)
        enough = int(torch.searchsorted(sizes[near].cumsum(0), max(LOOKED_AT, n)))
        others = torch.cat([members[one] for one in near[: enough + 1].tolist()])
        found[of_group] = others[nearest(points[of_group], points[others], n)]
    return found


def _groups(points: Tensor, random_state: int) -> tuple[Tensor, Tensor]:
    """Centres of groups, (n_groups, n_dimensions), and the group of each point: a few rounds of k-means."""
    generator = torch.Generator().manual_seed(random_state)
    centres = points[torch.randperm(len(points), generator=generator)[: -(-len(points) // OF_GROUP)]]
    group = nearest(points, centres, 1)[:, 0]
    for _ in range(ROUNDS):
        sums = torch.zeros_like(centres).index_add_(0, group, points)
        sizes = torch.bincount(group, minlength=len(centres))[:, None]
        centres = torch.where(sizes > 0, sums / sizes.clamp(min=1), centres)
        group = nearest(points, centres, 1)[:, 0]
    return centres, group
