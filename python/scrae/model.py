"""``SCRAE``, the estimator: settings in, embedding, denoised counts and synthetic cells out."""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from scrae import checkpoint, distributed
from scrae._version import __version__
from scrae.autoencoder import RegularisedAutoencoder
from scrae.counts import CountsError, empty_cells
from scrae.data import CountData, Covariates, Minibatch
from scrae.inputs import Cells, CovariateCoding, fingerprint, read_cells
from scrae.labels import CellTypes, fit_cell_types
from scrae.mapped import by_rows
from scrae.presets import settings_of
from scrae.readout import LANDMARKS
from scrae.regularisers import Regulariser
from scrae.settings import Settings, epochs_for, patience_for, unknown
from scrae.training import EVALUATION_CELLS, Training

if TYPE_CHECKING:
    import pandas as pd

SMALLEST_VALIDATION = 10  # fewer held-out cells say too little to stop by


class NotFittedError(RuntimeError):
    """The model has to be trained (or loaded) first."""


class SCRAE:
    """Deterministic regularised autoencoder with a learned prior for counts (Mondal et al. 2021).

    Parameters
    ----------
    preset
        ``"default"``, ``"reference"`` (the published code), or another model of the field: ``"scvi"``, ``"dca"``,
        ``"scdeepcluster"``, ..., see :data:`scrae.presets.PRESETS` and docs/PRESETS.md.
    random_state
        Seed. The same seed, data, settings and number of threads give the same bits on a CPU.
    device
        ``"auto"`` (a CUDA device if there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    verbose
        A progress bar while training: True, False, or None for one where standard error is a terminal.
    **settings
        Any setting of :class:`scrae.settings.Settings` or option of the regulariser
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
        self._coding = CovariateCoding({}, None)
        self._fingerprint = ""
        self._summary: dict[str, Any] = {}
        self._history: list[dict[str, float]] = []
        self._population: dict[str, Any] = {}
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
        self._check_shape(counts, cells.where)
        coding = CovariateCoding.fit(cells, batch_key, categorical_covariate_keys)
        covariates = coding.code(cells)
        state = self._resume_state(model_dir, counts, covariates) if resume else None

        self._genes = None if cells.gene_names is None else cells.gene_names[chosen]
        self._n_genes = counts.shape[1]
        self._coding = coding
        self._fingerprint = fingerprint(counts, covariates)
        self._training_cells = (counts, covariates)
        self._cell_types = None
        self._warn_of_cells_without_chosen_genes(counts)
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
            with training.best_weights():
                self._fit_readout(training)
            try:
                checkpoint.write_state(model_dir, self._description(), training.state())
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
        self._fit_readout(training)
        self._take(training, started)
        self._state = training.good_state()

    def _fit_readout(self, training: Training) -> None:
        """Give the read-out what it needs of the trained codes; the cells it takes follow from the seed alone."""
        readout = self._fitted().readout
        if readout is None:
            return
        n_cells = training.data.n_cells
        rng = np.random.default_rng(self.random_state)
        landmarks = np.sort(rng.choice(n_cells, min(n_cells, LANDMARKS), replace=False))
        positions = torch.as_tensor(landmarks, device=self.device)
        readout.fit(training.data, positions, self._fitted().encode, self.random_state)

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
        module = RegularisedAutoencoder(settings, self._n_genes, self._coding.n_levels, self._coding.n_batches)
        module.fit_constants(counts)
        self._population = _population(module.log_libraries(counts), covariates)
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

    def _check_shape(self, counts: sp.csr_array, where: str) -> None:
        n_cells, n_genes = counts.shape
        if n_cells < 2:
            raise CountsError(f"{where} has one cell; an embedding relates cells to each other: at least 2 are needed")
        if n_genes < 2:
            raise CountsError(f"{where} has one gene (after the choice of genes); at least 2 are needed")
        if counts.nnz == 0:
            raise CountsError(f"the chosen genes have no count in {where}")
        if self.settings.n_latent > n_genes:
            raise ValueError(
                f"n_latent={self.settings.n_latent} asks for more latent dimensions than there are genes ({n_genes}); "
                f"use n_latent={max(1, n_genes // 2)} or fewer, or more genes"
            )

    @staticmethod
    def _warn_of_cells_without_chosen_genes(counts: sp.csr_array) -> None:
        empty = int(empty_cells(counts).sum())
        if empty:
            warnings.warn(
                f"{empty:,} of {counts.shape[0]:,} cells have no count in the {counts.shape[1]:,} modelled genes; they "
                "share one point of the embedding. More genes, or a stricter filter of cells, avoid this.",
                UserWarning,
                stacklevel=3,
            )

    def _resume_state(
        self, model_dir: str | os.PathLike[str] | None, counts: sp.csr_array, covariates: Covariates
    ) -> dict[str, Tensor] | None:
        state, known, settings, seed = self._state, self._fingerprint, self.settings, self.random_state
        if state is None and model_dir is not None:
            stored = checkpoint.read_state(model_dir)
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

    @contextmanager
    def _own_random_state(self) -> Iterator[None]:
        """Draw from a random state of our own, and leave the user's as it was."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            yield

    # -- results ----------------------------------------------------------------------------------------------------

    @property
    def history(self) -> pd.DataFrame:
        """Every loss per epoch (means over the epoch's minibatches, nats per cell); the index is the epoch.

        ``reconstruction`` and ``validation_reconstruction`` are -log p(x) summed over genes; ``critic_gap`` is
        mean C(E(x)) - mean C(G(n)), the critic's estimate of the Wasserstein distance between codes and prior.
        """
        import pandas as pd

        frame = pd.DataFrame(self._history)
        if len(frame):
            frame["epoch"] = frame["epoch"].astype(int)
            frame = frame.set_index("epoch")
        return frame

    @property
    def summary(self) -> dict[str, Any]:
        """Facts of the training: cells, genes, epochs, stop reason, seconds, threads, versions."""
        return dict(self._summary)

    @property
    def gene_names(self) -> np.ndarray | None:
        """Names of the modelled genes, in order; None after training on a bare matrix."""
        return None if self._genes is None else self._genes.copy()

    @property
    def cell_types(self) -> np.ndarray | None:
        """Names of the types that :meth:`fit_labels` has learned, sorted; None before."""
        return None if self._cell_types is None else self._cell_types.types.copy()

    @property
    def makes_clusters(self) -> bool:
        """Whether the model clusters cells while it trains, so that :meth:`clusters` gives them."""
        return Regulariser.registry[self.settings.regulariser].makes_clusters

    def settings_dict(self) -> dict[str, Any]:
        """All settings by name, nested options included."""
        return asdict(self.settings)

    def embed(self, data: Any = None, *, layer: str | None = None) -> np.ndarray:
        """The embedding of cells: the training cells, or others that have all the model's genes.

        Parameters
        ----------
        data
            AnnData or matrix of raw counts; None: the training cells.
        layer
            Layer of the AnnData with raw counts.

        Returns
        -------
        float32 (n_cells, n_latent), cells in their order.
        """
        module = self._fitted()
        counts, covariates = self._cells_or_training(data, layer, with_covariates=False)
        return self._in_batches(counts, covariates, module.embed)

    def codes(self, data: Any = None, *, layer: str | None = None) -> np.ndarray:
        """What the decoder is given, float32 (n_cells, n_latent).

        The embedding is read out of it (:class:`scrae.readout.Readout`), or is the same with ``n_pcs=0, smoothing=0``.

        Parameters
        ----------
        data, layer
            As in :meth:`embed`.
        """
        module = self._fitted()
        counts, covariates = self._cells_or_training(data, layer, with_covariates=False)
        return self._in_batches(counts, covariates, module.encode)

    def map(self, query: Any, *, layer: str | None = None) -> np.ndarray:
        """The embedding of new cells, by the trained model as it is; genes are matched by name.

        Genes of the model that the query lacks count as zero, with a warning that says how many; genes that the
        model does not know are left out.

        Parameters
        ----------
        query
            AnnData of raw counts (a matrix must have exactly the model's genes, in order).
        layer
            Layer of the AnnData with raw counts.

        Returns
        -------
        float32 (n_cells, n_latent).

        Raises
        ------
        ValueError
            The query has none of the model's genes.
        """
        module = self._fitted()
        cells = read_cells(query, layer)
        counts = self._match_genes(cells, missing_allowed=True)
        return self._in_batches(counts, Covariates.none(counts.shape[0]), module.embed)

    def clusters(self, data: Any = None, *, layer: str | None = None) -> np.ndarray:
        """Clusters of cells, where the model makes them itself (presets ``"scdeepcluster"`` and ``"sczidesk"``).

        Parameters
        ----------
        data, layer
            As in :meth:`embed`.

        Returns
        -------
        int64 (n_cells,), from 0.

        Raises
        ------
        ValueError
            The model has no clusters, or not yet.
        """
        codes = torch.as_tensor(self.codes(data, layer=layer), device=self.device)
        with torch.inference_mode():
            result: np.ndarray = self._fitted().regulariser.clusters(codes).cpu().numpy()
        return result

    def fit_labels(
        self, data: Any, labels_key: str, *, unlabeled_category: str = "Unknown", layer: str | None = None
    ) -> SCRAE:
        """Learn the types of cells from labels of some of them; the embedding does not change.

        Parameters
        ----------
        data
            AnnData of raw counts, the training cells or others; genes are matched by name.
        labels_key
            Column of ``adata.obs`` with the type of each cell.
        unlabeled_category
            What stands there for cells without a label; a missing value says the same.
        layer
            Layer of the AnnData with raw counts.

        Returns
        -------
        The model itself, ready to :meth:`predict`. A linear classifier on the encoder's last hidden layer, with
        probabilities calibrated on held-out labels (:mod:`scrae.labels`).

        Raises
        ------
        ValueError
            No such column, no label at all, or one type only.
        """
        module = self._fitted()
        cells = read_cells(data, layer)
        labels = cells.labels(labels_key, unlabeled_category)
        labelled = np.flatnonzero(labels != unlabeled_category)
        types, numbers = np.unique(labels[labelled].astype(str), return_counts=True)
        if len(types) < 2:
            said = f"one type only ({str(types[0])!r}, {len(labelled):,} cells)" if len(types) else "no labelled cell"
            raise ValueError(
                f"adata.obs[{labels_key!r}] has {said}; cells that say {unlabeled_category!r} or nothing are "
                "unlabelled. To tell types apart, two or more must be labelled (is unlabeled_category right?)"
            )
        if (alone := types[numbers < 2]).size:
            warnings.warn(
                f"{len(alone):,} of {len(types):,} types have a single labelled cell ({', '.join(alone[:3])}"
                f"{', ...' if len(alone) > 3 else ''}): how well they are recognised cannot be checked",
                UserWarning,
                stacklevel=2,
            )
        counts = sp.csr_array(self._match_genes(cells, missing_allowed=True)[labelled])
        features = self._in_batches(counts, Covariates.none(len(labelled)), module.encode_hidden)
        self._cell_types = fit_cell_types(features, labels[labelled], self.random_state)
        return self

    def predict(
        self,
        data: Any = None,
        *,
        layer: str | None = None,
        return_probabilities: bool = False,
        unknown_rate: float = 0.01,
        unlabeled_category: str = "Unknown",
    ) -> np.ndarray | pd.DataFrame:
        """Types of cells, as learned by :meth:`fit_labels`.

        Parameters
        ----------
        data
            AnnData of raw counts (genes are matched by name, as in :meth:`map`); None: the training cells.
        layer
            Layer of the AnnData with raw counts.
        return_probabilities
            Give probabilities in place of names.
        unknown_rate
            Share of cells of known types that may be called unknown, in [0, 1): a cell is if it lies further from all
            types than this share of the labelled cells did when they were held out. 0: every cell gets a type.
        unlabeled_category
            Name of the unknown.

        Returns
        -------
        Name of the type of each cell, or ``unlabeled_category``, (n_cells,). With ``return_probabilities`` a DataFrame
        (n_cells, n_types + 1): calibrated probabilities, which sum to 1 over the types, and last the ``familiarity``
        that is compared with ``unknown_rate`` (:meth:`scrae.labels.CellTypes.familiarity`). A probability says which of
        the known types it is, the familiarity whether it is one of them.
        """
        import pandas as pd

        module = self._fitted()
        if self._cell_types is None:
            raise NotFittedError("the model knows no types of cells yet: call fit_labels(adata, labels_key) first")
        if not 0 <= unknown_rate < 1:
            raise ValueError(f"unknown_rate is a share of cells, in [0, 1), not {unknown_rate:g}")
        if data is None:
            counts, index = self._cells_or_training(None, None, with_covariates=False)[0], None
        else:
            cells = read_cells(data, layer)
            counts = self._match_genes(cells, missing_allowed=True)
            index = None if cells.source is None else cells.source.obs_names
        features = self._in_batches(counts, Covariates.none(counts.shape[0]), module.encode_hidden)
        probabilities = self._cell_types.probabilities(features)
        familiarity = self._cell_types.familiarity(features)
        if return_probabilities:
            table = pd.DataFrame(probabilities, index=index, columns=list(self._cell_types.types))
            table["familiarity"] = familiarity
            return table
        names = self._cell_types.types[probabilities.argmax(1)]
        return np.where(familiarity <= unknown_rate, unlabeled_category, names).astype(object)

    def denoise(
        self,
        data: Any = None,
        *,
        layer: str | None = None,
        library_size: str | float = "common",
        batch: str | None = None,
    ) -> np.ndarray:
        """Decoder means: expected counts without counting noise and technical zeros.

        Parameters
        ----------
        data, layer
            As in :meth:`embed`.
        library_size
            ``"common"`` (every cell at the median of the training cells, so cells can be compared), ``"observed"``
            (each at its own), or a number.
        batch
            Decode all cells as if they came from this batch; None: each from its own.

        Returns
        -------
        float32 (n_cells, n_genes), dense, columns as :attr:`gene_names`.
        """
        module = self._fitted()
        counts, covariates = self._cells_or_training(data, layer, with_covariates=True)
        if batch is not None:
            covariates = self._as_if_from(batch, covariates)
        common = self._common_library(library_size)

        def means(minibatch: Minibatch) -> Tensor:
            codes = module.encode(minibatch)
            log_library = module.log_library(minibatch) if common is None else torch.full_like(codes[:, 0], common)
            parameters = module.decode(codes, minibatch.covariates, log_library, minibatch.batch)
            return module.to_counts(module.likelihood.mean(parameters))

        return self._in_batches(counts, covariates, means)

    def surprise(self, data: Any = None, *, layer: str | None = None) -> np.ndarray:
        """-log p(x | E(x)) of each cell in nats, summed over genes: how badly the model explains the cell.

        It grows with the cell's library size; :func:`scrae.tl.outliers` compares cells with others of their size.

        Parameters
        ----------
        data, layer
            As in :meth:`embed`.

        Returns
        -------
        float32 (n_cells,).
        """
        module = self._fitted()
        counts, covariates = self._cells_or_training(data, layer, with_covariates=True)
        return self._in_batches(counts, covariates, module.surprise)

    def sample(self, n: int, *, random_state: int | None = None, batch: str | None = None) -> np.ndarray:
        """Synthetic cells: codes from the prior, library sizes from the training cells, counts from the likelihood.

        Parameters
        ----------
        n
            Number of cells.
        random_state
            Seed; None: the model's.
        batch
            Batch to draw from; None: batches (and further covariates) in the shares of the training cells.

        Returns
        -------
        float32 (n, n_genes), whole counts, columns as :attr:`gene_names`.
        """
        return self._sample(n, random_state, batch)[1]

    def sample_codes(self, n: int, *, random_state: int | None = None) -> np.ndarray:
        """Codes from the prior, float32 (n, n_latent)."""
        module = self._fitted()
        with torch.inference_mode(), self._own_random_state():
            torch.manual_seed(self.random_state if random_state is None else random_state)
            return module.regulariser.sample(n).cpu().numpy()

    def _sample(self, n: int, random_state: int | None, batch: str | None) -> tuple[np.ndarray, np.ndarray]:
        module = self._fitted()
        if n < 1:
            raise ValueError(f"n must be at least 1, not {n}")
        if module.target_transform.kind not in ("counts", "lognorm", "scaled"):
            raise ValueError(
                f"the likelihood of this model describes {module.target_transform.kind} values, of which it can draw "
                'no counts; train with target="counts"'
            )
        rng = np.random.default_rng(self.random_state if random_state is None else random_state)
        population = self._population
        codes = np.asarray(population["covariate_codes"], dtype=np.int64)
        chosen = rng.choice(len(codes), size=n, p=population["covariate_shares"])
        covariates = Covariates(codes[chosen], tuple(map(len, self._coding.levels.values())))
        if batch is not None:
            covariates = self._as_if_from(batch, covariates)
        quantiles = population["log_library_quantiles"]
        log_library = np.interp(rng.uniform(size=n), np.linspace(0, 1, len(quantiles)), quantiles)
        latent = self.sample_codes(n, random_state=int(rng.integers(2**31)))
        nothing = sp.csr_array(np.zeros((n, self._n_genes), dtype=np.float32))
        parts = []
        with torch.inference_mode(), self._own_random_state():
            torch.manual_seed(int(rng.integers(2**31)))
            start = 0
            for minibatch in self._data(nothing, covariates).in_order(EVALUATION_CELLS):
                part = slice(start, start := start + minibatch.n_cells)
                parameters = module.decode(
                    torch.as_tensor(latent[part], device=self.device),
                    minibatch.covariates,
                    torch.as_tensor(log_library[part], dtype=torch.float32, device=self.device),
                    minibatch.batch,
                )
                parts.append(module.likelihood.sample(parameters).cpu().numpy())
        return latent, np.concatenate(parts)

    def _fitted(self) -> RegularisedAutoencoder:
        if self._module is None:
            raise NotFittedError("the model is not trained yet: call fit(adata) first, or load one with SCRAE.load")
        return self._module

    def _cells_or_training(
        self, data: Any, layer: str | None, with_covariates: bool
    ) -> tuple[sp.csr_array, Covariates]:
        if data is None:
            if self._training_cells is None:
                raise ValueError("a loaded model does not hold its training cells: give the data")
            return self._training_cells
        cells = read_cells(data, layer)
        counts = self._match_genes(cells, missing_allowed=False)
        return counts, self._coding.code(cells) if with_covariates else Covariates.none(counts.shape[0])

    def _match_genes(self, cells: Cells, missing_allowed: bool) -> sp.csr_array:
        """Counts of the model's genes, in the model's order; genes that are not there are zero."""
        if cells.gene_names is None or self._genes is None:
            if cells.counts.shape[1] != self._n_genes:
                raise ValueError(
                    f"{cells.where} has {cells.counts.shape[1]:,} genes and the model {self._n_genes:,}; without gene "
                    "names (an AnnData on both sides) they must be the same genes in the same order"
                )
            return cells.counts
        position = {name: i for i, name in enumerate(cells.gene_names)}
        found = np.array([name in position for name in self._genes])
        missing = [str(name) for name in self._genes[~found]]
        if len(missing) == self._n_genes:
            raise ValueError(
                f"none of the model's {self._n_genes:,} genes is in {cells.where} (the model knows names like "
                f"{self._genes[0]!r}, the query names like {cells.gene_names[0]!r}): are they symbols on one side and "
                "Ensembl ids on the other?"
            )
        if missing:
            message = (
                f"{len(missing):,} of the model's {self._n_genes:,} genes are not in {cells.where} "
                f"({', '.join(map(repr, missing[:3]))}{', ...' if len(missing) > 3 else ''})"
            )
            if not missing_allowed:
                raise ValueError(f"{message}; map(query) takes cells with missing genes")
            warnings.warn(f"{message}; they count as zero", UserWarning, stacklevel=3)
        take = sp.csr_array(
            (
                np.ones(int(found.sum()), dtype=np.float32),
                ([position[name] for name in self._genes[found]], np.flatnonzero(found)),
            ),
            shape=(cells.counts.shape[1], self._n_genes),
        )

        def of_model(rows: sp.csr_array) -> sp.csr_array:
            taken = sp.csr_array(rows @ take)
            taken.sort_indices()
            return taken

        return by_rows(cells.counts, of_model, self._n_genes)

    def _data(self, counts: sp.csr_array, covariates: Covariates) -> CountData:
        return CountData(
            counts, covariates, self.device, has_batch=self._coding.batch_key is not None and bool(covariates.levels)
        )

    def _in_batches(self, counts: sp.csr_array, covariates: Covariates, of: Any) -> np.ndarray:
        with torch.inference_mode():
            parts = [of(minibatch).cpu() for minibatch in self._data(counts, covariates).in_order(EVALUATION_CELLS)]
        result: np.ndarray = torch.cat(parts).numpy()
        return result

    def _as_if_from(self, batch: str, covariates: Covariates) -> Covariates:
        key = self._coding.batch_key
        if key is None:
            raise ValueError(f"batch={batch!r}: the model was trained without batch_key")
        levels = self._coding.levels[key]
        if str(batch) not in levels:
            raise ValueError(unknown("batch", str(batch), levels, "the model"))
        codes = covariates.codes.copy()
        codes[:, 0] = levels.index(str(batch))
        return Covariates(codes, covariates.levels)

    def _common_library(self, library_size: str | float) -> float | None:
        """log library size for all cells, or None for each cell's own."""
        if library_size == "observed":
            return None
        if library_size == "common":
            return float(np.median(self._population["log_library_quantiles"]))
        if isinstance(library_size, str) or not library_size > 0:
            raise ValueError(f'library_size is "common", "observed" or a positive number, not {library_size!r}')
        return float(np.log(library_size))

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
            checkpoint.write_state(folder, self._description(), self._state)
        checkpoint.write_model(folder, self._description(), module.state_dict())

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
        description, weights = checkpoint.read_model(folder)
        settings = Settings(**description["settings"])
        model = cls(description["preset"], random_state=description["random_state"], device=device, verbose=verbose)
        model.settings = settings
        model._genes = None if description["genes"] is None else np.array(description["genes"], dtype=object)
        model._n_genes = description["n_genes"]
        model._coding = CovariateCoding(description["covariate_levels"], description["batch_key"])
        model._fingerprint = description["fingerprint"]
        model._summary = description["summary"]
        model._history = description["history"]
        model._population = description["population"]
        module = RegularisedAutoencoder(settings, model._n_genes, model._coding.n_levels, model._coding.n_batches)
        try:
            module.load_state_dict(weights)
        except RuntimeError as error:
            raise checkpoint.ModelFolderError(
                f"the weights in {str(folder)!r} do not fit the settings in its {checkpoint.DESCRIPTION}: {error}"
            ) from error
        model._module = module.to(model.device).eval()
        if description.get("cell_types"):  # absent before 0.1.0 had them
            model._cell_types = CellTypes.from_description(description["cell_types"])
        stored = checkpoint.read_state(folder)
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
            "batch_key": self._coding.batch_key,
            "fingerprint": self._fingerprint,
            "population": self._population,
            "summary": self._summary,
            "history": self._history,
            "cell_types": None if self._cell_types is None else self._cell_types.description(),
        }


