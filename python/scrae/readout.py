"""From the encoder to the embedding: learned features beside linear ones, moved towards what surrounds them.

Codes follow curves that a count model finds and a linear one does not, and the hidden layer that they are taken from
keeps what ten of them have no room for; principal components of the scaled genes give each gene the same weight, which
a likelihood of counts does not. Joined, and smoothed over the neighbour graph, they cluster better than any of them
(docs/TRIED.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import LinearOperator, svds
from torch import Tensor, nn

from scrae import mapped
from scrae.data import CountData, Covariates, Minibatch, SparseRows
from scrae.integration import without_covariates
from scrae.neighbours import nearest
from scrae.transforms import CountTransform

LANDMARKS = 5000  # cells that carry the neighbour graph, at most
NEIGHBOURS = 15
STEPS = 30  # of the random walk
BLOCK = 1024  # cells in hand at once
CONSTANT = 1e-6  # standard deviation below which a feature does not vary
AVERAGED = 6  # landmarks around a cell with which it moves


class Readout(nn.Module):
    """The first principal axes of y, as many as there are codes.

        x    = [(z - mean(z)) / sd(z), (h - mean(h)) / sd(h), (s - mean(s)) V]
        y(x) = x + mean over the nearest landmarks l of [u_l - x_l + weight * (P^t u)_l]
        e(y) = (y - mean(y)) U

    z are codes, h the encoder's last hidden layer, s the scaled genes. Over the training cells the learned part and the
    linear part of x have mean square norm 1 each, and z and h the same share of it. u are the landmarks' x without
    what batches and other covariates add to them (:mod:`scrae.integration`), and x where there are none. P is the
    random walk on the symmetric neighbour graph of u (every landmark its own neighbour, too), V holds the principal
    axes of s of all training cells, U those of the landmarks' y. New cells need no batch: they move as the landmarks
    around them do.

    Parameters
    ----------
    widths
        Dimensions of each block of learned features; those of the first, the codes z, are those of the embedding.
    n_genes
        Number of modelled genes.
    n_pcs
        Principal components of the scaled genes s; 0: learned features alone.
    weight
        Of the smoothed part; 0: none.
    """

    share: Tensor
    feature_mean: Tensor
    feature_factor: Tensor
    loadings: Tensor
    offset: Tensor
    landmarks: Tensor
    shift: Tensor
    centre: Tensor
    axes: Tensor

    def __init__(self, widths: Sequence[int], n_genes: int, n_pcs: int, weight: float) -> None:
        super().__init__()
        self.n_pcs = min(n_pcs, n_genes - 1)
        self.weight = weight
        n_features = sum(widths)
        n_dimensions = n_features + self.n_pcs
        self.scaled = CountTransform("scaled", n_genes)
        shares = torch.cat([torch.full((width,), 1 / (len(widths) * width)) for width in widths])
        self.register_buffer("share", shares, persistent=False)  # of the mean square norm, each feature's
        self.register_buffer("feature_mean", torch.zeros(n_features))
        self.register_buffer("feature_factor", torch.ones(n_features))
        self.register_buffer("loadings", torch.zeros(n_genes, self.n_pcs))
        self.register_buffer("offset", torch.zeros(self.n_pcs))
        self.register_buffer("landmarks", torch.zeros(0, n_dimensions))
        self.register_buffer("shift", torch.zeros(0, n_dimensions))
        self.register_buffer("centre", torch.zeros(n_dimensions))
        self.register_buffer("axes", torch.eye(n_dimensions, widths[0]))

    def fit_components(self, counts: sp.csr_array) -> None:
        """Take the linear part from the training counts."""
        if self.n_pcs == 0:
            return
        self.scaled.fit(counts)
        n_cells, n_genes = counts.shape
        background = (-self.scaled.gene_mean / self.scaled.gene_sd).double().numpy()
        mean = np.zeros(n_genes)

        def excess_of(block: sp.csr_array) -> np.ndarray:
            # Centring takes out what stands in a column where nothing is stored: only the entries' excess is left.
            cells = CountData(block, Covariates.none(block.shape[0]), torch.device("cpu"))
            entries = self.scaled(cells.minibatch(torch.arange(cells.n_cells)).counts)
            assert entries.background is not None
            excess: np.ndarray = (entries.values - entries.background[entries.column]).numpy().astype(np.float64)
            np.add.at(mean, block.indices, excess * (1.0 / n_cells))
            return excess

        excess = sp.csr_array((mapped.entries(counts, excess_of), counts.indices, counts.indptr), shape=counts.shape)
        centred = LinearOperator(
            shape=excess.shape,
            matvec=lambda v: excess @ v.ravel() - mean @ v.ravel(),
            rmatvec=lambda u: excess.T @ u.ravel() - mean * u.sum(),
            dtype=np.float64,
        )
        start = np.random.default_rng(0).normal(size=min(excess.shape))  # a constant is what centring takes out
        n_found = min(self.n_pcs, n_cells - 1)  # more there are not: their loadings stay 0
        _, size, right = svds(centred, k=n_found, v0=start)
        order = np.argsort(-size)
        right, size = right[order], size[order]
        right *= np.sign(right[np.arange(len(right)), np.abs(right).argmax(1)])[:, None]
        right *= np.sqrt(n_cells) / np.sqrt((size**2).sum())
        self.loadings[:, :n_found] = torch.as_tensor(right.T)
        self.offset[:n_found] = torch.as_tensor((background + mean) @ right.T)

    def fit(
        self, data: CountData, landmarks: Tensor, features: Callable[[Minibatch], Tensor], random_state: int = 0
    ) -> None:
        """Take from the trained encoder what the embedding needs.

        Parameters
        ----------
        data
            The training cells.
        landmarks
            Positions of those that carry the neighbour graph, int64 (n_landmarks,).
        features
            The learned blocks of a minibatch side by side, (n_cells, sum of their widths).
        random_state
            Seed of the correction for covariates.
        """
        with torch.no_grad():
            minibatches = list(data.in_order(BLOCK, landmarks))
            learned = [features(minibatch) for minibatch in minibatches]
            every = torch.cat(learned)
            sd = every.std(0)
            self.feature_mean.copy_(every.mean(0))
            # A feature that is the same in all landmarks says nothing, and must not blow up in a new cell.
            self.feature_factor.copy_(torch.where(sd > CONSTANT, self.share.sqrt() / sd, 0.0))
            parts = zip(learned, minibatches, strict=True)
            coordinates = torch.cat([self.coordinates(part, minibatch.counts) for part, minibatch in parts])
            self._fit_shift(coordinates, data.covariates(landmarks), random_state)
            self._fit_axes(self.shifted(coordinates))

    def _fit_shift(self, coordinates: Tensor, covariates: Covariates, random_state: int) -> None:
        """Where the landmarks with these coordinates (n_landmarks, n_dimensions) and covariates move."""
        x = coordinates.double().cpu().numpy()
        corrected = without_covariates(x, covariates, random_state)
        shift = corrected - x
        if self.weight:
            shift += self.weight * self._walked(corrected)
        if shift.any():
            self.landmarks = coordinates.clone()
            self.shift = torch.as_tensor(shift, dtype=coordinates.dtype, device=coordinates.device)

    @staticmethod
    def _walked(coordinates: np.ndarray) -> np.ndarray:
        """P^t u."""
        n = len(coordinates)
        points = torch.as_tensor(coordinates)
        near = nearest(points, points, min(NEIGHBOURS, max(2, n // 5), n - 1) + 1).numpy()
        graph = sp.csr_array(
            (np.ones(near.size), near.ravel(), np.arange(0, near.size + 1, near.shape[1])), shape=(n, n)
        )
        graph = graph + graph.T + sp.eye_array(n)
        graph.data[:] = 1.0
        walk = sp.diags_array(1.0 / graph.sum(1)) @ graph
        for _ in range(STEPS):
            coordinates = walk @ coordinates
        return coordinates

    def _fit_axes(self, shifted: Tensor) -> None:
        """Principal axes of the landmarks' y (n_landmarks, n_dimensions), signs so that the largest entry is positive.

        In double precision, since an eigenvector turns where two eigenvalues are close.
        """
        values = shifted.double().cpu().numpy()
        mean = values.mean(0)
        _, axes = np.linalg.eigh((values - mean).T @ (values - mean))
        axes = axes[:, ::-1][:, : self.axes.shape[1]]
        axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
        self.centre.copy_(torch.as_tensor(mean))
        self.axes.copy_(torch.as_tensor(axes))

    def coordinates(self, features: Tensor, counts: SparseRows) -> Tensor:
        """x, (n_cells, n_dimensions)."""
        parts = [(features - self.feature_mean) * self.feature_factor]
        if self.n_pcs:
            parts.append(self.scaled(counts).dense() @ self.loadings - self.offset)
        return torch.cat(parts, 1)

    def shifted(self, coordinates: Tensor) -> Tensor:
        """y(x), (n_cells, n_dimensions)."""
        if not len(self.landmarks):
            return coordinates
        near = nearest(coordinates, self.landmarks, min(AVERAGED, len(self.landmarks)))
        return coordinates + self.shift[near].mean(1)

    def forward(self, features: Tensor, counts: SparseRows) -> Tensor:
        """The embedding, (n_cells, n_latent)."""
        return (self.shifted(self.coordinates(features, counts)) - self.centre) @ self.axes

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in ("landmarks", "shift"):  # their number follows from the training cells
            if prefix + name in state:
                setattr(self, name, torch.empty_like(state[prefix + name], device=self.feature_mean.device))
        super()._load_from_state_dict(state, prefix, *rest)
