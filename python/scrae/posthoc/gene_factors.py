"""How each batch sees each gene: the factors by which cells of one kind differ between batches, gene by gene.

A protocol, a donor or a chemistry catches some genes better than others, whatever the type of the cell. What cells of
one type in two batches differ by says how much. Which cells are of one type is not known, but mutual nearest neighbours
across batches (Haghverdi et al. 2018) mostly are. A gene has one factor in a batch, so that taking the factors out
cannot merge types, or cut one in two, as a correction can that moves cells freely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch

from scrae.compute.neighbours import nearest
from scrae.data.count_rows import CountRows
from scrae.data.covariates import Covariates
from scrae.data.minibatches import EVALUATION_CELLS, CountData
from scrae.posthoc.principal_components import PrincipalComponents

LEAST_CELLS = 30  # of a batch that has factors
LEAST_PAIRS = 10  # of mutual neighbours that say something about two batches
NEIGHBOURS = 10
COMPONENTS = 30
ROUNDS = 3
PRIOR = 5.0  # normalised molecules that are added to both sides: a gene that is hardly seen has no factor
REFERENCES = 10  # batches, the largest, that each batch is compared with

Pairs = tuple[np.ndarray, np.ndarray]  # positions of cells, one below the other partner


@dataclass(frozen=True)
class GeneFactors:
    """What a batch multiplies a gene's expression by, beside the other batches.

    Attributes
    ----------
    logs
        Natural logarithms of the factors, float32 (n_batches, n_genes); 0 in batches that are too small to say.
    """

    logs: torch.Tensor

    @classmethod
    def fit(
        cls, counts: sp.csr_array, batch: np.ndarray, n_batches: int, kept: np.ndarray | None = None
    ) -> GeneFactors | None:
        """From some cells; None where no two batches have :data:`LEAST_CELLS` of them.

            log f_bg - log f_cg = log(sum over pairs (i, j) of w_ij x_ig + prior)
                                - log(sum over pairs (i, j) of w_ij x_jg + prior)

        x are counts at one library size, i in batch b and j in batch c are mutual neighbours, and w is one over the
        root of the product of the number of their pairs, so that cells with many partners count no more than others.
        Differences between all pairs of batches are met by least squares. Pairs are found on principal components of
        counts without the factors, and factors from pairs, in turn. The first factors are those of the batches' means
        beside the means of their groups.

        Parameters
        ----------
        counts
            Of the cells, (n_cells, n_genes).
        batch
            Code of each cell's batch, int (n_cells,).
        n_batches
            Number of batches.
        kept
            Group of each cell, int (n_cells,): pairs are of one group, so that factors say nothing of what sets groups
            apart; None: all cells are of one.
        """
        sizes = np.bincount(batch, minlength=n_batches)
        large = np.flatnonzero(sizes >= LEAST_CELLS)
        if len(large) < 2 or counts.shape[1] < 2:
            return None
        cells = np.flatnonzero(np.isin(batch, large))
        counts, batch = sp.csr_array(counts[cells]), batch[cells]
        group = np.zeros(len(cells), dtype=np.int64) if kept is None else kept[cells]
        shares, _ = at_one_library_size(counts)
        of_groups = {number: shares[np.flatnonzero(group == number)].mean(axis=0) for number in np.unique(group)}
        logs = np.zeros((n_batches, counts.shape[1]))
        for level in large:
            here = np.flatnonzero(batch == level)
            numbers, n_cells = np.unique(group[here], return_counts=True)
            others = (n_cells / n_cells.sum()) @ np.stack([of_groups[number] for number in numbers])
            logs[level] = log_ratio(len(cells) * shares[here].mean(axis=0), len(cells) * others)
        for _ in range(ROUNDS):
            points = _components(divided(counts, logs[np.repeat(batch, np.diff(counts.indptr)), counts.indices]))
            pairs = _pairs(points, batch, group)
            logs = _least_squares(shares, pairs, n_batches)
        return cls(torch.as_tensor(logs, dtype=torch.float32))

    def divided_rows(self, counts: CountRows, batch: torch.Tensor) -> CountRows:
        """Counts of a minibatch without the factors; ``batch`` as codes, int64 (n_cells,)."""
        logs = counts.by_group(self.logs.to(counts.values.device), batch)
        return counts.with_values(counts.values * torch.exp(-logs))


def at_one_library_size(counts: sp.csr_array) -> tuple[sp.csr_array, float]:
    """Counts scaled to the median of the cells' totals, (n_cells, n_genes), and that median."""
    library = np.maximum(counts.sum(axis=1), 1.0)
    median = float(np.median(library))
    return sp.csr_array(sp.diags_array(median / library) @ counts), median


