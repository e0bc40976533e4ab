"""h5ad files and zarr stores as anndata writes them, opened: both name their parts alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from scrae._errors import CountsError


def kind_of(path: Path) -> str:
    """What it is called in messages."""
    return "zarr" if path.is_dir() else "h5ad"


@contextmanager
def opened(path: Path, mode: Literal["r", "r+"]) -> Iterator[Any]:
    """The group at the root, of h5py or of zarr: both name their parts and slice their arrays alike."""
    try:
        if kind_of(path) == "zarr":
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
        raise ValueError(f"{path} cannot be read as {kind_of(path)}: {error}") from error
    try:
        yield file
    finally:
        if hasattr(file, "close"):
            file.close()


@contextmanager
def readable(path: Path) -> Iterator[None]:
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


def elements() -> tuple[Any, Any]:
    """anndata's functions that read and write a part of a file."""
    try:
        from anndata.io import read_elem, write_elem
    except ImportError:  # anndata 0.10
        from anndata.experimental import read_elem, write_elem
    return read_elem, write_elem
