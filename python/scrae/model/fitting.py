"""From checked counts to a fitted model: one training, and what is fitted when it ends."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.autoencoder.settings import Settings, epochs_for, patience_for
from scrae.compute.device import versions
from scrae.compute.random_state import random_state_kept
from scrae.data.minibatches import CountData
from scrae.model.fitted import FittedModel
from scrae.model.training_data import TrainingData
from scrae.posthoc.finish import finish, size_of_readout, some_cells
from scrae.posthoc.gene_factors import GeneFactors
from scrae.posthoc.population import Population
from scrae.posthoc.principal_components import PrincipalComponents
from scrae.posthoc.readout import Readout
from scrae.training.loop import STOPPED_BY, Training

SMALLEST_VALIDATION = 10  # fewer held-out cells say too little to stop by


class Fitting:
    """One training. It knows nothing of the model that a user may have had before, and changes nothing of it.

    Draws from torch's random state, which the caller keeps (:func:`scrae.compute.random_state.random_state_kept`).

    Parameters
    ----------
    preset, settings, random_state
        Of the model; the seed decides initial weights, order and draws.
    device
        Where to train.
    data
        What to train on.
    state
        A training state to go on from; None: train anew.
    """

    def __init__(
        self,
        preset: str,
        settings: Settings,
        random_state: int,
        device: torch.device,
        data: TrainingData,
        state: Mapping[str, Tensor] | None,
    ) -> None:
        self.started = time.perf_counter()
        self.preset, self.random_state, self.device = preset, random_state, device
        self.data = data
        counts, covariates, coding = data.counts, data.covariates, data.coding
        torch.manual_seed(random_state)
        module = RegularisedAutoencoder(settings, counts.shape[1], coding.width, coding.n_batches)
        module.fit_constants(counts, data.batch)
        self.components = PrincipalComponents.fit(counts, settings.n_pcs).to(device) if settings.n_pcs else None
        self.factors = None
        if data.batch is not None and settings.n_pcs:
            some = some_cells(counts.shape[0], random_state)
            kept = None if covariates.kept is None else covariates.kept[some]
            self.factors = GeneFactors.fit(counts[some], data.batch[some], coding.n_batches, kept)
        self.population = Population.of(module.log_libraries(counts), covariates)
        cells = CountData(counts, covariates, device, has_batch=data.batch is not None, links=data.links)
        training, validation = _held_out(cells.n_cells, settings)
        patience = settings.patience or patience_for(len(training), settings.batch_size, settings.n_steps)
        self.training = Training(module.to(device), cells, training, validation, patience)
        if state is not None:
            self.training.load_state(dict(state))

    @property
    def settings(self) -> Settings:
        """Every choice of the model."""
        return self.training.model.settings

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self.training.progress.epoch

    @property
    def told_to_stop_by(self) -> signal.Signals | None:
        """The signal that ended training; None: none did."""
        reason = self.training.progress.stop_reason
        return next((number for number, name in STOPPED_BY.items() if name == reason), None)

    def sizes(self) -> tuple[int, int]:
        """Bytes of the trained network with its read-out, and of the state that training goes on from, at least."""
        training = self.training
        network = _bytes(training.model.state_dict().values())
        readout = size_of_readout(training.model, training.data.n_cells, self.components)
        best = network if len(training.validation_cells) else 0
        means = sum(2 * _bytes(phase.parameters) for phase in training.phases)  # of gradients, and of their squares
        return network + readout, network + best + means

    def epochs(self, max_epochs: int | None) -> int:
        """How many epochs there will be at most."""
        n_cells, settings = len(self.training.training_cells), self.settings
        return max_epochs or settings.max_epochs or epochs_for(n_cells, settings.batch_size, settings.n_steps)

    def run(self, epochs: int, show_progress: bool | None, after_epoch: Callable[[], None]) -> None:
        """Train up to that epoch."""
        self.training.run(epochs, show_progress, lambda _: after_epoch())

    def model(self) -> FittedModel:
        """The model as it is if training ends here. Random draws, but for those of training, are not disturbed."""
        with random_state_kept(self.device):
            module = self.training.result()
            readout, population = finish(
                module, self.training.data, self.components, self.population, self.random_state, self.factors
            )
        return self._value(module, population, readout, self.training.good_state())

    def checkpoint(self) -> FittedModel:
        """The same in the middle of training, with the state that training goes on from."""
        return replace(self.model(), training_state=self.training.state())

    def provisional_model(self) -> FittedModel:
        """The network in training, whose embedding is its codes: to look at between epochs."""
        return self._value(self.training.model, self.population, None, None)

    def _value(
        self,
        module: RegularisedAutoencoder,
        population: Population,
        readout: Readout | None,
        state: Mapping[str, Tensor] | None,
    ) -> FittedModel:
        return FittedModel(
            self.preset,
            self.random_state,
            module,
            self.data.genes,
            self.data.coding,
            population,
            readout,
            self._summary(),
            list(self.training.progress.history),
            self.data.fingerprint,
            training_cells=(self.data.counts, self.data.covariates),
            training_state=state,
        )

    def _summary(self) -> dict[str, Any]:
        training, progress = self.training, self.training.progress
        return {
            "n_cells": training.data.n_cells,
            "n_genes": training.data.n_genes,
            "epochs": progress.epoch,
            "steps": progress.step,
            "best_epoch": progress.best_epoch or progress.epoch,
            "stop_reason": progress.stop_reason or "running",
            "seconds": time.perf_counter() - self.started,
            "training_cells_per_second": _cells_per_second(progress.history, len(training.training_cells)),
            "n_validation_cells": len(training.validation_cells),
            "threads": torch.get_num_threads(),
            "device": str(self.device),
            "versions": versions(),
        }


def _held_out(n_cells: int, settings: Settings) -> tuple[Tensor, Tensor]:
    """Positions of the cells to train on and of those held out, ascending, drawn from torch's random state."""
    order = torch.randperm(n_cells)
    n_validation = round(n_cells * settings.validation_size) if settings.early_stopping else 0
    if n_validation < SMALLEST_VALIDATION:
        n_validation = 0
    return order[n_validation:].sort().values, order[:n_validation].sort().values


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _cells_per_second(history: list[dict[str, float]], n_training_cells: int) -> float:
    """Median over epochs of training cells per second, validation not counted."""
    seconds = [row["seconds"] for row in history]
    return n_training_cells / float(np.median(seconds)) if seconds else 0.0
