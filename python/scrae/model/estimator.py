"""``SCRAE``, the estimator: settings in, embedding, denoised counts and synthetic cells out."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from scrae._deprecation import warn_of_old_name
from scrae._errors import Refusal
from scrae.autoencoder.presets import settings_of
from scrae.autoencoder.settings import Settings
from scrae.compute import distributed
from scrae.compute.device import refuse_more_than_free, resolve_device
from scrae.compute.random_state import random_state_kept
from scrae.compute.whole_numbers import at_least, not_negative, seed
from scrae.data.counts import refuse_too_few
from scrae.data.covariates import column_names
from scrae.data.minibatches import room_of
from scrae.model import embedding, expression, labelling, sampling
from scrae.model.checkpoints import Checkpoints
from scrae.model.fitted import FittedModel, NotFittedError
from scrae.model.fitting import Fitting
from scrae.model.folder import kept_for_training, refuse_another, refuse_full, save_model, save_trained
from scrae.model.identity import identity
from scrae.model.loading import load_model, load_state
from scrae.model.query import Query
from scrae.model.training_data import TrainingData
from scrae.regularisers import Regulariser

if TYPE_CHECKING:
    import pandas as pd


class SCRAE:
    """The model: an autoencoder of raw counts, with everything that can be asked of it once it is trained.

    :func:`scrae.tl.scrae` trains the same model and writes the embedding into an AnnData object. Use this class if you
    want to keep the model: to map new cells, predict cell types, denoise counts or draw synthetic cells. The default is
    a masked, contrastive autoencoder; ``preset="reference"`` is the model of Mondal et al. (2021) as published.

    Parameters
    ----------
    preset
        ``"default"``, ``"reference"`` (the published code), or another model of the field: ``"scvi"``, ``"dca"``,
        ``"scdeepcluster"``, ..., see :data:`scrae.autoencoder.presets.PRESETS` and docs/PRESETS.md.
    random_state
        Seed, from 0 to 2**32 - 1. The same seed, data, settings and number of threads give the same bits on a CPU.
    device
        ``"auto"`` (a CUDA device if there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    verbose
        Progress while training: True for a bar, False for nothing. None: a bar if standard error is a terminal, and
        otherwise, as in a log, at most one line every 30 seconds and one at the end.
    **settings
        Any setting of :class:`scrae.autoencoder.settings.Settings` or option of the regulariser
        (:class:`scrae.regularisers.LearnedPrior`): ``n_latent=20``, ``mask_rate=0.5``, ``pull=1e-2``.

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> model = scrae.SCRAE(max_epochs=3, verbose=False).fit(adata)
    >>> model.embed().shape
    (700, 30)

    The examples of the methods go on with this model.
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
        self.random_state = seed(random_state)
        self.device = resolve_device(device)
        self.verbose = verbose
        self._fitted: FittedModel | None = None
        self._draws = 0  # of synthetic cells without a seed of their own

    def __repr__(self) -> str:
        said = f"SCRAE(preset={self.preset!r}, n_latent={self.settings.n_latent})"
        if self._fitted is None:
            return f"{said}, not fitted"
        summary = self._fitted.summary
        return (
            f"{said}, fitted on {summary['n_cells']:,} cells x {self._fitted.n_genes:,} genes in "
            f"{summary['epochs']} epochs (stopped by: {summary['stop_reason']})"
        )

    # -- what training has come to -------------------------------------------------------------------------------------

    @property
    def fitted(self) -> FittedModel:
        """The trained model as one value that never changes. A new training puts another value in its place.

        Raises
        ------
        scrae.NotFittedError
            The model is not trained yet.

        Examples
        --------
        >>> model.fitted.n_genes
        765
        """
        if self._fitted is None:
            raise NotFittedError("the model is not trained yet: call fit(adata) first, or load one with SCRAE.load")
        return self._fitted

    @property
    def history(self) -> pd.DataFrame:
        """The losses of each epoch in nats per cell, as means over minibatches. The index is the epoch.

        ``reconstruction`` and ``validation_reconstruction`` are -log p(x) summed over genes. ``critic_gap`` is
        mean C(E(x)) - mean C(G(n)), the critic's estimate of the Wasserstein distance between codes and prior.

        Examples
        --------
        >>> "reconstruction" in model.history.columns
        True
        """
        import pandas as pd

        frame = pd.DataFrame([] if self._fitted is None else self._fitted.history)
        if len(frame):
            frame["epoch"] = frame["epoch"].astype(int)
            frame = frame.set_index("epoch")
        return frame

    @property
    def summary(self) -> dict[str, Any]:
        """Facts of the training: cells, genes, epochs, stop reason, seconds, threads, versions. Empty before training.

        Examples
        --------
        >>> model.summary["n_cells"], model.summary["epochs"]
        (700, 3)
        """
        return {} if self._fitted is None else dict(self._fitted.summary)

    @property
    def gene_names(self) -> np.ndarray | None:
        """Names of the modelled genes in their order. None before training, and after training on a bare matrix.

        Examples
        --------
        >>> len(model.gene_names)
        765
        """
        return None if self._fitted is None or self._fitted.genes is None else self._fitted.genes.copy()

    @property
    def cell_types(self) -> np.ndarray | None:
        """Names of the cell types that :meth:`fit_labels` has learned, sorted. None before.

        Examples
        --------
        >>> scrae.SCRAE().cell_types is None
        True
        """
        types = None if self._fitted is None else self._fitted.cell_types
        return None if types is None else types.types.copy()

    @property
    def makes_clusters(self) -> bool:
        """Whether the model clusters cells while it trains, so that :meth:`clusters` can return the clusters.

        Examples
        --------
        >>> model.makes_clusters
        False
        >>> scrae.SCRAE("scdeepcluster").makes_clusters
        True
        """
        return Regulariser.registry[self.settings.regulariser].makes_clusters

    def settings_dict(self) -> dict[str, Any]:
        """Return all settings by name, those of the regulariser included.

        Examples
        --------
        >>> model.settings_dict()["n_latent"]
        10
        """
        return asdict(self.settings)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return everything that the model was made of, as :class:`SCRAE` takes it: ``SCRAE(**model.get_params())``.

        Parameters
        ----------
        deep
            Accepted for scikit-learn, without effect.

        Returns
        -------
        ``preset``, ``random_state``, ``device``, ``verbose``, every setting, and every option of the regulariser.

        Examples
        --------
        >>> params = model.get_params()
        >>> params["preset"], params["n_latent"], params["random_state"]
        ('default', 10, 0)
        """
        settings = self.settings_dict()
        options: dict[str, Any] = settings.pop("regulariser_options")
        own = {"preset": self.preset, "random_state": self.random_state, "device": str(self.device)}
        return own | {"verbose": self.verbose} | settings | options

    def clone(self) -> SCRAE:
        """Return a model with the same settings and seed that is not trained.

        Examples
        --------
        >>> model.clone()
        SCRAE(preset='default', n_latent=10), not fitted
        """
        return SCRAE(**self.get_params())

    def __sklearn_clone__(self) -> SCRAE:
        return self.clone()

    # -- training ------------------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        *,
        layer: str | None = None,
        counts: str = "raw",
        genes: str | Sequence[Any] | np.ndarray | None = None,
        batch_key: str | None = None,
        categorical_covariate_keys: str | Iterable[str] = (),
        continuous_covariate_keys: str | Iterable[str] = (),
        keep: str | Iterable[str] = (),
        must_link: Any = None,
        cannot_link: Any = None,
        labels_key: str | None = None,
        unlabeled_category: str = "Unknown",
        max_epochs: int | None = None,
        resume: bool = False,
        model_dir: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        checkpoint_seconds: float = 30.0,
        on_epoch: Callable[[int, int, dict[str, float]], None] | None = None,
    ) -> SCRAE:
        """Train the model on raw counts.

        Parameters
        ----------
        data
            AnnData; a matrix of raw counts, cells x genes (dense or scipy sparse); or the path of an h5ad file that is
            too large for memory. The counts of a file stay on disk and give the same result (docs/SCALE.md). A list of
            paths is trained on as one file, with the genes that all have; ``obs["file"]`` names the file of each cell
            (:func:`scrae.data.several_files.several_on_disk`).
        layer
            Layer of the AnnData with raw counts; None: ``adata.X``.
        counts
            ``"raw"``, or ``"round"`` for estimated counts (SoupX, DecontX, CellBender, RSEM, salmon, alevin): they are
            rounded to whole ones, with a warning that says how many were moved, and by how much at most.
        genes
            Genes to model: names, positions, a boolean mask, or ``"all"``. None: those that
            ``adata.var["highly_variable"]`` marks, as for :func:`scrae.tl.scrae`; where there is no such column, those
            that :func:`scrae.pp.select_genes` chose; all genes where nothing has been chosen. (Only
            :func:`scrae.tl.scrae` selects genes.)
        batch_key
            Column of ``adata.obs`` with batches. The decoder explains their effect, and it is removed from the
            embedding. Of several files each is a batch (``"file"``) where nothing else is named.
        categorical_covariate_keys
            Further columns of that kind.
        continuous_covariate_keys
            Columns of numbers, such as a cell-cycle score or the share of mitochondrial counts. The decoder explains
            their effect, and a straight line along each, the same in all cell types, is removed from the embedding.
        keep
            Columns of ``adata.obs`` whose differences stay in the embedding, such as the condition of the donors that
            ``batch_key`` names: batches are corrected among the cells that agree in these columns. A donor may have
            one condition or several. Conditions of fewer than 30 cells are not corrected, with a warning.
        must_link, cannot_link
            Pairs of cells of one type, and of different types, as far as they are known: a table of two columns (a
            DataFrame, an array or a list of pairs) with names of cells, or with positions of rows from 0 on. The codes
            of the first are drawn together and those of the second apart. The embedding is turned towards directions
            in which the first differ little (docs/USES.md).
        labels_key
            Column of ``adata.obs`` with the types of some cells, of which such pairs are made: ten for each labelled
            cell, drawn at random.
        unlabeled_category
            The entry of cells without a label in this column; a missing value means the same.
        max_epochs
            Total number of epochs, instead of the setting.
        resume
            Continue from the training state in memory or in ``model_dir``, or start anew if there is none. Data and
            settings have to be the same. ``fit(max_epochs=10)`` followed by ``fit(max_epochs=20, resume=True)`` gives
            the same bits as ``fit(max_epochs=20)``.
        model_dir
            Folder for the model. A checkpoint is written after the first epoch and then, at the end of an epoch, every
            ``checkpoint_seconds``. The trained model is written at the end.
        overwrite
            Replace a model in ``model_dir`` even if it was trained on other data, with other settings or another seed.
        checkpoint_seconds
            Least time between two checkpoints.
        on_epoch
            Called after each epoch with its number, the largest possible number of epochs, and its row of
            :attr:`history`. The embedding is read out at the end. Until then use :meth:`codes`.

        Returns
        -------
        The model itself.

        Ctrl-C ends training early and keeps the best model so far; ``summary["stop_reason"]`` says so. SIGTERM, which a
        queue sends before it takes a machine back, does the same unless the program handles it itself.

        Until there is a new model, this object and ``model_dir`` stay as they were. This also holds when an error or a
        Ctrl-C in the first epoch ends a second training on the same object.

        Only one thread of a process trains or uses a model at a time, and other threads wait, because torch has a
        single random state. ``on_epoch`` must therefore not wait for such a thread.

        Raises
        ------
        scrae.CountsError
            The data are not raw counts, or there are cells without any count.
        ValueError
            Columns to keep that are corrected for as well, or where nothing is; pairs of cells that are not there, are
            of a cell and itself, or contradict each other; or ``model_dir`` holds the model of another training, or
            another process is writing there.
        scrae.TrainingDiverged
            The losses were not finite again and again.
        OSError
            The trained model could not be written into ``model_dir``, for example because the disk is full. The message
            says where it was put instead, and this object holds it.

        Examples
        --------
        >>> adata.obs["donor"] = ["A", "B"] * 350
        >>> corrected = scrae.SCRAE(max_epochs=3, verbose=False).fit(adata, batch_key="donor")
        >>> corrected.embed().shape
        (700, 30)
        """
        if max_epochs is not None:
            max_epochs = at_least("max_epochs", max_epochs, 1)
        checkpoint_seconds = not_negative("checkpoint_seconds", checkpoint_seconds)
        keep = column_names(keep)
        if keep:
            self._refuse_to_keep()
        given = TrainingData.read(
            data,
            layer=layer,
            counts=counts,
            genes=genes,
            batch_key=batch_key,
            categorical_covariate_keys=categorical_covariate_keys,
            continuous_covariate_keys=continuous_covariate_keys,
            keep=keep,
            must_link=must_link,
            cannot_link=cannot_link,
            labels_key=labels_key,
            unlabeled_category=unlabeled_category,
            random_state=self.random_state,
        )
        refuse_too_few(given.counts, given.where, self.settings.n_latent)
        refuse_more_than_free(room_of(given.counts), self.device)
        digest = given.fingerprint
        written = model_dir if distributed.in_charge() else None
        with kept_for_training(written), random_state_kept(self.device, self.verbose):
            state = self._resume_state(model_dir, digest) if resume else None
            if written is not None and not overwrite:
                refuse_another(written, identity(digest, self.settings, self.random_state))
            given.warn()
            distributed.require_same("cells, genes, settings and seed", f"{digest} {self.settings} {self.random_state}")
            with distributed.divided_work():
                fitting = Fitting(self.preset, self.settings, self.random_state, self.device, given, state)
            if written is not None:
                refuse_full(written, *fitting.sizes(), another=overwrite)
            distributed.require_same("checkpoint and number of epochs", f"{fitting.epoch} {max_epochs}")
            self._train(fitting, fitting.epochs(max_epochs), model_dir, checkpoint_seconds, on_epoch)
        return self

    def _refuse_to_keep(self) -> None:
        settings = self.settings
        corrected_afterwards = settings.n_pcs > 0 or settings.smoothing > 0
        if not corrected_afterwards or Regulariser.registry[settings.regulariser].compares_batches:
            raise Refusal(
                f"preset {self.preset!r} as it is set cannot keep a difference: it does not correct the embedding "
                "after training, or draws all batches together in training. Leave keep out, or train with the default "
                "preset",
                "cannot_keep",
                preset=self.preset,
            )

    def _train(
        self,
        fitting: Fitting,
        epochs: int,
        model_dir: str | os.PathLike[str] | None,
        checkpoint_seconds: float,
        on_epoch: Callable[[int, int, dict[str, float]], None] | None,
    ) -> None:
        """Train, and take what has come of it: object and folder are as they were until there is a whole model."""
        checkpoints = Checkpoints(fitting, model_dir, checkpoint_seconds)

        def after_epoch() -> None:
            if on_epoch is not None:
                self._show(fitting, epochs, on_epoch)
            checkpoints.keep()

        try:
            fitting.run(epochs, self.verbose, after_epoch)
        except distributed.ProcessLost:
            raise  # at once: what is left of the time until this process is killed is for the message
        except BaseException:
            if fitting.epoch:
                self._take(fitting.model(), model_dir)
            raise
        if fitting.told_to_stop_by is not None and not fitting.epoch:
            if fitting.told_to_stop_by == signal.SIGTERM:
                signal.raise_signal(signal.SIGTERM)  # there is nothing to keep: it ends the program after all
            raise KeyboardInterrupt("training was interrupted before its first epoch had ended: there is no new model")
        self._take(fitting.model(), model_dir)

    def _take(self, fitted: FittedModel, model_dir: str | os.PathLike[str] | None) -> None:
        self._fitted = fitted
        if model_dir is not None and distributed.in_charge():
            save_trained(model_dir, fitted)

    def _show(self, fitting: Fitting, epochs: int, on_epoch: Callable[[int, int, dict[str, float]], None]) -> None:
        """Call ``on_epoch``, to which this object is the model in training."""
        before = self._fitted
        self._fitted = fitting.provisional_model()
        try:
            on_epoch(fitting.epoch, epochs, dict(self._fitted.history[-1]))
        finally:
            self._fitted = before

    def _resume_state(self, model_dir: str | os.PathLike[str] | None, digest: str) -> dict[str, Tensor] | None:
        """The training state to go on from, of this object or in the folder; None: there is none."""
        if self._fitted is not None and self._fitted.training_state is not None:
            state = dict(self._fitted.training_state)
            known, settings, seed = self._fitted.fingerprint, self._fitted.settings, self._fitted.random_state
        else:
            stored = None if model_dir is None else load_state(model_dir)
            if stored is None:
                return None
            description, state = stored
            known, seed = description["fingerprint"], description["random_state"]
            settings = Settings(**description["settings"])
        if known != digest:
            raise Refusal(
                "these are not the cells, genes, covariates and pairs that the training started with: resume needs "
                "the same data; use resume=False to train anew",
                "resume_of_other_data",
            )
        ignore = {"max_epochs": None}
        if settings.changed(ignore) != self.settings.changed(ignore) or seed != self.random_state:
            raise Refusal(
                "settings or seed differ from those that the training started with; load the model "
                "(SCRAE.load) and resume that, or use resume=False to train anew",
                "resume_of_other_settings",
            )
        return state

    # -- the folder ----------------------------------------------------------------------------------------------------

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Save the model into a folder.

        Parameters
        ----------
        folder
            Gets ``weights.safetensors``, ``scrae.json`` and, so that training can be continued, the training state.

        Raises
        ------
        OSError
            A file could not be written, for example because the disk is full. What was in the folder is still intact.

        Examples
        --------
        >>> import tempfile
        >>> folder = f"{tempfile.mkdtemp()}/model"
        >>> model.save(folder)
        >>> same = scrae.SCRAE.load(folder)
        >>> bool((same.embed(adata) == model.embed(adata)).all())
        True
        """
        save_model(folder, self.fitted)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, device: str = "auto", verbose: bool | None = None) -> SCRAE:
        """Load a saved model. Its training can be continued if the folder holds a training state.

        Parameters
        ----------
        folder
            Folder that :meth:`save`, or a training with ``model_dir``, has written.
        device, verbose
            As in :class:`scrae.SCRAE`.

        Raises
        ------
        FileNotFoundError
            There is no model in the folder.
        scrae.ModelFolderError
            The model has another format, or a file is damaged.

        Examples
        --------
        >>> import tempfile
        >>> folder = f"{tempfile.mkdtemp()}/model"
        >>> model.save(folder)
        >>> scrae.SCRAE.load(folder).summary["n_cells"]
        700
        """
        resolved = resolve_device(device)
        with random_state_kept(resolved):  # layers are drawn before they are given their weights
            fitted = load_model(folder, resolved)
        model = cls(fitted.preset, random_state=fitted.random_state, device=device, verbose=verbose)
        model.settings = fitted.settings
        model._fitted = fitted
        return model

    # -- where cells lie -----------------------------------------------------------------------------------------------

    def embed(self, data: Any = None, *, layer: str | None = None, counts: str = "raw") -> np.ndarray:
        """Return the embedding of the training cells, or of other cells that have all genes of the model.

        Parameters
        ----------
        data
            AnnData or matrix of raw counts; None: the training cells.
        layer
            Layer of the AnnData with raw counts.
        counts
            ``"raw"``, or ``"round"`` for estimated counts, as in :meth:`fit`.

        Returns
        -------
        float32 (n_cells, n_latent + 20), cells in their order. The first ``n_latent`` columns draw the cells of a type
        together, which suits k-means. The other columns keep the differences between the cells of a type, which a
        neighbour graph needs. Published presets, and models with fewer than 10 latent dimensions, have only the first.

        Examples
        --------
        >>> model.embed().shape
        (700, 30)
        """
        return embedding.embed(self.fitted, data, layer, counts)

    def codes(self, data: Any = None, *, layer: str | None = None) -> np.ndarray:
        """Return the codes of cells, which the decoder takes as its input.

        The embedding is read out of the codes (:class:`scrae.posthoc.readout.Readout`). With ``n_pcs=0, smoothing=0``
        the embedding is the codes.

        Parameters
        ----------
        data, layer
            As in :meth:`embed`.

        Examples
        --------
        >>> model.codes().shape
        (700, 10)
        """
        return embedding.codes(self.fitted, data, layer)

    def map(
        self, query: Any, *, layer: str | None = None, counts: str = "raw", batch_key: str | None = None
    ) -> np.ndarray:
        """Return the embedding of new cells without training again. Genes are matched by name.

        Genes of the model that the query lacks count as zero, and a warning says how many these are. Genes that the
        model does not know are left out.

        If the cells are from batches that the model was not trained on, name their column as ``batch_key``. What sets
        each new batch apart is then learned from the cells that are most like training cells, and taken out: a factor
        for each gene, then a shift for each group of cells (:mod:`scrae.posthoc.new_batch`). The model does not change,
        and neither does the embedding of any other cell. Without ``batch_key`` nothing is taken out, and where
        ``query.obs`` has the batch column of the training, a warning names the new batches.

        Parameters
        ----------
        query
            AnnData of raw counts (a matrix must have exactly the model's genes, in order).
        layer
            Layer of the AnnData with raw counts.
        counts
            ``"raw"``, or ``"round"`` for estimated counts, as in :meth:`fit`.
        batch_key
            Column of ``query.obs`` with batches. Batches of the training are left as they are, if the column has the
            name that it had there. New ones need 30 cells; a warning names those that are too small, and those whose
            cells do not come to lie among the training cells. Where the training kept the differences of a column that
            ``query.obs`` has as well, cells are compared with the training cells that have the same value.

        Returns
        -------
        As in :meth:`embed`.

        Raises
        ------
        ValueError
            The query has none of the model's genes, or the column lacks values; or the embedding of the preset knows no
            training cells to compare with.

        Examples
        --------
        >>> query = adata[:50].copy()
        >>> query.obs["donor"] = "new"
        >>> model.map(query).shape
        (50, 30)
        >>> model.map(query, batch_key="donor").shape
        (50, 30)
        """
        return Query(self.fitted, query, layer, counts, batch_key).embedding()

    def clusters(self, data: Any = None, *, layer: str | None = None) -> np.ndarray:
        """Return the clusters of a model that makes them while it trains (``"scdeepcluster"`` and ``"sczidesk"``).

        For all other models use :func:`scrae.tl.cluster`.

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

        Examples
        --------
        >>> settings = {"n_clusters": 8, "pretraining_epochs": 2, "max_epochs": 4}
        >>> clustering = scrae.SCRAE("scdeepcluster", verbose=False, **settings).fit(adata)
        >>> clustering.clusters().shape
        (700,)
        """
        return embedding.clusters(self.fitted, data, layer)

    # -- which types they are of ---------------------------------------------------------------------------------------

    def fit_labels(
        self, data: Any, labels_key: str, *, unlabeled_category: str = "Unknown", layer: str | None = None
    ) -> SCRAE:
        """Learn cell types from the labels of some cells. The embedding does not change.

        Parameters
        ----------
        data
            AnnData of raw counts, the training cells or others; genes are matched by name.
        labels_key
            Column of ``adata.obs`` with the type of each cell.
        unlabeled_category
            The entry of cells without a label. A missing value means the same.
        layer
            Layer of the AnnData with raw counts.

        Returns
        -------
        The model itself, ready for :meth:`predict`. The classifier is linear, works on the encoder's last hidden layer,
        and has its probabilities calibrated on held-out labels (:mod:`scrae.posthoc.cell_types`).

        Raises
        ------
        ValueError
            There is no such column, no label at all, or only one type.

        Examples
        --------
        >>> model.fit_labels(adata, "cell_type").cell_types.tolist()[:2]
        ['CD14+ Monocyte', 'CD19+ B']
        """
        types = labelling.cell_types_of(self.fitted, data, labels_key, unlabeled_category, layer, self.random_state)
        self._fitted = replace(self.fitted, cell_types=types)
        return self

    def predict(
        self,
        data: Any = None,
        *,
        layer: str | None = None,
        return_probabilities: bool = False,
        unknown_rate: float = 0.01,
        unlabeled_category: str = "Unknown",
        batch_key: str | None = None,
    ) -> np.ndarray | pd.DataFrame:
        """Predict the types of cells, as learned by :meth:`fit_labels`.

        Parameters
        ----------
        data
            AnnData of raw counts (genes are matched by name, as in :meth:`map`); None: the training cells.
        layer
            Layer of the AnnData with raw counts.
        return_probabilities
            Return probabilities instead of names.
        unknown_rate
            Share of the cells of known types that may be called unknown, in [0, 1). A cell is called unknown if it lies
            further from all types than all but this share of the labelled cells did when they were held out. With 0
            every cell gets a type.
        unlabeled_category
            The name that unknown cells get.
        batch_key
            Column of ``data.obs`` with batches that the model was not trained on. What sets them apart is taken out
            first, as in :meth:`map`.

        Returns
        -------
        The type of each cell, or ``unlabeled_category``, (n_cells,).

        With ``return_probabilities`` a DataFrame (n_cells, n_types + 1). It has a calibrated probability for each type;
        these sum to 1. The last column, ``conformal_p_value``, is compared with ``unknown_rate``
        (:meth:`scrae.posthoc.cell_types.CellTypes.conformal_p_values`). The probabilities say which of the known types
        a cell has, and the p value says whether it has one of them.

        Examples
        --------
        >>> types = model.fit_labels(adata, "cell_type").predict(adata[:50])
        >>> len(types)
        50
        """
        labelling.known_types(self.fitted)
        labelling.refuse_no_share(unknown_rate)
        if data is None and batch_key is not None:
            raise ValueError("batch_key names the batches of new cells, but the training cells were asked for")
        query = None if data is None else Query(self.fitted, data, layer, batch_key=batch_key)
        found = labelling.predict(self.fitted, query, unknown_rate, unlabeled_category)
        return found.table() if return_probabilities else found.names

    # -- what they express ---------------------------------------------------------------------------------------------

    def denoise(
        self,
        data: Any = None,
        *,
        layer: str | None = None,
        library_size: str | float = "common",
        batch: str | None = None,
    ) -> np.ndarray:
        """Return denoised expression: the expected counts according to the decoder, without counting noise.

        Cells of a batch that the model was not trained on are decoded as if from the average of the known batches, each
        with its share of the training cells, and a warning says so. This holds for further covariates as well.

        Parameters
        ----------
        data, layer
            As in :meth:`embed`.
        library_size
            ``"common"`` for the median of the training cells, so that cells can be compared; ``"observed"`` for the
            library size of each cell; or a number.
        batch
            Decode all cells as if they came from this batch; None: each cell as from its own.

        Returns
        -------
        float32 (n_cells, n_genes), dense, columns as :attr:`gene_names`.

        Examples
        --------
        >>> model.denoise(adata[:50]).shape
        (50, 765)
        """
        return expression.denoise(self.fitted, data, layer, library_size, batch)

    def negative_log_likelihood(self, data: Any = None, *, layer: str | None = None) -> np.ndarray:
        """Return -log p(x | E(x)) of each cell in nats, summed over genes: how badly the model explains the cell.

        It grows with the library size. :func:`scrae.tl.outliers` compares each cell with others of its size. New
        batches are treated as in :meth:`denoise`.

        Parameters
        ----------
        data, layer
            As in :meth:`embed`.

        Returns
        -------
        float32 (n_cells,).

        Examples
        --------
        >>> model.negative_log_likelihood(adata[:50]).shape
        (50,)
        """
        return expression.negative_log_likelihood(self.fitted, data, layer)

    def surprise(self, data: Any = None, *, layer: str | None = None) -> np.ndarray:
        """The former name of :meth:`negative_log_likelihood`."""
        warn_of_old_name("SCRAE.surprise", "SCRAE.negative_log_likelihood")
        return self.negative_log_likelihood(data, layer=layer)

    # -- others like them ----------------------------------------------------------------------------------------------

    def sample(
        self,
        n: int,
        *,
        like: Any = None,
        codes: str = "cells",
        layer: str | None = None,
        random_state: int | None = None,
        batch: str | None = None,
    ) -> np.ndarray:
        """Draw synthetic cells: a code and a library size for each, and counts from the likelihood.

        Parameters
        ----------
        n
            Number of cells.
        like
            Cells that the synthetic ones shall resemble, for example those of one type: an AnnData or a matrix with the
            model's genes and at least :data:`scrae.posthoc.density.LEAST_CELLS` cells. None: the training cells.
        codes
            ``"cells"`` draws codes and library sizes together from a mixture that is fitted to those of the cells
            (:mod:`scrae.posthoc.density`). ``"prior"`` draws codes from the regulariser's prior and library sizes from
            the training cells. Such cells are less like real ones (docs/USES.md).
        layer
            Layer of ``like`` with raw counts; None: its ``X``.
        random_state
            Seed. None: new cells at each call. The calls on one model object give the same cells in every session,
            because the first call takes the model's seed and the others go on from there.
        batch
            Batch to draw from. None: batches and further covariates in the shares of the training cells. Continuous
            covariates are drawn one by one, each from its values among the training cells.

        Returns
        -------
        Whole counts, float32 (n, n_genes), columns as :attr:`gene_names`. Their expected total is the library size.

        Examples
        --------
        >>> model.sample(20, like=adata[adata.obs["cell_type"] == "CD19+ B"]).shape
        (20, 765)
        """
        return sampling.sample(self.fitted, n, like, codes, layer, self._seed(random_state), batch)

    def sample_codes(self, n: int, *, random_state: int | None = None) -> np.ndarray:
        """Codes from the regulariser's prior, float32 (n, n_latent). Seeds are as in :meth:`sample`.

        Examples
        --------
        >>> model.sample_codes(20).shape
        (20, 10)
        """
        return sampling.sample_codes(self.fitted, n, self._seed(random_state))

    def _seed(self, random_state: int | None) -> int:
        """The seed that was given; or the model's for the first draw, and one that follows from it for each other."""
        if random_state is not None:
            return seed(random_state)
        self._draws += 1
        if self._draws == 1:
            return self.random_state
        return int(np.random.SeedSequence([self.random_state, self._draws]).generate_state(1)[0])
