"""The linear part of the embedding: principal components of the scaled genes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import LinearOperator, eigsh, svds
from torch import Tensor

from scrae.compute import distributed
from scrae.compute.compilation import compiled
from scrae.data import on_disk
from scrae.data.blocks import consecutive
from scrae.data.count_rows import CountRows
from scrae.data.covariates import Covariates
from scrae.data.index_types import rows_of_arrays
from scrae.data.minibatches import CountData
from scrae.data.transforms import CountTransform

MANY = 2**14  # cells: from there on they are gone through once, and what is kept grows with genes alone
WIDE = 2**12  # genes whose products with one another take 128 MB
BLOCK = 2**17  # stored entries in hand at once: they stay in the cache, too


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

        def excess_of(block: sp.csr_array) -> np.ndarray:
            # Centring takes out what stands in a column where nothing is stored: only the entries' excess is left.
            cells = CountData(block, Covariates.none(block.shape[0]), torch.device("cpu"))
            entries = scaled(cells.minibatch(torch.arange(cells.n_cells)).counts)
            assert entries.background is not None
            excess: np.ndarray = (entries.values - entries.by_column(entries.background)).numpy().astype(np.float64)
            return excess

        n_pcs = min(n_pcs, n_genes - 1)
        n_found = min(n_pcs, n_cells - 1)
        decompose = _from_products if n_cells > MANY and n_genes <= WIDE else _from_entries
        size, right, mean = decompose(counts, excess_of, n_found)
        order = np.argsort(-size)
        right, size = right[order], size[order]
        right *= np.sign(right[np.arange(len(right)), np.abs(right).argmax(1)])[:, None]
        right *= np.sqrt(n_cells) / np.sqrt((size**2).sum())
        loadings, offset = torch.zeros(n_genes, n_pcs), torch.zeros(n_pcs)
        loadings[:, :n_found] = torch.as_tensor(right.T)
        offset[:n_found] = torch.as_tensor((background + mean) @ right.T)
        return cls(scaled, loadings, offset)

    def __call__(self, counts: CountRows) -> Tensor:
        """Components of cells, (n_cells, n_pcs), from their counts (n_cells, n_genes)."""
        scaled: CountRows = self.scaled(counts)
        return scaled.product(self.loadings) - self.offset

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


Decomposed = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of centred cells the k largest singular values, (k,), and their right singular vectors, (k, n_genes), in any order;
and what was taken out of each gene by centring, (n_genes,)."""


def _from_entries(counts: sp.csr_array, excess_of: Callable[[sp.csr_array], np.ndarray], k: int) -> Decomposed:
    """By products of all cells with vectors, some hundreds of them; each goes through every entry.

    scipy's ``svds`` makes the left singular vectors as well, whoever asks. Of many cells they are not made: the right
    ones are the eigenvectors of the product of the transposed matrix with itself.
    """
    n_cells, n_genes = counts.shape
    mean = np.zeros(n_genes)

    def added_to_mean(block: sp.csr_array) -> np.ndarray:
        excess = excess_of(block)
        np.add.at(mean, block.indices, excess * (1.0 / n_cells))
        return excess

    excess = rows_of_arrays(on_disk.entries(counts, added_to_mean), counts.indices, counts.indptr, counts.shape)
    centred = LinearOperator(
        shape=excess.shape,
        matvec=lambda v: excess @ v.ravel() - mean @ v.ravel(),
        rmatvec=lambda u: excess.T @ u.ravel() - mean * u.sum(),
        dtype=np.float64,
    )
    if n_cells <= max(MANY, n_genes):
        _, size, right = svds(centred, k=k, v0=_start(min(counts.shape)))
        return size, right, mean
    product = LinearOperator((n_genes, n_genes), matvec=lambda v: centred.rmatvec(centred.matvec(v)), dtype=np.float64)
    return *_roots(product, k), mean


def _from_products(counts: sp.csr_array, excess_of: Callable[[sp.csr_array], np.ndarray], k: int) -> Decomposed:
    """By the products of the genes with one another, summed over the cells, which are gone through once.

    Processes that divide their work go through a run of the cells each.
    """
    n_cells, n_genes = counts.shape
    sums, products = np.zeros(n_genes), np.zeros((n_genes, n_genes))
    for block in consecutive(counts, BLOCK, distributed.own_share(n_cells)):
        _add_products(sums, products, excess_of(block.matrix(n_genes)), block.indices, block.indptr)
    sums, products = distributed.added_up(sums, n_cells), distributed.added_up(products, n_cells)
    products = products + products.T - np.diag(products.diagonal())  # of two genes one product was added up
    mean = sums / n_cells
    products -= n_cells * np.outer(mean, mean)
    return *_roots(products, k), mean


def _roots(product: np.ndarray | LinearOperator, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Singular values and right singular vectors of a matrix from its transposed one times itself."""
    values, vectors = eigsh(product, k=k, v0=_start(product.shape[0]))
    return np.sqrt(np.maximum(values, 0.0)), vectors.T


def _start(size: int) -> np.ndarray:
    """Where to begin; a constant is what centring takes out."""
    return np.random.default_rng(0).normal(size=size)


@compiled()
def _add_products(
    sums: np.ndarray, products: np.ndarray, values: np.ndarray, indices: np.ndarray, indptr: np.ndarray
) -> None:  # pragma: no cover (compiled)
    """Add a block's entries to the sums of its genes, and those of a cell that stand behind each to its products.

    Gene by gene, so that what is added to is a row, which stays in the cache.
    """
    n_genes, n_entries = len(sums), len(indices)
    start = np.zeros(n_genes + 1, dtype=np.int64)
    for entry in range(n_entries):
        start[indices[entry] + 1] += 1
    start = np.cumsum(start)
    free = start[:-1].copy()
    entries, ends = np.empty(n_entries, dtype=np.int64), np.empty(n_entries, dtype=np.int64)
    for cell in range(len(indptr) - 1):
        for entry in range(indptr[cell], indptr[cell + 1]):
            gene = indices[entry]
            entries[free[gene]], ends[free[gene]] = entry, indptr[cell + 1]
            free[gene] += 1
    for gene in range(n_genes):
        of_gene = products[gene]
        for place in range(start[gene], start[gene + 1]):
            value = values[entries[place]]
            sums[gene] += value
            for other in range(np.uint64(entries[place]), np.uint64(ends[place])):
                of_gene[np.uint64(indices[other])] += value * values[other]
