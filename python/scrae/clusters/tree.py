"""The tree of clusters: communities that fall into parts, and are joined, the two that lie least apart first.

Where two groups are told apart by what tells others apart as well, they are joined before types are
(:mod:`scrae.clusters.crossed_factors`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from scrae.clusters.crossed_factors import crossed_pairs
from scrae.clusters.graph import communities
from scrae.clusters.separation import separation

LEVELS = {"broad": 1.6, "default": 1.25, "fine": 1.1}
"""By name, the separation from which on two groups of cells are two clusters."""
COMMUNITIES, PARTS = 0.6, 1.0  # resolution of the communities, and of the parts of one
WITHIN = 1.5  # times as far apart have parts of one community to lie, since the graph does not part them
TRIES = 5  # of which the best communities are taken
CANDIDATES = 3  # nearest clusters, by their centres, that a cluster can be joined with
CROSSED = LEVELS["default"] - 1e-6  # height of two groups that a crossed factor parts: below the default, above "fine"


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
        Where the tree can be cut, float (n_leaves - 1,): the same, over :data:`WITHIN` for parts of one community,
        :data:`CROSSED` for what a crossed factor parts, and no node below its children.
    factors
        Number of the crossed factor that parts these two, int (n_leaves - 1,), from 1; 0: none does.
    communities
        Community of the graph that each cell lies in, int (n_cells,).
    rare
        Leaves that are rare types, which their genes and no graph set apart (:mod:`scrae.clusters.rare_types`).
    """

    leaf: np.ndarray
    children: np.ndarray
    separations: np.ndarray
    heights: np.ndarray
    factors: np.ndarray
    communities: np.ndarray
    rare: frozenset[int] = frozenset()

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


def grow(
    graph: sp.csr_array,
    embedding: np.ndarray,
    coordinates: np.ndarray,
    random_state: int = 0,
    expression: sp.csr_array | None = None,
) -> ClusterTree:
    """Find communities, and the parts of each, and join them until one cluster is left.

    The two groups of the least height are joined first. If the clusters of the default level are crossed with a factor,
    its levels are joined next, and what is above them is joined anew.

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
    expression
        Of the genes as they are, (n_cells, n_genes), in which a factor has to be seen as well; None: it need not.
    """
    spaces: list[np.ndarray | sp.csr_array] = [coordinates] if expression is None else [coordinates, expression]
    community = communities(graph, COMMUNITIES, random_state, TRIES)
    leaves, communities_of_leaves = [], []
    for name in np.unique(community):
        cells = np.flatnonzero(community == name)
        part = communities(graph[cells][:, cells], PARTS, random_state)
        leaves += [cells[part == of_part] for of_part in np.unique(part)]
        communities_of_leaves += [int(name)] * (int(part.max()) + 1)
    growing = _Growing(leaves, communities_of_leaves, embedding, coordinates, random_state)
    growing.joined(range(len(leaves)))
    tree = growing.tree()
    nodes = tree.nodes(LEVELS["default"])
    pairs = crossed_pairs(spaces, tree.clusters(nodes))
    if not pairs:
        return tree
    growing, nodes = growing.up_to(nodes)
    factor = 0
    while pairs:
        factor += 1
        nodes = growing.joined_by_pairs(nodes, pairs, factor)
        pairs = crossed_pairs(spaces, growing.clusters(nodes))
    growing.joined(nodes)
    return growing.tree()


