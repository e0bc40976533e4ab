"""Batches and other covariates: columns of ``obs`` as codes and numbers, as the training cells have them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scrae._errors import Notice, Refusal
from scrae._messages import first_few, some

if TYPE_CHECKING:
    from scrae.data.cells import Cells


AVERAGE = -1
"""Code of a level that the model was not trained on: the decoder is told the shares of the known levels instead."""


@dataclass(frozen=True)
class Covariates:
    """Categorical covariates of all cells, as codes, and continuous ones, as numbers.

    Attributes
    ----------
    codes
        int64 (n_cells, n_covariates); the batch, if there is one, comes first.
    levels
        Number of levels of each covariate.
    values
        Continuous covariates with mean 0 and variance 1 over the training cells, float32 (n_cells, n_continuous).
    shares
        Of each covariate: the shares of its levels among the training cells, float (n_levels,). Needed where there are
        codes :data:`AVERAGE`; None: there are none.
    kept
        Group of each cell, int64 (n_cells,): levels are compared within groups, and what sets groups apart is kept
        (:mod:`scrae.data.kept_groups`). None: all cells are of one.
    """

    codes: np.ndarray
    levels: tuple[int, ...]
    values: np.ndarray
    shares: tuple[np.ndarray, ...] | None = None
    kept: np.ndarray | None = None

    @classmethod
    def categorical(cls, codes: np.ndarray, levels: tuple[int, ...]) -> Covariates:
        return cls(codes, levels, np.zeros((len(codes), 0), dtype=np.float32))

    @classmethod
    def none(cls, n_cells: int) -> Covariates:
        return cls.categorical(np.zeros((n_cells, 0), dtype=np.int64), ())


@dataclass(frozen=True)
class CovariateCoding:
    """What the covariates were that a model was trained with: names and levels, or names and scales.

    Attributes
    ----------
    levels
        Levels of each covariate, by its column in ``adata.obs``.
    batch_key
        Which of them is the batch, or None.
    scales
        Mean and standard deviation over the training cells of each continuous covariate, by its column.
    keep, kept_groups
        Columns whose differences were to be kept, and the groups of cells that agree in them.
    """

    levels: Mapping[str, list[str]]
    batch_key: str | None
    scales: Mapping[str, Sequence[float]]
    keep: tuple[str, ...] = ()
    kept_groups: tuple[str, ...] = ()

    @classmethod
    def none(cls) -> CovariateCoding:
        return cls({}, None, {})

    @classmethod
    def fit(
        cls,
        cells: Cells,
        batch_key: str | None,
        others: str | Iterable[str] | None,
        continuous: str | Iterable[str] | None,
    ) -> CovariateCoding:
        """Take levels and scales from the training cells; levels of one cell and constant numbers are refused."""
        if batch_key is not None:
            cells.covariate(batch_key)  # one name: before it is a key of anything
        keys = list(dict.fromkeys([*([] if batch_key is None else [batch_key]), *column_names(others)]))
        levels: dict[str, list[str]] = {}
        for key in keys:
            names, numbers = np.unique(cells.covariate(key), return_counts=True)
            single = names[numbers == 1]
            if len(single):
                raise Refusal(
                    f"{len(single):,} level(s) of adata.obs[{key!r}] have a single cell ({some(single)}), so that "
                    "level and cell cannot be distinguished; merge these levels or drop the cells",
                    "single_cell_levels",
                    column=key,
                    n=len(single),
                    names=first_few(single),
                )
            levels[key] = [str(name) for name in names]
        scales: dict[str, Sequence[float]] = {}
        for key in dict.fromkeys(column_names(continuous)):
            values = cells.numbers(key)
            if np.ptp(values) == 0:
                raise Refusal(
                    f"adata.obs[{key!r}] is {values[0]:g} in all {len(values):,} cells: there is nothing to correct "
                    "for; leave it out",
                    "constant_column",
                    column=key,
                    value=float(values[0]),
                    n_cells=len(values),
                )
            scales[key] = (float(values.mean()), float(values.std()))
        both = set(levels) & set(scales)
        if both:
            raise Refusal(
                f"{some(sorted(both))} named as a categorical and as a continuous covariate: choose one",
                "categorical_and_continuous",
                names=first_few(sorted(both)),
            )
        return cls(levels, batch_key, scales)

    @property
    def n_batches(self) -> int:
        return len(self.levels[self.batch_key]) if self.batch_key else 1

    @property
    def width(self) -> int:
        """What covariates add to the decoder's input: a column for each level and each number."""
        return sum(map(len, self.levels.values())) + len(self.scales)

    def shown(self, key: str, value: float) -> str:
        """A code of a categorical covariate, or a value of a continuous one, as the column has it."""
        if key in self.levels:
            return self.levels[key][int(value)]
        mean, sd = self.scales[key]
        return f"{mean + sd * value:.4g}"

    def new_levels(self, cells: Cells) -> dict[str, list[str]]:
        """Levels of ``cells`` that were not seen in training, sorted, by column; no entry where all were."""
        found = {key: sorted(set(cells.covariate(key)) - set(levels)) for key, levels in self.levels.items()}
        return {key: names for key, names in found.items() if names}

    def code(self, cells: Cells) -> Covariates:
        """Covariates of ``cells``; levels that were not seen in training are :data:`AVERAGE`."""
        codes = np.zeros((cells.counts.shape[0], len(self.levels)), dtype=np.int64)
        for j, (key, levels) in enumerate(self.levels.items()):
            position = {name: i for i, name in enumerate(levels)}
            codes[:, j] = [position.get(value, AVERAGE) for value in cells.covariate(key)]
        values = np.zeros((cells.counts.shape[0], len(self.scales)), dtype=np.float32)
        for j, (key, (mean, sd)) in enumerate(self.scales.items()):
            values[:, j] = (cells.numbers(key) - mean) / sd
        return Covariates(codes, tuple(map(len, self.levels.values())), values)


