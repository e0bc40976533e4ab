"""Mean expression of groups of cells, and which genes are higher in one of them than in the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp


def welch_t(
    here: tuple[np.ndarray | int, np.ndarray, np.ndarray], there: tuple[np.ndarray | int, np.ndarray, np.ndarray]
) -> np.ndarray:
    """Welch's t of each gene from number of cells, mean and variance on either side."""
    result: np.ndarray = (here[1] - there[1]) / np.sqrt(here[2] / here[0] + there[2] / there[0] + 1e-9)
    return result


def moments(expression: sp.csr_array) -> tuple[int, np.ndarray, np.ndarray]:
    """Number of cells, and mean and variance of each gene, (n_genes,)."""
    mean = np.asarray(expression.mean(0)).ravel()
    square = expression.copy()
    square.data **= 2
    return expression.shape[0], mean, np.maximum(np.asarray(square.mean(0)).ravel() - mean**2, 0)


@dataclass(frozen=True)
class Profiles:
    """What groups of cells express.

    Attributes
    ----------
    n_cells
        Cells of each group, (n_groups,).
    mean, variance
        Of the log-normalised expression, (n_groups, n_genes).
    detected
        Share of the cells of a group with a count of the gene, (n_groups, n_genes).
    """

    n_cells: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    detected: np.ndarray

    @classmethod
    def of(cls, expression: sp.csr_array, groups: np.ndarray, n_groups: int) -> Profiles:
        """Of cells x genes and the group of each cell, int (n_cells,); cells of group -1 count nowhere."""
        cells = np.flatnonzero(groups >= 0)
        which = sp.csr_array((np.ones(len(cells)), (groups[cells], cells)), shape=(n_groups, len(groups)))
        n_cells = np.bincount(groups[cells], minlength=n_groups)
        per_cell = 1 / np.maximum(n_cells, 1)[:, None]
        square, there = expression.copy(), expression.copy()
        square.data **= 2
        there.data = (there.data > 0).astype(np.float64)
        mean, of_squares, detected = ((which @ part).toarray() * per_cell for part in (expression, square, there))
        return cls(n_cells, mean, np.maximum(of_squares - mean**2, 0), detected)

    def against_others(self) -> np.ndarray:
        """Welch's t of each group against the cells of all other groups together, (n_groups, n_genes)."""
        n = self.n_cells[:, None].astype(np.float64)
        sums, squares = self.mean * n, (self.variance + self.mean**2) * n
        n_others = np.maximum(n.sum(0) - n, 1)
        mean = (sums.sum(0) - sums) / n_others
        variance = np.maximum((squares.sum(0) - squares) / n_others - mean**2, 0)
        return welch_t((np.maximum(n, 1), self.mean, self.variance), (n_others, mean, variance))

    def markers(self, n_genes: int) -> list[np.ndarray]:
        """Positions of the genes that are most surely higher in each group than in the others, at most so many."""
        t = self.against_others()
        order = np.argsort(-t, axis=1, kind="stable")[:, :n_genes]
        return [genes[row[genes] > 0] for genes, row in zip(order, t, strict=True)]
