"""Jobs inside an R session that holds this Python through reticulate."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from scrae.r.conversion import bridge
from scrae.r.jobs import run


def run_in_session(folder: str) -> None:
    """Do the job in ``folder`` inside an R session; the cells wait in the R package's own environment.

    Parameters
    ----------
    folder
        Job folder, with ``job.json``.
    """
    ro, _ = bridge()
    _import_torch_with_its_own_blas()

    def cells() -> Any:
        return ro.r("get('cells', envir = getFromNamespace('session_job', 'scRAE'))")

    run(Path(folder), cells, lambda *_, **__: None)


def _import_torch_with_its_own_blas() -> None:
    """Import torch so that it keeps its own matrix product: inside R, R's slow reference BLAS would stand in for it."""
    if "torch" in sys.modules or not hasattr(os, "RTLD_DEEPBIND"):
        return
    flags = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_NOW | os.RTLD_DEEPBIND)
    try:
        import torch  # noqa: F401
    finally:
        sys.setdlopenflags(flags)
