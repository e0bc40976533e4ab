"""Files of cells that are trained on without being read into memory: h5ad or zarr in, the same out."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import scipy.sparse as sp

from scrae._deprecation import warn_of_old_name
from scrae._errors import Coded, CountsError, Refusal
from scrae._messages import some, unknown
from scrae.compute.atomic import NotWritten, refuse_unwritable, refuse_without_room, sweep, written_aside
from scrae.data.count_folders import read_counts_folder
from scrae.data.counts import Rounding, as_counts
from scrae.data.layers import named_layers
from scrae.data.on_disk import edges, on_disk
from scrae.data.spared_hdf5 import hdf5_file
from scrae.data.sparse_format import OF_FILE, refuse_malformed_group, refuse_malformed_positions

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


PARTS = {"X", "layers", "obs", "obsm", "obsp", "raw", "uns", "var", "varm", "varp"}  # of a store that anndata writes
ROOM = 2**20  # bytes that a result takes beside its arrays: names, descriptions
OF_ZARR = {".zattrs", ".zgroup", ".zmetadata", "zarr.json"}  # what describes them


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
    with _opened(path, "r") as file:
        with _readable(path):
            layers = list(file["layers"]) if "layers" in file else []
            has_matrix = "X" in file
        if layer is not None and layer not in layers:
            raise ValueError(unknown("layer", layer, layers, str(path)))
        where = "X" if layer is None else f"layers/{layer}"
        if layer is None and not has_matrix:
            raise CountsError(f"{path} has no {where}: there is no matrix", "no_matrix")
        with _readable(path):
            stored = file[where]
        blocks = _checked(path, stored, f"{where} of {path}", tables.obs_names, tables.var_names, rounding)
        checked = on_disk(blocks, tables.n_vars, at_most=_stored_entries(stored))
    if rounding is not None:
        rounding.warn(f"{where} of {path}")
    return AnnData(X=sp.csr_matrix(checked), obs=tables.obs, var=tables.var)


def tables_on_disk(path: str | os.PathLike[str]) -> AnnData:
    """``obs`` and ``var`` of what :func:`cells_on_disk` opens, without counts: little to read.

    Raises
    ------
    FileNotFoundError, ValueError
        As for :func:`cells_on_disk`, but for the matrix.
    """
    from anndata import AnnData

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    read, _ = _elements()
    with _opened(path, "r") as file:
        with _readable(path):
            parts = list(file)
        if "obs" not in parts or "var" not in parts:
            raise ValueError(f"{path} is not {_kind(path)} as anndata writes it: it has no obs and var")
        with _readable(path):
            obs, var = read(file["obs"]), read(file["var"])
            if not (hasattr(obs, "index") and hasattr(var, "index")):
                obs, var = _old_tables(path)
    return AnnData(obs=obs, var=var)


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


def _kind(path: Path) -> str:
    return "zarr" if path.is_dir() else "h5ad"


@contextmanager
def _opened(path: Path, mode: Literal["r", "r+"]) -> Iterator[Any]:
    """The group at the root, of h5py or of zarr: both name their parts and slice their arrays alike."""
    try:
        if _kind(path) == "zarr":
            import zarr

            # Parts cannot be added where they are listed (zarr 3).
            listed: dict[str, Any] = {} if zarr.__version__.startswith("2.") else {"use_consolidated": False}
            file: Any = zarr.open_group(str(path), mode=mode, **listed)
        else:
            import h5py

            file = h5py.File(path, mode)
    except ImportError as error:
        raise ValueError(f"{path} is a folder, and zarr is not installed: pip install zarr") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as {_kind(path)}: {error}") from error
    try:
        yield file
    finally:
        if hasattr(file, "close"):
            file.close()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say of which file it is what HDF5, zarr and anndata make of damage: they raise errors of every kind.

    Raises
    ------
    ValueError
        The block raised something else than a :class:`scrae.CountsError`.
    """
    try:
        yield
    except CountsError:
        raise
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _checked(
    path: Path, stored: Any, where: str, cell_names: Any, gene_names: Any, rounding: Rounding | None
) -> Iterator[sp.csr_array]:
    """Counts a block of cells at a time."""
    shape = len(cell_names), len(gene_names)
    with _readable(path):
        kind = _stored_as(stored)
    if kind not in ("csr_matrix", "array"):
        raise ValueError(
            f"{where} is stored as {kind}; cells are read one after the other, so it has to be CSR: "
            "adata.X = adata.X.tocsr() where it fits in memory"
        )
    sparse = kind == "csr_matrix"
    if sparse:
        with _readable(path):
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


