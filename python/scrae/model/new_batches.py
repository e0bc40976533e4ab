"""New cells whose batches the model was not trained on, placed beside the training cells they are like."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from scrae._errors import Notice, Refusal
from scrae._messages import first_few, some
from scrae.data.cells import Cells
from scrae.data.covariates import AVERAGE, Covariates
from scrae.data.kept_groups import known_groups
from scrae.data.minibatches import Minibatch
from scrae.model.fitted import FittedModel
from scrae.model.new_levels import shares_of_levels
from scrae.posthoc.finish import some_cells
from scrae.posthoc.gene_factors import LEAST_CELLS
from scrae.posthoc.new_batch import NewBatch, TrainingCells

UNLIKE = 0.08  # nats per molecule that training cells say less than the mean of a batch, from which on it is said


@dataclass(frozen=True)
class NewBatches:
    """New cells, and what sets each of their batches apart.

    Attributes
    ----------
    model
        The model that they are shown to.
    counts
        Their counts of the model's genes.
    parts
        Positions of the cells of each batch that the model does not know, and what sets it apart.
    left
        Positions of the other cells: of known batches, and of those that nothing can be said of.
    """

    model: FittedModel
    counts: sp.csr_array
    parts: list[tuple[np.ndarray, NewBatch]]
    left: np.ndarray

    @classmethod
    def find(cls, model: FittedModel, cells: Cells, counts: sp.csr_array, batch_key: str) -> NewBatches:
        """Look for it in the cells of each batch, with a warning of batches that it could not be found for.

        Cells are compared with the training cells of their group, where the differences of groups were kept.

        Parameters
        ----------
        cells, counts
            The new cells, and their counts of the model's genes.
        batch_key
            Their column with batches. Where it is that of the training, batches of the training are known.

        Raises
        ------
        ValueError
            The column is not there or lacks values, or the model has nothing that a new batch could be compared with.
        """
        of_cell = cells.covariate(batch_key).astype(str)
        known = set(model.coding.levels[batch_key]) if batch_key == model.coding.batch_key else set()
        places = {name: np.flatnonzero(of_cell == name) for name in sorted(set(of_cell.tolist()) - known)}
        training = training_cells(model) if places else None
        parts: list[tuple[np.ndarray, NewBatch]] = []
        left = np.isin(of_cell, list(known))
        unlike: dict[str, None] = {}
        apart: dict[str, float] = {}
        groups = known_groups(cells, model.coding)
        for name, of_batch in places.items():
            assert training is not None
            for group in np.unique(groups[of_batch]).tolist():
                here = of_batch[groups[of_batch] == group]
                batch = _new_batch(model, sp.csr_array(counts[here]), training.of_group(group))
                if batch is None:
                    unlike[name] = None
                    left[here] = True
                    continue
                if batch.gained < -UNLIKE:
                    apart[name] = max(-batch.gained, apart.get(name, 0.0))
                parts.append((here, batch))
        _warn(batch_key, list(unlike), apart)
        return cls(model, counts, parts, np.flatnonzero(left))

    def row_of_each(
        self, of_known: Callable[[Minibatch], Tensor], of_new: Callable[[NewBatch, Minibatch], Tensor]
    ) -> np.ndarray:
        """``of_known`` of cells that are left as they are, ``of_new`` of the others, in the order of the cells.

        Parameters
        ----------
        of_known
            Of a minibatch, (n_cells, n_columns).
        of_new
            Of what sets a batch apart, and of a minibatch whose counts are without the batch's factors.
        """
        found = [(here, self._rows(here, _divided(batch, of_new))) for here, batch in self.parts]
        if len(self.left):
            found.append((self.left, self._rows(self.left, of_known)))
        result = np.empty((self.counts.shape[0], *found[0][1].shape[1:]), dtype=found[0][1].dtype)
        for here, rows in found:
            result[here] = rows
        return result

    def _rows(self, here: np.ndarray, of: Callable[[Minibatch], Tensor]) -> np.ndarray:
        return self.model.row_of_each(sp.csr_array(self.counts[here]), Covariates.none(len(here)), of)


def _divided(batch: NewBatch, of: Callable[[NewBatch, Minibatch], Tensor]) -> Callable[[Minibatch], Tensor]:
    """``of`` the batch and a minibatch without its factors, as a function of the minibatch as it is."""

    def of_divided(minibatch: Minibatch) -> Tensor:
        return of(batch, replace(minibatch, counts=batch.divided(minibatch.counts)))

    return of_divided


def training_cells(model: FittedModel) -> TrainingCells:
    """Where the landmarks of the read-out lie without what batches add, and what the decoder says that they express.

    Raises
    ------
    ValueError
        The model has no read-out with landmarks, or no decoder.
    """
    readout, module = model.readout, model.module
    if readout is None or not len(readout.landmarks) or module.likelihood.name == "none":
        raise Refusal(
            f"preset {model.preset!r} as it was trained keeps no training cells to compare a new batch with: leave "
            "batch_key out, or train with the default preset",
            "no_landmarks",
            preset=model.preset,
        )
    here = readout.without_covariates.landmarks
    codes = readout.features(readout.landmarks)[:, : model.settings.n_latent]
    log_library = float(np.median(model.population.log_library_quantiles))

    def expressed(minibatch: Minibatch) -> Tensor:
        own = codes[minibatch.cells]
        parameters = module.decode(own, minibatch.covariates, torch.full_like(own[:, 0], log_library), minibatch.batch)
        return module.to_counts(module.likelihood.mean(parameters))

    none = np.zeros(0, dtype=np.int64)
    nothing = sp.csr_array((none.astype(np.float32), (none, none)), shape=(len(here), model.n_genes))
    means = model.row_of_each(nothing, _average(model, len(here)), expressed)
    kept = None if readout.kept is None else readout.kept.cpu().numpy()
    return TrainingCells(here.cpu(), means.astype(np.float64), kept)


def _average(model: FittedModel, n_cells: int) -> Covariates:
    """Covariates of cells of no batch but of all, each with its share."""
    levels = tuple(map(len, model.coding.levels.values()))
    values = np.zeros((n_cells, len(model.coding.scales)), dtype=np.float32)
    codes = np.full((n_cells, len(levels)), AVERAGE, dtype=np.int64)
    return Covariates(codes, levels, values, shares_of_levels(model))


def _new_batch(model: FittedModel, counts: sp.csr_array, training: TrainingCells) -> NewBatch | None:
    some_counts = sp.csr_array(counts[some_cells(counts.shape[0], model.random_state)])

    def coordinates(rows: sp.csr_array) -> Tensor:
        return torch.as_tensor(model.row_of_each(rows, Covariates.none(rows.shape[0]), model.coordinates))

    return NewBatch.fit(some_counts, training, coordinates, model.random_state)


def _warn(batch_key: str, unlike: list[str], apart: dict[str, float]) -> None:
    if unlike:
        warnings.warn(
            Notice(
                f"{len(unlike):,} batch(es) of adata.obs[{batch_key!r}] have fewer than {LEAST_CELLS} cells, or hardly "
                f"any that is like a training cell ({some(unlike)}). What sets these apart is not taken out",
                "new_batches_unlike",
                column=batch_key,
                n=len(unlike),
                names=first_few(unlike),
                least=LEAST_CELLS,
            ),
            stacklevel=5,
        )
    if apart:
        name = max(apart, key=lambda level: apart[level])
        warnings.warn(
            Notice(
                f"{len(apart):,} batch(es) of adata.obs[{batch_key!r}] are unlike the training cells "
                f"({some(sorted(apart))}). The training cells around the cells of {name!r} describe their counts worse "
                f"than the average of that batch does, by {apart[name]:.2f} nats per molecule. Their types may not be "
                "those of the training; an embedding that is trained on all cells tells",
                "new_batches_apart",
                column=batch_key,
                n=len(apart),
                names=first_few(sorted(apart)),
                furthest=name,
                nats=round(apart[name], 4),
            ),
            stacklevel=5,
        )
