"""An R session in this process. Tests of this folder are skipped where R or rpy2 is not there."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from scrae.r.conversion import bridge

CHECK = """
import sys
from scrae.r.conversion import bridge
try:
    ro, _ = bridge()
    ro.r('loadNamespace("SingleCellExperiment")')
except Exception as error:
    sys.exit(str(error))
"""


@pytest.fixture(scope="session", autouse=True)
def r_is_there() -> None:
    # In a process of its own: a rpy2 that does not fit this R may take the process with it.
    answer = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=False)
    if answer.returncode:
        pytest.skip(f"no R with SingleCellExperiment that rpy2 can talk to: {answer.stderr.strip()[-300:]}")


@pytest.fixture(scope="session")
def ro(r_is_there: None) -> Any:
    robjects, _ = bridge()
    robjects.r("suppressPackageStartupMessages({library(Matrix); library(SingleCellExperiment)})")
    robjects.r("""
    set.seed(1)
    counts <- matrix(rpois(300, 1), 20, 15, dimnames = list(paste0("g", 1:20), paste0("c", 1:15)))
    counts <- Matrix(counts, sparse = TRUE)
    sce <- SingleCellExperiment(list(counts = counts, logcounts = log1p(counts)))
    """)
    return robjects