def refuse_target(path: Path, sources: Sequence[Path] = ()) -> None:
    """Refuse, before there is anything to lose, a target that :func:`write_whole` and :func:`write_beside` must not
    replace or cannot write.

    Parameters
    ----------
    path
        Where the result shall be: nothing, or an h5ad file or zarr store of AnnData, and nothing else beside that.
    sources
        h5ad or zarr that the result will contain, for the room that it needs.

    Raises
    ------
    scrae.Refusal
        Something else is there, or there is not enough room.
    OSError
        Nothing can be written there.
    """
    sweep(path.parent)  # also puts back what a process that was killed had moved away
    refuse_unwritable(path.parent)
    _refuse_foreign(path)
    refuse_without_room(path, sum(_size(source) for source in sources if source.suffix in (".h5ad", ".zarr")))


def _refuse_foreign(path: Path) -> None:
    """Refuse to replace what is no AnnData."""
    if not os.path.lexists(path):
        return
    reason = _why_no_anndata(path)
    if reason is not None:
        raise Refusal(
            f"{str(path)!r} exists and is not replaced, because {reason}. Choose another name, or move it away.",
            "not_replaced",
            path=str(path),
        )


def _why_no_anndata(path: Path) -> str | None:
    """Why ``path`` is not what its name promises, an AnnData file or store and nothing else; None where it is."""
    if path.suffix == ".zarr" and not path.is_dir():
        return "it is no folder, and so no zarr store"
    if path.suffix != ".zarr" and not path.is_file():
        return "it is no regular file, and so no h5ad file"
    try:
        with _opened(path, "r") as file, _readable(path):
            kind = file.attrs.get("encoding-type", "anndata")  # anndata before 0.7 did not say it
            parts = {part for part in ("obs", "var", "mod") if part in file}
    except ValueError as error:
        return f"it is no AnnData: {error}"
    if kind != "anndata" or parts != {"obs", "var"}:
        return "it does not hold one AnnData object"
    if path.is_dir():
        others = sorted({entry.name for entry in path.iterdir()} - PARTS - OF_ZARR)
        if others:
            return f"beside an AnnData store it holds other things ({some(others)})"
    return None


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else 0


def _size_in_memory(adata: AnnData, *, counts: bool = True) -> int:
    """About how many bytes a result takes when it is written, which is as it is in memory, uncompressed."""
    parts = [*adata.obsm.values(), *adata.varm.values(), adata.obs, adata.var]
    if counts:
        raw = [] if adata.raw is None else [adata.raw.X]
        parts += [adata.X, *raw, *named_layers(adata).values(), *adata.obsp.values(), *adata.varp.values()]
    return ROOM + sum(map(_bytes_of, parts))


def _bytes_of(part: Any) -> int:
    if hasattr(part, "memory_usage"):
        return int(part.memory_usage(index=True).sum())
    arrays = [getattr(part, name, None) for name in OF_FILE] if sp.issparse(part) else [part]
    return sum(int(getattr(array, "nbytes", 0)) for array in arrays)


@contextmanager
def _not_written(path: Path) -> Iterator[None]:
    """Say which file it is that HDF5, zarr or the copy of a folder could not write.

    Raises
    ------
    OSError
        The block raised one, or what HDF5 raises in its place.
    """
    try:
        yield
    except Coded:
        raise
    except (OSError, RuntimeError) as error:
        known = isinstance(error, OSError) and error.strerror
        reason = error if known else OSError(getattr(error, "errno", None), str(error)[:300])
        raise NotWritten(path, cast(OSError, reason)) from error


