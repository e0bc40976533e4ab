"""Codes and library sizes of cells together, as a density that new cells are drawn from.

A generator that is trained against a critic runs beside codes that still move, and is no exact image of where they come
to rest. A mixture fitted to them afterwards is nearer to the cells (Ghosh et al. 2020, From variational to
deterministic autoencoders: ex-post density estimation), needs no regulariser that has a prior, and can be fitted to any
cells. It holds the library size, too, which goes with the type of a cell.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

COMPONENTS = 10  # as published, where there are cells enough
CELLS_A_COMPONENT = 20
LEAST_CELLS = 10
LEAST_VARIANCE = 1e-3  # added to that of every dimension, which is 1 over all cells


@dataclass(frozen=True)
class CellDensity:
    """p(y) = sum_k w_k N(y; m_k, F_k F_k^T), y = [z, log l]: a cell's code and log library size.

    Attributes
    ----------
    weights
        w, (n_components,).
    means
        m, (n_components, n_latent + 1).
    factors
        F, lower triangular, (n_components, n_latent + 1, n_latent + 1).
    log_library_range
        Smallest and largest log library size of the cells: no cell is drawn beyond.
    """

    weights: np.ndarray
    means: np.ndarray
    factors: np.ndarray
    log_library_range: tuple[float, float]

    @classmethod
    def fit(cls, codes: np.ndarray, log_library: np.ndarray, random_state: int = 0) -> CellDensity:
        """The mixture of these cells by expectation maximisation.

        Parameters
        ----------
        codes
            (n_cells, n_latent), 2 cells or more.
        log_library
            (n_cells,).
        random_state
            Seed of the start.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        values = np.column_stack([codes, log_library]).astype(np.float64)
        centre, spread = values.mean(0), values.std(0)
        spread = np.where(spread > 0, spread, 1.0)
        n_components = int(np.clip(len(values) // CELLS_A_COMPONENT, 1, COMPONENTS))
        mixture = GaussianMixture(n_components, reg_covar=LEAST_VARIANCE, random_state=random_state)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # as good as it has become
            mixture.fit((values - centre) / spread)
        return cls(
            mixture.weights_,
            mixture.means_ * spread + centre,
            np.linalg.cholesky(mixture.covariances_) * spread[:, None],
            (float(log_library.min()), float(log_library.max())),
        )

    def draw(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Codes float32 (n, n_latent) and log library sizes float64 (n,)."""
        component = rng.choice(len(self.weights), size=n, p=self.weights)
        noise = rng.standard_normal((n, self.means.shape[1]))
        values = self.means[component] + np.einsum("nij,nj->ni", self.factors[component], noise)
        return values[:, :-1].astype(np.float32), np.clip(values[:, -1], *self.log_library_range)

    def description(self) -> dict[str, Any]:
        """Plain lists, for JSON."""
        return {name: np.asarray(value).tolist() for name, value in asdict(self).items()}

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> CellDensity:
        """What :meth:`description` described."""
        weights, means, factors = (np.asarray(description[name]) for name in ("weights", "means", "factors"))
        smallest, largest = description["log_library_range"]
        return cls(weights, means, factors, (smallest, largest))
