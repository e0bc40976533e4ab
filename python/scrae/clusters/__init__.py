"""Clusters without a number of clusters: communities of a neighbour graph, joined where nothing parts them.

The user's door is :func:`scrae.tl.cluster`; here are its steps, one to a file, which know arrays and no AnnData.
"""

from scrae.clusters.confidence import Agreement, agreement
from scrae.clusters.graph import neighbour_graph
from scrae.clusters.landmarks import Landmarks
from scrae.clusters.overlap import shared_neighbours
from scrae.clusters.rare_branches import with_rare_types
from scrae.clusters.rare_types import RareType, find_rare_types
from scrae.clusters.tree import LEVELS, ClusterTree, grow

__all__ = [
    "LEVELS",
    "Agreement",
    "ClusterTree",
    "Landmarks",
    "RareType",
    "agreement",
    "find_rare_types",
    "grow",
    "neighbour_graph",
    "shared_neighbours",
    "with_rare_types",
]
