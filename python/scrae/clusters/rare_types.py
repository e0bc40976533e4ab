"""Types of a few cells, which no neighbour graph shows: cells that have genes in common that others hardly express."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scrae.clusters.graph import NEIGHBOURS
from scrae.clusters.rare_search import TOP, Group, distance, found_again, groups_at_rest, starts, top, weights_of
from scrae.clusters.separation import distance_of_a_cut

SMALLEST, LARGEST = 8, 2 * NEIGHBOURS  # cells of a rare type; more than these are a community of the graph
SHARE = 0.03  # of all cells, that a rare type of more than ten cells may have at most
SEARCHED = 5  # cells that a group has at least while it is looked for
CHOSEN = 2000  # genes, the most dispersed within the communities
CLIP = 4.0  # standard deviations at which a gene's value ends, so that no gene makes a type on its own
JUDGED = 200  # groups
OTHERS = 20  # genes, besides the top ones, that have to find the cells again
AS_STRONG = 0.9  # of the cells' level, at which another community expresses a gene as they do
FOUND = 0.7  # of the cells, that they have to find
FOLDS = 5


@dataclass(frozen=True)
class RareType:
    """A few cells that their genes set apart.

    Attributes
    ----------
    cells
        Positions, int (n,), rising.
    separation
        How far they lie from the other cells of their communities, in units of a cut
        (:func:`scrae.clusters.separation.separation`), here along their own genes.
    confidence
        Share of resamplings in which a cell is found again by genes that were chosen without it, float (n,).
    stability
        Mean Jaccard index of the cells and what they were found again as.
    """

    cells: np.ndarray
    separation: float
    confidence: np.ndarray
    stability: float


def find_rare_types(
    expression: sp.csr_array, communities: np.ndarray, embedding: np.ndarray, least: float, random_state: int = 0
) -> list[RareType]:
    """Find types that are too small for the neighbour graph.

    Around every cell a search begins: the five genes that its nearest cells express most above their communities, then
    the cells that have half (and again, two thirds) of what the group has in them, then the genes of these, until the
    cells stay the same (:mod:`scrae.clusters.rare_search`). The cells follow from five genes alone. So these genes are
    left out, and the next twenty have to find 70 % of the cells again. Where genes are independent of each other they
    find none, however many groups were looked at. Cells whose genes another community expresses as they do are
    doublets, or lie in the wrong community, and are no type.

    Parameters
    ----------
    expression
        Log-normalised, (n_cells, n_genes).
    communities
        Community of each cell, int (n_cells,), from 0.
    embedding
        In which cells have their nearest, float (n_cells, n_dimensions).
    least
        Separation that a type has to have.
    random_state
        Seed of the parts of the cells.

    Returns
    -------
    Types without a cell in common, the clearest first.
    """
    genes = _dispersed(expression, communities)
    if len(genes) <= 2 * OTHERS or len(communities) <= LARGEST:
        return []
    chosen = expression[:, genes]
    values = _residuals(chosen, communities)
    by_gene = np.ascontiguousarray(values.T)
    largest = min(LARGEST, max(10, int(SHARE * len(communities))))
    begun = starts(values, communities, embedding)
    judge = _Judge(chosen, values, by_gene, communities, random_state)
    found: list[RareType] = []
    for group in groups_at_rest(values, by_gene, begun, SEARCHED, largest, JUDGED):
        cells, others = group.cells, judge.others(group.cells)
        own = top(values[cells].mean(0))
        if len(cells) < SMALLEST or len(others) < SMALLEST or judge.is_higher_elsewhere(cells, own):
            continue
        scores = np.concatenate(judge.measured(cells, others, OTHERS, own))
        if found_again(scores, np.arange(len(cells))) < FOUND:
            continue
        apart = judge.separation(cells, others)
        if apart >= least:
            found.append(RareType(cells, apart, *_resampled(group, by_gene, others, random_state)))
    return _apart(found)


class _Judge:
    """What parts a few cells from the others of their communities, on cells that it was not found on.

    The cells fall into five parts. The top genes and their weights are found on four, and the fifth is measured. Sums
    over the parts of each community are kept, so that a group costs what its own cells cost.
    """

    def __init__(
        self,
        expression: sp.csr_array,
        values: np.ndarray,
        by_gene: np.ndarray,
        communities: np.ndarray,
        random_state: int,
    ) -> None:
        n = len(values)
        self.expression, self.values, self.by_gene = expression, values, by_gene
        self.random_state = random_state
        names, self.community = np.unique(communities, return_inverse=True)
        self.part = np.random.default_rng(random_state).permutation(n) % FOLDS
        in_part = self.community * FOLDS + self.part
        cells = sp.csr_array((np.ones(n, dtype=values.dtype), (in_part, np.arange(n))), shape=(len(names) * FOLDS, n))
        self.sums = (cells @ values).reshape(len(names), FOLDS, -1)
        sizes = np.bincount(self.community)
        shares = sp.csr_array((1 / sizes[self.community], (self.community, np.arange(n))), shape=(len(names), n))
        self.levels = (shares @ expression).toarray()

    def others(self, cells: np.ndarray) -> np.ndarray:
        """The other cells of the communities that these lie in, rising."""
        return np.setdiff1d(np.flatnonzero(np.isin(self.community, np.unique(self.community[cells]))), cells)

    def is_higher_elsewhere(self, cells: np.ndarray, genes: np.ndarray) -> bool:
        """Whether a community expresses most of these genes as the cells do, or more strongly."""
        level = np.asarray(self.expression[cells].mean(0)).ravel()[genes]
        return bool((np.mean(self.levels[:, genes] > AS_STRONG * level, axis=1) > 0.5).any())

    def separation(self, cells: np.ndarray, others: np.ndarray) -> float:
        """Distance along the top genes, over that of a cut."""
        share = min(len(cells), len(others)) / (len(cells) + len(others))
        return distance(*self.measured(cells, others)) / distance_of_a_cut(share)

    def measured(
        self, cells: np.ndarray, others: np.ndarray, n_genes: int = TOP, without: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores of the cells and of the others by the top genes without some: their means are 1 apart."""
        parts = np.random.default_rng(self.random_state).permutation(len(cells)) % FOLDS, self.part[others]
        here = self._sums(cells, parts[0])
        there = self.sums[np.unique(self.community[cells])].sum(0) - self._sums(cells, self.part[cells])
        measured = np.empty(len(cells)), np.empty(len(others))
        for part in range(FOLDS):
            means = [
                (sums.sum(0) - sums[part]) / max(1, np.sum(which != part))
                for sums, which in zip((here, there), parts, strict=True)
            ]
            difference = means[0] - means[1]
            if without is not None:
                difference[without] = -np.inf
            own = top(difference, n_genes)
            weights = weights_of(difference, own)
            middle = float(weights @ (means[0] + means[1])[own]) / 2
            for into, group, which in zip(measured, (cells, others), parts, strict=True):
                into[which == part] = weights @ self.by_gene[np.ix_(own, group[which == part])] - middle
        return measured

    def _sums(self, cells: np.ndarray, part: np.ndarray) -> np.ndarray:
        return np.stack([self.values[cells[part == fold]].sum(0) for fold in range(FOLDS)])


