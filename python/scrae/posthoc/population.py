"""What a model keeps of its training cells as a whole, to draw others like them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scrae.data.covariates import Covariates
from scrae.posthoc.density import CellDensity

PERCENTILES = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Population:
    """Sizes, covariates and codes of the training cells.

    Attributes
    ----------
    log_library_quantiles
        Percentiles of the log library sizes, (101,).
    continuous_quantiles
        Of each continuous covariate, (n_continuous, 101).
    covariate_codes, covariate_shares
        Levels that stand together, (n_combinations, n_covariates), and their shares of the cells.
    density
        Codes and library sizes together; None until the codes are finished.
    """

    log_library_quantiles: np.ndarray
    continuous_quantiles: np.ndarray
    covariate_codes: np.ndarray
    covariate_shares: np.ndarray
    density: CellDensity | None = None

    @classmethod
    def of(cls, log_library: np.ndarray, covariates: Covariates) -> Population:
        """From the cells' log library sizes (n_cells,) and covariates."""
        codes, numbers = np.unique(covariates.codes, axis=0, return_counts=True)
        return cls(
            np.quantile(log_library, PERCENTILES),
            np.quantile(covariates.values, PERCENTILES, axis=0).T,
            codes,
            numbers / numbers.sum(),
        )

    def draw_log_library(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Log library sizes, float64 (n,), whatever the code."""
        return _drawn(self.log_library_quantiles, n, rng)

    def draw_covariates(self, n: int, levels: tuple[int, ...], rng: np.random.Generator) -> Covariates:
        """Covariates of ``n`` cells: levels as they stand together, numbers one by one.

        Parameters
        ----------
        n
            Number of cells.
        levels
            Number of levels of each covariate.
        rng
            Source of randomness.
        """
        chosen = rng.choice(len(self.covariate_codes), size=n, p=self.covariate_shares)
        values = [_drawn(quantiles, n, rng) for quantiles in self.continuous_quantiles]
        numbers = np.stack(values, 1) if values else np.zeros((n, 0))
        return Covariates(self.covariate_codes[chosen], levels, numbers.astype(np.float32))

    def description(self) -> dict[str, Any]:
        """Plain lists, for JSON."""
        plain: dict[str, Any] = {k: v.tolist() for k, v in asdict(self).items() if isinstance(v, np.ndarray)}
        return plain | ({} if self.density is None else {"density": self.density.description()})

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Population:
        """What :meth:`description` described; without a density where a development version saved none.

        Raises
        ------
        ValueError, TypeError, KeyError
            A part is missing, not of numbers, or of another size.
        """
        codes = np.asarray(description["covariate_codes"], dtype=np.int64)
        quantiles = np.asarray(description["log_library_quantiles"], dtype=np.float64)
        shares = np.asarray(description["covariate_shares"], dtype=np.float64)
        if quantiles.shape != PERCENTILES.shape or codes.ndim != 2 or shares.shape != codes.shape[:1]:
            raise ValueError("the sizes and covariates of the population do not fit together")
        density = description.get("density")
        return cls(
            quantiles,
            np.asarray(description.get("continuous_quantiles", []), dtype=np.float64).reshape(-1, len(PERCENTILES)),
            codes,
            shares,
            None if density is None else CellDensity.from_description(density),
        )


def _drawn(quantiles: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draws from the distribution with these percentiles, float64 (n,)."""
    drawn: np.ndarray = np.interp(rng.uniform(size=n), PERCENTILES, quantiles)
    return drawn