class _Growing:
    """A tree in the making: nodes, their cells, and what was joined."""

    def __init__(
        self,
        leaves: list[np.ndarray],
        communities_of_leaves: Sequence[int | None],
        embedding: np.ndarray,
        coordinates: np.ndarray,
        random_state: int,
    ) -> None:
        self.cells = list(leaves)
        self.community = list(communities_of_leaves)  # None: of several
        self.n_leaves, self.n_cells = len(leaves), len(embedding)
        self.embedding, self.coordinates, self.random_state = embedding, coordinates, random_state
        self.children: list[tuple[int, int]] = []
        self.separations: list[float] = []
        self.factors: list[int] = []
        self.heights = [0.0] * len(leaves)

    def joined(self, nodes: Iterable[int]) -> int:
        """Join nodes until one is left, and give it."""
        centres = {node: self.embedding[self.cells[node]].mean(0) for node in nodes}
        known: dict[tuple[int, int], tuple[float, float]] = {}
        while len(centres) > 1:
            near = _neighbours(centres)
            for pair in near - known.keys():
                known[pair] = self.judged(pair)
            pair = min(near, key=lambda pair: (known[pair][1], pair))
            node = self.join(pair, *known[pair])
            for child in pair:
                del centres[child]
            centres[node] = self.embedding[self.cells[node]].mean(0)
        (root,) = centres
        return root

    def joined_by_pairs(self, nodes: Sequence[int], pairs: Sequence[tuple[int, int]], factor: int) -> list[int]:
        """Join those of the nodes that a factor parts (positions in their list), and give what there is then."""
        joined = [(nodes[one], nodes[other]) for one, other in pairs]
        gone = {node for pair in joined for node in pair}
        return [node for node in nodes if node not in gone] + [
            self.join(pair, self.separation(*pair), CROSSED, factor) for pair in joined
        ]

    def join(self, pair: tuple[int, int], separation: float, height: float, factor: int = 0) -> int:
        """Make a node of two others."""
        one, other = (self.community[child] for child in pair)
        self.cells.append(np.sort(np.concatenate([self.cells[child] for child in pair])))
        self.community.append(one if one == other else None)
        self.children.append(pair)
        self.separations.append(separation)
        self.heights.append(max(height, *(self.heights[child] for child in pair)))
        self.factors.append(factor)
        return len(self.cells) - 1

    def judged(self, pair: tuple[int, int]) -> tuple[float, float]:
        """How far apart two nodes lie, and their height."""
        apart = self.separation(*pair)
        one, other = (self.community[node] for node in pair)
        return apart, apart / WITHIN if one is not None and one == other else apart

    def separation(self, one: int, other: int) -> float:
        """How far apart two nodes lie."""
        return separation(self.coordinates[self.cells[one]], self.coordinates[self.cells[other]], self.random_state)

    def clusters(self, nodes: Iterable[int]) -> np.ndarray:
        """Which of the nodes each cell belongs to, int (n_cells,)."""
        found = np.empty(self.n_cells, dtype=int)
        for cluster, node in enumerate(nodes):
            found[self.cells[node]] = cluster
        return found

    def up_to(self, nodes: Sequence[int]) -> tuple[_Growing, list[int]]:
        """A tree that has been joined up to these nodes only, and what they are called in it."""
        leaves, of_leaves = self.cells[: self.n_leaves], self.community[: self.n_leaves]
        again = _Growing(leaves, of_leaves, self.embedding, self.coordinates, self.random_state)
        below, waiting = set(nodes), list(nodes)
        while waiting:
            node = waiting.pop()
            if node >= self.n_leaves:
                children = self.children[node - self.n_leaves]
                below |= set(children)
                waiting.extend(children)
        named = {leaf: leaf for leaf in range(self.n_leaves)}
        for node in sorted(below - named.keys()):
            i = node - self.n_leaves
            one, other = (named[child] for child in self.children[i])
            named[node] = again.join((one, other), self.separations[i], self.heights[node])
        return again, [named[node] for node in nodes]

    def tree(self) -> ClusterTree:
        """What has been joined."""
        leaf = self.clusters(range(self.n_leaves))
        children = np.asarray(self.children, dtype=int).reshape(-1, 2)
        heights = np.asarray(self.heights[self.n_leaves :])
        community = np.asarray(self.community[: self.n_leaves], dtype=int)[leaf]
        factors = np.asarray(self.factors, dtype=int)
        return ClusterTree(leaf, children, np.asarray(self.separations), heights, factors, community)


def _neighbours(centres: dict[int, np.ndarray]) -> set[tuple[int, int]]:
    """Pairs of clusters of which one is among the nearest of the other, the smaller number first."""
    nodes = sorted(centres)
    places = np.stack([centres[node] for node in nodes])
    distance = ((places[:, None] - places[None]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    near = np.argsort(distance, axis=1, kind="stable")[:, : min(CANDIDATES, len(nodes) - 1)]
    return {(min(node, nodes[i]), max(node, nodes[i])) for node, row in zip(nodes, near, strict=True) for i in row}