def write_beside(source: Path, adata: AnnData, path: Path) -> None:
    """Write ``path``: the file ``source``, with what was added to the ``adata`` that :func:`cells_on_disk` gave of it.

    Parameters
    ----------
    source
        The h5ad file or zarr store, copied as it is.
    adata
        Its ``obsm``, ``uns``, ``obs`` and ``var`` are written; the first two beside what is there.
    path
        The result, of the same kind, written aside and moved into place.
    """
    _, write = _elements()
    _refuse_foreign(path)
    if _kind(source) == "h5ad":
        refuse_without_room(path, _size(source) + _size_in_memory(adata, counts=False))
    with _not_written(path), written_aside(path) as part:
        if _kind(source) == "zarr":
            shutil.copytree(source, part)
        else:
            shutil.copyfile(source, part)
        with _opened(part, "r+") if _kind(source) == "zarr" else hdf5_file(part, "r+") as file:
            write(file, "obs", _with_plain_names(adata.obs))
            write(file, "var", _with_plain_names(adata.var))
            for name, added in (("obsm", adata.obsm), ("uns", adata.uns)):
                if name not in file:
                    write(file, name, {})
                for key, value in added.items():
                    write(file[name], key, value)
        if _kind(source) == "zarr":
            _list_anew(part)


def write_whole(adata: AnnData, path: Path) -> None:
    """Write all of ``adata`` aside and move it into place; zarr if ``path`` ends so, else h5ad."""
    _refuse_foreign(path)
    for frame in (adata.obs, adata.var, *(() if adata.raw is None else (adata.raw.var,))):
        frame.index = _with_plain_names(frame).index
    if path.suffix != ".zarr":  # which is compressed, so that nobody knows
        refuse_without_room(path, _size_in_memory(adata))
    with _not_written(path), written_aside(path) as part, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Writing zarr v2")  # anndata decides on the format
        if path.suffix == ".zarr":
            adata.write_zarr(part)
        else:
            _write_h5ad(adata, part)


def _with_plain_names(frame: pd.DataFrame) -> pd.DataFrame:
    """The same table, its names as objects: readers in R, and of before pandas 3, know no nullable text."""
    plain = frame.copy(deep=False)
    plain.index = plain.index.astype(object)
    return plain


def _write_h5ad(adata: AnnData, path: Path) -> None:
    """What ``adata.write_h5ad(path)`` writes, which would let HDF5 meet a full disk."""
    _, write = _elements()
    adata.strings_to_categoricals()
    if adata.raw is not None:
        adata.strings_to_categoricals(adata.raw.var)
    with hdf5_file(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        for name in ("X", "raw", "obs", "var"):
            part = getattr(adata, name)
            if part is not None:
                write(file, name, part)
        for name in ("obsm", "varm", "obsp", "varp", "uns"):
            write(file, name, dict(getattr(adata, name)))
        write(file, "layers", named_layers(adata))


def write_elsewhere(adata: AnnData, path: Path) -> Path | None:
    """Where ``path`` could not be written: the embedding without the counts, beside it or among temporary files.

    Returns
    -------
    The h5ad file that has ``obs``, ``obsm`` and ``uns`` of ``adata``; None: there was no room for it either.
    """
    from anndata import AnnData

    small = AnnData(obs=adata.obs, obsm=dict(adata.obsm), uns=dict(adata.uns))
    for parent in (path.parent, Path(tempfile.gettempdir())):
        folder = None
        try:
            folder = Path(tempfile.mkdtemp(prefix=f"{path.stem[:100]}-", dir=parent))
            place = folder / "embedding.h5ad"
            write_whole(small, place)
        except Exception:  # HDF5 raises what it likes when a disk is full
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
        else:
            return place
    return None


def _list_anew(store: Path) -> None:
    """A store that lists all its parts at its root, as anndata's do, has to list the added ones, too."""
    import zarr

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")  # zarr 3's format
        zarr.consolidate_metadata(str(store))


def _elements() -> tuple[Any, Any]:
    """anndata's functions that read and write a part of a file."""
    try:
        from anndata.io import read_elem, write_elem
    except ImportError:  # anndata 0.10
        from anndata.experimental import read_elem, write_elem
    return read_elem, write_elem


def _refuse_malformed_file(path: Path) -> None:
    """Look at the index arrays of what is read whole: readers take fractions for positions, or slice what they read.

    Positions are read for the matrix of a 10x file alone, whose reader slices. Others are looked at in memory, which is
    sooner, by :func:`scrae.data.counts.as_counts`.
    """
    with _opened(path, "r") as file:
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
    with _readable(path):
        if path.suffix in (".h5ad", ".h5", ".zarr"):
            _refuse_malformed_file(path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Variable names are not unique")  # repaired below
            adata: AnnData = readers[path.suffix](path)
    if path.suffix not in (".h5ad", ".zarr"):
        adata.var_names_make_unique()  # 10x files repeat gene symbols as a matter of course
    return adata
