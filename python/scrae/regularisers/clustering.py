"""Centroids among the codes: what the models that cluster while they train have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from scrae._errors import Refusal
from scrae.regularisers.base import Regulariser
from scrae.regularisers.centroids import kmeans, nearest_centroid
from scrae.regularisers.number_of_clusters import MOST_CLUSTERS, number_of_clusters


class ClusteredCodes(Regulariser):
    """An autoencoder is trained first; then k-means on its codes places centroids, which are trained with the codes.

    Training ends when fewer than ``tolerance`` of the cells have changed their cluster since the last look. Subclasses
    say how codes are drawn to the centroids: :meth:`penalties`, and :meth:`refresh` for what is held over an epoch.

    Parameters
    ----------
    n_latent
        Number of latent dimensions.
    n_clusters
        Number of clusters; None: estimated from the codes after pre-training, without labels
        (:func:`scrae.regularisers.number_of_clusters`).
    pretraining_epochs
        Epochs of the autoencoder alone.
    tolerance
        Share of cells, in [0, 1).
    check_every
        Epochs between two looks.
    """

    makes_clusters = True

    n_used: Tensor
    assigned: Tensor

    def __init__(
        self,
        n_latent: int,
        *,
        n_clusters: int | None = None,
        pretraining_epochs: int = 400,
        tolerance: float = 1e-3,
        check_every: int = 1,
    ) -> None:
        super().__init__(n_latent)
        if n_clusters is not None and n_clusters < 1:
            raise Refusal(
                f"n_clusters must be at least 1, or None to estimate it, not {n_clusters}",
                "below_least",
                name="n_clusters",
                least=1,
                value=n_clusters,
            )
        if pretraining_epochs < 0 or check_every < 1 or not 0 <= tolerance < 1:
            raise Refusal(
                "pretraining_epochs must not be negative, check_every at least 1 and tolerance in [0, 1), not "
                f"{pretraining_epochs}, {check_every} and {tolerance}",
                "clustering_options",
                pretraining_epochs=pretraining_epochs,
                check_every=check_every,
                tolerance=tolerance,
            )
        self.n_clusters = n_clusters
        self.pretraining_epochs = pretraining_epochs
        self.tolerance = tolerance
        self.check_every = check_every
        # As many rows as there may be clusters: shapes are known before the codes are, as a checkpoint needs.
        self.all_centroids = nn.Parameter(torch.zeros(n_clusters or MOST_CLUSTERS, n_latent))
        self.register_buffer("n_used", torch.zeros((), dtype=torch.int64))
        self._n_used: int | None = 0  # the same on the processor, which asks at each step; None: not known yet
        self.register_buffer("assigned", torch.zeros(0, dtype=torch.int32))

    @property
    def preparing(self) -> bool:
        return self.number == 0

    @property
    def number(self) -> int:
        """How many clusters there are; 0 before there are any."""
        if self._n_used is None:
            self._n_used = int(self.n_used)
        return self._n_used

    @property
    def centroids(self) -> Tensor:
        """mu, (n_clusters, n_latent)."""
        return self.all_centroids[: self.number]

    def penalty_parameters(self) -> list[nn.Parameter]:
        return [self.all_centroids]

    def clusters(self, codes: Tensor) -> Tensor:
        if self.preparing:
            raise Refusal(
                f"training ended before the {self.pretraining_epochs} epochs of pre-training had passed: there are no "
                "clusters yet; train for more epochs, or with a smaller pretraining_epochs",
                "no_clusters_yet",
                pretraining_epochs=self.pretraining_epochs,
            )
        return nearest_centroid(codes, self.centroids)

    def start_epoch(self, epoch: int, codes: Callable[[], tuple[Tensor, Tensor]]) -> bool:
        stage = epoch - self.pretraining_epochs
        if stage < 0:
            return False
        cells, z = codes()
        if self.preparing:
            self._n_used = self.n_clusters or number_of_clusters(z)
            self.n_used.fill_(self._n_used)
            with torch.no_grad():
                self.centroids.copy_(kmeans(z, self.number))
            self.assigned = self.clusters(z).int()
        elif stage % self.check_every == 0:
            before, self.assigned = self.assigned, self.clusters(z).int()
            if float((self.assigned != before).float().mean()) < self.tolerance:
                return True
        with torch.no_grad():
            self.refresh(cells, z)
        return False

    def refresh(self, cells: Tensor, codes: Tensor) -> None:
        """Compute what is held constant over the coming epoch.

        Parameters
        ----------
        cells
            Positions of the training cells among all cells, int64 (n_cells,).
        codes
            Their codes, (n_cells, n_latent).
        """

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        self._n_used = None
        # One entry per training cell: its length is not known before.
        if prefix + "assigned" in state:
            self.assigned = torch.empty_like(state[prefix + "assigned"], device=self.n_used.device)
        super()._load_from_state_dict(state, prefix, *rest)
