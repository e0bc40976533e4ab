"""Raw counts and nothing else: what enters the model, checked once, at the door.

Every model of this package describes how molecules were counted, so it needs whole, non-negative
numbers. Anything else is refused here with the place, the number of wrong entries and the usual cure.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from scrae._errors import CountsError, Notice, Refusal
from scrae.data.index_types import rows_of_arrays
from scrae.data.sparse_format import as_rows, native, refuse_malformed

WHERE_COUNTS_ARE = (
    'Raw counts are usually in adata.layers["counts"] (layer="counts"), in adata.raw.X, '
    'or, in Seurat, in the assay\'s "counts" layer.'
)
ESTIMATED = (
    "Estimated counts (SoupX, DecontX, CellBender, RSEM, salmon, alevin) can be rounded: "
    'counts="round" (scrae run: --round).'
)
LARGEST = 2**24  # up to here float32 holds every whole number
STEPS_OFF, MOST_OFF = 2, 1e-3  # float32 steps, and at most, that arithmetic may have moved a whole number by
WRONG: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # what no count is
    "missing (NaN) or infinite": lambda values: ~np.isfinite(values),
    "negative": lambda values: values < 0,
    "fractional": lambda values: ~_whole(values),
    "larger than 16,777,216": lambda values: values > LARGEST,
}
BLOCK = 2**16  # stored entries checked at once
COUNTS = ("raw", "round")  # what matrices may hold: counts as they are, or estimates that are rounded


@dataclass
class Rounding:
    """What rounding estimated counts to whole ones has moved.

    Attributes
    ----------
    n_entries, n_moved
        Number of stored entries, and of those that were not whole.
    largest
        The most that one of them was moved by.
    """

    n_entries: int = 0
    n_moved: int = 0
    largest: float = 0.0

    @classmethod
    def asked(cls, counts: str) -> Rounding | None:
        """For ``counts="round"``; None for ``"raw"``.

        Raises
        ------
        ValueError
            Another word.
        """
        if counts not in COUNTS:
            raise Refusal(
                f'counts={counts!r} is not known; choose "raw" or "round"',
                "not_one_of",
                name="counts",
                known=list(COUNTS),
                value=counts,
            )
        return cls() if counts == "round" else None

    def of(self, values: np.ndarray) -> np.ndarray:
        """The values rounded; what that moved is noted."""
        rounded: np.ndarray = np.rint(values)
        moved = np.abs(rounded - values)
        self.n_moved += int(np.count_nonzero(moved))
        self.largest = max(self.largest, float(moved.max(initial=0)))
        return rounded

    def warn(self, where: str) -> None:
        """Say what was moved, in the name of the caller's caller, if anything was."""
        if self.n_moved:
            warnings.warn(
                Notice(
                    f"{self.n_moved:,} of {self.n_entries:,} stored entries of {where} were rounded to whole counts, "
                    f"by {self.largest:.3g} at most",
                    "rounded_counts",
                    n=self.n_moved,
                    n_entries=self.n_entries,
                    largest=self.largest,
                ),
                stacklevel=3,
            )


