"""A GPU of little memory, as torch would describe it: what is refused before anything is put on it."""

from __future__ import annotations

import pytest
import torch


def small_gpu(monkeypatch: pytest.MonkeyPatch, free: int, kept: int = 0) -> None:
    """Let torch say that there is a GPU with so many free bytes, and so many more that it keeps for later."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**12))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: kept + 7)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 7)
