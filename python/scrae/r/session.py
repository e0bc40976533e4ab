"""Jobs inside an R session that holds this Python through reticulate."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrae.r.answers import plain
from scrae.r.conversion import bridge, forget, from_r
from scrae.r.events import carry_out

if TYPE_CHECKING:
    from anndata import AnnData

SHOWN = ("warning", "error")


def run_in_session(folder: str) -> list[str]:
    """Do the job in ``folder`` inside an R session; the cells wait in the R package's own environment.

    Parameters
    ----------
    folder
        Job folder, with ``job.json``.

    Returns
    -------
    Warnings, and the error if there was one, as the worker tells them: one JSON object each. No exception reaches R.
    """
    lines: list[str] = []

    def emit(event: str, **facts: Any) -> None:
        if event in SHOWN:
            lines.append(json.dumps({"event": event} | plain(facts)))

    def cells() -> AnnData:
        handed = bridge()[0].r("get('cells', envir = getFromNamespace('session_job', 'scRAE'))")
        adata = from_r(handed)
        del handed
        forget()
        return adata

    with suppress(ImportError):  # the job says it
        _import_torch_with_its_own_blas()
    carry_out(Path(folder), cells, emit)
    return lines


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
