"""What a training runs on: the device, and the versions of what computes."""

from __future__ import annotations

import platform

import numpy as np
import torch

from scrae._errors import Refusal
from scrae._version import __version__


def resolve_device(device: str) -> torch.device:
    """``"auto"`` as the CUDA device, if there is one, else the CPU; others as torch knows them.

    Raises
    ------
    ValueError
        Not a device, one without double precision (``"mps"``), or CUDA is asked for and not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):
        resolved = None
    if resolved is not None and resolved.type == "mps":
        raise Refusal(
            f"device={device!r} is not supported: the likelihood of counts is computed in double precision, which "
            'Apple\'s GPUs do not have; use device="cpu"',
            "no_double_precision",
            device=str(device),
        )
    if resolved is None or resolved.type not in ("cpu", "cuda"):
        raise Refusal(f'device={device!r} is not known; use "auto", "cpu" or "cuda"', "unknown_device", device=device)
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise Refusal(
            f'device={device!r}, but torch {torch.__version__} finds no CUDA device; use device="cpu"',
            "no_cuda",
            device=str(device),
            torch=str(torch.__version__),
        )
    return resolved


def refuse_more_than_free(n_bytes: int, device: torch.device) -> None:
    """Refuse counts of so many bytes that have to be on a GPU and have no room there.

    Raises
    ------
    ValueError
        Less is free on the device, memory that torch keeps for later included.
    """
    if device.type != "cuda":
        return
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if n_bytes > free:
        raise Refusal(
            f"the counts take {n_bytes / 1e9:,.3g} GB of memory, and {free / 1e9:,.3g} GB are free on {device}; use "
            'device="cpu", or fewer genes',
            "gpu_too_small",
            device=str(device),
            needed=n_bytes,
            free=free,
        )


def versions() -> dict[str, str]:
    """Versions that decide the bits of a result."""
    return {
        "scrae": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
