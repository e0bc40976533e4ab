"""A trained model: one value, which nothing changes, and the cells in the form that it takes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from scrae._errors import Notice, Refusal
from scrae._messages import first_few, some, unknown
from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.autoencoder.settings import Settings
from scrae.compute.turns import one_at_a_time
from scrae.data.cells import Cells, read_cells
from scrae.data.covariates import CovariateCoding, Covariates
from scrae.data.minibatches import EVALUATION_CELLS, CountData, Minibatch
from scrae.data.on_disk import by_rows
from scrae.posthoc.cell_types import CellTypes
from scrae.posthoc.population import Population
from scrae.posthoc.readout import Readout


class NotFittedError(RuntimeError):
    """The model was asked for something that needs a training, and it is neither trained nor loaded.

    Examples
    --------
    >>> import scrae
    >>> scrae.SCRAE().embed()
    Traceback (most recent call last):
    scrae.model.fitted.NotFittedError: ...
    """


@dataclass(frozen=True)
class FittedModel:
    """What training has come to: all that embedding, denoising, sampling, labelling and resuming need.

    A new training, new labels or a loaded folder make another value; none is ever changed. So whoever holds one holds
    parts that belong together.

    Attributes
    ----------
    preset, random_state
        The preset that the settings began as, and the seed.
    module
        Encoder, decoder, likelihood and regulariser, in evaluation mode.
    genes
        Names of the modelled genes, in order; None after training on a bare matrix.
    coding
        How covariates are told to the decoder.
    population
        The training cells as a whole, to draw others.
    readout
        From the encoder to the embedding; None: the embedding is the codes.
    summary, history
        Facts of the training, and the losses of each epoch.
    fingerprint
        A digest of the training data, to resume on the same.
    cell_types
        What labels have taught; None before.
    training_cells
        Counts and covariates of the training cells; None in a loaded model.
    training_state
        What a resume needs (:meth:`scrae.training.loop.Training.state`); None where it was not kept.
    """

    preset: str
    random_state: int
    module: RegularisedAutoencoder
    genes: np.ndarray | None
    coding: CovariateCoding
    population: Population
    readout: Readout | None
    summary: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]
    fingerprint: str
    cell_types: CellTypes | None = None
    training_cells: tuple[sp.csr_array, Covariates] | None = None
    training_state: Mapping[str, Tensor] | None = None

    @property
    def settings(self) -> Settings:
        """Every choice of the model."""
        return self.module.settings

    @property
    def n_genes(self) -> int:
        """Number of modelled genes."""
        return self.module.likelihood.n_genes

    @property
    def device(self) -> torch.device:
        """Where the networks live, and where cells are taken through them."""
        return next(self.module.parameters()).device

    def embedding(self, minibatch: Minibatch) -> Tensor:
        """The embedding of a minibatch, (n_cells, n_latent) as codes are, or read out, with residual axes."""
        if self.readout is None:
            return self.module.encode(minibatch)
        return self.readout(self.module.features(minibatch), minibatch.counts)

    def coordinates(self, minibatch: Minibatch) -> Tensor:
        """What the read-out makes the embedding of, (n_cells, n_dimensions); only where there is a read-out."""
        assert self.readout is not None
        return self.readout.coordinates(self.module.features(minibatch), minibatch.counts)

    # -- cells in the form that the networks take ---------------------------------------------------------------------

    def counts_or_training(self, data: Any, layer: str | None, raw_or_round: str = "raw") -> sp.csr_array:
        """Counts of the model's genes of ``data``; None: of the training cells.

        With ``raw_or_round="round"`` estimated counts are rounded, with a warning.

        Raises
        ------
        ValueError
            Genes of the model are missing, or the training cells of a loaded model are asked for.
        """
        if data is None:
            return self.known_cells()[0]
        cells = read_cells(data, layer, counts=raw_or_round)
        if cells.rounding is not None:
            cells.rounding.warn(cells.where)
        return self.match_genes(cells, missing_allowed=False)

    def known_cells(self) -> tuple[sp.csr_array, Covariates]:
        """Counts and covariates of the training cells.

        Raises
        ------
        ValueError
            The model was loaded and does not hold them.
        """
        if self.training_cells is None:
            raise ValueError("a loaded model does not hold its training cells: give the data")
        return self.training_cells

    def match_genes(self, cells: Cells, missing_allowed: bool) -> sp.csr_array:
        """Counts of the model's genes, in the model's order; genes that are not there are zero.

        Raises
        ------
        ValueError
            Genes of the model are missing and may not be, or none of them is there.
        """
        if cells.gene_names is None or self.genes is None:
            if cells.counts.shape[1] != self.n_genes:
                raise ValueError(
                    f"{cells.where} has {cells.counts.shape[1]:,} genes and the model {self.n_genes:,}; without gene "
                    "names (an AnnData on both sides) they must be the same genes in the same order"
                )
            return cells.counts
        position = {name: i for i, name in enumerate(cells.gene_names)}
        found = np.array([name in position for name in self.genes])
        missing = self.genes[~found]
        if len(missing) == self.n_genes:
            ours, theirs = str(self.genes[0]), str(cells.gene_names[0])
            raise Refusal(
                f"none of the model's {self.n_genes:,} genes is in {cells.where} (the model knows names like "
                f"{ours!r}, the query names like {theirs!r}): are they symbols on one side and "
                "Ensembl ids on the other?",
                "no_gene_shared",
                n_genes=self.n_genes,
                of_model=ours,
                of_query=theirs,
            )
        if len(missing):
            message = (
                f"{len(missing):,} of the model's {self.n_genes:,} genes are not in {cells.where} ({some(missing)})"
            )
            how_many = {"n": len(missing), "n_genes": self.n_genes, "names": first_few(missing)}
            if not missing_allowed:
                raise Refusal(f"{message}; map(query) takes cells with missing genes", "genes_missing", **how_many)
            warnings.warn(Notice(f"{message}; they count as zero", "missing_genes_are_zero", **how_many), stacklevel=4)
        ones = np.ones(int(found.sum()), dtype=np.float32)
        places = [position[name] for name in self.genes[found]], np.flatnonzero(found)
        take = sp.csr_array((ones, places), shape=(cells.counts.shape[1], self.n_genes))

        def of_model(rows: sp.csr_array) -> sp.csr_array:
            taken = sp.csr_array(rows @ take)
            taken.sort_indices()
            return taken

        return by_rows(cells.counts, of_model, self.n_genes)

    def data(self, counts: sp.csr_array, covariates: Covariates) -> CountData:
        """Cells on the model's device."""
        has_batch = self.coding.batch_key is not None and bool(covariates.levels)
        return CountData(counts, covariates, self.device, has_batch=has_batch)

    def row_of_each(
        self, counts: sp.csr_array, covariates: Covariates, of: Callable[[Minibatch], Tensor]
    ) -> np.ndarray:
        """``of`` of all cells, a row for each. (A training in another thread would have its products rounded.)"""
        with one_at_a_time(), torch.inference_mode():
            data = self.data(counts, covariates)
            return data.row_of_every(lambda minibatch: of(minibatch).cpu(), EVALUATION_CELLS).numpy()

    def as_if_from(self, batch: str, covariates: Covariates) -> Covariates:
        """These covariates with one batch for all cells.

        Raises
        ------
        ValueError
            The model was trained without batches, or without this one.
        """
        key = self.coding.batch_key
        if key is None:
            raise Refusal(
                f"batch={str(batch)!r}: the model was trained without batch_key", "no_batches", batch=str(batch)
            )
        levels = self.coding.levels[key]
        if str(batch) not in levels:
            raise Refusal(
                unknown("batch", str(batch), levels, "the model"), "unknown_batch", batch=str(batch), known=levels
            )
        codes = covariates.codes.copy()
        codes[:, 0] = levels.index(str(batch))
        return replace(covariates, codes=codes)
