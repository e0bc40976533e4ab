"""Checkpoints of a training that is under way."""

from __future__ import annotations

import os
import time
import warnings

import numpy as np

from scrae._errors import TrainingNotice
from scrae.compute import distributed
from scrae.model.fitting import Fitting
from scrae.model.folder import save_checkpoint


class Checkpoints:
    """The training state of one training, written into its folder from time to time.

    Parameters
    ----------
    fitting
        The training.
    folder
        None: nothing is written.
    seconds
        Least time between two checkpoints. The first epoch is followed by one: a folder that cannot be written shows
        early.
    """

    def __init__(self, fitting: Fitting, folder: str | os.PathLike[str] | None, seconds: float) -> None:
        self.fitting = fitting
        self.folder = folder
        self.seconds = seconds
        self._last = -np.inf
        self._failed_before = False

    def keep(self) -> None:
        """Write one if it is time. Where it cannot be written, training goes on, with a warning the first time."""
        if self.folder is None or time.monotonic() - self._last < self.seconds or not distributed.in_charge():
            return
        try:
            save_checkpoint(self.folder, self.fitting.checkpoint())
        except OSError as error:
            if not self._failed_before:
                path, reason = str(self.folder), getattr(error, "reason", str(error))
                warnings.warn(
                    TrainingNotice(
                        f"no checkpoint: {error}; training goes on", "no_checkpoint", path=path, reason=reason
                    ),
                    stacklevel=2,
                )
            self._failed_before = True
        self._last = time.monotonic()
