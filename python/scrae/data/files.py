"""Counts from files: of h5ad and zarr they can stay on disk; what is read whole may be of other kinds as well."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from scrae._deprecation import warn_of_old_name
from scrae._errors import CountsError
from scrae._messages import unknown
from scrae.data.count_folders import read_counts_folder
from scrae.data.counts import Rounding, as_counts
from scrae.data.features import SELECTION
from scrae.data.on_disk import edges, on_disk
from scrae.data.opened_files import elements, kind_of, opened, readable
from scrae.data.sparse_format import OF_FILE, refuse_malformed_group, refuse_malformed_positions

if TYPE_CHECKING:
    from anndata import AnnData


def cells_on_disk(path: str | os.PathLike[str], layer: str | None = None, *, counts: str = "raw") -> AnnData:
    """Open an h5ad file or a zarr store whose counts are too large for memory.

    The counts are checked and copied, a block of cells at a time, into an unnamed file in the folder of temporary files
    (:mod:`scrae.data.on_disk`). The file takes 8 bytes for each count above zero, 12 from 2^31 counts on. Training and
    embedding then need memory for the cells, but none that grows with the number of counts.

    Parameters
    ----------
    path
        h5ad or zarr (a folder), as anndata writes them, with the counts by cell: CSR, or dense.
    layer
        Layer with raw counts; None: ``X``.
    counts
        ``"raw"``, or ``"round"`` for estimated counts, which are rounded with a warning that says by how much.

    Returns
    -------
    AnnData with ``obs``, ``var`` and, as ``X``, the counts of the layer. Nothing else of the file is read.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is neither h5ad nor zarr, has no such layer, or is stored by gene (CSC).
    scrae.CountsError
        The values are not raw counts.

    Examples
    --------
    >>> import tempfile
    >>> import scrae
    >>> from scrae.data.files import cells_on_disk
    >>> path = f"{tempfile.mkdtemp()}/cells.h5ad"
    >>> scrae.datasets.pbmc().write_h5ad(path)
    >>> cells_on_disk(path).shape
    (700, 765)
    """
    return with_counts(tables_on_disk(path), path, layer, counts=counts)


def with_counts(
    tables: AnnData, path: str | os.PathLike[str], layer: str | None = None, *, counts: str = "raw"
) -> AnnData:
    """What :func:`cells_on_disk` gives, with the ``obs`` and ``var`` that :func:`tables_on_disk` has read already.

    Raises
    ------
    ValueError, scrae.CountsError
        As for :func:`cells_on_disk`.
    """
    from anndata import AnnData

    path, rounding = Path(path), Rounding.asked(counts)
    with opened(path, "r") as file:
        with readable(path):
            layers = list(file["layers"]) if "layers" in file else []
            has_matrix = "X" in file
        if layer is not None and layer not in layers:
            raise ValueError(unknown("layer", layer, layers, str(path)))
        where = "X" if layer is None else f"layers/{layer}"
        if layer is None and not has_matrix:
            raise CountsError(f"{path} has no {where}: there is no matrix", "no_matrix")
        with readable(path):
            stored = file[where]
        blocks = _checked(path, stored, f"{where} of {path}", tables.obs_names, tables.var_names, rounding)
        checked = on_disk(blocks, tables.n_vars, at_most=_stored_entries(stored))
    if rounding is not None:
        rounding.warn(f"{where} of {path}")
    return AnnData(X=sp.csr_matrix(checked), obs=tables.obs, var=tables.var, uns=tables.uns)


def tables_on_disk(path: str | os.PathLike[str]) -> AnnData:
    """``obs``, ``var`` and how genes were selected, of what :func:`cells_on_disk` opens: little to read.

    Raises
    ------
    FileNotFoundError, ValueError
        As for :func:`cells_on_disk`, but for the matrix.
    """
    from anndata import AnnData

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    read, _ = elements()
    with opened(path, "r") as file:
        with readable(path):
            parts = list(file)
        if "obs" not in parts or "var" not in parts:
            raise ValueError(f"{path} is not {kind_of(path)} as anndata writes it: it has no obs and var")
        with readable(path):
            obs, var = read(file["obs"]), read(file["var"])
            if not (hasattr(obs, "index") and hasattr(var, "index")):
                obs, var = _old_tables(path)
            has_selection = SELECTION in file.get("uns", ())
            uns = {SELECTION: read(file["uns"][SELECTION])} if has_selection else {}
    return AnnData(obs=obs, var=var, uns=uns)


def _old_tables(path: Path) -> tuple[Any, Any]:
    """``obs`` and ``var`` as anndata before 0.7 wrote them: in its reader of whole files alone they are tables."""
    import anndata

    adata = anndata.read_h5ad(path, backed="r")
    try:
        return adata.obs.copy(), adata.var.copy()
    finally:
        adata.file.close()


def map_cells(path: str | os.PathLike[str], layer: str | None = None) -> AnnData:
    """The former name of :func:`cells_on_disk`."""
    warn_of_old_name("scrae.data.files.map_cells", "cells_on_disk")
    return cells_on_disk(path, layer)


def _checked(
    path: Path, stored: Any, where: str, cell_names: Any, gene_names: Any, rounding: Rounding | None
) -> Iterator[sp.csr_array]:
    """Counts a block of cells at a time."""
    shape = len(cell_names), len(gene_names)
    with readable(path):
        kind = _stored_as(stored)
    if kind not in ("csr_matrix", "array"):
        raise ValueError(
            f"{where} is stored as {kind}; cells are read one after the other, so it has to be CSR: "
            "adata.X = adata.X.tocsr() where it fits in memory"
        )
    sparse = kind == "csr_matrix"
    if sparse:
        with readable(path):
            indptr = refuse_malformed_group(stored, shape, False, where)
    elif tuple(stored.shape) == shape:
        indptr = np.arange(shape[0] + 1, dtype=np.int64) * shape[1]
    else:
        said = " x ".join(map(str, stored.shape))
        raise CountsError(
            f"{where} is a table of {said}, where there are {shape[0]:,} cells and {shape[1]:,} genes", "no_table"
        )
    for start, stop in pairwise(edges(indptr)):
        if sparse:
            entries = slice(indptr[start], indptr[stop])
            values, positions = _part(stored["data"], entries, where), _part(stored["indices"], entries, where)
            if positions.size and (positions.min() < 0 or positions.max() >= shape[1]):
                refuse_malformed_positions(stored["indices"], shape[1], where)  # says how many there are in all
            arrays = (values, positions, indptr[start : stop + 1] - entries.start)
            block: Any = sp.csr_array(arrays, shape=(stop - start, shape[1]))
        else:
            block = _part(stored, slice(start, stop), where)
        yield as_counts(block, where, cell_names[start:stop], gene_names, copy=False, rounding=rounding)


def _part(stored: Any, entries: slice, where: str) -> np.ndarray:
    try:
        return np.asarray(stored[entries])
    except (OSError, RuntimeError, ValueError) as error:  # what HDF5 and the filters of zarr make of flipped bits
        raise CountsError(f"{where} is damaged: {error}", "damaged_matrix", fault=str(error)) from error


def _stored_entries(stored: Any) -> int:
    """How many entries a sparse matrix says that it has; 0 of others."""
    values = stored["data"] if hasattr(stored, "keys") and "data" in stored else None
    return int(getattr(values, "size", 0))


def _stored_as(stored: Any) -> str:
    """How a matrix is stored, as anndata calls it: "csr_matrix", "csc_matrix", "array"."""
    if not hasattr(stored, "keys"):
        return "array"
    old = stored.attrs.get("h5sparse_format")  # anndata before 0.7, and SeuratDisk
    return str(stored.attrs.get("encoding-type", "?") if old is None else f"{old}_matrix")


def _refuse_malformed_file(path: Path) -> None:
    """Look at the index arrays of what is read whole: readers take fractions for positions, or slice what they read.

    Positions are read for the matrix of a 10x file alone, whose reader slices. Others are looked at in memory, which is
    sooner, by :func:`scrae.data.counts.as_counts`.
    """
    with opened(path, "r") as file:
        if path.suffix == ".h5":
            for name, group in file.items():
                if hasattr(group, "keys") and all(part in group for part in (*OF_FILE, "shape")):
                    n_genes, n_cells = (int(n) for n in group["shape"][:])
                    refuse_malformed_group(group, (n_cells, n_genes), False, f"{name} of {path}")
                    refuse_malformed_positions(group["indices"], n_genes, f"{name} of {path}")
            return
        for place in ("X", *(f"layers/{name}" for name in file.get("layers", ())), "raw/X"):
            stored = file.get(place)
            if stored is not None and _stored_as(stored) in ("csr_matrix", "csc_matrix"):
                shape = stored.attrs.get("shape", stored.attrs.get("h5sparse_shape"))
                if shape is None or np.size(shape) != 2:
                    fault = "it lacks its shape"
                    raise CountsError(f"{place} of {path} is damaged: {fault}", "damaged_matrix", fault=fault)
                refuse_malformed_group(stored, shape, _stored_as(stored) == "csc_matrix", f"{place} of {path}")


def read_counts(path: Path, prefix: str | None = None) -> AnnData:
    """Read h5ad, zarr, a 10x HDF5 file, or a folder of counts (:mod:`scrae.data.count_folders`).

    Parameters
    ----------
    path
        File, store or folder.
    prefix
        What the names of the files in a folder of counts begin with, where it has several.

    Raises
    ------
    FileNotFoundError
        No such file or folder.
    ValueError
        A file of another kind, or one that cannot be read.
    """
    import anndata
    import scanpy as sc

    read_10x = partial(sc.read_10x_h5, gex_only=False)  # what is to be modelled is asked and told later
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    readers: dict[str, Any] = {".h5ad": anndata.read_h5ad, ".h5": read_10x, ".zarr": anndata.read_zarr}
    if path.is_dir() and path.suffix != ".zarr":
        readers[path.suffix] = partial(read_counts_folder, prefix=prefix)
    elif path.suffix not in readers:
        raise ValueError(
            f"{path} is not h5ad, zarr, 10x .h5 or a folder of counts; scanpy reads many other formats and writes h5ad"
        )
    with readable(path):
        if path.suffix in (".h5ad", ".h5", ".zarr"):
            _refuse_malformed_file(path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Variable names are not unique")  # repaired below
            adata: AnnData = readers[path.suffix](path)
    if path.suffix not in (".h5ad", ".zarr"):
        adata.var_names_make_unique()  # 10x files repeat gene symbols as a matter of course
    return adata