def follows(values: np.ndarray, batch: np.ndarray) -> bool:
    """Whether a covariate has one value in each batch; both (n_cells,)."""
    return len(np.unique(np.column_stack([batch, values]), axis=0)) == len(np.unique(batch))


def warn_of_nested(coding: CovariateCoding, covariates: Covariates) -> None:
    """Name covariates that have one value in each batch, so that nothing can tell their effect from the batch's."""
    key = coding.batch_key
    if key is None:
        return
    batch = covariates.codes[:, 0]
    first = np.unique(batch, return_index=True)[1]
    others = dict(zip(list(coding.levels)[1:], covariates.codes.T[1:], strict=True))
    others |= dict(zip(coding.scales, covariates.values.T, strict=True))
    for name, values in others.items():
        if len(np.unique(values)) < 2 or not follows(values, batch):
            continue
        shown = [coding.shown(name, value) for value in values[first]]
        table = [f"{level}: {value}" for level, value in zip(coding.levels[key], shown, strict=True)]
        warnings.warn(
            Notice(
                f"adata.obs[{name!r}] has one value in each level of adata.obs[{key!r}] ({some(table)}). "
                f"Their effects cannot be told apart: what sets the values of {name!r} apart is taken out with "
                f"{key!r}, whether {name!r} is named or not. To keep it in the embedding, name it with keep= instead",
                "nested_covariate",
                column=name,
                batch=key,
                names=first_few(table),
            ),
            stacklevel=3,
        )


def column_names(named: str | Iterable[str] | None) -> list[str]:
    """Names of columns: text is the name of one, and a set has an order, so that a seed gives the same bits."""
    if named is None:
        return []
    if isinstance(named, str) or not isinstance(named, Iterable):
        return [str(named)]
    names = [str(name) for name in named]
    return sorted(names) if isinstance(named, Set) else names
