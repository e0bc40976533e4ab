"""Pairs of cells of which somebody knows that they belong together, or that they do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from scrae._errors import Refusal
from scrae._messages import first_few, shown, some
from scrae.data.cells import Cells

PAIRS_PER_CELL = 10  # that are drawn for each labelled cell


@dataclass(frozen=True)
class Links:
    """Must-link and cannot-link constraints, as positions of cells.

    Attributes
    ----------
    must
        Pairs of cells of one type, int64 (n_must, 2).
    cannot
        Pairs of cells of different types, int64 (n_cannot, 2).
    """

    must: np.ndarray
    cannot: np.ndarray

    def __bool__(self) -> bool:
        return bool(len(self.must) or len(self.cannot))

    @classmethod
    def none(cls) -> Links:
        """No pairs."""
        return cls(np.zeros((0, 2), dtype=np.int64), np.zeros((0, 2), dtype=np.int64))

    @classmethod
    def read(cls, cells: Cells, must_link: Any, cannot_link: Any) -> Links:
        """Pairs as users give them: tables of two columns with names of cells, or their positions; None: no pairs.

        Raises
        ------
        ValueError
            No table of two columns, cells that are not there or whose name is not theirs alone, a cell that is paired
            with itself.
        """
        return cls(_positions(cells, "must_link", must_link), _positions(cells, "cannot_link", cannot_link))

    @classmethod
    def of_labels(cls, labels: np.ndarray, labelled: np.ndarray, random_state: int) -> Links:
        """Random pairs of labelled cells, :data:`PAIRS_PER_CELL` for each of them, or all that there are.

        Parameters
        ----------
        labels
            Types of all cells, (n_cells,).
        labelled
            Positions of the cells whose type is known, int64 (n_labelled,), at least two.
        random_state
            Seed of the draw.
        """
        n = len(labelled)
        if n * (n - 1) // 2 <= PAIRS_PER_CELL * n:
            first, second = np.triu_indices(n, 1)
        else:
            rng = np.random.default_rng(random_state)
            first = rng.integers(n, size=PAIRS_PER_CELL * n)
            second = (first + rng.integers(1, n, size=len(first))) % n  # another cell
        pairs = _each_once(np.stack([labelled[first], labelled[second]], 1))
        same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
        return cls(pairs[same], pairs[~same])

    def __add__(self, other: Links) -> Links:
        return Links(
            *(_each_once(np.concatenate(both)) for both in ((self.must, other.must), (self.cannot, other.cannot)))
        )

    def groups(self, n_cells: int) -> np.ndarray:
        """Cells that must-link pairs tie together, also by way of other cells, have one number, int32 (n_cells,)."""
        ties = sp.coo_array((np.ones(len(self.must)), self.must.T), shape=(n_cells, n_cells))
        return connected_components(ties, directed=False)[1]

    def refuse_contradictions(self, cells: Cells) -> None:
        """Refuse to keep apart two cells that must-link pairs tie together, also by way of other cells.

        Raises
        ------
        ValueError
            The message names some.
        """
        if not len(self.cannot):
            return
        group = self.groups(cells.counts.shape[0])
        tied = self.cannot[group[self.cannot[:, 0]] == group[self.cannot[:, 1]]]
        if len(tied):
            pairs = [" and ".join(_named(cells, pair)) for pair in tied[:3]]
            raise Refusal(
                f"{len(tied):,} pair(s) of cannot_link are of cells that must_link ties together, also by way of other "
                f"cells: {some(pairs)}",
                "contradicting_pairs",
                n=len(tied),
                names=first_few(pairs),
            )


def _positions(cells: Cells, name: str, pairs: Any) -> np.ndarray:
    """The pairs, each once, as positions of cells, int64 (n, 2)."""
    if pairs is None:
        return Links.none().must
    try:
        given = np.asarray(pairs if hasattr(pairs, "__array__") else list(pairs))
        said = f"of the shape {given.shape}"
    except (TypeError, ValueError):  # a number, rows of different lengths
        given, said = np.zeros(1), shown(pairs)
    if given.size == 0:
        return Links.none().must
    if given.ndim != 2 or given.shape[1] != 2:
        raise Refusal(
            f"{name} must be a table of two columns, a pair of cells in each row, not {said}",
            "no_pairs",
            name=name,
        )
    n_cells = cells.counts.shape[0]
    if np.issubdtype(given.dtype, np.integer):
        positions = given.astype(np.int64)
        unknown = np.unique(given[(given < 0) | (given >= n_cells)])
    else:
        positions = _of_names(cells, name, given.astype(str))
        unknown = np.unique(given.astype(str)[positions < 0])
    if len(unknown):
        raise Refusal(
            f"{len(unknown):,} cell(s) in {name} are not among the {n_cells:,} to train on: {some(unknown)}",
            "unknown_cells",
            name=name,
            n=len(unknown),
            n_cells=n_cells,
            names=first_few(unknown),
        )
    alone = positions[positions[:, 0] == positions[:, 1], 0]
    if len(alone):
        raise Refusal(
            f"{len(alone):,} pair(s) in {name} are of a cell and itself: {some(_named(cells, alone[:3]))}",
            "paired_with_itself",
            name=name,
            n=len(alone),
            names=first_few(_named(cells, alone[:3])),
        )
    return _each_once(positions)


def _of_names(cells: Cells, name: str, names: np.ndarray) -> np.ndarray:
    """Positions of cells by name, -1 where there is none."""
    if cells.source is None:
        raise ValueError(f"{name} has names of cells, and a matrix has none: give positions of rows, from 0 on")
    known = cells.source.obs_names
    repeated = np.intersect1d(known[known.duplicated()].astype(str), names)
    if len(repeated):
        raise Refusal(
            f"{len(repeated):,} name(s) in {name} are those of several cells ({some(repeated)}): call "
            "adata.obs_names_make_unique() first",
            "repeated_cells",
            name=name,
            n=len(repeated),
            names=first_few(repeated),
        )
    position = {str(cell): i for i, cell in enumerate(known)}
    return np.array([[position.get(cell, -1) for cell in pair] for pair in names], dtype=np.int64)


def _named(cells: Cells, positions: np.ndarray) -> list[str]:
    """Cells as users know them."""
    return [str(i) if cells.source is None else str(cells.source.obs_names[i]) for i in positions]


def _each_once(pairs: np.ndarray) -> np.ndarray:
    """Pairs without order, int64 (n, 2), ascending."""
    return np.unique(np.sort(pairs, axis=1), axis=0)
