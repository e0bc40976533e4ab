"""What is installed and what this machine offers: the first thing to look at when something does not work."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

from scrae._version import __version__

REQUIRED = ("torch", "numpy", "scipy", "pandas", "anndata", "scanpy", "scikit-learn", "safetensors", "tqdm")
FOR_R = ("rpy2", "rpy2-rinterface", "anndata2ri")


def report() -> dict[str, str]:
    """Findings by name, as short texts: versions, threads, device, R and what is needed to talk to it."""
    findings = {"scrae": __version__, "python": f"{platform.python_version()} ({platform.platform()})"}
    findings |= {name: _version(name) for name in REQUIRED}
    findings |= _torch()
    findings |= {"memory": _memory(), "R": _r()}
    findings |= {name: _version(name, "not installed (only needed from R: pip install 'scrae[r]')") for name in FOR_R}
    return findings


def problems(findings: dict[str, str]) -> list[str]:
    """What stops scRAE from working, each with what to do; empty where nothing does."""
    return [f"{name} is missing: pip install {name}" for name in REQUIRED if findings[name].startswith("not installed")]


def _version(package: str, otherwise: str = "not installed") -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return otherwise


def _torch() -> dict[str, str]:
    try:
        import torch
    except ImportError as error:
        return {"threads": "unknown", "device": f"torch cannot be imported: {error}"}
    threads = f"{torch.get_num_threads()} of {os.cpu_count()} processors (set OMP_NUM_THREADS to change)"
    if not torch.cuda.is_available():
        return {"threads": threads, "device": "cpu (no CUDA device)"}
    return {"threads": threads, "device": f"cuda ({torch.cuda.get_device_name()})"}


def _memory() -> str:
    table = Path("/proc/meminfo")
    if not table.exists():
        return "unknown"
    lines = dict(line.split(":", 1) for line in table.read_text().splitlines())
    gigabytes = {name: int(lines[name].split()[0]) / 2**20 for name in ("MemTotal", "MemAvailable")}
    return f"{gigabytes['MemAvailable']:.1f} GiB free of {gigabytes['MemTotal']:.1f} GiB"


def _r() -> str:
    program = shutil.which("R")
    if program is None:
        return "not found (Python users do not need it)"
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{program} does not run: {error}"
    return f"{answer.stdout.splitlines()[0]} ({program})"
