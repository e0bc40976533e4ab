"""Which types cells are of, learned from labels after training."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from scrae._messages import some
from scrae.data.cells import read_cells
from scrae.data.covariates import Covariates
from scrae.model.fitted import NotFittedError, Trained
from scrae.posthoc.cell_types import fit_cell_types

if TYPE_CHECKING:
    from typing import Self

    import pandas as pd


class Labelling(Trained):
    """Types of cells from partial labels."""

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
        probabilities calibrated on held-out labels (:mod:`scrae.posthoc.cell_types`).

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
                f"{len(alone):,} of {len(types):,} types have a single labelled cell ({some(alone)}): "
                f"how well they are recognised cannot be checked",
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
        that is compared with ``unknown_rate`` (:meth:`scrae.posthoc.cell_types.CellTypes.familiarity`). A probability
        says which of the known types it is, the familiarity whether it is one of them.
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
