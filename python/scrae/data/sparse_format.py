"""Whether the arrays of a sparse matrix fit together: looked at before anything follows them into memory.

Compiled loops, scipy's among them, believe what stands in the index arrays of a matrix. A position beyond the last gene
ends the process, or puts counts where they do not belong. So every matrix passes here before it is converted, sliced
or summed; what is passed on can be trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import scipy.sparse as sp

from scrae._errors import CountsError
from scrae.data.index_types import rows_of_arrays

BLOCK = 2**18  # index entries looked at at once: they stay in the processor's cache
OF_FILE = ("data", "indices", "indptr")  # what h5ad, zarr and 10x files call the parts of a sparse matrix


def refuse_malformed(matrix: Any, where: str) -> None:
    """Refuse a matrix whose arrays do not fit together; its values are not looked at.

    Parameters
    ----------
    matrix
        Any scipy sparse matrix, cells x genes.
    where
        Name of the place it came from, for messages.

    Raises
    ------
    CountsError
        The message says which array is damaged, how, and in how many places.
    """
    n_cells, n_genes = matrix.shape
    if matrix.dtype.kind not in "biufc":
        _refuse(where, f"its values (data) are of type {matrix.dtype}, which is none of numbers")
    if matrix.format == "csr":
        _refuse_malformed_rows(matrix, n_cells, n_genes, where, "cells", "genes")
    elif matrix.format == "csc":
        _refuse_malformed_rows(matrix, n_genes, n_cells, where, "genes", "cells")
    elif matrix.format == "bsr":
        height, width = np.shape(matrix.data)[1:] if np.ndim(matrix.data) == 3 else (0, 0)
        if not height or not width or n_cells % height or n_genes % width:
            _refuse(where, f"its blocks do not fill {n_cells:,} cells x {n_genes:,} genes")
        blocks = "blocks of cells", "blocks of genes"
        _refuse_malformed_rows(matrix, n_cells // height, n_genes // width, where, *blocks)
    elif matrix.format == "coo":
        _refuse_other_dimensions(matrix.data, 1, where)
        _refuse_other_lengths(len(matrix.row), len(matrix.data), where, "rows (row)")
        _refuse_other_lengths(len(matrix.col), len(matrix.data), where, "columns (col)")
        refuse_malformed_positions(matrix.row, n_cells, where, "cells")
        refuse_malformed_positions(matrix.col, n_genes, where, "genes")
    elif matrix.format == "dia":
        _refuse_other_dimensions(matrix.data, 2, where)
        _refuse_other_kind(matrix.offsets, where, "offsets of diagonals (offsets)")
        _refuse_other_lengths(len(matrix.offsets), len(matrix.data), where, "offsets of diagonals (offsets)")
        outside = int(np.count_nonzero((matrix.offsets <= -n_cells) | (matrix.offsets >= n_genes)))
        if outside:  # scipy would take them in a type that may be too small
            _refuse(where, f"{outside:,} of {len(matrix.offsets):,} diagonals lie outside of it")
    elif matrix.format == "lil":
        uneven = sum(len(row) != len(values) for row, values in zip(matrix.rows, matrix.data, strict=False))
        if uneven or len(matrix.rows) != n_cells or len(matrix.data) != n_cells:
            _refuse(where, f"positions and values differ in number in {uneven:,} of {n_cells:,} cells")
        genes = [gene for row in matrix.rows for gene in row]
        refuse_malformed_positions(np.array(genes or np.zeros(0, np.int64)), n_genes, where)
    elif matrix.format == "dok":
        keys = np.array(list(matrix.keys()) or np.zeros((0, 2), np.int64))
        refuse_malformed_positions(keys[:, 0], n_cells, where, "cells")
        refuse_malformed_positions(keys[:, 1], n_genes, where, "genes")


def refuse_malformed_starts(starts: Any, n_rows: int, n_entries: int, where: str, rows: str = "cells") -> np.ndarray:
    """Refuse an ``indptr`` that does not divide ``n_entries`` entries among ``n_rows`` rows; give it as int64.

    Parameters
    ----------
    starts
        Where the entries of each row start, and the end of the last: an array, or one in a file.
    n_rows, n_entries
        Numbers of rows and of stored entries.
    where, rows
        For messages: the place, and what rows are.

    Raises
    ------
    CountsError
        Not whole numbers, too few or too many, or not rising from 0 to ``n_entries``.
    """
    name = f"starts of {rows} (indptr)"
    _refuse_other_kind(starts, where, name)
    found = np.asarray(starts[:])
    if len(found) != n_rows + 1:
        _refuse(where, f"there are {len(found):,} {name}, where {n_rows:,} {rows} need {n_rows + 1:,}")
    falling = int(np.count_nonzero(found[1:] < found[:-1]))
    if found[0] != 0:
        _refuse(where, f"the {name} begin at {int(found[0])}, not at 0")
    if falling:
        _refuse(where, f"the {name} fall in {falling:,} of {n_rows:,} places")
    if found[-1] != n_entries:
        _refuse(where, f"the {name} end at {int(found[-1]):,}, and {n_entries:,} entries are stored")
    return found.astype(np.int64, copy=False)


def refuse_malformed_positions(positions: Any, n: int, where: str, of: str = "genes") -> None:
    """Refuse positions that are not whole numbers from 0 to ``n`` - 1; in a file they are read a block at a time.

    Raises
    ------
    CountsError
        The message says how many are outside.
    """
    _refuse_other_kind(positions, where, f"positions of {of}")
    outside, first = 0, 0
    for start in range(0, positions.shape[0], BLOCK):
        block = np.asarray(positions[start : start + BLOCK])
        if block.min() < 0 or block.max() >= n:
            wrong = (block < 0) | (block >= n)
            first = first if outside else int(block[np.argmax(wrong)])
            outside += int(np.count_nonzero(wrong))
    if outside:
        share = f"{outside:,} of {positions.shape[0]:,} positions of {of}"
        _refuse(where, f"{share} are outside of 0 to {n - 1:,} (the first: {first:,})")


def refuse_malformed_group(group: Any, shape: Sequence[int], by_gene: bool, where: str) -> np.ndarray:
    """Refuse a sparse matrix in a file whose parts do not fit together, but for the positions; give its ``indptr``.

    Positions are left to :func:`refuse_malformed_positions`, when they are read.

    Parameters
    ----------
    group
        Of h5py or zarr.
    shape
        Cells and genes that there have to be.
    by_gene
        Whether the matrix is stored by gene (CSC).
    where
        For messages.

    Raises
    ------
    CountsError
        A part is missing, of another length or kind, or for a matrix of another shape.
    """
    lacking = [name for name in OF_FILE if name not in group or not hasattr(group[name], "ndim")]
    if lacking:
        _refuse(where, f"it lacks {' and '.join(lacking)}")
    stored = group.attrs.get("shape", group.attrs.get("h5sparse_shape", shape))
    if [int(n) for n in np.ravel(stored)] != [int(n) for n in shape]:
        said = " x ".join(str(n) for n in np.ravel(stored))
        _refuse(where, f"its shape is stored as {said}, where there are {shape[0]:,} cells and {shape[1]:,} genes")
    _refuse_other_kind(group["indices"], where, f"positions of {'cells' if by_gene else 'genes'}")
    _refuse_other_dimensions(group["data"], 1, where)
    _refuse_other_lengths(group["indices"].shape[0], group["data"].shape[0], where, "positions (indices)")
    rows, n_rows = ("genes", shape[1]) if by_gene else ("cells", shape[0])
    return refuse_malformed_starts(group["indptr"], int(n_rows), group["data"].shape[0], where, rows)


def as_rows(matrix: Any, where: str) -> sp.csr_array:
    """A matrix by cell (CSR), its arrays checked, entries at the same place not summed.

    Parameters
    ----------
    matrix
        Any scipy sparse matrix, cells x genes; a CSR matrix shares its memory with the result.
    where
        For messages.

    Raises
    ------
    CountsError
        The arrays do not fit together.
    """
    refuse_malformed(matrix, where)
    if matrix.format == "csr":
        # Of its arrays alone: what a matrix believes of itself (sorted, no duplicates) need not be so.
        return rows_of_arrays(native(matrix.data), matrix.indices, matrix.indptr, matrix.shape)
    if matrix.format == "csc":
        by_gene = sp.csc_array((native(matrix.data), matrix.indices, matrix.indptr), shape=matrix.shape)
        return by_gene.tocsr()
    listed = matrix if matrix.format == "coo" else matrix.tocoo()
    refuse_malformed(listed, where)  # lists and dictionaries are looked at here, when they are arrays
    rows = listed.row.astype(np.int64)
    order = np.argsort(rows, kind="stable")  # tocsr() would sum, in a type that may be too small
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=matrix.shape[0]))])
    return sp.csr_array((native(listed.data)[order], listed.col[order], starts), shape=matrix.shape)


def native(values: np.ndarray) -> np.ndarray:
    """Values in this machine's order of bytes and in a type that scipy's loops know."""
    values = np.asarray(values)
    small = values.dtype.kind == "f" and values.dtype.itemsize == 2
    return values.astype(np.float32 if small else values.dtype.newbyteorder("="), copy=False)


def _refuse_malformed_rows(matrix: Any, n_rows: int, n_columns: int, where: str, rows: str, columns: str) -> None:
    _refuse_other_dimensions(matrix.data, 3 if matrix.format == "bsr" else 1, where)
    _refuse_other_kind(matrix.indices, where, f"positions of {columns}")
    _refuse_other_lengths(len(matrix.indices), len(matrix.data), where, "positions (indices)")
    refuse_malformed_starts(matrix.indptr, n_rows, len(matrix.data), where, rows)
    refuse_malformed_positions(matrix.indices, n_columns, where, columns)


def _refuse_other_kind(array: Any, where: str, name: str) -> None:
    """Fractions and text are no positions; a list of lists is no list."""
    if np.dtype(array.dtype).kind not in "iu":  # numpy counts durations among integers
        _refuse(where, f"the {name} are not whole numbers, but of type {array.dtype}")
    if array.ndim != 1:
        _refuse(where, f"the {name} have {array.ndim} dimensions instead of one")


def _refuse_other_dimensions(values: Any, n: int, where: str) -> None:
    if values.ndim != n:
        _refuse(where, f"its values (data) have {values.ndim} dimensions instead of {n}")


def _refuse_other_lengths(n: int, n_values: int, where: str, name: str) -> None:
    if n != n_values:
        _refuse(where, f"there are {n:,} {name} for {n_values:,} values (data)")


def _refuse(where: str, fault: str) -> NoReturn:
    raise CountsError(
        f"{where} is damaged: {fault}. Read or write it anew from its source.", "damaged_matrix", fault=fault
    )
