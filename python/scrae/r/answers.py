"""What a job leaves in its folder: arrays and tables as plain little-endian numbers, all else as JSON."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from scrae._errors import Refusal

if TYPE_CHECKING:
    import pandas as pd

MOST_ENTRIES = 2**31 - 1  # R counts them in 32 bits


def write_array(folder: Path, name: str, matrix: Any) -> dict[str, Any]:
    """Write a matrix of cells x something as plain little-endian numbers; the answer says how to read it.

    A CSR matrix of cells x genes, entry by entry, is R's column-compressed matrix of genes x cells.

    Raises
    ------
    ValueError
        A sparse matrix has more entries than R's can hold.
    """
    if isinstance(matrix, (sp.csr_matrix, sp.csr_array)):
        if matrix.nnz > MOST_ENTRIES:
            raise Refusal(
                f"the answer has {matrix.nnz:,} values above zero, and a sparse matrix of R holds {MOST_ENTRIES:,} at "
                "most: ask for some of the cells at a time",
                "answer_too_large",
                n=int(matrix.nnz),
                most=MOST_ENTRIES,
            )
        rows: Any = matrix.sorted_indices()  # R insists
        parts = {"indptr": rows.indptr.astype("<i4"), "indices": rows.indices.astype("<i4"), "data": rows.data}
        return {
            "shape": list(rows.shape),
            "sparse": {part: write_array(folder, f"{name}.{part}", values) for part, values in parts.items()},
        }
    values = np.ascontiguousarray(matrix)
    kind = "i4" if values.dtype.kind == "i" else "f8" if values.dtype == np.float64 else "f4"
    path = folder / f"{name}.{kind}"
    values.astype(f"<{kind}", copy=False).tofile(path)
    return {"shape": list(values.shape), "file": path.name}


def write_table(folder: Path, table: pd.DataFrame, called: str = "") -> dict[str, Any]:
    """Write the columns of a table, numbers in full precision, text and categories as codes from 0 and their levels.

    Where an answer has several tables, the files of each are ``called`` in a way of their own.
    """
    answer = {}
    for i, (name, column) in enumerate(table.items()):
        file = f"{called}column{i}"
        if column.dtype.kind in "if":
            answer[str(name)] = write_array(folder, file, column.to_numpy())
            continue
        text = column.astype("category").cat
        answer[str(name)] = write_array(folder, file, text.codes.to_numpy(dtype=np.int32)) | {
            "levels": [str(level) for level in text.categories],
            "factor": column.dtype == "category",
        }
    return answer


def plain(value: Any) -> Any:
    """A value as JSON knows it: no NaN, no numpy types, no tuples."""
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
