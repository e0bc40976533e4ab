"""Results in files: h5ad or zarr, written aside and moved into place, and what must not be replaced."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import scipy.sparse as sp

from scrae._errors import Coded, Refusal
from scrae._messages import some
from scrae.compute.atomic import NotWritten, refuse_unwritable, refuse_without_room, sweep, written_aside
from scrae.data.layers import named_layers
from scrae.data.opened_files import elements, kind_of, opened, readable
from scrae.data.spared_hdf5 import hdf5_file
from scrae.data.sparse_format import OF_FILE

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

PARTS = {"X", "layers", "obs", "obsm", "obsp", "raw", "uns", "var", "varm", "varp"}  # of a store that anndata writes
ROOM = 2**20  # bytes that a result takes beside its arrays: names, descriptions
OF_ZARR = {".zattrs", ".zgroup", ".zmetadata", "zarr.json"}  # what describes them


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
        with opened(path, "r") as file, readable(path):
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
    """Write ``path``: the file ``source``, with what was added to the cells that were opened from it.

    Parameters
    ----------
    source
        The h5ad file or zarr store, copied as it is.
    adata
        What :func:`scrae.data.files.cells_on_disk` gave of it. Its ``obsm``, ``uns``, ``obs`` and ``var`` are written;
        the first two beside what is there.
    path
        The result, of the same kind, written aside and moved into place.
    """
    _, write = elements()
    _refuse_foreign(path)
    if kind_of(source) == "h5ad":
        refuse_without_room(path, _size(source) + _size_in_memory(adata, counts=False))
    with _not_written(path), written_aside(path) as part:
        if kind_of(source) == "zarr":
            shutil.copytree(source, part)
        else:
            shutil.copyfile(source, part)
        with opened(part, "r+") if kind_of(source) == "zarr" else hdf5_file(part, "r+") as file:
            write(file, "obs", _with_plain_names(adata.obs))
            write(file, "var", _with_plain_names(adata.var))
            for name, added in (("obsm", adata.obsm), ("uns", adata.uns)):
                if name not in file:
                    write(file, name, {})
                for key, value in added.items():
                    write(file[name], key, value)
        if kind_of(source) == "zarr":
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
    _, write = elements()
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
