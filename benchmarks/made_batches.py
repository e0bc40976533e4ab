"""Batches whose truth is known: the cells of one batch are dealt into several, which see the same genes in other ways.

A real data set with types of its own is cut into batches. Each batch then keeps the molecules of a gene with a
probability of its own (a log-normal factor for each gene and batch, and a weaker one for each gene, batch and type), is
sequenced to another depth, and gets ambient molecules from the mean of its cells. Types lie in the batches in equal or
in unequal shares, and some may be in one batch alone. Nothing else differs between the batches of a type, so whatever
an embedding keeps of them is too much, and whatever it merges besides is too much as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

LEAST_CELLS = 60  # of a type that is put into one batch alone
LEAST_MOLECULES = 20  # of a cell that stays
LARGEST = 2  # types, the largest ones, that are never put into one batch alone


@dataclass(frozen=True)
class Design:
    """How batches are made.

    Attributes
    ----------
    source
        Name of the file that the cells are from, without .h5ad.
    n_batches
        How many batches.
    shift
        Standard deviation of the log factor of a gene in a batch.
    own
        The same of a gene in a type of a batch, beside it.
    ambient
        Ambient molecules of a cell over its own, in the mean.
    shallowest
        Depth of the shallowest batch over that of the deepest.
    evenness
        Parameter of the Dirichlet distribution of a type's shares over batches; None: equal shares.
    alone
        Number of types that one batch holds alone.
    seed
        Of all that is drawn.
    """

    source: str
    n_batches: int
    shift: float
    own: float
    ambient: float
    shallowest: float
    evenness: float | None
    alone: int
    seed: int


MADE = {
    "made_klein": Design("klein_1000", 3, 0.5, 0.1, 0.0, 0.5, 1.0, 1, 6),
    "made_pbmc3k": Design("pbmc3k_2638", 3, 0.7, 0.25, 0.05, 0.5, None, 0, 3),
    "made_bladder": Design("han_bladder_2100", 4, 0.5, 0.2, 0.1, 0.6, 0.7, 2, 2),
}


def made(data: Path, name: str) -> anndata.AnnData:
    """The data set of that name in :data:`MADE`, from the real one in the folder."""
    design = MADE[name]
    return in_batches(anndata.read_h5ad(data / f"{design.source}.h5ad"), design)


def in_batches(adata: anndata.AnnData, design: Design) -> anndata.AnnData:
    """The cells in batches.

    Parameters
    ----------
    adata
        Raw counts in X and types in ``obs["cell_type"]``.
    design
        How batches are made.

    Returns
    -------
    New counts, ``obs["cell_type"]`` and ``obs["batch"]``, and in ``varm["log_factors"]`` the logs of what each batch
    keeps of a gene, (n_genes, n_batches).
    """
    rng = np.random.default_rng(design.seed)
    counts = sp.csr_matrix(adata.X)
    names, kind = np.unique(adata.obs["cell_type"].astype(str), return_inverse=True)
    batch = _dealt(kind, design, rng)
    of_batch = rng.normal(0, design.shift, (design.n_batches, adata.n_vars))
    of_type = rng.normal(0, design.own, (design.n_batches, len(names), adata.n_vars))
    depth = np.geomspace(1, design.shallowest, design.n_batches)[rng.permutation(design.n_batches)]
    counts = _thinned(counts, batch, kind, of_batch[:, None] + of_type, depth, rng)
    counts = _with_ambient(counts, batch, design.ambient, rng)
    obs = pd.DataFrame(
        {"cell_type": names[kind], "batch": [f"batch{b + 1}" for b in batch]}, index=adata.obs_names.astype(str)
    )
    made = anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=adata.var_names.astype(str)))
    made.varm["log_factors"] = of_batch.T
    return made[np.asarray(counts.sum(1)).ravel() > LEAST_MOLECULES].copy()


def _dealt(kind: np.ndarray, design: Design, rng: np.random.Generator) -> np.ndarray:
    """The batch of each cell, int (n_cells,)."""
    n_types = int(kind.max()) + 1
    shares = np.full((n_types, design.n_batches), 1 / design.n_batches)
    if design.evenness is not None:
        shares = rng.dirichlet(np.full(design.n_batches, design.evenness), n_types)
    sizes = np.bincount(kind)
    eligible = [name for name in np.argsort(-sizes, kind="stable")[LARGEST:] if sizes[name] >= LEAST_CELLS]
    for name in rng.permutation(eligible)[: design.alone]:
        shares[name] = np.eye(design.n_batches)[rng.integers(design.n_batches)]
    return (shares[kind].cumsum(1) < rng.uniform(size=(len(kind), 1))).sum(1).clip(max=design.n_batches - 1)


def _thinned(
    counts: sp.csr_matrix,
    batch: np.ndarray,
    kind: np.ndarray,
    log_factors: np.ndarray,
    depth: np.ndarray,
    rng: np.random.Generator,
) -> sp.csr_matrix:
    """Each molecule is kept with a probability of its gene, batch and type, at most the depth of the batch."""
    # As molecules can only be lost, factors are cut at a standard deviation above the mean.
    kept = np.exp(np.minimum(log_factors - log_factors.std(), 0.0))
    entries = counts.tocoo()
    b, k = batch[entries.row], kind[entries.row]
    left = rng.binomial(entries.data.astype(np.int64), kept[b, k, entries.col] * depth[b])
    thinned = sp.csr_matrix((left.astype(np.float32), (entries.row, entries.col)), shape=counts.shape)
    thinned.eliminate_zeros()
    return thinned


def _with_ambient(counts: sp.csr_matrix, batch: np.ndarray, share: float, rng: np.random.Generator) -> sp.csr_matrix:
    """As many molecules more as the share says, in the mean over cells, each from the mean of the cell's batch."""
    totals = np.asarray(counts.sum(1)).ravel()
    wanted = rng.poisson(share * totals * rng.gamma(2.0, 0.5, len(totals)))
    row, column = [np.zeros(0, dtype=int)], [np.zeros(0, dtype=int)]
    for b in np.unique(batch):
        cells = np.flatnonzero(batch == b)
        soup = np.asarray(counts[cells].sum(0)).ravel().cumsum()
        row.append(np.repeat(cells, wanted[cells]))
        column.append(np.searchsorted(soup, rng.uniform(0, soup[-1], len(row[-1])), side="right"))
    rows, columns = np.concatenate(row), np.concatenate(column)
    ambient = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=counts.shape)
    mixed = sp.csr_matrix(counts + ambient)
    mixed.sort_indices()
    return mixed
