"""What a trained model says of cells: embedding, clusters, types, denoised and synthetic counts."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from scrae.autoencoder import RegularisedAutoencoder
from scrae.data import CountData, Covariates, Minibatch
from scrae.density import LEAST_CELLS, CellDensity
from scrae.inputs import Cells, CovariateCoding, read_cells
from scrae.labels import CellTypes, fit_cell_types
from scrae.mapped import by_rows
from scrae.population import Population
from scrae.regularisers import Regulariser
from scrae.settings import Settings, unknown
from scrae.training import EVALUATION_CELLS

if TYPE_CHECKING:
    from typing import Self

    import pandas as pd


class NotFittedError(RuntimeError):
    """The model has to be trained (or loaded) first."""


class Trained:
    """The part of :class:`scrae.SCRAE` that asks a trained network. Training and loading fill what it needs."""

    settings: Settings
    random_state: int
    device: torch.device
    _module: RegularisedAutoencoder | None
    _genes: np.ndarray | None
    _n_genes: int
    _coding: CovariateCoding
    _summary: dict[str, Any]
    _history: list[dict[str, float]]
    _population: Population | None
    _training_cells: tuple[sp.csr_array, Covariates] | None
    _cell_types: CellTypes | None

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
    ) -> Self:
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
        """Synthetic cells: a code and a library size for each, then counts from the likelihood.

        Parameters
        ----------
        n
            Number of cells.
        like
            Cells to draw others like, :data:`scrae.density.LEAST_CELLS` or more (an AnnData or a matrix with the
            model's genes): of one type, say. None: the training cells.
        codes
            ``"cells"``: codes and library sizes together from a mixture fitted to those of the cells
            (:mod:`scrae.density`). ``"prior"``: codes from the regulariser's prior, library sizes from the training
            cells: what the model has learned to take for cells, less like real ones (docs/USES.md).
        layer
            Layer of ``like`` with raw counts; None: its ``X``.
        random_state
            Seed; None: the model's.
        batch
            Batch to draw from; None: batches (and further covariates) in the shares of the training cells. Continuous
            covariates are drawn one by one, each as among the training cells.

        Returns
        -------
        float32 (n, n_genes), whole counts, columns as :attr:`gene_names`. Their expected total is the library size.
        """
        module, population = self._fitted(), self._fitted_population()
        if n < 1:
            raise ValueError(f"n must be at least 1, not {n}")
        if codes not in ("cells", "prior"):
            raise ValueError(f'codes is "cells" or "prior", not {codes!r}')
        if codes == "prior" and like is not None:
            raise ValueError('a prior knows no single cells: give like=..., or codes="prior"')
        if module.target_transform.kind not in ("counts", "lognorm", "scaled"):
            raise ValueError(
                f"the likelihood of this model describes {module.target_transform.kind} values, of which it can draw "
                'no counts; train with target="counts"'
            )
        rng = np.random.default_rng(self.random_state if random_state is None else random_state)
        covariates = population.draw_covariates(n, tuple(map(len, self._coding.levels.values())), rng)
        if batch is not None:
            covariates = self._as_if_from(batch, covariates)
        if codes == "prior":
            log_library = population.draw_log_library(n, rng)
            latent = self.sample_codes(n, random_state=int(rng.integers(2**31)))
        else:
            latent, log_library = self._density_of(like, layer, population).draw(n, rng)
        return self._drawn_counts(latent, log_library, covariates, int(rng.integers(2**31)))

    def sample_codes(self, n: int, *, random_state: int | None = None) -> np.ndarray:
        """Codes from the regulariser's prior, float32 (n, n_latent)."""
        module = self._fitted()
        with torch.inference_mode(), self._own_random_state():
            torch.manual_seed(self.random_state if random_state is None else random_state)
            return module.regulariser.sample(n).cpu().numpy()

    def _density_of(self, like: Any, layer: str | None, population: Population) -> CellDensity:
        """That of the training cells, or of the cells that are given."""
        if like is None:
            if population.density is None:
                raise ValueError(
                    "this model has no density of its cells (scikit-learn was missing, or it is of an older version): "
                    'train anew, or sample(n, codes="prior")'
                )
            return population.density
        counts = self._match_genes(read_cells(like, layer), missing_allowed=False)
        if counts.shape[0] < LEAST_CELLS:
            raise ValueError(
                f"like has {counts.shape[0]:,} cell(s); what cells are like is told from {LEAST_CELLS} or more"
            )
        module = self._fitted()
        codes = self._in_batches(counts, Covariates.none(counts.shape[0]), module.encode)
        return CellDensity.fit(codes, module.log_libraries(counts), self.random_state)

    def _drawn_counts(
        self, codes: np.ndarray, log_library: np.ndarray, covariates: Covariates, seed: int
    ) -> np.ndarray:
        """Counts of cells with these codes (n, n_latent), log library sizes (n,) and covariates, float32 (n, n_genes).

        The likelihood's means add up to the library size without technical dropout; they are scaled up so that what is
        drawn adds up to it.
        """
        module, n = self._fitted(), len(codes)
        nothing = sp.csr_array(np.zeros((n, self._n_genes), dtype=np.float32))
        parts = []
        with torch.inference_mode(), self._own_random_state():
            torch.manual_seed(seed)
            start = 0
            for minibatch in self._data(nothing, covariates).in_order(EVALUATION_CELLS):
                part = slice(start, start := start + minibatch.n_cells)
                latent = torch.as_tensor(codes[part], device=self.device)
                size = torch.as_tensor(log_library[part], dtype=torch.float32, device=self.device)
                parameters = module.decode(latent, minibatch.covariates, size, minibatch.batch)
                short = size - module.likelihood.expected(parameters).sum(1).log()
                parameters = module.decode(latent, minibatch.covariates, size + short, minibatch.batch)
                parts.append(module.likelihood.sample(parameters).cpu().numpy())
        return np.concatenate(parts)

    @contextmanager
    def _own_random_state(self) -> Iterator[None]:
        """Draw from a random state of our own, and leave the user's as it was."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            yield

    def _fitted(self) -> RegularisedAutoencoder:
        if self._module is None:
            raise NotFittedError("the model is not trained yet: call fit(adata) first, or load one with SCRAE.load")
        return self._module

    def _fitted_population(self) -> Population:
        self._fitted()
        assert self._population is not None
        return self._population

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
        return replace(covariates, codes=codes)

    def _common_library(self, library_size: str | float) -> float | None:
        """log library size for all cells, or None for each cell's own."""
        if library_size == "observed":
            return None
        if library_size == "common":
            return float(np.median(self._fitted_population().log_library_quantiles))
        if isinstance(library_size, str) or not library_size > 0:
            raise ValueError(f'library_size is "common", "observed" or a positive number, not {library_size!r}')
        return float(np.log(library_size))
