"""What is installed and what this machine offers: the first thing to look at when something does not work."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from scrae._version import __version__

REQUIRED = ("torch", "numpy", "scipy", "pandas", "anndata", "scanpy", "scikit-learn", "safetensors", "tqdm")
CARDS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")  # one of these is where a graphics card computes
FOR_R = ("rpy2", "rpy2-rinterface", "anndata2ri")


def report(*, quick: bool = False) -> dict[str, str]:
    """Findings by name, as short texts: versions, threads, device, R and what is needed to talk to it.

    Where ``quick``, torch is imported only where it has to be asked about a graphics card, which takes seconds.
    """
    findings = {"scrae": __version__, "python": f"{platform.python_version()} ({platform.platform()})"}
    findings |= {name: _version(name) for name in REQUIRED}
    findings |= (_torch_by_its_files() if quick else None) or _torch()
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


def _torch_by_its_files() -> dict[str, str] | None:
    """What can be told of torch without importing it; None where it has to be imported."""
    with suppress(OSError, ImportError):
        found = importlib.util.find_spec("torch")
        folder = Path(str(found and found.origin)).parent
        built_for = re.findall(r"^(?:cuda|hip)\b.*= *(.+)$", (folder / "version.py").read_text(), flags=re.M)
        on_linux = sys.platform == "linux"
        if built_for and (set(built_for) == {"None"} or (on_linux and not any(map(os.path.exists, CARDS)))):
            threads = os.environ.get("OMP_NUM_THREADS", "as many as torch takes")
            return {
                "threads": f"{threads} of {os.cpu_count()} processors (set OMP_NUM_THREADS to change)",
                "device": "cpu (no CUDA device)",
            }
    return None


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
