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


def nt_xent(codes: Tensor, other_codes: Tensor, group: Tensor, temperature: float) -> Tensor:
    """NT-Xent (Chen et al. 2020): the same, where a cell is told from the other cells of its own view as well.

        L = mean_i [ logsumexp_{j != i}(s_ij) - s_ii' ]

    over all 2 n views i of n cells, where i' is the other view of the same cell.

    Parameters
    ----------
    codes, other_codes, group, temperature
        As for :func:`contrastive_loss`.

    Returns
    -------
    Scalar in nats, 0 or more; log(2 n_cells - 1) where the codes tell nothing and there is one group.
    """
    views, groups = normalize(torch.cat([codes, other_codes])), group.repeat(2)
    similarity = views @ views.T / temperature
    similarity = similarity.masked_fill(groups[:, None] != groups, -math.inf).fill_diagonal_(-math.inf)
    own = torch.arange(len(views), device=views.device)
    return -log_softmax(similarity, dim=1)[own, own.roll(len(codes))].mean()
