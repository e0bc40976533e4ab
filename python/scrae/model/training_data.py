"""What a model is trained on: counts of the modelled genes, covariates and pairs of cells, read and checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from scrae.compute import distributed
from scrae.data.cells import Cells, read_cells
from scrae.data.counts import Rounding, warn_of_empty_cells
from scrae.data.covariates import CovariateCoding, Covariates, warn_of_nested
from scrae.data.features import marked
from scrae.data.kept_groups import KeptGroups
from scrae.data.links import Links
from scrae.data.on_disk import by_rows
from scrae.data.several_files import batch_of
from scrae.model import labelling
from scrae.model.identity import fingerprint


@dataclass(frozen=True)
class TrainingData:
    """Cells as a training takes them.

    Attributes
    ----------
    counts
        Raw counts of the modelled genes, (n_cells, n_genes).
    genes
        Names of the modelled genes; None: the matrix has none.
    coding, covariates
        How batches and covariates are told to the decoder, and those of the cells.
    kept
        Groups of cells whose differences are kept; None: there are none.
    links
        What is known of pairs of cells.
    where
        How to call the place of the counts.
    rounding
        What rounding has changed, if counts were to be rounded.
    """

    counts: sp.csr_array
    genes: np.ndarray | None
    coding: CovariateCoding
    covariates: Covariates
    kept: KeptGroups | None
    links: Links
    where: str
    rounding: Rounding | None

    @classmethod
    def read(
        cls,
        data: Any,
        *,
        layer: str | None,
        counts: str,
        genes: str | Sequence[Any] | np.ndarray | None,
        batch_key: str | None,
        categorical_covariate_keys: str | Iterable[str],
        continuous_covariate_keys: str | Iterable[str],
        keep: str | Iterable[str],
        must_link: Any,
        cannot_link: Any,
        labels_key: str | None,
        unlabeled_category: str,
        random_state: int,
    ) -> TrainingData:
        """What :meth:`scrae.SCRAE.fit` is given, under its names; the seed draws pairs of labelled cells.

        Raises
        ------
        As :meth:`scrae.SCRAE.fit`.
        """
        every = isinstance(genes, str) and genes == "all"
        with distributed.divided_work():
            # Counts of some of the genes are a copy in any case.
            cells = read_cells(data, layer, counts=counts, copy=genes is None or every)
            if every or genes is None:
                genes = None if every else _chosen_before(cells)
            chosen = np.arange(cells.counts.shape[1]) if genes is None else cells.positions(genes)
            modelled = cells.counts
            if genes is not None:
                modelled = by_rows(modelled, lambda rows: sp.csr_array(rows[:, chosen]), len(chosen))
        names = None if cells.gene_names is None else cells.gene_names[chosen]
        batch_key = batch_of(data, batch_key)
        coding = CovariateCoding.fit(cells, batch_key, categorical_covariate_keys, continuous_covariate_keys)
        covariates, kept = coding.code(cells), KeptGroups.read(cells, keep, coding)
        if kept is not None:
            coding = replace(coding, keep=kept.columns, kept_groups=kept.names)
            covariates = replace(covariates, kept=kept.of_cells)
        links = Links.read(cells, must_link, cannot_link)
        if labels_key is not None:
            links += labelling.links_of_labels(cells, labels_key, unlabeled_category, random_state)
        links.refuse_contradictions(cells)
        return cls(modelled, names, coding, covariates, kept, links, cells.where, cells.rounding)

    @cached_property
    def fingerprint(self) -> str:
        """Of counts, covariates and links."""
        return fingerprint(self.counts, self.covariates, self.links)

    @property
    def batch(self) -> np.ndarray | None:
        """The batch of each cell, int (n_cells,); None: no batches are named."""
        return None if self.coding.batch_key is None else self.covariates.codes[:, 0]

    def warn(self) -> None:
        """Warn of what is no fault and may be a mistake."""
        if self.rounding is not None:
            self.rounding.warn(self.where)
        warn_of_empty_cells(self.counts)
        warn_of_nested(self.coding, self.covariates)
        if self.kept is not None:
            self.kept.warn(self.coding, self.batch)


def _chosen_before(cells: Cells) -> np.ndarray | None:
    """Mask of the genes that the AnnData marks as highly variable, or as chosen by scRAE; None: it marks none."""
    columns = () if cells.source is None else cells.source.var
    column = next((name for name in ("highly_variable", "scrae_selected") if name in columns), None)
    return None if column is None else marked(cells.source.var[column], column)
