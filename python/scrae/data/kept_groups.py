"""Groups of cells between which a correction for batches changes nothing, such as the conditions of an experiment."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from scrae._errors import Notice, Refusal
from scrae._messages import first_few, some
from scrae.data.cells import Cells
from scrae.data.covariates import AVERAGE, CovariateCoding, column_names

FEWEST = 30  # cells: with fewer nobody can say what is type and what is batch
BETWEEN = "\x1f"  # levels of a group in its name: the separator of units, which no level has


@dataclass(frozen=True)
class KeptGroups:
    """Cells that agree in all columns whose differences are kept.

    Attributes
    ----------
    columns
        Names of the columns of ``adata.obs``.
    names
        Of the groups: the levels of the columns, with :data:`BETWEEN` between them.
    of_cells
        Group of each cell, int64 (n_cells,).
    """

    columns: tuple[str, ...]
    names: tuple[str, ...]
    of_cells: np.ndarray

    @classmethod
    def read(cls, cells: Cells, keep: str | Iterable[str], coding: CovariateCoding) -> KeptGroups | None:
        """From columns of ``adata.obs``; None: no column is named.

        Parameters
        ----------
        cells
            The training cells.
        keep
            Names of the columns.
        coding
            The covariates that are corrected for.

        Raises
        ------
        ValueError
            No covariate is named beside them, or the same column; no such column, missing values in it, or one level
            alone; or no two batches have cells of one group.
        """
        columns = tuple(dict.fromkeys(column_names(keep)))
        if not columns:
            return None
        corrected = [*coding.levels, *coding.scales]
        if not corrected:
            raise Refusal(
                f"keep={some(columns)} says what a correction must not take out, but nothing is corrected: name the "
                "batches, batch_key=..., or leave keep out",
                "keep_without_batch",
                names=first_few(columns),
            )
        both = [name for name in columns if name in corrected]
        if both:
            raise Refusal(
                f"{some(both)} named in keep and as a batch or covariate: what is taken out cannot be kept; choose one",
                "kept_and_corrected",
                names=first_few(both),
            )
        levels = [cells.covariate(name) for name in columns]
        for name, values in zip(columns, levels, strict=True):
            if len(np.unique(values)) < 2:
                raise Refusal(
                    f"adata.obs[{name!r}] has the same value in all cells: there is no difference to keep",
                    "one_level",
                    column=name,
                )
        names, group = np.unique(joined(levels), return_inverse=True)
        found = cls(columns, tuple(map(str, names)), group.astype(np.int64))
        if not coding.scales and not any(len(found._parted(cells.covariate(key))) for key in coding.levels):
            raise Refusal(
                f"each level of {some(columns)} has one level of {some(list(coding.levels))} alone, so that nothing "
                "can be taken out without it: name the samples within them as batches, or leave both out",
                "kept_is_batch",
                names=first_few(columns),
                batches=first_few(list(coding.levels)),
            )
        return found

    def warn(self, coding: CovariateCoding, batch: np.ndarray | None) -> None:
        """Name groups in which nothing is corrected: those that are one batch each, and others of few cells.

        ``batch`` is the code of each cell's batch, int (n_cells,); None: only other covariates are corrected.
        """
        every = range(len(self.names))
        parted = set(every) if batch is None else self._parted(batch)
        alone = [group for group in every if group not in parted]
        sizes = np.bincount(self.of_cells, minlength=len(self.names))
        small = [group for group in every if sizes[group] < FEWEST and group in parted]
        common = {"n_groups": len(self.names), "columns": first_few(self.columns)}
        if alone:
            names = [self._shown(group) for group in alone]
            warnings.warn(
                Notice(
                    f"{len(alone):,} of {len(self.names):,} level(s) of {some(self.columns)} have one level of "
                    f"adata.obs[{coding.batch_key!r}] alone ({some(names)}). What sets that batch apart stays in the "
                    "embedding, since nothing tells it from what is kept",
                    "kept_groups_of_one_batch",
                    n=len(alone),
                    names=first_few(names),
                    batch=coding.batch_key,
                    **common,
                ),
                stacklevel=3,
            )
        if small:
            names = [self._shown(group) for group in small]
            warnings.warn(
                Notice(
                    f"{len(small):,} of {len(self.names):,} level(s) of {some(self.columns)} have fewer than {FEWEST} "
                    f"cells ({some(names)}). What sets batches apart stays in these cells, since so few do not tell "
                    "it from what sets types apart",
                    "small_kept_groups",
                    n=len(small),
                    names=first_few(names),
                    least=FEWEST,
                    **common,
                ),
                stacklevel=3,
            )

    def _shown(self, group: int) -> str:
        """A name of a group for the eye."""
        return self.names[group].replace(BETWEEN, ", ")

    def _parted(self, levels: np.ndarray) -> set[int]:
        """Groups whose cells have several of these levels, (n_cells,)."""
        numbers = np.unique(levels.astype(str), return_inverse=True)[1]
        pairs = np.unique(np.column_stack([self.of_cells, numbers]), axis=0)
        groups, n_levels = np.unique(pairs[:, 0], return_counts=True)
        return set(groups[n_levels > 1].tolist())


def known_groups(cells: Cells, coding: CovariateCoding) -> np.ndarray:
    """Group of each new cell among those that a model kept, int64 (n_cells,).

    :data:`scrae.data.covariates.AVERAGE` where the cells are of no such group, lack one of the columns, or where
    nothing was kept.

    Raises
    ------
    ValueError
        The columns have missing values.
    """
    unknown = np.full(cells.counts.shape[0], AVERAGE, dtype=np.int64)
    if not coding.keep or cells.source is None or not set(coding.keep) <= set(cells.source.obs):
        return unknown
    place = {name: number for number, name in enumerate(coding.kept_groups)}
    texts = joined([cells.covariate(name) for name in coding.keep])
    return np.array([place.get(text, AVERAGE) for text in texts.tolist()], dtype=np.int64)


def joined(levels: Sequence[np.ndarray]) -> np.ndarray:
    """Levels of several columns as one text for each cell, str (n_cells,)."""
    result: np.ndarray = np.array([BETWEEN.join(map(str, of_cell)) for of_cell in zip(*levels, strict=True)])
    return result
