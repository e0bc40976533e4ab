"""Where rare types stand in the tree: beside what most of their cells would else have belonged to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scrae.clusters.rare_types import RareType
from scrae.clusters.tree import LEVELS, ClusterTree


@dataclass(eq=False)
class _Node:
    """A node of a tree that is being changed: a leaf has no children."""

    children: list[_Node]
    parent: _Node | None = None
    separation: float = 0.0
    height: float = 0.0
    factor: int = 0
    leaf: int = -1


def with_rare_types(tree: ClusterTree, types: Sequence[RareType]) -> ClusterTree:
    """The tree with a leaf for each rare type, at the height of its separation; all else stays where it was.

    A rare type is hung beside the highest node around most of its cells that is joined at a lower height, so that
    every cut of the tree is nested in the next as before. A leaf that loses all its cells is left out. What is a
    cluster of the default level already (Jaccard index of a half) stays what it is.

    Parameters
    ----------
    tree
        Of all cells.
    types
        Without a cell in common (:func:`scrae.clusters.rare_types.find_rare_types`).
    """
    types = [one for one in types if not _is_a_cluster(tree, one.cells)]
    if not types:
        return tree
    leaf = tree.leaf.copy()
    leaves = [_Node([], leaf=i) for i in range(tree.n_leaves)]
    nodes = list(leaves)
    for i, pair in enumerate(tree.children):
        node = _Node([nodes[int(child)] for child in pair])
        node.separation, node.height, node.factor = tree.separations[i], tree.heights[i], int(tree.factors[i])
        for child in node.children:
            child.parent = node
        nodes.append(node)
    root = nodes[-1]
    for one in types:
        held = np.bincount(leaf[one.cells], minlength=len(leaves))
        leaf[one.cells] = len(leaves)
        left = np.bincount(leaf, minlength=len(leaves) + 1)
        if not left[: len(leaves)].any():
            return tree
        beside = leaves[int(held.argmax())]
        for i in map(int, np.flatnonzero(held)):
            if left[i] == 0:
                sibling, root = _without(leaves[i], root)
                beside = sibling if beside is leaves[i] else beside
        while beside.parent is not None and beside.parent.height < one.separation:
            beside = beside.parent
        rare = _Node([], leaf=len(leaves))
        leaves.append(rare)
        joined = _Node([beside, rare], beside.parent, one.separation, max(one.separation, beside.height))
        if beside.parent is None:
            root = joined
        else:
            beside.parent.children[beside.parent.children.index(beside)] = joined
        beside.parent = rare.parent = joined
    return _numbered(root, leaf, tree.communities, range(tree.n_leaves, len(leaves)))


def _is_a_cluster(tree: ClusterTree, cells: np.ndarray) -> bool:
    held = np.zeros(2 * tree.n_leaves - 1, dtype=int)
    held[: tree.n_leaves] = np.bincount(tree.leaf[cells], minlength=tree.n_leaves)
    joined_at = np.full(len(held), np.inf)
    for i, pair in enumerate(tree.children):
        held[tree.n_leaves + i] = held[pair].sum()
        joined_at[pair] = tree.heights[i]
    alike = held / (tree.sizes + len(cells) - held)
    return bool(((alike >= 0.5) & (joined_at >= LEVELS["default"])).any())


def _without(leaf: _Node, root: _Node) -> tuple[_Node, _Node]:
    """Take a leaf out, so that its sibling stands in their parent's place: the sibling, and the root from then on."""
    parent = leaf.parent
    assert parent is not None  # the caller sees to it that a leaf is left
    (sibling,) = [child for child in parent.children if child is not leaf]
    sibling.parent = parent.parent
    if parent.parent is None:
        return sibling, sibling
    parent.parent.children[parent.parent.children.index(parent)] = sibling
    return sibling, root


def _numbered(root: _Node, leaf: np.ndarray, communities: np.ndarray, rare: range) -> ClusterTree:
    """The tree as arrays: leaves in their order, then joins from the lowest on, children before parents."""
    waiting = [root]
    inner: list[_Node] = []
    ends: list[_Node] = []
    while waiting:
        node = waiting.pop()
        (inner if node.children else ends).append(node)
        waiting.extend(node.children)
    ends.sort(key=lambda node: node.leaf)
    inner.reverse()  # children before parents, which the sort below keeps where heights are equal
    inner.sort(key=lambda node: node.height)
    number = {id(node): i for i, node in enumerate([*ends, *inner])}
    of_leaf = np.full(max(node.leaf for node in ends) + 1, -1)
    of_leaf[[node.leaf for node in ends]] = np.arange(len(ends))
    return ClusterTree(
        of_leaf[leaf],
        np.array([[number[id(child)] for child in node.children] for node in inner], dtype=int).reshape(-1, 2),
        np.asarray([node.separation for node in inner], dtype=float),
        np.asarray([node.height for node in inner], dtype=float),
        np.asarray([node.factor for node in inner], dtype=int),
        communities,
        frozenset(int(of_leaf[i]) for i in rare),
    )
