"""``SCRAE``, the estimator: settings in, embedding, denoised counts and synthetic cells out."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.autoencoder.presets import settings_of
from scrae.autoencoder.settings import Settings, epochs_for, patience_for
from scrae.compute import distributed
from scrae.compute.device import resolve_device, versions
from scrae.data.cells import read_cells
from scrae.data.counts import refuse_too_few, warn_of_empty_cells
from scrae.data.covariates import CovariateCoding, Covariates
from scrae.data.minibatches import CountData
from scrae.data.on_disk import by_rows
from scrae.model.embedding import Embedding
from scrae.model.expression import Expression
from scrae.model.folder import (
    DESCRIPTION,
    ModelFolderError,
    fingerprint,
    read_model,
    read_state,
    write_model,
    write_state,
)
from scrae.model.labelling import Labelling
from scrae.model.sampling import Sampling
from scrae.posthoc.cell_types import CellTypes
from scrae.posthoc.finish import finish
from scrae.posthoc.population import Population
from scrae.training.loop import Training

SMALLEST_VALIDATION = 10  # fewer held-out cells say too little to stop by


class SCRAE(Embedding, Labelling, Expression, Sampling):
    """Deterministic regularised autoencoder with a learned prior for counts (Mondal et al. 2021).

    Parameters
    ----------
    preset
        ``"default"``, ``"reference"`` (the published code), or another model of the field: ``"scvi"``, ``"dca"``,
        ``"scdeepcluster"``, ..., see :data:`scrae.autoencoder.presets.PRESETS` and docs/PRESETS.md.
    random_state
        Seed. The same seed, data, settings and number of threads give the same bits on a CPU.
    device
        ``"auto"`` (a CUDA device if there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    verbose
        A progress bar while training: True, False, or None for one where standard error is a terminal.
    **settings
        Any setting of :class:`scrae.autoencoder.settings.Settings` or option of the regulariser
        (:class:`scrae.regularisers.LearnedPrior`): ``n_latent=20``, ``mask_rate=0.5``, ``pull=1e-2``.

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> model = scrae.SCRAE(max_epochs=3, verbose=False).fit(adata)
    >>> model.embed().shape
    (700, 10)
    """

    def __init__(
        self,
        preset: str = "default",
        *,
        random_state: int = 0,
        device: str = "auto",
        verbose: bool | None = None,
        **settings: Any,
    ) -> None:
        self.preset = preset
        self.settings = settings_of(preset).changed(settings)
        self.random_state = int(random_state)
        self.device = resolve_device(device)
        self.verbose = verbose
        self._module: RegularisedAutoencoder | None = None
        self._genes: np.ndarray | None = None
        self._n_genes = 0
        self._coding = CovariateCoding.none()
        self._fingerprint = ""
        self._summary: dict[str, Any] = {}
        self._history: list[dict[str, float]] = []
        self._population: Population | None = None
        self._state: dict[str, Tensor] | None = None
        self._training_cells: tuple[sp.csr_array, Covariates] | None = None
        self._cell_types: CellTypes | None = None

    def __repr__(self) -> str:
        if self._module is None:
            return f"SCRAE(preset={self.preset!r}, n_latent={self.settings.n_latent}), not fitted"
        return (
            f"SCRAE(preset={self.preset!r}, n_latent={self.settings.n_latent}), fitted on "
            f"{self._summary['n_cells']:,} cells x {self._n_genes:,} genes in {self._summary['epochs']} epochs "
            f"(stopped by: {self._summary['stop_reason']})"
        )

    # -- training ---------------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        *,
        layer: str | None = None,
        genes: Sequence[Any] | np.ndarray | None = None,
        batch_key: str | None = None,
        categorical_covariate_keys: Iterable[str] = (),
        continuous_covariate_keys: Iterable[str] = (),
        max_epochs: int | None = None,
        resume: bool = False,
        model_dir: str | os.PathLike[str] | None = None,
        checkpoint_seconds: float = 30.0,
        on_epoch: Callable[[int, int, dict[str, float]], None] | None = None,
    ) -> SCRAE:
        """Train on raw counts.

        Parameters
        ----------
        data
            AnnData, or a matrix of raw counts, cells x genes (dense or scipy sparse); or the path of an h5ad file that
            is too large for memory, whose counts stay on disk (docs/SCALE.md) and give the same bits.
        layer
            Layer of the AnnData with raw counts; None: ``adata.X``.
        genes
            Genes to model: names, positions or a boolean mask; None: all. (:func:`scrae.tl.scrae` chooses for you.)
        batch_key
            Column of ``adata.obs`` whose effect the decoder shall explain, and the embedding be freed of.
        categorical_covariate_keys
            Further such columns.
        continuous_covariate_keys
            Columns of numbers (a cell-cycle score, a share of mitochondrial counts) whose effect the decoder shall
            explain, and the embedding be freed of: a straight line, the same in all types.
        max_epochs
            Total number of epochs, instead of the setting.
        resume
            Go on from the training state in memory or in ``model_dir`` instead of starting anew; a fresh start if
            there is none. Needs the same data and settings; ``fit(max_epochs=10)`` and ``fit(max_epochs=20,
            resume=True)`` together give the same bits as ``fit(max_epochs=20)``.
        model_dir
            Folder for the model: a checkpoint after the first epoch and then every ``checkpoint_seconds`` (at the end
            of an epoch), and the trained model at the end.
        checkpoint_seconds
            Least time between two checkpoints.
        on_epoch
            Called after each epoch with its number, the most epochs there will be, and its row of :attr:`history`. The
            embedding is read out at the end: until then look at :meth:`codes`.

        Returns
        -------
        The model itself. Ctrl-C ends training early and keeps the best model so far; ``summary["stop_reason"]`` says
        so.

        Raises
        ------
        scrae.CountsError
            What was given are not raw counts, or cells have none.
        scrae.TrainingDiverged
            Losses were not finite again and again.
        """
        cells = read_cells(data, layer)
        chosen = np.arange(cells.counts.shape[1]) if genes is None else cells.positions(genes)
        counts = cells.counts
        if genes is not None:
            counts = by_rows(counts, lambda rows: sp.csr_array(rows[:, chosen]), len(chosen))
        refuse_too_few(counts, cells.where, self.settings.n_latent)
        coding = CovariateCoding.fit(cells, batch_key, categorical_covariate_keys, continuous_covariate_keys)
        covariates = coding.code(cells)
        state = self._resume_state(model_dir, counts, covariates) if resume else None

        self._genes = None if cells.gene_names is None else cells.gene_names[chosen]
        self._n_genes = counts.shape[1]
        self._coding = coding
        self._fingerprint = fingerprint(counts, covariates)
        self._training_cells = (counts, covariates)
        self._cell_types = None
        warn_of_empty_cells(counts)
        started = time.perf_counter()
        try:
            with self._own_random_state():
                training = self._prepare_training(counts, covariates)
                if state is not None:
                    training.load_state(state)
                distributed.require_same(
                    "cells, genes, settings, seed and checkpoint",
                    f"{self._fingerprint} {self.settings} {self.random_state} {max_epochs} {training.progress.epoch}",
                )
                self._run(training, max_epochs, model_dir, checkpoint_seconds, started, on_epoch)
        finally:
            if self._module is not None and self._summary:
                self._module.eval()
                if model_dir is not None and distributed.in_charge():
                    self.save(model_dir)
        return self

    def _run(
        self,
        training: Training,
        max_epochs: int | None,
        model_dir: str | os.PathLike[str] | None,
        checkpoint_seconds: float,
        started: float,
        on_epoch: Callable[[int, int, dict[str, float]], None] | None,
    ) -> None:
        # The first epoch is followed by a checkpoint: a folder that cannot be written shows early.
        last_checkpoint = -np.inf
        failed_before = False

        def keep(training: Training) -> None:
            nonlocal last_checkpoint, failed_before
            if on_epoch is not None:
                on_epoch(training.progress.epoch, epochs, dict(training.progress.history[-1]))
            if model_dir is None or time.monotonic() - last_checkpoint < checkpoint_seconds:
                return
            if not distributed.in_charge():
                return
            self._take(training, started)
            with training.as_if_ended(), self._own_random_state():
                self._finish(training)
                finished = {f"finished.{k}": v.clone() for k, v in self._fitted().state_dict().items()}
            try:
                write_state(model_dir, self._description(), training.state() | finished)
            except OSError as error:
                if not failed_before:
                    warnings.warn(f"no checkpoint: {error}; training goes on", RuntimeWarning, stacklevel=2)
                failed_before = True
            last_checkpoint = time.monotonic()

        epochs = (
            max_epochs or self.settings.max_epochs or epochs_for(len(training.training_cells), self.settings.batch_size)
        )
        try:
            training.run(epochs, self.verbose, keep)
        except distributed.ProcessLost:
            raise  # at once: what is left of the time until this process is killed is for the message
        except BaseException:
            self._conclude(training, started)
            raise
        self._conclude(training, started)

    def _conclude(self, training: Training, started: float) -> None:
        """Take over what training has come to."""
        self._finish(training)
        self._take(training, started)
        self._state = training.good_state()

    def _finish(self, training: Training) -> None:
        assert self._population is not None
        self._population = finish(self._fitted(), training.data, self._population, self.random_state)

    def _take(self, training: Training, started: float) -> None:
        """Copy what the user sees of a training into the model."""
        progress = training.progress
        self._history = list(progress.history)
        self._summary = {
            "n_cells": training.data.n_cells,
            "n_genes": training.data.n_genes,
            "epochs": progress.epoch,
            "steps": progress.step,
            "best_epoch": progress.best_epoch or progress.epoch,
            "stop_reason": progress.stop_reason or "running",
            "seconds": time.perf_counter() - started,
            "training_cells_per_second": _cells_per_second(progress.history, len(training.training_cells)),
            "n_validation_cells": len(training.validation_cells),
            "threads": torch.get_num_threads(),
            "device": str(self.device),
            "versions": versions(),
        }

    def _prepare_training(self, counts: sp.csr_array, covariates: Covariates) -> Training:
        settings = self.settings
        torch.manual_seed(self.random_state)
        module = RegularisedAutoencoder(settings, self._n_genes, self._coding.width, self._coding.n_batches)
        module.fit_constants(counts)
        self._population = Population.of(module.log_libraries(counts), covariates)
        self._module = module.to(self.device)
        data = CountData(counts, covariates, self.device, has_batch=self._coding.batch_key is not None)
        order = torch.randperm(data.n_cells)
        n_validation = round(data.n_cells * settings.validation_size) if settings.early_stopping else 0
        if n_validation < SMALLEST_VALIDATION:
            n_validation = 0
        validation = order[:n_validation].sort().values.to(self.device)
        training = order[n_validation:].sort().values.to(self.device)
        patience = settings.patience or patience_for(len(training), settings.batch_size)
        return Training(self._module, data, training, validation, patience)

    def _resume_state(
        self, model_dir: str | os.PathLike[str] | None, counts: sp.csr_array, covariates: Covariates
    ) -> dict[str, Tensor] | None:
        state, known, settings, seed = self._state, self._fingerprint, self.settings, self.random_state
        if state is None and model_dir is not None:
            stored = read_state(model_dir)
            if stored is None:
                return None
            description, state = stored
            known, seed = description["fingerprint"], description["random_state"]
            settings = Settings(**description["settings"])
        if state is None:
            return None
        if known != fingerprint(counts, covariates):
            raise ValueError(
                "these are not the cells, genes and covariates that the training started with: resume needs the same "
                "data; use resume=False to train anew"
            )
        ignore = {"max_epochs": None}
        if settings.changed(ignore) != self.settings.changed(ignore) or seed != self.random_state:
            raise ValueError(
                "settings or seed differ from those that the training started with; load the model "
                "(SCRAE.load) and resume that, or use resume=False to train anew"
            )
        return state

    # -- files ------------------------------------------------------------------------------------------------------

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Save into a folder: ``weights.safetensors``, ``scrae.json`` and, for resuming, the training state.

        Raises
        ------
        OSError
            A file could not be written (a full disk, say); what was in the folder before is still whole.
        """
        module = self._fitted()
        if self._state is not None:
            write_state(folder, self._description(), self._state)
        write_model(folder, self._description(), module.state_dict())

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, device: str = "auto", verbose: bool | None = None) -> SCRAE:
        """Load a saved model; one that can be resumed where its folder holds a training state.

        Raises
        ------
        FileNotFoundError
            There is no model in the folder.
        scrae.ModelFolderError
            Another format version, or a damaged file.
        """
        description, weights = read_model(folder)
        settings = Settings(**description["settings"])
        model = cls(description["preset"], random_state=description["random_state"], device=device, verbose=verbose)
        model.settings = settings
        model._genes = None if description["genes"] is None else np.array(description["genes"], dtype=object)
        model._n_genes = description["n_genes"]
        scales = description.get("covariate_scales", {})  # absent before 0.1.0 had them
        model._coding = CovariateCoding(description["covariate_levels"], description["batch_key"], scales)
        model._fingerprint = description["fingerprint"]
        model._summary = description["summary"]
        model._history = description["history"]
        model._population = Population.from_description(description["population"])
        module = RegularisedAutoencoder(settings, model._n_genes, model._coding.width, model._coding.n_batches)
        try:
            module.load_state_dict(weights)
        except RuntimeError as error:
            raise ModelFolderError(
                f"the weights in {str(folder)!r} do not fit the settings in its {DESCRIPTION}: {error}"
            ) from error
        model._module = module.to(model.device).eval()
        if description.get("cell_types"):  # absent before 0.1.0 had them
            model._cell_types = CellTypes.from_description(description["cell_types"])
        stored = read_state(folder)
        if stored is not None:
            model._state = stored[1]
        return model

    def _description(self) -> dict[str, Any]:
        return {
            "preset": self.preset,
            "settings": asdict(self.settings),
            "random_state": self.random_state,
            "n_genes": self._n_genes,
            "genes": None if self._genes is None else [str(name) for name in self._genes],
            "covariate_levels": dict(self._coding.levels),
            "covariate_scales": dict(self._coding.scales),
            "batch_key": self._coding.batch_key,
            "fingerprint": self._fingerprint,
            "population": None if self._population is None else self._population.description(),
            "summary": self._summary,
            "history": self._history,
            "cell_types": None if self._cell_types is None else self._cell_types.description(),
        }


def _cells_per_second(history: list[dict[str, float]], n_training_cells: int) -> float:
    """Median over epochs of training cells per second, validation not counted."""
    seconds = [row["seconds"] for row in history]
    return n_training_cells / float(np.median(seconds)) if seconds else 0.0