def _apart(types: list[RareType]) -> list[RareType]:
    """Those without a cell in common, the clearest first."""
    kept: list[RareType] = []
    for one in sorted(types, key=lambda one: -one.separation):
        if not any(np.isin(one.cells, other.cells).any() for other in kept):
            kept.append(one)
    return kept


def _dispersed(expression: sp.csr_array, communities: np.ndarray) -> np.ndarray:
    """Genes of enough cells; of very many those whose variance is large for their mean, within the communities."""
    seen = np.flatnonzero(np.bincount(expression.indices, minlength=expression.shape[1]) >= SMALLEST)
    if len(seen) <= CHOSEN:
        return seen
    scaled = expression[:, seen]
    scaled.data = np.expm1(scaled.data)
    mean = np.asarray(scaled.mean(0)).ravel()
    variance = np.zeros(len(seen))
    for name in np.unique(communities):
        part = scaled[np.flatnonzero(communities == name)]
        of_part = np.asarray(part.mean(0)).ravel()
        part.data **= 2
        variance += np.asarray(part.sum(0)).ravel() - part.shape[0] * of_part**2
    dispersion = np.log(np.maximum(variance / np.maximum(mean, 1e-12), 1e-12))
    bins = np.argsort(np.argsort(mean, kind="stable"), kind="stable") * 20 // len(mean)
    high = np.empty(len(seen))
    for one in np.unique(bins):
        centred = dispersion[bins == one] - np.median(dispersion[bins == one])
        high[bins == one] = centred / (np.median(np.abs(centred)) + 1e-9)
    return np.sort(seen[np.argsort(-high, kind="stable")[:CHOSEN]])


def _residuals(expression: sp.csr_array, communities: np.ndarray) -> np.ndarray:
    """What cells express beyond their communities, in standard deviations: float32 (n_cells, n_genes)."""
    values: np.ndarray = expression.toarray().astype(np.float32)
    for name in np.unique(communities):
        values[communities == name] -= values[communities == name].mean(0)
    spread = np.sqrt((values**2).mean(0))
    values /= spread + (np.median(spread[spread > 0]) if (spread > 0).any() else 1)
    np.minimum(values, np.float32(CLIP), out=values)
    return values


def _resampled(
    group: Group, by_gene: np.ndarray, others: np.ndarray, random_state: int, n_resamplings: int = 10
) -> tuple[np.ndarray, float]:
    """Confidence of the cells, and stability of the group, over resamplings of four fifths of its cells."""
    rng = np.random.default_rng(random_state)
    of_group, n = by_gene[:, group.cells], len(group.cells)
    right, overlap = np.zeros(n), 0.0
    for _ in range(n_resamplings):
        means = of_group[:, rng.permutation(n)[: max(2, round(0.8 * n))]].mean(1)
        own = top(means)
        weights = weights_of(means, own)
        again = weights @ of_group[own] > group.least_score
        right += again
        overlap += again.sum() / (n + np.sum(weights @ by_gene[np.ix_(own, others)] > group.least_score))
    return right / n_resamplings, overlap / n_resamplings