def resolve_device(device: str) -> torch.device:
    """``"auto"`` as the CUDA device, if there is one, else the CPU; others as torch knows them.

    Raises
    ------
    ValueError
        Not a device, or CUDA is asked for and not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError:
        resolved = None
    if resolved is None or resolved.type not in ("cpu", "cuda"):
        raise ValueError(f'device={device!r} is not known; use "auto", "cpu" or "cuda"')
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f'device={device!r}, but torch {torch.__version__} finds no CUDA device; use device="cpu"')
    return resolved


def versions() -> dict[str, str]:
    """Versions that decide the bits of a result."""
    return {
        "scrae": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _population(log_library: np.ndarray, covariates: Covariates) -> dict[str, Any]:
    """What sampling needs of the training cells: percentiles of the library size, shares of covariate levels."""
    codes, numbers = np.unique(covariates.codes, axis=0, return_counts=True)
    return {
        "log_library_quantiles": np.quantile(log_library, np.linspace(0, 1, 101)).tolist(),
        "covariate_codes": codes.tolist(),
        "covariate_shares": (numbers / numbers.sum()).tolist(),
    }


def _cells_per_second(history: list[dict[str, float]], n_training_cells: int) -> float:
    """Median over epochs of training cells per second, validation not counted."""
    seconds = [row["seconds"] for row in history]
    return n_training_cells / float(np.median(seconds)) if seconds else 0.0
