"""A batch that the model was not trained on, brought beside the training cells. The model itself stays as it is.

Two things belong to a new batch alone. The first is a factor for each gene, as batches of the training have
(:mod:`scrae.posthoc.gene_factors`). The second is a shift for each group of training cells, of what the factors leave.
Both are learned from cells of the batch that have a mutual nearest neighbour among the training cells, and whose counts
these explain, so that types which the training cells lack have little part in them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn.functional import normalize

from scrae.compute.neighbours import nearest
from scrae.data.count_rows import CountRows
from scrae.posthoc.gene_factors import (
    LEAST_CELLS,
    LEAST_PAIRS,
    ROUNDS,
    at_one_library_size,
    divided,
    log_ratio,
    mutual_neighbours,
    weight_of_pairs,
    weighted_sum,
)
from scrae.posthoc.integration import CELLS_A_CLUSTER, CLUSTERS
from scrae.posthoc.readout import AVERAGED

SHARPNESS = 20.0  # of memberships, 2 / sigma with Harmony's own sigma of 0.1
RIDGE = 20.0  # cells that say that a group has no shift
SMALLEST = 1e-4  # share of the mean that every gene has at least where cells are explained
BLOCK = 1024  # cells that are explained at once


@dataclass(frozen=True)
class TrainingCells:
    """What a model knows of the training cells that stand for all.

    Attributes
    ----------
    coordinates
        u, without what batches add, (n_landmarks, n_dimensions), see :class:`scrae.posthoc.readout.Readout`.
    expression
        What the decoder says that each expresses, told the average of the batches, float64 (n_landmarks, n_genes).
    kept
        Groups of cells whose differences were kept, int64 (n_landmarks,); None: all are of one.
    """

    coordinates: Tensor
    expression: np.ndarray
    kept: np.ndarray | None = None

    def of_group(self, group: int) -> TrainingCells:
        """Those of one group; all of them where there is no such group."""
        cells = np.zeros(0, dtype=np.int64) if self.kept is None else np.flatnonzero(self.kept == group)
        return TrainingCells(self.coordinates[cells], self.expression[cells]) if len(cells) else self


@dataclass(frozen=True)
class NewBatch:
    """What sets a new batch apart from the training cells.

        x''(c) = x' - sum over groups k of r_k(x') d_k,    x' = x(c / f)

    Attributes
    ----------
    logs
        log f of each gene, float32 (n_genes,).
    centres
        Of the groups of training cells, at unit length, (n_groups, n_dimensions).
    shifts
        d, (n_groups, n_dimensions).
    gained
        By how much the training cells around them make the batch's counts likelier than the mean of the batch does, in
        nats per molecule. Below zero where its cells vary in another way than training cells do.
    """

    logs: Tensor
    centres: Tensor
    shifts: Tensor
    gained: float

    @classmethod
    def fit(
        cls,
        counts: sp.csr_array,
        known: TrainingCells,
        coordinates: Callable[[sp.csr_array], Tensor],
        random_state: int = 0,
    ) -> NewBatch | None:
        """From some cells of the batch; None where they are too few, or hardly any is like a training cell.

            log f_g = log(sum over pairs (i, j) of w_ij c_ig + prior) - log(sum over pairs (i, j) of w_ij m_jg + prior)
            d_k     = n_k / (n_k + ridge) (mean of x' - mean of u, both weighted by r_k)

        c are counts at one library size, m what the decoder says of training cells at the same, and (i, j) are mutual
        neighbours by x' and u, which are found again when f has changed. Cells whose counts the training cells around
        them do not explain have no part in either sum. n_k is the sum of r_k over the cells of the batch that have such
        a neighbour; their x' make the mean. r are soft memberships in groups of u, by the angle, as Harmony has them
        (Korsunsky et al. 2019); that the training cells stay as they are is from Symphony (Kang et al. 2021).

        Parameters
        ----------
        counts
            Of the model's genes, (n_cells, n_genes).
        known
            Of the model.
        coordinates
            x of counts, (n_cells, n_dimensions).
        random_state
            Seed of the groups.
        """
        if counts.shape[0] < LEAST_CELLS:
            return None
        shares, depth = at_one_library_size(counts)
        expression = known.expression * (depth / known.expression.sum(axis=1, keepdims=True))
        seen = np.flatnonzero(shares.sum(axis=0) > 0)  # of a gene that the batch lacks there is nothing to divide
        logs = np.zeros(counts.shape[1])
        directions = normalize(known.coordinates)
        x, explained = coordinates(counts), np.ones(counts.shape[0], dtype=bool)
        for _ in range(ROUNDS):
            i, j = _pairs_of(explained, normalize(x), directions)
            if len(i) < LEAST_PAIRS:
                return None
            weight = weight_of_pairs(i, j)
            of_batch, of_training = weighted_sum(shares, i, weight), weighted_sum(expression, j, weight)
            logs[seen] = log_ratio(of_batch[seen], of_training[seen])
            x = coordinates(divided(counts, logs[counts.indices]))
            gain = _gain(shares, expression * np.exp(logs), _around(x, directions))
            explained = gain > 0
        paired = torch.as_tensor(np.unique(_pairs_of(explained, normalize(x), directions)[0]))
        centres = _centres(directions, random_state)
        shifts = _shifts(x[paired], known.coordinates, centres)
        return cls(torch.as_tensor(logs, dtype=torch.float32), centres, shifts, float(gain.sum() / shares.sum()))

    def divided(self, counts: CountRows) -> CountRows:
        """c / f of a minibatch."""
        return counts.with_values(counts.values * counts.by_column(torch.exp(-self.logs.to(counts.values.device))))

    def moved(self, coordinates: Tensor) -> Tensor:
        """x'' from x', (n_cells, n_dimensions)."""
        centres, shifts = self.centres.to(coordinates), self.shifts.to(coordinates)
        return coordinates - _memberships(coordinates, centres) @ shifts


def _centres(directions: Tensor, random_state: int) -> Tensor:
    from sklearn.cluster import KMeans

    n_groups = int(np.clip(round(len(directions) / CELLS_A_CLUSTER), *CLUSTERS))
    found = KMeans(min(n_groups, len(directions)), n_init=1, random_state=random_state).fit(directions.double().numpy())
    return normalize(torch.as_tensor(found.cluster_centers_).to(directions))


def _memberships(coordinates: Tensor, centres: Tensor) -> Tensor:
    """r, (n_cells, n_groups), rows sum to 1."""
    return torch.softmax(SHARPNESS * (normalize(coordinates) @ centres.T), 1)


def _shifts(coordinates: Tensor, known: Tensor, centres: Tensor) -> Tensor:
    """d, (n_groups, n_dimensions)."""
    of_batch, of_training = _memberships(coordinates, centres), _memberships(known, centres)
    n = of_batch.sum(0)[:, None]
    here = of_batch.T @ coordinates / n.clamp(min=1e-6)
    there = of_training.T @ known / of_training.sum(0)[:, None].clamp(min=1e-6)
    return (here - there) * (n / (n + RIDGE))


def _pairs_of(some: np.ndarray, points: Tensor, others: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mutual neighbours, of these points alone (boolean) where they have enough of them."""
    i, j = mutual_neighbours(points, others)
    kept = some[i]
    return (i[kept], j[kept]) if kept.sum() >= LEAST_PAIRS else (i, j)


def _around(coordinates: Tensor, directions: Tensor) -> np.ndarray:
    """Positions of the training cells around each cell, (n_cells, AVERAGED)."""
    return nearest(normalize(coordinates), directions, min(AVERAGED, len(directions))).numpy()


def _gain(counts: sp.csr_array, expression: np.ndarray, near: np.ndarray) -> np.ndarray:
    """By how many nats rows of ``expression`` near a cell make its counts likelier than their mean does, (n_cells,)."""
    mean = counts.mean(axis=0)
    seen = mean > 0
    result = np.empty(len(near))
    for first in range(0, len(near), BLOCK):
        part = slice(first, first + BLOCK)
        around = expression[near[part]].mean(axis=1)[:, seen] + SMALLEST * mean[seen]
        by_neighbours = np.log(around / around.sum(axis=1, keepdims=True))
        by_mean = np.log(mean[seen] / mean[seen].sum())
        result[part] = (counts[part].toarray()[:, seen] * (by_neighbours - by_mean)).sum(axis=1)
    return result
