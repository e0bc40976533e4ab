"""Two masked views of the same cells: their codes agree within a cell and differ between cells."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize


def contrastive_loss(codes: Tensor, other_codes: Tensor, group: Tensor, temperature: float) -> Tensor:
    """Symmetric InfoNCE with cosine similarity (van den Oord et al. 2018; NT-Xent in Chen et al. 2020).

        s_ij = cos(z_i, z'_j) / temperature
        L    = -1/2 mean_i [ log softmax_j(s_ij) + log softmax_j(s_ji) ] at j = i

    A cell is told from those of its own group only: its batch (:func:`scrae.autoencoder.partners.partner_groups`). What
    tells batches apart does not lower the loss, so it has no reason to enter the codes.

    Parameters
    ----------
    codes, other_codes
        z and z', codes of the two views, (n_cells, n_latent).
    group
        Group of each cell, int64 (n_cells,).
    temperature
        Small values look at the nearest other cells, large ones at all of them alike.

    Returns
    -------
    Scalar in nats, 0 or more; log(n_cells) where the codes tell nothing and there is one group.
    """
    similarity = normalize(codes) @ normalize(other_codes).T / temperature
    similarity = similarity.masked_fill(group[:, None] != group, -math.inf)
    found = torch.diagonal(log_softmax(similarity, dim=1)) + torch.diagonal(log_softmax(similarity, dim=0))
    return -found.mean() / 2
