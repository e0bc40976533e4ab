"""Nearest neighbours of points, exactly and in blocks."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 1024  # points whose distances to all others are in memory


def nearest(points: Tensor, others: Tensor, n: int) -> Tensor:
    """Positions of the ``n`` nearest of ``others`` for each point, nearest first, int64 (n_points, n).

    Parameters
    ----------
    points, others
        (n_points, n_dimensions) and (n_others, n_dimensions).
    n
        At most n_others.
    """
    parts = [torch.cdist(part, others).topk(n, largest=False).indices for part in torch.split(points, BLOCK)]
    return torch.cat(parts)
