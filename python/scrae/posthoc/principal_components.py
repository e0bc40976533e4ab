"""The linear part of the embedding: principal components of the scaled genes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import LinearOperator, eigsh, svds
from torch import Tensor

from scrae.data import on_disk
from scrae.data.covariates import Covariates
from scrae.data.index_types import rows_of_arrays
from scrae.data.minibatches import CountData
from scrae.data.sparse import SparseRows
from scrae.data.transforms import CountTransform

MANY = 2**17  # cells: from there on a number for each cell and component would be what takes most memory


@dataclass(frozen=True)
class PrincipalComponents:
    """(s - mean(s)) V of the scaled genes s, scaled so that the training cells have mean square norm 1.

    Attributes
    ----------
    scaled
        The transform that gives s.
    loadings
        V, float32 (n_genes, n_pcs).
    offset
        mean(s) V, float32 (n_pcs,).
    """

    scaled: CountTransform
    loadings: Tensor
    offset: Tensor

    @classmethod
    def fit(cls, counts: sp.csr_array, n_pcs: int) -> PrincipalComponents:
        """From the training counts; components beyond the rank that so many cells and genes can have are 0."""
        n_cells, n_genes = counts.shape
        scaled = CountTransform("scaled", n_genes).fit(counts)
        background = (-scaled.gene_mean / scaled.gene_sd).double().numpy()
        mean = np.zeros(n_genes)

        def excess_of(block: sp.csr_array) -> np.ndarray:
            # Centring takes out what stands in a column where nothing is stored: only the entries' excess is left.
            cells = CountData(block, Covariates.none(block.shape[0]), torch.device("cpu"))
            entries = scaled(cells.minibatch(torch.arange(cells.n_cells)).counts)
            assert entries.background is not None
            excess: np.ndarray = (entries.values - entries.background[entries.column]).numpy().astype(np.float64)
            np.add.at(mean, block.indices, excess * (1.0 / n_cells))
            return excess

        excess = rows_of_arrays(on_disk.entries(counts, excess_of), counts.indices, counts.indptr, counts.shape)
        centred = LinearOperator(
            shape=excess.shape,
            matvec=lambda v: excess @ v.ravel() - mean @ v.ravel(),
            rmatvec=lambda u: excess.T @ u.ravel() - mean * u.sum(),
            dtype=np.float64,
        )
        start = np.random.default_rng(0).normal(size=min(excess.shape))  # a constant is what centring takes out
        n_pcs = min(n_pcs, n_genes - 1)
        n_found = min(n_pcs, n_cells - 1)
        size, right = _singular(centred, n_found, start)
        order = np.argsort(-size)
        right, size = right[order], size[order]
        right *= np.sign(right[np.arange(len(right)), np.abs(right).argmax(1)])[:, None]
        right *= np.sqrt(n_cells) / np.sqrt((size**2).sum())
        loadings, offset = torch.zeros(n_genes, n_pcs), torch.zeros(n_pcs)
        loadings[:, :n_found] = torch.as_tensor(right.T)
        offset[:n_found] = torch.as_tensor((background + mean) @ right.T)
        return cls(scaled, loadings, offset)

    def __call__(self, counts: SparseRows) -> Tensor:
        """Components of cells, (n_cells, n_pcs), from their counts (n_cells, n_genes)."""
        scaled: SparseRows = self.scaled(counts)
        return scaled.dense() @ self.loadings - self.offset

    def to(self, device: torch.device) -> PrincipalComponents:
        """The same on another device; the transform moves along."""
        return PrincipalComponents(self.scaled.to(device), self.loadings.to(device), self.offset.to(device))

    def tensors(self) -> dict[str, Tensor]:
        """By name, as they are stored."""
        of_transform = {f"scaled.{name}": value for name, value in self.scaled.state_dict().items()}
        return of_transform | {"loadings": self.loadings, "offset": self.offset}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> PrincipalComponents:
        """What :meth:`tensors` gave.

        Raises
        ------
        ValueError
            Tensors that do not fit together.
        """
        loadings, offset = tensors["loadings"], tensors["offset"]
        if loadings.ndim != 2 or offset.shape != loadings.shape[1:] or not loadings.is_floating_point():
            raise ValueError(f"loadings of shape {tuple(loadings.shape)} with an offset of {tuple(offset.shape)}")
        scaled = CountTransform("scaled", len(loadings))
        scaled.load_state_dict({name: tensors[f"scaled.{name}"] for name in scaled.state_dict()})
        return cls(scaled, loadings, offset)


def _singular(matrix: LinearOperator, k: int, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The k largest singular values, (k,), and their right singular vectors, (k, n_genes), in any order.

    scipy's ``svds`` makes the left ones as well, whoever asks. Of many cells they are not made: the right ones are the
    eigenvectors of the product of the transposed matrix with itself.
    """
    n_cells, n_genes = matrix.shape
    if n_cells <= max(MANY, n_genes):
        _, size, right = svds(matrix, k=k, v0=start)
        return size, right
    product = LinearOperator((n_genes, n_genes), matvec=lambda v: matrix.rmatvec(matrix.matvec(v)), dtype=np.float64)
    values, vectors = eigsh(product, k=k, v0=start)
    return np.sqrt(np.maximum(values, 0.0)), vectors.T
