"""What R is told while a job is done: through both doors the same, so that R says the same.

An error or a warning goes with its code and fields (:mod:`scrae._errors`), which R words in its own terms. What is not
of this package has a code by its kind, or ``"other"``: R shows that one's text as Python's.
"""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrae._errors import Coded, Told
from scrae.r.job import Emit
from scrae.r.jobs import run

if TYPE_CHECKING:
    from anndata import AnnData

OF_OURS = (Coded, Told, Exception, BaseException, object)  # classes that say nothing to who catches errors
OUT_OF_MEMORY = ("OutOfMemoryError", "DefaultCPUAllocator")  # torch's error on a GPU, and what it says on a processor


def carry_out(folder: Path, given: Callable[[], AnnData], emit: Emit) -> bool:
    """Do the job in a folder; warnings and what ends it early become events. Whether it was done.

    Parameters
    ----------
    folder, given, emit
        As for :func:`scrae.r.jobs.run`.
    """

    def show_warning(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, (UserWarning, RuntimeWarning)):
            emit("warning", **described(message))

    with warnings.catch_warnings():  # what shows them is put back in the end
        warnings.showwarning = show_warning
        try:
            run(folder, given, emit)
        except (Exception, KeyboardInterrupt) as error:  # the latter where no epoch had ended
            if os.environ.get("SCRAE_TRACEBACK"):
                traceback.print_exc()
            emit("error", **described(error))
            return False
    emit("done")
    return True


def described(problem: BaseException) -> dict[str, Any]:
    """An error or a warning as plain values: its classes (the most special first), text, code and fields."""
    kinds = [kind.__name__ for kind in type(problem).__mro__ if kind not in OF_OURS]
    code, fields = (problem.code, problem.fields) if isinstance(problem, Coded) else _of_others(problem)
    return {"kinds": kinds, "text": str(problem), "code": code, "fields": fields}


def _of_others(problem: BaseException) -> tuple[str, dict[str, Any]]:
    """Code and fields of what this package did not raise."""
    if isinstance(problem, KeyboardInterrupt):
        return "interrupted", {}
    if isinstance(problem, ModuleNotFoundError):
        return "missing_package", {"package": problem.name}
    said = f"{type(problem).__name__}: {problem}"
    if isinstance(problem, MemoryError) or any(word in said for word in OUT_OF_MEMORY):
        return "memory", {}
    return "other", {}
