"""A metric in which cells that are known to belong together lie close."""

from __future__ import annotations

import numpy as np


def relevant_components(coordinates: np.ndarray, groups: np.ndarray) -> np.ndarray | None:
    """A of relevant component analysis (Bar-Hillel et al., J Mach Learn Res 6:937, 2005), towards which few cells pull
    little. Coordinates x become x A.

        A = C^(-1/2),    C = (S + d t I) / (n - g + d),    t = tr S / (d (n - g))

    S is the scatter of the n linked cells about the means of their g groups. A direction in which cells of a group
    differ much says little of types, and shrinks. C is drawn towards equal variance t in all directions as if d more
    cells had shown it. So with few linked cells A is nearly a multiple of the identity.

    Parameters
    ----------
    coordinates
        x of linked cells, (n, d).
    groups
        Which cells belong together: equal numbers, int64 (n,).

    Returns
    -------
    float64 (d, d), symmetric and positive definite; None where cells of a group do not differ at all.
    """
    x = coordinates.astype(np.float64)
    n, d = x.shape
    names, group = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(names), d))
    np.add.at(sums, group, x)
    x -= (sums / np.bincount(group)[:, None])[group]
    scatter = x.T @ x
    degrees = n - len(names)
    trace = float(np.trace(scatter))
    if degrees == 0 or trace <= np.finfo(np.float32).eps * float(np.square(coordinates).sum()):
        return None
    covariance = (scatter + trace / degrees * np.eye(d)) / (degrees + d)
    variances, axes = np.linalg.eigh(covariance)
    metric: np.ndarray = (axes / np.sqrt(variances)) @ axes.T
    return metric
