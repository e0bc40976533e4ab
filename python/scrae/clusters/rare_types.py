"""Types of a few cells, which no neighbour graph shows: cells that have genes in common that others hardly express."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch

from scrae.clusters.graph import NEIGHBOURS
from scrae.clusters.separation import distance_of_a_cut
from scrae.compute.neighbours import nearest

SMALLEST, LARGEST = 5, 2 * NEIGHBOURS  # cells of a rare type; more than these are a community of the graph
SHARE = 0.03  # of all cells, that a rare type may have at most
CHOSEN = 2000  # genes, the most dispersed within the communities
CLIP = 4.0  # standard deviations at which a gene's value ends, so that no gene makes a type on its own
TOP = 5  # genes that a type is looked for with
LEAST_SCORE = 0.5  # of what the group has, in a cell that belongs to it
AROUND = 8  # cells that the search begins with, a cell and its nearest
ROUNDS = 6  # in which a group has to come to rest
JUDGED = 60  # groups, the clearest first
OVERLAP = 0.3  # share of the smaller one that two types may have in common
OTHER_GENES = 0.3  # separation by the genes that the type was not looked for with; of chance finds it is 0
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
    the cells that have half of what the group has in them, then the genes of these, until the cells stay the same. The
    cells follow from five genes alone. So all other genes were left out, and have to part the same cells: where genes
    are independent of each other they do not, however many groups were looked at. Cells whose genes another community
    expresses more strongly are doublets, or lie in the wrong community, and are no type.

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
    if len(genes) <= 2 * TOP or len(communities) <= LARGEST:
        return []
    chosen = expression[:, genes]
    values = _residuals(chosen, communities)
    levels = np.stack([np.asarray(chosen[communities == name].mean(0)).ravel() for name in np.unique(communities)])
    starts, by_gene = _starts(values, communities, embedding), np.ascontiguousarray(values.T)
    found: list[RareType] = []
    largest = min(LARGEST, int(SHARE * len(communities)))
    for cells in _groups(values, by_gene, starts, largest):
        own = _top(values[cells].mean(0))
        level = np.asarray(chosen[cells].mean(0)).ravel()
        others = np.setdiff1d(np.flatnonzero(np.isin(communities, np.unique(communities[cells]))), cells)
        if len(others) < SMALLEST or (np.mean(levels[:, own] > level[own], axis=1) > 0.5).any():
            continue
        separation = _separation(values, cells, others, random_state)
        left_out = np.delete(np.arange(len(genes)), own)
        if separation < least or _separation(values[:, left_out], cells, others, random_state) < OTHER_GENES:
            continue
        found.append(RareType(cells, separation, *_found_again(values, cells, others, random_state)))
    return _apart(found)


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
        part = scaled[communities == name]
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


def _starts(values: np.ndarray, communities: np.ndarray, embedding: np.ndarray) -> np.ndarray:
    """Cells with their nearest in the embedding, and in the direction of their residuals, int (m, AROUND)."""
    points = torch.as_tensor(np.ascontiguousarray(embedding, dtype=np.float32))
    starts = [nearest(points, points, min(AROUND, len(points))).numpy()]
    length = np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)
    for name in np.unique(communities):
        cells = np.flatnonzero(communities == name)
        if len(cells) >= AROUND:
            directions = torch.as_tensor(values[cells] / length[cells])
            starts.append(cells[nearest(directions, directions, AROUND).numpy()])
    return np.concatenate(starts)


def _groups(values: np.ndarray, by_gene: np.ndarray, starts: np.ndarray, largest: int) -> list[np.ndarray]:
    """Groups of cells that came to rest, and hardly overlap: the clearest first."""
    at_rest: dict[tuple[int, ...], float] = {}
    waiting = [np.sort(start) for start in starts]
    for _ in range(ROUNDS):
        moved = set()
        for cells in waiting:
            score = _scores(values[cells].mean(0), by_gene)
            chosen = np.flatnonzero(score > LEAST_SCORE)
            if not SMALLEST <= len(chosen) <= largest:
                continue
            name = tuple(chosen.tolist())
            if len(chosen) == len(cells) and np.array_equal(chosen, cells):
                at_rest[name] = _distance(score[chosen], np.delete(score, chosen))
            elif name not in at_rest:
                moved.add(name)
        waiting = [np.asarray(name) for name in sorted(moved)]
    distinct: list[np.ndarray] = []
    for name in sorted(at_rest, key=lambda name: (-at_rest[name], name)):
        cells = np.asarray(name)
        if all(len(np.intersect1d(cells, one)) <= OVERLAP * min(len(cells), len(one)) for one in distinct):
            distinct.append(cells)
        if len(distinct) == JUDGED:
            break
    return distinct


def _top(mean: np.ndarray) -> np.ndarray:
    """The genes that are furthest above, int (TOP,)."""
    return np.argpartition(-mean, TOP)[:TOP]


def _scores(mean: np.ndarray, by_gene: np.ndarray) -> np.ndarray:
    """How far each cell has what a group has in its top genes, which weigh as much as they stand out: its mean is 1."""
    own = _top(mean)
    weights = np.maximum(mean[own], 0)
    scores: np.ndarray = weights @ by_gene[own] / max(float(weights @ mean[own]), 1e-9)
    return scores


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float((one.mean() - other.mean()) / np.sqrt((one.var() + other.var()) / 2 + 1e-12))


def _separation(values: np.ndarray, cells: np.ndarray, others: np.ndarray, random_state: int) -> float:
    """Distance along the top genes, found on four fifths of the cells and measured on the last, over that of a cut."""
    rng = np.random.default_rng(random_state)
    folds = [rng.permutation(len(part)) % FOLDS for part in (cells, others)]
    sums = [
        np.stack([values[part[of == fold]].sum(0) for fold in range(FOLDS)])
        for part, of in zip((cells, others), folds, strict=True)
    ]
    measured = np.empty(len(cells)), np.empty(len(others))
    for fold in range(FOLDS):
        means = [(of.sum(0) - of[fold]) / np.sum(which != fold) for of, which in zip(sums, folds, strict=True)]
        difference = means[0] - means[1]
        own = _top(difference)
        weights = np.maximum(difference[own], 0)
        length = max(float(weights @ difference[own]), 1e-9)
        middle = float(weights @ (means[0] + means[1])[own]) / 2
        for into, part, which in zip(measured, (cells, others), folds, strict=True):
            into[which == fold] = (values[part[which == fold]][:, own] @ weights - middle) / length
    share = min(len(cells), len(others)) / (len(cells) + len(others))
    return _distance(*measured) / distance_of_a_cut(share)


def _found_again(
    values: np.ndarray, cells: np.ndarray, others: np.ndarray, random_state: int, n_resamplings: int = 10
) -> tuple[np.ndarray, float]:
    """Confidence of the cells, and stability of the group, over resamplings of four fifths of its cells."""
    rng = np.random.default_rng(random_state)
    by_gene = np.ascontiguousarray(values[np.concatenate([cells, others])].T)
    right, overlap = np.zeros(len(cells)), 0.0
    for _ in range(n_resamplings):
        part = rng.permutation(len(cells))[: max(2, round(0.8 * len(cells)))]
        again = _scores(by_gene[:, part].mean(1), by_gene) > LEAST_SCORE
        right += again[: len(cells)]
        overlap += again[: len(cells)].sum() / (len(cells) + again[len(cells) :].sum())
    return right / n_resamplings, overlap / n_resamplings
