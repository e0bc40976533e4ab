"""Arrays that the operating system maps into memory from a file: what it should read, and when."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np


def is_mapped(array: np.ndarray) -> bool:
    """Whether an array is in a file."""
    return _mapping(array) is not None


def _mapping(array: Any) -> mmap.mmap | None:
    while isinstance(array, np.ndarray):
        array = array.base
    return array if isinstance(array, mmap.mmap) else None


def read_only_what_is_asked_for(array: np.ndarray) -> None:
    """Of an array that is read here and there: a page that is missing shall not bring megabytes around it along."""
    mapping = _mapping(array)
    if mapping is not None and hasattr(mapping, "madvise"):
        with suppress(OSError):  # it is advice
            mapping.madvise(mmap.MADV_RANDOM)


def read_ahead(array: np.ndarray, starts: Sequence[int], stops: Sequence[int]) -> None:
    """Have the operating system read what stands from each start to its stop, while the caller goes on.

    Without this it reads what is asked for page by page, each of them when somebody waits for it. The array is mapped
    from the beginning of its file. Of arrays in memory, and where the system cannot be told, nothing is done.
    """
    mapping = _mapping(array)
    if mapping is None or not hasattr(mapping, "madvise"):
        return
    with suppress(OSError):
        for start, stop in zip(starts, stops, strict=True):
            first = start * array.itemsize // mmap.PAGESIZE * mmap.PAGESIZE
            if stop > start:
                mapping.madvise(mmap.MADV_WILLNEED, first, stop * array.itemsize - first)
