"""The tree of clusters: communities that fall into parts, and are joined, the two that lie least apart first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from scrae.clusters.graph import communities
from scrae.clusters.separation import separation

LEVELS = {"broad": 1.6, "default": 1.25, "fine": 1.1}
"""By name, the separation from which on two groups of cells are two clusters."""
COMMUNITIES, PARTS = 0.6, 1.0  # resolution of the communities, and of the parts of one
WITHIN = 1.5  # times as far apart have parts of one community to lie, since the graph does not part them
TRIES = 5  # of which the best communities are taken
CANDIDATES = 3  # nearest clusters, by their centres, that a cluster can be joined with


@dataclass(frozen=True)
class ClusterTree:
    """Every clustering from the leaves to a single cluster, each nested in the next.

    Attributes
    ----------
    leaf
        Leaf of each cell, int (n_cells,), from 0.
    children
        The two nodes that are joined, int (n_leaves - 1, 2): node ``n_leaves + i`` is made of row ``i``, and the last
        one holds all cells.
    separations
        How far apart these two are (:func:`scrae.clusters.separation.separation`), float (n_leaves - 1,).
    heights
        Where the tree can be cut, float (n_leaves - 1,): the same, over :data:`WITHIN` for parts of one community, and
        no node below its children.
    """

    leaf: np.ndarray
    children: np.ndarray
    separations: np.ndarray
    heights: np.ndarray

    @property
    def n_leaves(self) -> int:
        """Number of leaves."""
        return len(self.children) + 1

    def nodes(self, least: float) -> list[int]:
        """The clusters if only what lies at least so far apart stays apart: nodes, neighbours next to each other."""
        return self._below_joins({self.n_leaves + int(i) for i in np.flatnonzero(self.heights >= least)})

    def nodes_of(self, n_clusters: int) -> list[int]:
        """The same for so many clusters, from 1 to ``n_leaves``."""
        highest = sorted(range(len(self.heights)), key=lambda i: (-self.heights[i], -i))[: n_clusters - 1]
        return self._below_joins({self.n_leaves + i for i in highest})

    def _below_joins(self, apart: set[int]) -> list[int]:
        """The nodes below those that are kept apart, in the order of the tree."""
        found, waiting = [], [2 * self.n_leaves - 2]
        while waiting:
            node = waiting.pop()
            if node in apart:
                waiting.extend(reversed(self._ordered(node)))
            else:
                found.append(node)
        return found

    def clusters(self, nodes: Iterable[int]) -> np.ndarray:
        """Which of the nodes each cell belongs to, int (n_cells,), by their place in the list."""
        of_leaf = np.empty(self.n_leaves, dtype=int)
        for cluster, node in enumerate(nodes):
            of_leaf[self.leaves_of(node)] = cluster
        found: np.ndarray = of_leaf[self.leaf]
        return found

    def leaves_of(self, node: int) -> list[int]:
        """Leaves below a node."""
        if node < self.n_leaves:
            return [node]
        return [leaf for child in self.children[node - self.n_leaves] for leaf in self.leaves_of(int(child))]

    @cached_property
    def sizes(self) -> np.ndarray:
        """Number of cells of each node, int (2 n_leaves - 1,)."""
        sizes = list(np.bincount(self.leaf, minlength=self.n_leaves))
        for one, other in self.children:
            sizes.append(sizes[one] + sizes[other])
        return np.asarray(sizes)

    def _ordered(self, node: int) -> list[int]:
        """The children of a node, the larger one first."""
        one, other = map(int, self.children[node - self.n_leaves])
        return [one, other] if self.sizes[one] >= self.sizes[other] else [other, one]


def grow(graph: sp.csr_array, embedding: np.ndarray, coordinates: np.ndarray, random_state: int = 0) -> ClusterTree:
    """Find communities, and the parts of each, and join them until one cluster is left.

    The parts of a community are joined first, then the communities.

    Parameters
    ----------
    graph
        Of the cells (:func:`scrae.clusters.graph.neighbour_graph`).
    embedding
        In which clusters look for their neighbours, float (n_cells, n_dimensions).
    coordinates
        In which it is judged how far apart they lie, float (n_cells, n_components)
        (:func:`scrae.clusters.separation.separation`).
    random_state
        Seed of the communities and of the halves of the cells.
    """
    community = communities(graph, COMMUNITIES, random_state, TRIES)
    of_each = [np.flatnonzero(community == name) for name in np.unique(community)]
    parts: list[list[np.ndarray]] = []
    for cells in of_each:
        part = communities(graph[cells][:, cells], PARTS, random_state)
        parts.append([cells[part == name] for name in np.unique(part)])
    growing = _Growing([cells for of_one in parts for cells in of_one], embedding, coordinates, random_state)
    roots, first = [], 0
    for of_one in parts:
        roots.append(growing.joined(range(first, first + len(of_one)), 1 / WITHIN))
        first += len(of_one)
    growing.joined(roots, 1.0)
    return growing.tree()


class _Growing:
    """A tree in the making: nodes, their cells, and what was joined."""

    def __init__(
        self, leaves: list[np.ndarray], embedding: np.ndarray, coordinates: np.ndarray, random_state: int
    ) -> None:
        self.cells = leaves
        self.n_leaves, self.n_cells = len(leaves), len(embedding)
        self.embedding, self.coordinates, self.random_state = embedding, coordinates, random_state
        self.children: list[tuple[int, int]] = []
        self.separations: list[float] = []
        self.heights = [0.0] * len(leaves)

    def joined(self, nodes: Iterable[int], scale: float) -> int:
        """Join nodes until one is left, and give it; separations times ``scale`` are their heights."""
        centres = {node: self.embedding[self.cells[node]].mean(0) for node in nodes}
        known: dict[tuple[int, int], float] = {}
        while len(centres) > 1:
            near = _neighbours(centres)
            for one, other in near - known.keys():
                groups = self.coordinates[self.cells[one]], self.coordinates[self.cells[other]]
                known[one, other] = separation(*groups, self.random_state)
            pair = min(near, key=lambda pair: (known[pair], pair))
            node = len(self.cells)
            self.cells.append(np.sort(np.concatenate([self.cells[child] for child in pair])))
            self.children.append(pair)
            self.separations.append(known[pair])
            self.heights.append(max(scale * known[pair], *(self.heights[child] for child in pair)))
            for child in pair:
                del centres[child]
            centres[node] = self.embedding[self.cells[node]].mean(0)
        (root,) = centres
        return root

    def tree(self) -> ClusterTree:
        """What has been joined."""
        leaf = np.empty(self.n_cells, dtype=int)
        for node in range(self.n_leaves):
            leaf[self.cells[node]] = node
        children = np.asarray(self.children, dtype=int).reshape(-1, 2)
        return ClusterTree(leaf, children, np.asarray(self.separations), np.asarray(self.heights[self.n_leaves :]))


def _neighbours(centres: dict[int, np.ndarray]) -> set[tuple[int, int]]:
    """Pairs of clusters of which one is among the nearest of the other, the smaller number first."""
    nodes = sorted(centres)
    places = np.stack([centres[node] for node in nodes])
    distance = ((places[:, None] - places[None]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    near = np.argsort(distance, axis=1, kind="stable")[:, : min(CANDIDATES, len(nodes) - 1)]
    return {(min(node, nodes[i]), max(node, nodes[i])) for node, row in zip(nodes, near, strict=True) for i in row}
