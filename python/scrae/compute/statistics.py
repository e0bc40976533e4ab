"""Orders and p values of many genes."""

from __future__ import annotations

import numpy as np


def q_values(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's (1995) adjustment of p values; missing ones stay missing and are not counted."""
    from scipy.stats import false_discovery_control

    q = np.full(len(p), np.nan)
    there = np.isfinite(p)
    q[there] = false_discovery_control(p[there])
    return q


def ordered(first: np.ndarray, then: np.ndarray) -> np.ndarray:
    """Positions by ascending ``first``, ties by ``then``, further ties as they stand.

    What ``np.lexsort((then, first))`` gives, which sorts everything twice where few values are tied.
    """
    order = np.argsort(first)
    as_before = first[order[1:]] == first[order[:-1]]
    tied = np.flatnonzero(np.append(as_before, False) | np.append(False, as_before))
    positions = np.sort(order[tied])
    order[tied] = positions[np.lexsort((then[positions], first[positions]))]
    return order