def divided(counts: sp.csr_array, logs: np.ndarray) -> sp.csr_array:
    """Counts without the log factor of each stored entry (n_entries,), float32 (n_cells, n_genes)."""
    values = (counts.data * np.exp(-logs)).astype(np.float32)
    return sp.csr_array((values, counts.indices, counts.indptr), shape=counts.shape)


def _components(counts: sp.csr_array) -> torch.Tensor:
    """Scaled principal components at unit length, so that near means alike in direction, (n_cells, n_components)."""
    components = PrincipalComponents.fit(counts, COMPONENTS)
    data = CountData(counts, Covariates.none(counts.shape[0]), torch.device("cpu"))
    found = data.row_of_each(lambda minibatch: components(minibatch.counts), EVALUATION_CELLS)
    return torch.nn.functional.normalize(found)


def _pairs(points: torch.Tensor, batch: np.ndarray, group: np.ndarray) -> dict[tuple[int, int], Pairs]:
    """Mutual nearest neighbours of one group in each batch and in each of the largest, by the two batches."""
    found: dict[tuple[int, int], Pairs] = {}
    for number in np.unique(group):
        levels, sizes = np.unique(batch[group == number], return_counts=True)
        by_size = levels[np.argsort(-sizes, kind="stable")].tolist()
        cells = {level: np.flatnonzero((batch == level) & (group == number)) for level in by_size}
        for place, first in enumerate(by_size[:REFERENCES]):
            for second in by_size[place + 1 :]:
                one, other = cells[first], cells[second]
                i, j = mutual_neighbours(points[one], points[other])
                key, pairs = (first, second), (one[i], other[j])
                if key[::-1] in found:  # they are the other way round in another group
                    key, pairs = key[::-1], pairs[::-1]
                before = found.get(key, (one[:0], one[:0]))
                found[key] = np.concatenate([before[0], pairs[0]]), np.concatenate([before[1], pairs[1]])
    return found


def mutual_neighbours(points: torch.Tensor, others: torch.Tensor) -> Pairs:
    """Pairs of a point and another one that are among the :data:`NEIGHBOURS` nearest of each other, positions in each.

    ``points`` are (n_points, n_dimensions) and ``others`` (n_others, n_dimensions), at unit length.
    """
    i, j = sp.coo_array(_near(points, others) * _near(others, points).T).coords
    return i, j


def _near(points: torch.Tensor, others: torch.Tensor) -> sp.csr_array:
    """1 where one of the others is among the nearest of a point, (n_points, n_others)."""
    near = nearest(points, others, min(NEIGHBOURS, len(others))).numpy()
    ends = np.arange(0, near.size + 1, near.shape[1])
    return sp.csr_array((np.ones(near.size), near.ravel(), ends), shape=(len(points), len(others)))


def _least_squares(shares: sp.csr_array, pairs: dict[tuple[int, int], Pairs], n_batches: int) -> np.ndarray:
    """Log factors of all batches from the differences between two, (n_batches, n_genes), with mean 0 over batches."""
    laplacian = np.zeros((n_batches, n_batches))
    differences = np.zeros((n_batches, shares.shape[1]))
    for (first, second), (i, j) in pairs.items():
        if len(i) < LEAST_PAIRS:
            continue
        weight = weight_of_pairs(i, j)
        difference = weight.sum() * log_ratio(*(weighted_sum(shares, cells, weight) for cells in (i, j)))
        for one, other, sign in ((first, second, 1.0), (second, first, -1.0)):
            laplacian[one, one] += weight.sum()
            laplacian[one, other] -= weight.sum()
            differences[one] += sign * difference
    result: np.ndarray = np.linalg.pinv(laplacian) @ differences
    return result


def weight_of_pairs(i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """w of each pair, (n_pairs,), see :meth:`GeneFactors.fit`."""
    weight: np.ndarray = 1 / np.sqrt(np.bincount(i)[i] * np.bincount(j)[j])
    return weight


def weighted_sum(shares: sp.csr_array | np.ndarray, cells: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Of the rows at these positions, a row as often as it is named, (n_genes,)."""
    total: np.ndarray = shares.T @ np.bincount(cells, weight, shares.shape[0])
    return total


def log_ratio(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of each gene; 0 in the mean of the genes that are seen, since depth is no factor of a gene."""
    ratio = np.log((one + PRIOR) / (other + PRIOR))
    result: np.ndarray = ratio - np.average(ratio, weights=np.sqrt(one + other + 1))
    return result
