"""scRAE: deep embeddings and clusters of single-cell counts.

``scrae.tl.scrae(adata)`` puts an embedding into ``adata.obsm["X_scrae"]``; :class:`scrae.SCRAE` is the estimator
behind it. Importing the package is light: torch, scanpy and the rest are loaded when first used.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from scrae._version import __version__

if TYPE_CHECKING:
    from scrae import datasets, metrics, pl, pp, tl
    from scrae._errors import CountsError
    from scrae.model import SCRAE
    from scrae.model.fitted import NotFittedError
    from scrae.model.stored import ModelFolderError
    from scrae.training.loop import TrainingDiverged

# Threads of OpenMP spin while they wait for each other, so long that on a busy machine a training takes many times its
# time (docs/TRIED.md). Read when torch is loaded, which is later; what the user has set stands.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")

_MODULES = ("datasets", "metrics", "pl", "pp", "tl")
_NAMES = {
    "SCRAE": "scrae.model",
    "NotFittedError": "scrae.model.fitted",
    "CountsError": "scrae._errors",
    "ModelFolderError": "scrae.model.stored",
    "TrainingDiverged": "scrae.training.loop",
}

__all__ = [
    "SCRAE",
    "CountsError",
    "ModelFolderError",
    "NotFittedError",
    "TrainingDiverged",
    "__version__",
    "datasets",
    "metrics",
    "pl",
    "pp",
    "tl",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"scrae.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'scrae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
