"""Raw counts and nothing else: what enters the model, checked once, at the door.

Every model of this package describes how molecules were counted, so it needs whole, non-negative
numbers. Anything else is refused here with the place, the number of wrong entries and the usual cure.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from scrae._errors import Notice, Refusal

WHERE_COUNTS_ARE = (
    'Raw counts are usually in adata.layers["counts"] (layer="counts"), in adata.raw.X, '
    'or, in Seurat, in the assay\'s "counts" layer.'
)
LARGEST = 2**24  # up to here float32 holds every whole number
WRONG: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # what no count is
    "missing (NaN) or infinite": lambda values: ~np.isfinite(values),
    "negative": lambda values: values < 0,
    "fractional": lambda values: values != np.rint(values),
    "larger than 16,777,216": lambda values: values > LARGEST,
}
BLOCK = 2**16  # stored entries checked at once


class CountsError(Refusal):
    """The matrix is not one of raw counts, or holds nothing to learn from."""


def as_counts(
    matrix: Any,
    where: str = "the matrix",
    cell_names: Sequence[str] | None = None,
    gene_names: Sequence[str] | None = None,
    *,
    copy: bool = True,
) -> sp.csr_array:
    """Check that ``matrix`` holds raw counts and give it as CSR.

    Parameters
    ----------
    matrix
        Cells x genes; dense or any scipy sparse format, any numeric type.
    where
        Name of the place the matrix came from, for messages (``adata.layers["counts"]``).
    cell_names, gene_names
        Names for messages; positions are used without them.
    copy
        False: what can be used as it is shares its memory with ``matrix`` and is only to be read.

    Returns
    -------
    CSR of float32, cells x genes, canonical (sorted, no duplicates, no stored zeros). Float32 holds
    whole numbers exactly up to 16,777,216; larger counts are refused. The input is never changed.

    Raises
    ------
    CountsError
        Not two-dimensional, empty, not numeric, or with negative, missing, infinite, fractional or too
        large entries.
    """
    source: Any = matrix if sp.issparse(matrix) else np.asarray(matrix)
    if source.ndim != 2:
        raise CountsError(f"{where} has {source.ndim} dimension(s); counts are a matrix of cells x genes.", "no_table")
    n_cells, n_genes = source.shape
    if n_cells == 0 or n_genes == 0:
        raise CountsError(
            f"{where} is empty: {n_cells} cells x {n_genes} genes.",
            "no_cells_or_genes",
            n_cells=n_cells,
            n_genes=n_genes,
        )
    if source.dtype == bool or not (
        np.issubdtype(source.dtype, np.integer) or np.issubdtype(source.dtype, np.floating)
    ):
        raise CountsError(
            f"{where} holds values of type {source.dtype}; counts are whole numbers.", "no_numbers_in_matrix"
        )
    csr = sp.csr_array(source)
    shared = isinstance(source, sp.csr_matrix | sp.csr_array)
    if not csr.has_canonical_format:
        csr = csr.copy() if shared else csr
        csr.sum_duplicates()
        shared = False
    if not _all_counts(csr.data):
        for kind, wrong in WRONG.items():
            _refuse(csr, kind, wrong, where, cell_names, gene_names)
    stored_zeros = not csr.data.all()
    to_copy = shared and (copy or stored_zeros)
    data, indices, indptr = (part.copy() if to_copy else part for part in (csr.data, csr.indices, csr.indptr))
    counts = sp.csr_array((data.astype(np.float32, copy=False), indices, indptr), shape=csr.shape)
    if stored_zeros:
        counts.eliminate_zeros()
    return counts


def _all_counts(values: np.ndarray) -> bool:
    """Whether nothing is wrong, in fewer passes than it takes to say what is; false for missing values."""
    whole = np.issubdtype(values.dtype, np.integer)
    blocks = (values[start : start + BLOCK] for start in range(0, values.size, BLOCK))
    return all(b.min() >= 0 and b.max() <= LARGEST and (whole or np.array_equal(np.rint(b), b)) for b in blocks)


def _refuse(
    csr: sp.csr_array,
    kind: str,
    wrong: Callable[[np.ndarray], np.ndarray],
    where: str,
    cell_names: Sequence[str] | None,
    gene_names: Sequence[str] | None,
) -> None:
    blocks = (csr.data[start : start + BLOCK] for start in range(0, csr.data.size, BLOCK))
    number = sum(np.count_nonzero(wrong(block)) for block in blocks)
    if not number:
        return
    first = int(np.argmax(wrong(csr.data)))
    cell = int(np.searchsorted(csr.indptr, first, side="right") - 1)
    gene = int(csr.indices[first])
    cell_name = f"cell {str(cell_names[cell])!r}" if cell_names is not None else f"cell number {cell}"
    gene_name = f"gene {str(gene_names[gene])!r}" if gene_names is not None else f"gene number {gene}"
    cause = " Normalised or scaled values are not counts." if kind in ("negative", "fractional") else ""
    raise CountsError(
        f"{where} is not a matrix of raw counts: {number:,} of {csr.data.size:,} stored entries are {kind} "
        f"(the first: {csr.data[first]:g}, {cell_name}, {gene_name}).{cause} {WHERE_COUNTS_ARE}",
        "not_counts",
        kind=kind,
        n=int(number),
        n_entries=int(csr.data.size),
        value=f"{csr.data[first]:.15g}",
        cell=str(cell + 1 if cell_names is None else cell_names[cell]),
        gene=str(gene + 1 if gene_names is None else gene_names[gene]),
    )


def looks_like_counts(matrix: Any, n_cells: int = 200) -> bool:
    """Whether the first cells of ``matrix`` hold whole non-negative numbers: for suggestions, not for checks."""
    head: Any = matrix[:n_cells]
    values = np.asarray(getattr(head, "data", head) if sp.issparse(head) else head)
    whole = np.isfinite(values).all() and (values >= 0).all() and (values == np.rint(values)).all()
    return bool(values.size and whole)


def empty_cells(counts: sp.csr_array) -> np.ndarray:
    """Boolean per cell: no count at all."""
    return np.asarray(np.diff(counts.indptr) == 0)


def refuse_too_few(counts: sp.csr_array, where: str, n_latent: int) -> None:
    """Refuse what no embedding of ``n_latent`` dimensions can be learned from.

    Raises
    ------
    CountsError
        One cell, one gene, or no count.
    ValueError
        More latent dimensions than genes.
    """
    n_cells, n_genes = counts.shape
    if n_cells < 2:
        raise CountsError(
            f"{where} has one cell; an embedding relates cells to each other: at least 2 are needed", "one_cell"
        )
    if n_genes < 2:
        raise CountsError(f"{where} has one gene (after the choice of genes); at least 2 are needed", "one_gene")
    if counts.nnz == 0:
        raise CountsError(f"the chosen genes have no count in {where}", "no_counts_of_chosen_genes")
    if n_latent > n_genes:
        fewer = max(1, n_genes // 2)
        raise Refusal(
            f"n_latent={n_latent} asks for more latent dimensions than there are genes ({n_genes}); "
            f"use n_latent={fewer} or fewer, or more genes",
            "too_many_dimensions",
            n_latent=n_latent,
            n_genes=n_genes,
            fewer=fewer,
        )


def warn_of_empty_cells(counts: sp.csr_array) -> None:
    """Warn of cells without a count in the modelled genes, in the name of the caller's caller."""
    empty = int(empty_cells(counts).sum())
    if empty:
        warnings.warn(
            Notice(
                f"{empty:,} of {counts.shape[0]:,} cells have no count in the {counts.shape[1]:,} modelled genes; they "
                "share one point of the embedding. More genes, or a stricter filter of cells, avoid this.",
                "cells_without_modelled_genes",
                n=empty,
                n_cells=counts.shape[0],
                n_genes=counts.shape[1],
            ),
            stacklevel=3,
        )
