"""The graph of shared neighbours, and its communities."""

from __future__ import annotations

import random

import igraph
import numpy as np
import scipy.sparse as sp
import torch

from scrae.clusters.overlap import shared_neighbours
from scrae.compute.garbage import without_garbage_collection
from scrae.compute.neighbours import nearest
from scrae.compute.turns import one_at_a_time

NEIGHBOURS = 20  # of a cell, itself among them


def neighbour_graph(embedding: np.ndarray) -> sp.csr_array:
    """Weights between cells by the 20 nearest neighbours of each, float64 (n_cells, n_cells).

    Parameters
    ----------
    embedding
        float (n_cells, n_dimensions).
    """
    points = torch.as_tensor(np.ascontiguousarray(embedding, dtype=np.float32))
    return shared_neighbours(nearest(points, points, min(NEIGHBOURS, len(points))).numpy())


def communities(graph: sp.csr_array, resolution: float, random_state: int, n_tries: int = 1) -> np.ndarray:
    """Communities by modularity (Leiden; Traag et al. 2019), int (n_cells,): the best of some tries.

    Parameters
    ----------
    graph
        Symmetric weights, (n_cells, n_cells).
    resolution
        Above 0; the larger, the more communities.
    random_state
        Seed of the first try; the others follow it.
    n_tries
        How often to begin anew.
    """
    upper = sp.triu(graph, 1).tocoo()
    edges = np.column_stack([upper.row, upper.col])
    best, best_quality = np.zeros(graph.shape[0], dtype=int), -np.inf
    with one_at_a_time():  # igraph has one source of random numbers
        with without_garbage_collection():  # igraph makes a list of each edge, and the collector goes through them all
            known = igraph.Graph(n=graph.shape[0], edges=edges, edge_attrs={"weight": upper.data})
        for attempt in range(n_tries):
            igraph.set_random_number_generator(random.Random(random_state + attempt))
            try:
                found = known.community_leiden("modularity", weights="weight", resolution=resolution, n_iterations=-1)
            finally:
                igraph.set_random_number_generator(random)
            quality = known.modularity(found.membership, weights="weight", resolution=resolution)
            if quality > best_quality:
                best, best_quality = np.asarray(found.membership), quality
    return best
