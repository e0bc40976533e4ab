"""How many clusters the codes have, for models that must know before they cluster: Leiden, no labels."""

from __future__ import annotations

import torch
from torch import Tensor

from scrae.compute.neighbours import nearest

MOST_CLUSTERS = 50  # that are looked for
MOST_CELLS = 5000  # a sample of so many shows the communities that a model could learn
NEIGHBOURS = 15
RESOLUTION = 1.0
SMALLEST_CLUSTER = 5  # cells; what is smaller is taken for outliers


def number_of_clusters(codes: Tensor) -> int:
    """Number of Leiden communities of the graph of nearest neighbours, at least 1, at most :data:`MOST_CLUSTERS`.

    15 neighbours and resolution 1, the defaults that scanpy's users see (Traag et al. 2019; scDeepCluster's authors
    recommend a community detection on the pre-trained codes, too). Draws from torch's random state.

    Parameters
    ----------
    codes
        (n_cells, n_latent).
    """
    import igraph
    import leidenalg

    sample = codes[torch.randperm(len(codes))[:MOST_CELLS].to(codes.device)]
    n = len(sample)
    near = nearest(sample, sample, min(NEIGHBOURS + 1, n)).cpu()
    pairs = torch.stack([torch.arange(n).repeat_interleave(near.shape[1]), near.flatten()], 1).sort(1).values
    pairs = torch.unique(pairs[pairs[:, 0] < pairs[:, 1]], dim=0)
    communities = leidenalg.find_partition(
        igraph.Graph(n, pairs.tolist()),
        leidenalg.RBConfigurationVertexPartition,
        resolution_parameter=RESOLUTION,
        n_iterations=2,
        seed=int(torch.randint(2**31 - 1, ())),
    )
    found = sum(int(size) >= SMALLEST_CLUSTER for size in communities.sizes())
    return max(1, min(found, MOST_CLUSTERS))
