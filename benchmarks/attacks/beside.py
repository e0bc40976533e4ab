"""Loads while another process saves one model and another into the same folder, again and again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from attacks import models
from attacks.outcome import FOREIGN, NEEDLESS, RIGHT, WRONG, Outcome, is_own
from attacks.processes import Child

PAIRS = (("one", "other"), ("one", "later"), ("batches", "other batches"), ("other", "batches"))
LOADS = 25  # beside one process that saves


class Beside:
    """Tries beside a process that saves, which is another every so often."""

    def __init__(self, saved: Path) -> None:
        self.saved = saved
        self.adata = models.cells()
        self.known = {name: models.facts(models.load(saved / name), self.adata) for name in models.NAMES}

    def attempts(self, rng: np.random.Generator, place: Path) -> Iterator[Outcome]:
        """:data:`LOADS` tries; each has to give one of the two models, whole."""
        pair = PAIRS[rng.integers(len(PAIRS))]
        folder = place / "model"
        shutil.copytree(self.saved / pair[0], folder)
        with self._saving(pair, folder):
            for _ in range(LOADS):
                yield self._load(pair, folder)

    def _load(self, pair: tuple[str, str], folder: Path) -> Outcome:
        what = f"{pair[0]} and {pair[1]}"
        try:
            found = models.facts(models.load(folder), self.adata)
        except Exception as error:  # there is a model there at any time
            return Outcome(NEEDLESS if is_own(error) else FOREIGN, f"{what}: {type(error).__name__}: {error}")
        return Outcome(RIGHT if found in [self.known[name] for name in pair] else WRONG, what)

    @contextmanager
    def _saving(self, pair: tuple[str, str], folder: Path) -> Iterator[None]:
        def save() -> None:
            one, other = (models.load(self.saved / name) for name in pair)
            while True:
                other.save(folder)
                one.save(folder)

        child = Child(save)
        try:
            yield
        finally:
            child.kill()
