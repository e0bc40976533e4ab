"""From codes to the embedding: codes beside linear components, moved towards what surrounds them.

Codes follow curves that a count model finds and a linear one does not; principal components of the scaled genes give
each gene the same weight, which a likelihood of counts does not. Joined, and smoothed over the neighbour graph, they
cluster better than either (benchmarks/LOG.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import LinearOperator, svds
from torch import Tensor, nn

from scrae.data import CountData, Covariates, Minibatch, SparseRows
from scrae.neighbours import nearest
from scrae.transforms import CountTransform

LANDMARKS = 5000  # cells that carry the neighbour graph, at most
NEIGHBOURS = 15
STEPS = 30  # of the random walk
BLOCK = 1024  # cells in hand at once
AVERAGED = 6  # landmarks around a cell whose smoothed coordinates it is given


class Readout(nn.Module):
    """e(x) = x + weight * mean over the nearest landmarks l of (P^t x)_l, x = [z / sd(z), (s - mean(s)) V] scaled.

    Both blocks of x have mean square norm 1 over the training cells. P is the random walk on the landmarks' symmetric
    neighbour graph (every landmark its own neighbour, too).

    Parameters
    ----------
    n_latent
        Dimensions of the codes z.
    n_genes
        Number of modelled genes.
    n_components
        Principal components of the scaled genes s; 0: codes alone.
    weight
        Of the smoothed part; 0: none.
    """

    code_mean: Tensor
    code_scale: Tensor
    loadings: Tensor
    offset: Tensor
    landmarks: Tensor
    smoothed: Tensor

    def __init__(self, n_latent: int, n_genes: int, n_components: int, weight: float) -> None:
        super().__init__()
        self.n_components = min(n_components, n_genes - 1)
        self.weight = weight
        n_dimensions = n_latent + self.n_components
        self.scaled = CountTransform("scaled", n_genes)
        self.register_buffer("code_mean", torch.zeros(n_latent))
        self.register_buffer("code_scale", torch.ones(n_latent))
        self.register_buffer("loadings", torch.zeros(n_genes, self.n_components))
        self.register_buffer("offset", torch.zeros(self.n_components))
        self.register_buffer("landmarks", torch.zeros(0, n_dimensions))
        self.register_buffer("smoothed", torch.zeros(0, n_dimensions))

    def fit_components(self, counts: sp.csr_array) -> None:
        """Take the linear part from the training counts."""
        if self.n_components == 0:
            return
        self.scaled.fit(counts)
        cells = CountData(counts, Covariates.none(counts.shape[0]), torch.device("cpu"))
        entries = self.scaled(cells.minibatch(torch.arange(cells.n_cells)).counts)
        background = entries.background
        assert background is not None
        # Centring takes out what stands in a column where nothing is stored: only the entries' excess over it is left.
        excess = sp.csr_array(
            ((entries.values - background[entries.column]).numpy().astype(np.float64), counts.indices, counts.indptr),
            shape=counts.shape,
        )
        mean = excess.mean(0)
        centred = LinearOperator(
            shape=excess.shape,
            matvec=lambda v: excess @ v.ravel() - mean @ v.ravel(),
            rmatvec=lambda u: excess.T @ u.ravel() - mean * u.sum(),
            dtype=np.float64,
        )
        start = np.random.default_rng(0).normal(size=min(excess.shape))  # a constant is what centring takes out
        n_found = min(self.n_components, cells.n_cells - 1)  # more there are not: their loadings stay 0
        _, size, right = svds(centred, k=n_found, v0=start)
        order = np.argsort(-size)
        right, size = right[order], size[order]
        right *= np.sign(right[np.arange(len(right)), np.abs(right).argmax(1)])[:, None]
        right *= np.sqrt(cells.n_cells) / np.sqrt((size**2).sum())
        self.loadings[:, :n_found] = torch.as_tensor(right.T)
        self.offset[:n_found] = torch.as_tensor((background.double().numpy() + mean) @ right.T)

    def fit(self, data: CountData, landmarks: Tensor, encode: Callable[[Minibatch], Tensor]) -> None:
        """Take from the trained codes what the embedding needs.

        Parameters
        ----------
        data
            The training cells.
        landmarks
            Positions of those that carry the neighbour graph, int64 (n_landmarks,).
        encode
            Codes of a minibatch.
        """
        with torch.no_grad():
            minibatches = list(data.in_order(BLOCK, landmarks))
            codes = [encode(minibatch) for minibatch in minibatches]
            every = torch.cat(codes)
            self.code_mean.copy_(every.mean(0))
            self.code_scale.copy_(every.std(0).clamp_min(1e-6) * every.shape[1] ** 0.5)
            if not self.weight:
                return
            parts = zip(codes, minibatches, strict=True)
            self._fit_graph(torch.cat([self.coordinates(z, minibatch.counts) for z, minibatch in parts]))

    def _fit_graph(self, coordinates: Tensor) -> None:
        """Walk on the neighbour graph of the landmarks' coordinates (n_landmarks, n_dimensions)."""
        n_neighbours = min(NEIGHBOURS, max(2, len(coordinates) // 5))
        near = nearest(coordinates, coordinates, n_neighbours + 1).cpu().numpy()
        n = len(near)
        graph = sp.csr_array(
            (np.ones(near.size), near.ravel(), np.arange(0, near.size + 1, near.shape[1])), shape=(n, n)
        )
        graph = graph + graph.T + sp.eye_array(n)
        graph.data[:] = 1.0
        walk = sp.diags_array(1.0 / graph.sum(1)) @ graph
        smoothed = coordinates.double().cpu().numpy()
        for _ in range(STEPS):
            smoothed = walk @ smoothed
        self.landmarks = coordinates.clone()
        self.smoothed = torch.as_tensor(smoothed, dtype=coordinates.dtype, device=coordinates.device)

    def coordinates(self, codes: Tensor, counts: SparseRows) -> Tensor:
        """x, (n_cells, n_latent + n_components)."""
        parts = [(codes - self.code_mean) / self.code_scale]
        if self.n_components:
            parts.append(self.scaled(counts).dense() @ self.loadings - self.offset)
        return torch.cat(parts, 1)

    def forward(self, codes: Tensor, counts: SparseRows) -> Tensor:
        """The embedding, (n_cells, n_latent + n_components)."""
        x = self.coordinates(codes, counts)
        if not len(self.landmarks):
            return x
        near = nearest(x, self.landmarks, min(AVERAGED, len(self.landmarks)))
        return x + self.weight * self.smoothed[near].mean(1)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in ("landmarks", "smoothed"):  # their number follows from the training cells
            if prefix + name in state:
                setattr(self, name, torch.empty_like(state[prefix + name], device=self.code_mean.device))
        super()._load_from_state_dict(state, prefix, *rest)
