"""The search for groups of a few cells that have genes in common which others hardly express."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch

from scrae.compute.neighbours import nearest

TOP = 5  # genes that a group is looked for with
LEAST_SCORES: tuple[float, ...] = (0.5, 0.65)  # of what the group has, in a cell of it: one search with each
AROUND = 8  # cells that the search begins with, a cell and its nearest
ROUNDS = 8  # in which a group has to come to rest
ALIKE = 0.5  # Jaccard index above which two groups are the same
BLOCK = 512  # groups that are looked at together


@dataclass(frozen=True, eq=False)
class Group:
    """Cells that have at least the share ``least_score`` of what they have on average in their top genes.

    Attributes
    ----------
    cells
        Positions, int (n,), rising.
    least_score
        One of :data:`LEAST_SCORES`.
    """

    cells: np.ndarray
    least_score: float


def top(means: np.ndarray, n: int = TOP) -> np.ndarray:
    """The genes that are furthest above, int (..., n), of means (..., n_genes)."""
    return np.argpartition(-means, n, axis=-1)[..., :n]


def weights_of(means: np.ndarray, own: np.ndarray) -> np.ndarray:
    """What the top genes weigh, (..., n): as much as they stand out, so that the mean of the group's scores is 1."""
    above = np.maximum(np.take_along_axis(means, own, -1), 0)
    weights: np.ndarray = above / np.maximum((above**2).sum(-1, keepdims=True), 1e-9)
    return weights


def starts(values: np.ndarray, communities: np.ndarray, embedding: np.ndarray) -> list[np.ndarray]:
    """Cells with their nearest in the embedding, and in the direction of their values within their communities.

    Parameters
    ----------
    values
        float32 (n_cells, n_genes).
    communities
        int (n_cells,).
    embedding
        float (n_cells, n_dimensions).
    """
    points = torch.as_tensor(np.ascontiguousarray(embedding, dtype=np.float32))
    found = [nearest(points, points, min(AROUND, len(points))).numpy()]
    length = np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)
    for name in np.unique(communities):
        cells = np.flatnonzero(communities == name)
        if len(cells) >= AROUND:
            directions = torch.as_tensor(values[cells] / length[cells])
            found.append(cells[nearest(directions, directions, AROUND).numpy()])
    return [start for part in found for start in np.sort(part, axis=1)]


def groups_at_rest(
    values: np.ndarray, by_gene: np.ndarray, begun: Sequence[np.ndarray], smallest: int, largest: int, most: int
) -> list[Group]:
    """Groups that come to rest: their top genes choose the cells that they are the top genes of.

    Parameters
    ----------
    values, by_gene
        float32 (n_cells, n_genes), and the same by gene.
    begun
        Cells that the search begins with, rising.
    smallest, largest
        Number of cells of a group.
    most
        How many groups to give.

    Returns
    -------
    Groups that are not the same, first those that are found again without the strongest of their genes.
    """
    at_rest: dict[bytes, Group] = {}
    waiting = {LEAST_SCORES: list({cells.tobytes(): cells for cells in begun}.values())}
    for _ in range(ROUNDS):
        moved: dict[float, dict[bytes, np.ndarray]] = {least: {} for least in LEAST_SCORES}
        for least_scores, groups in waiting.items():
            for cells, chosen, least in _moved(values, by_gene, groups, least_scores, smallest, largest):
                name = chosen.tobytes()
                if name == cells.tobytes():
                    at_rest.setdefault(name, Group(chosen, least))
                elif name not in at_rest:
                    moved[least][name] = chosen
        waiting = {(least,): list(groups.values()) for least, groups in moved.items()}
    clear = [_without_the_strongest(group.cells, values, by_gene) for group in at_rest.values()]
    return _distinct([group for _, group in sorted(zip(clear, at_rest.values(), strict=True), key=_order)], most)


def _order(one: tuple[tuple[float, float], Group]) -> tuple[float, float, list[int]]:
    (found, apart), group = one
    return -found, -apart, group.cells.tolist()


def _moved(
    values: np.ndarray,
    by_gene: np.ndarray,
    groups: Sequence[np.ndarray],
    least_scores: tuple[float, ...],
    smallest: int,
    largest: int,
) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Each group and the cells that its top genes choose, where these are neither too few nor too many."""
    for first in range(0, len(groups), BLOCK):
        part = groups[first : first + BLOCK]
        sizes = np.asarray([len(cells) for cells in part])
        shares = np.repeat(1 / sizes, sizes).astype(values.dtype)
        ends = np.concatenate([[0], np.cumsum(sizes)])
        means = sp.csr_array((shares, np.concatenate(part), ends), shape=(len(part), len(values))) @ values
        own = top(means)
        weights = weights_of(means, own).ravel()
        ends = TOP * np.arange(len(part) + 1)
        scores: np.ndarray = sp.csr_array((weights, own.ravel(), ends), shape=(len(part), len(by_gene))) @ by_gene
        for least in least_scores:
            high = scores > least
            chosen = np.count_nonzero(high, axis=1)
            for i in np.flatnonzero((chosen >= smallest) & (chosen <= largest)):
                yield part[int(i)], np.flatnonzero(high[i]), least


def _without_the_strongest(cells: np.ndarray, values: np.ndarray, by_gene: np.ndarray) -> tuple[float, float]:
    """Share of the cells that are found again without the strongest top gene, and how far they then lie apart.

    A gene that a few cells express by chance makes a group that looks clear, and without it nothing is left.
    """
    means = values[cells].mean(0)
    own = top(means)
    own = np.delete(own, means[own].argmax())
    scores = weights_of(means, own) @ by_gene[own]
    return found_again(scores, cells), distance(scores[cells], np.delete(scores, cells))


def _distinct(groups: Sequence[Group], most: int) -> list[Group]:
    """The first of those that are the same."""
    distinct: list[Group] = []
    belongs = np.zeros((most, 1 + max((int(group.cells[-1]) for group in groups), default=0)), dtype=bool)
    sizes = np.zeros(most)
    for group in groups:
        n, size = len(distinct), len(group.cells)
        common = np.count_nonzero(belongs[:n, group.cells], axis=1)
        if (common <= ALIKE * (sizes[:n] + size - common)).all():
            belongs[n, group.cells], sizes[n] = True, size
            distinct.append(group)
        if len(distinct) == most:
            break
    return distinct


def found_again(scores: np.ndarray, cells: np.ndarray) -> float:
    """Share of the cells that are among as many with the highest scores."""
    lowest = np.partition(scores, -len(cells))[-len(cells)]
    return float(np.mean(scores[cells] >= lowest))


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Of the means, in standard deviations."""
    return float((one.mean() - other.mean()) / np.sqrt((one.var() + other.var()) / 2 + 1e-12))
