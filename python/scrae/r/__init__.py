"""The thin door to R: counts come in, arrays and plain values go out.

Two ways lead here, with the same jobs behind them:

- ``python -m scrae.r`` (``__main__``, ``worker``): the worker of the R package. It stays for the R session, takes the
  counts of each job from files in the job's folder (``handed``), works, and leaves arrays and ``result.json`` there.
  What happens meanwhile is told on standard output, one JSON object a line.
- :func:`run_in_session`: the same job for an R session that holds this Python through reticulate, whose counts come by
  rpy2 and anndata2ri.

:func:`from_sce` is for Python users who have a SingleCellExperiment in rpy2.

rpy2 and anndata2ri are the extra ``scrae[r]``; they are imported when an object has to be read, and not before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrae.r.conversion import from_sce
    from scrae.r.session import run_in_session

__all__ = ["from_sce", "run_in_session"]

_NAMES = {"from_sce": "scrae.r.conversion", "run_in_session": "scrae.r.session"}


def __getattr__(name: str) -> Any:
    if name in _NAMES:  # loaded when they are used: to look for what is installed takes a second, and not more
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'scrae.r' has no attribute {name!r}")
