"""Cells that stand for all where there are very many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from scrae.compute.neighbours import nearest

LANDMARKS = 20_000
AROUND = 15  # landmarks that a cell takes its cluster from


@dataclass(frozen=True)
class Landmarks:
    """Positions of the cells that are clustered, and the landmarks around every cell.

    Attributes
    ----------
    cells
        int (n_landmarks,), rising.
    around
        Positions among the landmarks, int (n_cells, AROUND); None: every cell is one.
    """

    cells: np.ndarray
    around: np.ndarray | None

    @classmethod
    def of(cls, embedding: np.ndarray, random_state: int, most: int = LANDMARKS) -> Landmarks:
        """Take as many cells as ``most`` at random; all where there are no more."""
        n = len(embedding)
        if n <= most:
            return cls(np.arange(n), None)
        cells = np.sort(np.random.default_rng(random_state).choice(n, most, replace=False))
        points = torch.as_tensor(np.ascontiguousarray(embedding, dtype=np.float32))
        return cls(cells, nearest(points, points[torch.as_tensor(cells)], AROUND).numpy())

    def spread(self, clusters: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Clusters and confidence of all cells, (n_cells,) each, from those of the landmarks.

        A cell that is no landmark takes the cluster of most of those around it, and as its confidence their mean times
        the share of them that are of that cluster.
        """
        if self.around is None:
            return clusters, confidence
        of_neighbours = clusters[self.around]
        votes = np.zeros((len(self.around), int(clusters.max()) + 1), dtype=np.int32)
        np.add.at(votes, (np.arange(len(votes))[:, None], of_neighbours), 1)
        found = votes.argmax(1)
        shares = votes.max(1) / of_neighbours.shape[1] * confidence[self.around].mean(1)
        found[self.cells], shares[self.cells] = clusters, confidence
        return found, shares
