"""Memory of this process (Linux): its peak, which can be started anew between measurements, and what is its own."""

from __future__ import annotations

from pathlib import Path


def restart_peak() -> None:
    """Let the peak start anew from what is held now."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb() -> float:
    """Largest resident memory since the start, or since :func:`restart_peak`."""
    return _status_mb("VmHWM")


def own_memory_mb() -> float:
    """Resident memory that is no file's."""
    return _status_mb("RssAnon")


def _status_mb(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {name} in /proc/self/status: memory is measured on Linux only")