def as_counts(
    matrix: Any,
    where: str = "the matrix",
    cell_names: Sequence[str] | None = None,
    gene_names: Sequence[str] | None = None,
    *,
    copy: bool = True,
    rounding: Rounding | None = None,
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
    rounding
        Round fractional values, and note here what that moved; None: refuse them.

    Returns
    -------
    CSR of float32, cells x genes, canonical (sorted, no duplicates, no stored zeros). Float32 holds
    whole numbers exactly up to 16,777,216; larger counts are refused. The input is never changed.

    Raises
    ------
    CountsError
        Not two-dimensional, empty, not numeric, with arrays that do not fit together, or with negative, missing,
        infinite, fractional or too large entries.
    """
    source: Any = matrix if sp.issparse(matrix) else _dense(matrix, where)
    if source.ndim != 2:
        raise CountsError(
            f"{where} is no table ({type(matrix).__name__}): it has {source.ndim} dimension(s); counts are a matrix of "
            "cells x genes.",
            "no_table",
        )
    n_cells, n_genes = source.shape
    if n_cells == 0 or n_genes == 0:
        raise CountsError(
            f"{where} is empty: {n_cells} cells x {n_genes} genes.",
            "no_cells_or_genes",
            n_cells=n_cells,
            n_genes=n_genes,
        )
    if source.dtype.kind not in "iuf":  # numpy counts durations among integers
        raise CountsError(
            f"{where} holds values of type {source.dtype}; counts are whole numbers.", "no_numbers_in_matrix"
        )
    csr = as_rows(source, where) if sp.issparse(source) else sp.csr_array(native(source))
    wrong = {kind: test for kind, test in WRONG.items() if rounding is None or kind != "fractional"}
    _refuse_any(csr, wrong, where, cell_names, gene_names)  # one by one, before those in one place are summed
    if not csr.has_canonical_format:
        csr = _canonical(csr)
        _refuse_any(csr, wrong, where, cell_names, gene_names)
    data = csr.data
    if not _exactly_whole(data):
        data = np.rint(data) if rounding is None else rounding.of(data)
    if rounding is not None:
        rounding.n_entries += data.size
    data = data.astype(np.float32, copy=False)
    stored_zeros = not data.all()
    theirs = _arrays(source) if copy or stored_zeros else []
    data, indices, indptr = (
        part.copy() if any(np.may_share_memory(part, other) for other in theirs) else part
        for part in (data, csr.indices, csr.indptr)
    )
    counts = rows_of_arrays(data, indices, indptr, csr.shape)
    if stored_zeros:
        counts.eliminate_zeros()
    return counts


def _dense(matrix: Any, where: str) -> np.ndarray:
    try:
        return np.asarray(matrix)
    except (TypeError, ValueError):  # rows of different lengths
        raise CountsError(
            f"{where} is no table ({type(matrix).__name__}); counts are a matrix of cells x genes.", "no_table"
        ) from None


def _canonical(csr: sp.csr_array) -> sp.csr_array:
    """A copy, sorted, with entries at the same place summed in a type that holds their sum."""
    csr = csr.copy()
    csr.sort_indices()
    if not csr.has_canonical_format:
        csr = csr.astype(np.int64 if np.issubdtype(csr.dtype, np.integer) else np.float64)
        csr.sum_duplicates()
    return csr


def _arrays(matrix: Any) -> list[np.ndarray]:
    parts = (getattr(matrix, name, None) for name in ("data", "indices", "indptr"))
    return [part for part in parts if isinstance(part, np.ndarray)]


def _whole(values: np.ndarray) -> np.ndarray:
    """Boolean per value: whole, or as near as rounding in float32 leaves a whole number."""
    whole: np.ndarray = np.rint(values)
    near: np.ndarray = np.abs(values - whole) <= np.minimum(whole * (STEPS_OFF * np.finfo(np.float32).eps), MOST_OFF)
    return near


def _in_blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    return (values[start : start + BLOCK] for start in range(0, values.size, BLOCK))


def _exactly_whole(values: np.ndarray) -> bool:
    return np.issubdtype(values.dtype, np.integer) or all(np.array_equal(np.rint(b), b) for b in _in_blocks(values))


def _all_counts(values: np.ndarray) -> bool:
    """Whether nothing is wrong, in fewer passes than it takes to say what is; false for missing values."""
    exact = np.issubdtype(values.dtype, np.integer)
    return all(
        b.min() >= 0 and b.max() <= LARGEST and (exact or np.array_equal(np.rint(b), b) or bool(_whole(b).all()))
        for b in _in_blocks(values)
    )


def _refuse_any(
    csr: sp.csr_array,
    wrong: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    where: str,
    cell_names: Sequence[str] | None,
    gene_names: Sequence[str] | None,
) -> None:
    if not _all_counts(csr.data):
        for kind, test in wrong.items():
            _refuse(csr, kind, test, where, cell_names, gene_names)


def _refuse(
    csr: sp.csr_array,
    kind: str,
    wrong: Callable[[np.ndarray], np.ndarray],
    where: str,
    cell_names: Sequence[str] | None,
    gene_names: Sequence[str] | None,
) -> None:
    number = sum(np.count_nonzero(wrong(block)) for block in _in_blocks(csr.data))
    if not number:
        return
    first = int(np.argmax(wrong(csr.data)))
    cell = int(np.searchsorted(csr.indptr, first, side="right") - 1)
    gene = int(csr.indices[first])
    cell_name = f"cell {str(cell_names[cell])!r}" if cell_names is not None else f"cell number {cell}"
    gene_name = f"gene {str(gene_names[gene])!r}" if gene_names is not None else f"gene number {gene}"
    cause = {
        "negative": " Normalised or scaled values are not counts.",
        "fractional": f" Normalised or scaled values are not counts. {ESTIMATED}",
    }.get(kind, "")
    value = _digits(csr.data[first])
    raise CountsError(
        f"{where} is not a matrix of raw counts: {number:,} of {csr.data.size:,} stored entries are {kind} "
        f"(the first: {value}, {cell_name}, {gene_name}).{cause} {WHERE_COUNTS_ARE}",
        "not_counts",
        kind=kind,
        n=int(number),
        n_entries=int(csr.data.size),
        value=value,
        cell=str(cell + 1 if cell_names is None else cell_names[cell]),
        gene=str(gene + 1 if gene_names is None else gene_names[gene]),
    )


def _digits(value: Any) -> str:
    """As few digits as tell a value from others of its type: 1.0004 is not 1."""
    return f"{value:.0f}" if value == np.rint(value) and np.isfinite(value) else str(value.item())


def looks_like_counts(matrix: Any, n_cells: int = 200) -> bool:
    """Whether the first cells of ``matrix`` hold whole non-negative numbers: for suggestions, not for checks."""
    if sp.issparse(matrix):
        try:
            refuse_malformed(matrix, "")
        except CountsError:  # whose cells cannot be taken
            return False
    head: Any = matrix[:n_cells]
    values = np.asarray(getattr(head, "data", head) if sp.issparse(head) else head)
    if not np.issubdtype(values.dtype, np.number):
        return False
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
