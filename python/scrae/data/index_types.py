"""How wide the index arrays of CSR are: 64 bits from 2^31 stored entries on, 32 bits below."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

MANY = 2**31  # stored entries that 32 bits cannot count


def index_type(n_entries: int) -> type[np.int32] | type[np.int64]:
    """The type that scipy wants of both index arrays of a matrix with so many stored entries."""
    return np.int64 if n_entries >= MANY else np.int32


def rows_of_arrays(data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: tuple[int, int]) -> sp.csr_array:
    """CSR that shares these arrays, which fit together.

    Of many entries scipy's constructor would first look through all positions for whether 32 bits hold them: minutes
    for each matrix, where they are on a disk, and for nothing, since both index arrays have one type.

    Parameters
    ----------
    data, indices
        Stored entries and their columns, (n_entries,).
    indptr
        Where the entries of each row begin, and the end of the last, (n_rows + 1,).
    shape
        Rows and columns.
    """
    if index_type(int(indptr[-1])) is np.int32 or indices.dtype != np.int64:
        return sp.csr_array((data, indices, indptr), shape=shape)
    rows = sp.csr_array(shape, dtype=data.dtype)
    rows.data, rows.indices, rows.indptr = data, indices, indptr.astype(np.int64, copy=False)
    return rows
