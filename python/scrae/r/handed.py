"""What R hands over with a job: counts and columns as plain little-endian numbers, which are mapped, not copied."""

from __future__ import annotations

import json
import mmap
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from anndata import AnnData

CELLS = "cells.json"


def take_cells(folder: Path) -> AnnData:
    """AnnData of the cells that R has left in the folder of a job, and their files gone: nobody needs them twice.

    R's columns of genes x cells, compressed, are rows of cells x genes. Their arrays are files that are mapped, so that
    the counts do not stand in memory twice; who takes some of the genes takes memory for these alone.

    Returns
    -------
    AnnData, cells x genes, with the counts in ``X`` (CSR), columns of text or numbers in ``obs`` and, where there is
    one, an embedding in ``obsm["X_scrae"]``.
    """
    import pandas as pd
    from anndata import AnnData

    handed = json.loads((folder / CELLS).read_text(encoding="utf-8"))
    parts = {name: _mapped(folder, part) for name, part in handed["counts"].items()}
    cells, genes = (pd.Index(handed[name], dtype=object) for name in ("cells", "genes"))
    counts = sp.csr_matrix((parts["data"], parts["indices"], parts["indptr"]), shape=(len(cells), len(genes)))
    columns = {name: _column(folder, column) for name, column in handed["columns"].items()}
    adata = AnnData(counts, pd.DataFrame(columns, index=cells), pd.DataFrame(index=genes))
    if "embedding" in handed:
        # R's matrices lie column by column.
        values = _mapped(folder, handed["embedding"])
        adata.obsm["X_scrae"] = np.ascontiguousarray(values.reshape(-1, len(cells)).T)
    for path in folder.glob("cells.*"):
        with suppress(OSError):  # Windows keeps what is mapped until the job's folder goes
            path.unlink()
    return adata


def _column(folder: Path, column: dict[str, Any]) -> list[Any]:
    values = _mapped(folder, column)
    if "levels" not in column:
        return list(values.tolist())
    levels = [*column["levels"], None]  # a code of -1: nothing is said
    return [levels[code] for code in values]


def _mapped(folder: Path, array: dict[str, Any]) -> np.ndarray:
    """An array in a file whose name ends in the kind of its numbers: ``.i4``, ``.f4``, ``.f8``.

    What is written into it is seen by nobody else, and kept nowhere.
    """
    path = folder / array["file"]
    kind = np.dtype("<" + path.suffix[1:])
    if not path.stat().st_size:
        return np.zeros(0, dtype=kind)
    with path.open("rb") as file:
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    # Behind a view of its own it is an array like any other: what is made of it belongs into memory. What is made of
    # counts on disk (scrae.data.on_disk) may not have room there.
    return np.frombuffer(memoryview(whole), dtype=kind)
