"""Python's search for objects that only refer to each other, put off while many are made that do not."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Do not search meanwhile; afterwards as before.

    The collector goes through all objects of the process each time their number has grown by some part. Where hundreds
    of thousands are made at once, and are needed, that can take as long as all else.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
