"""Memory of processes (Linux): the peak, which can be started anew between measurements, and what is their own."""

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


def memory_of_all_mb(pid: int) -> float:
    """Resident memory that is no file's, of a process and of all that it has started."""
    parents, own = {}, {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            facts = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except OSError:  # it has ended meanwhile
            continue
        parents[int(facts["Pid"])] = int(facts["PPid"])
        own[int(facts["Pid"])] = int(facts.get("RssAnon", "0 kB").split()[0]) / 1024

    def belongs(process: int) -> bool:
        return process == pid or (process in parents and belongs(parents[process]))

    return sum(mb for process, mb in own.items() if belongs(process))


def _status_mb(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {name} in /proc/self/status: memory is measured on Linux only")
