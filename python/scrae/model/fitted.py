"""What every question to a trained model needs: its parts, and the cells in the form that it takes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import torch

from scrae._messages import some, unknown
from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.autoencoder.settings import Settings
from scrae.data.cells import Cells, read_cells
from scrae.data.covariates import CovariateCoding, Covariates
from scrae.data.minibatches import EVALUATION_CELLS, CountData
from scrae.data.on_disk import by_rows
from scrae.posthoc.cell_types import CellTypes
from scrae.posthoc.population import Population
from scrae.regularisers import Regulariser

if TYPE_CHECKING:
    import pandas as pd


class NotFittedError(RuntimeError):
    """The model has to be trained (or loaded) first."""


class Trained:
    """The part of :class:`scrae.SCRAE` that all questions share. Training and loading fill what it needs."""

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
                f"{len(missing):,} of the model's {self._n_genes:,} genes are not in {cells.where} ({some(missing)})"
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
        """``of`` of all cells, a row for each."""
        with torch.inference_mode():
            rows = self._data(counts, covariates).row_of_each(lambda minibatch: of(minibatch).cpu(), EVALUATION_CELLS)
        return rows.numpy()

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
