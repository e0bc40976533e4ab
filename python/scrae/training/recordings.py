"""Iterations on a GPU, recorded once and replayed.

An iteration of a small network is some hundreds of operations of a few microseconds each. A GPU is done with one before
Python has asked for the next. A CUDA graph has them all, so that one call starts them (NVIDIA 2019; torch.cuda.graph).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from scrae.regularisers.phases import Phase


class Recordings:
    """Calls ``iteration``, or replays what it did on the GPU in an earlier call of the kind.

    Iterations are of a kind if they have as many cells and the same phases. The first of a kind is carried out as
    usual, and makes room for everything that lasts. The second one is recorded. Random numbers are new in each.

    Parameters
    ----------
    iteration
        Of the positions of a minibatch's cells, int64 (n_cells,) on the GPU, and the phases that take a step. All that
        lasts it must change in place, and neither ask for a number of the GPU nor depend on one of the processor.
    """

    def __init__(self, iteration: Callable[[Tensor, tuple[Phase, ...]], None]) -> None:
        self._iteration = iteration
        self.forget()

    def forget(self) -> None:
        """Record anew: something was put in another place, or numbers of the processor have changed."""
        self._known: dict[tuple[int, tuple[str, ...]], tuple[Tensor, torch.cuda.CUDAGraph] | None] = {}

    def __call__(self, cells: Tensor, due: tuple[Phase, ...]) -> None:
        """An iteration."""
        kind = len(cells), tuple(phase.name for phase in due)
        if kind not in self._known:
            self._known[kind] = None
            self._iteration(cells, due)
            return
        recorded = self._known[kind]
        if recorded is None:
            recorded = cells.clone(), torch.cuda.CUDAGraph()
            with torch.cuda.graph(recorded[1], capture_error_mode="thread_local"):
                self._iteration(recorded[0], due)
            self._known[kind] = recorded
        recorded[0].copy_(cells)
        recorded[1].replay()
