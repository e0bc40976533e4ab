"""Damaged matrices of counts, in memory and in files, beside a reader that follows them entry by entry.

The reader is plain Python. What it cannot read has to be refused, and of what it can read the same counts have to come.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import scipy.sparse as sp

import scrae
from attacks.outcome import Lost, Outcome, outcome
from scrae.data.cells import read_cells
from scrae.data.counts import Rounding, as_counts

N_CELLS, N_GENES = 12, 10
PARTS = ("data", "indices", "indptr")
LARGEST, STEPS, MOST = 2**24, 2 * float(np.finfo(np.float32).eps), 1e-3  # what docstrings promise of whole numbers
QUICK = {"n_latent": 2, "n_hidden": (8,), "batch_size": 8, "max_epochs": 1, "early_stopping": False, "verbose": False}
NUMBERS = [-1, 0, 1, 2, 3, N_GENES - 1, N_GENES, N_CELLS, 17, 10**7, 2**31 - 1, 2**31, 2**32 + 3, -(2**40), 2**62]
VALUES = [0, 1, -1, 0.5, 1e-7, 1.0000001, 1e30, 2**24, 2**24 + 1, math.nan, math.inf, -math.inf, -0.0, 255, 3e-320]
TYPES = ["u1", "i1", "u2", "i2", "i4", ">i4", "u4", "i8", "u8", "f2", "f4", ">f4", "f8", ">f8", "longdouble"]
ODD_TYPES = ["?", "c8", "S3", "U3", "O", "M8[s]", "m8[s]", "V2"]

Entries = list[tuple[int, int, Any]]


def counts(rng: np.random.Generator) -> np.ndarray:
    """Sound counts, cells x genes, no cell without any."""
    made = rng.poisson(0.7, (N_CELLS, N_GENES))
    made[np.arange(N_CELLS), np.arange(N_CELLS) % N_GENES] += 1
    return made


# -- the reader -----------------------------------------------------------------------------------------------------


def dense_of(entries: Iterable[tuple[int, int, Any]] | None, rounded: bool = False) -> np.ndarray | None:
    """The counts that entries come to; None where they are none."""
    if entries is None:
        return None
    found: dict[tuple[int, int], Any] = {}
    for cell, gene, value in entries:
        number = _number(value)
        if not (0 <= cell < N_CELLS and 0 <= gene < N_GENES) or not _is_count(number, rounded):
            return None
        found[cell, gene] = found.get((cell, gene), 0) + number
    dense = np.zeros((N_CELLS, N_GENES))
    for at, number in found.items():
        if not _is_count(number, rounded):
            return None
        dense[at] = round(number)
    return dense


def _number(value: Any) -> Any:
    """Exact, whatever its type; None for what is no number."""
    kind = np.asarray(value).dtype.kind
    if kind not in "iuf":
        return None
    return float(value) if kind == "f" else int(value)


def _is_count(number: Any, rounded: bool) -> bool:
    if number is None or not math.isfinite(number) or number < 0 or number > LARGEST:
        return False
    return rounded or abs(number - round(number)) <= min(round(number) * STEPS, MOST)


def entries_of_rows(parts: dict[str, np.ndarray], n_rows: int, by_gene: bool) -> Entries | None:
    """Entries of CSR (or CSC, where rows are genes), or None where the arrays do not fit together."""
    data, indices, indptr = (np.asarray(parts[name]) for name in PARTS)
    if any(part.ndim != 1 for part in (data, indices, indptr)):
        return None
    if not all(part.dtype.kind in "iu" for part in (indices, indptr)):
        return None
    starts = [int(start) for start in indptr]
    if len(starts) != n_rows + 1 or starts[0] != 0 or starts[-1] != len(data) or len(data) != len(indices):
        return None
    if any(a > b for a, b in pairwise(starts)):
        return None
    listed = [(row, int(indices[k]), data[k]) for row in range(n_rows) for k in range(starts[row], starts[row + 1])]
    return [(column, row, value) for row, column, value in listed] if by_gene else listed


# -- damage ---------------------------------------------------------------------------------------------------------


def damaged(rng: np.random.Generator, parts: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str]:
    """Arrays with up to two faults, and which; none at all now and then."""
    said = []
    for _ in range(rng.choice([0, 1, 1, 1, 2])):
        name = str(rng.choice(list(parts)))
        parts, how = _with_a_fault(rng, parts, name)
        said.append(f"{name} {how}")
    return parts, ", ".join(said) or "nothing"


def _with_a_fault(rng: np.random.Generator, parts: dict[str, np.ndarray], name: str) -> tuple[dict[str, Any], str]:
    part = parts[name]
    if part.ndim != 1 or not len(part):
        return parts, "left"
    how, at = str(rng.choice(HOW)), int(rng.integers(len(part)))
    if how == "set":
        values: list[Any] = VALUES if name == "data" else NUMBERS
        value = values[rng.integers(len(values))]
        with contextlib.suppress(ValueError, OverflowError), np.errstate(all="ignore"):  # text, say
            part = part.astype(np.float64 if isinstance(value, float) else np.int64)
            part[at] = value
        how = f"[{at}] = {value}"
    elif how == "fraction":
        with contextlib.suppress(ValueError, TypeError):
            part = part.astype(np.float64)
            part[at] += 0.5
    elif how == "another type":
        kind = str(rng.choice(TYPES + ODD_TYPES))
        with contextlib.suppress(TypeError, ValueError, OverflowError), np.errstate(all="ignore"):
            part = part.astype(kind)
        how = f"as {kind}"
    elif how == "shorten":
        part = part[: -int(rng.integers(1, 4))]
    elif how == "lengthen":
        part = np.append(part, part[-1:])
    elif how == "exchange":
        part = part.copy()
        part[[at, at - 1]] = part[[at - 1, at]]
    elif how == "repeat":
        part = part.copy()
        part[at] = part[at - 1]
    elif how == "table":
        part = part[:, None]
    elif how == "empty":
        part = part[:0]
    elif how == "shuffle":
        part = rng.permutation(part)
    elif how == "bits":
        part = np.ascontiguousarray(part).copy()
        raw = part.view(np.uint8)
        raw[rng.integers(raw.size)] ^= np.uint8(1 << rng.integers(8))
    return parts | {name: part}, how


HOW = ["set"] * 5 + ["fraction", "another type", "another type", "shorten", "lengthen", "exchange", "repeat"]
HOW += ["table", "empty", "shuffle", "bits", "bits"]


# -- in memory ------------------------------------------------------------------------------------------------------


def in_memory(rng: np.random.Generator, place: Path) -> Outcome:
    """A matrix of any form, given as such, in an AnnData, as a view, or to a training."""
    form = str(rng.choice(["csr", "csr", "csr", "csc", "csc", "coo", "bsr", "dia", "lil", "dok", "dense"]))
    matrix, entries, how = FORMS[form](rng)
    rounded = bool(rng.random() < 0.1)
    expected = dense_of(entries, rounded)
    door = str(rng.choice(["matrix", "matrix", "AnnData", "layer", "view", "training"]))
    what = f"{form} {how} ({door}{', rounded' if rounded else ''})"
    word = "round" if rounded else "raw"
    before = _bytes_of(matrix)
    adata = _anndata(matrix, door) if door in ("AnnData", "layer", "view") else None
    if adata is None and door != "training":
        door = "matrix"
    if door == "view":
        expected = None if entries is None or not all(map(_inside, entries)) else dense_of(_of_view(entries), rounded)
        expected = None if expected is None else expected[VIEW]
    if door != "matrix" and expected is not None and not expected.sum(1).all():
        expected = None  # cells without a count
    right = expected
    if door == "training" and expected is not None:
        right = scrae.SCRAE(**QUICK).fit(expected).embed()

    def act() -> Any:
        if door == "matrix":
            found: Any = as_counts(matrix, rounding=Rounding.asked(word))
        elif door == "training":
            found = scrae.SCRAE(**QUICK).fit(matrix, counts=word).embed()
        elif door == "view":
            found = read_cells(adata[VIEW], counts=word).counts
        else:
            found = read_cells(adata, "counts" if door == "layer" else None, counts=word).counts
        if _bytes_of(matrix) != before:
            raise Lost("the input was changed")
        return found

    return outcome(what, act, same(right), sound=right is not None)


VIEW = slice(2, 7)


def _inside(entry: tuple[int, int, Any]) -> bool:
    return 0 <= entry[0] < N_CELLS and 0 <= entry[1] < N_GENES


def _of_view(entries: Entries) -> Entries:
    """Those of the cells of the view: no other value is looked at."""
    return [entry for entry in entries if VIEW.start <= entry[0] < VIEW.stop]


def _anndata(matrix: Any, door: str) -> Any:
    """None where anndata itself does not take the matrix, so that it never comes to scRAE."""
    adata = anndata.AnnData(sp.csr_matrix((N_CELLS, N_GENES), dtype=np.float32))
    try:
        if door == "layer":
            adata.layers["counts"] = matrix
        else:
            adata.X = matrix
    except Exception:
        return None
    return adata


def same(expected: np.ndarray | None) -> Callable[[Any], bool]:
    """Whether a result is the expected one; nothing is right where nothing can be expected."""

    def is_right(found: Any) -> bool:
        return expected is not None and np.array_equal(found.toarray() if sp.issparse(found) else found, expected)

    return is_right


def _bytes_of(matrix: Any) -> list[bytes]:
    names = ("data", "indices", "indptr", "row", "col", "offsets")
    parts = [matrix] if isinstance(matrix, np.ndarray) else [getattr(matrix, name, None) for name in names]
    return [part.tobytes() for part in parts if isinstance(part, np.ndarray) and part.dtype != object]


def _typed(rng: np.random.Generator) -> np.ndarray:
    kind = str(rng.choice(TYPES))
    return counts(rng).astype("f8" if kind == "longdouble" or np.dtype(kind).itemsize == 2 else kind)


def _rows(rng: np.random.Generator, by_gene: bool) -> tuple[Any, Entries | None, str]:
    kind = sp.csc_matrix if by_gene else sp.csr_matrix
    sound = kind(_native(_typed(rng)))
    parts, how = damaged(rng, {name: getattr(sound, name) for name in PARTS})
    matrix = kind((N_CELLS, N_GENES), dtype=sound.dtype)
    matrix.data, matrix.indices, matrix.indptr = (parts[name] for name in PARTS)  # as readers of files do: unseen
    return matrix, entries_of_rows(parts, N_GENES if by_gene else N_CELLS, by_gene), how


def _native(values: np.ndarray) -> np.ndarray:
    return values.astype(values.dtype.newbyteorder("="))


def _coo(rng: np.random.Generator) -> tuple[Any, Entries | None, str]:
    sound = sp.coo_matrix(_native(_typed(rng)))
    parts, how = damaged(rng, {"data": sound.data, "row": sound.row, "col": sound.col})
    matrix = sp.coo_matrix((N_CELLS, N_GENES), dtype=sound.dtype)
    matrix.data = parts["data"]
    try:
        matrix.row, matrix.col = parts["row"], parts["col"]
    except (ValueError, TypeError):
        matrix.coords = (parts["row"], parts["col"])
    held = [matrix.row, matrix.col, matrix.data]  # scipy has some positions in another type than they were given
    fits = all(part.ndim == 1 for part in held) and len({len(part) for part in held}) == 1
    if not fits or not all(part.dtype.kind in "iu" for part in held[:2]):
        return matrix, None, how
    listed = zip(*held, strict=True)
    return matrix, [(int(cell), int(gene), value) for cell, gene, value in listed], how


def _bsr(rng: np.random.Generator) -> tuple[Any, Entries | None, str]:
    sound = sp.bsr_matrix(_native(_typed(rng)), blocksize=(3, 2))
    parts, how = damaged(rng, {"indices": sound.indices, "indptr": sound.indptr})
    matrix = sp.bsr_matrix(sound)
    matrix.indices, matrix.indptr = parts["indices"], parts["indptr"]
    numbers = {"data": np.arange(len(sound.data)), **parts}
    blocks = entries_of_rows(numbers, N_CELLS // 3, False)
    if blocks is None:
        return matrix, None, how
    inside = [(3 * row + i, 2 * column + j, sound.data[k][i, j]) for row, column, k in blocks for i, j in _CORNERS]
    return matrix, inside, how


_CORNERS = [(i, j) for i in range(3) for j in range(2)]


def _dia(rng: np.random.Generator) -> tuple[Any, Entries | None, str]:
    sound = sp.dia_matrix(_native(_typed(rng)))
    parts, how = damaged(rng, {"offsets": sound.offsets})
    matrix = sp.dia_matrix(sound)
    matrix.offsets = parts["offsets"]
    offsets = parts["offsets"]
    if offsets.ndim != 1 or offsets.dtype.kind not in "iu" or len(offsets) != len(sound.data):
        return matrix, None, how
    if any(not -N_CELLS < int(offset) < N_GENES for offset in offsets):
        return matrix, None, how
    width = sound.data.shape[1]
    places = [(gene - int(offset), gene, k) for k, offset in enumerate(offsets) for gene in range(width)]
    return matrix, [(i, j, sound.data[k, j]) for i, j, k in places if _inside((i, j, 0))], how


def _lil(rng: np.random.Generator) -> tuple[Any, Entries | None, str]:
    matrix = sp.lil_matrix(_native(_typed(rng)))
    cell, how = int(rng.integers(N_CELLS)), str(rng.choice(["position", "longer", "shorter", "repeated", "nothing"]))
    if how == "position":
        matrix.rows[cell][0] = int(NUMBERS[rng.integers(len(NUMBERS))])
    elif how == "longer":
        matrix.rows[cell].append(1)
    elif how == "shorter":
        matrix.data[cell].pop()
    elif how == "repeated":
        matrix.rows[cell].append(matrix.rows[cell][0])
        matrix.data[cell].append(matrix.data[cell][0])
    if any(len(genes) != len(values) for genes, values in zip(matrix.rows, matrix.data, strict=True)):
        return matrix, None, how
    pairs = [(i, zip(matrix.rows[i], matrix.data[i], strict=True)) for i in range(N_CELLS)]
    return matrix, [(i, int(gene), value) for i, row in pairs for gene, value in row], how


def _dok(rng: np.random.Generator) -> tuple[Any, Entries | None, str]:
    matrix = sp.dok_matrix(_native(_typed(rng)))
    if rng.random() < 0.2:
        return matrix, [(i, j, value) for (i, j), value in matrix.items()], "nothing"
    place = int(rng.integers(N_CELLS)), int(NUMBERS[rng.integers(len(NUMBERS))])
    matrix._dict[place] = matrix.dtype.type(3)  # what dictionaries take, and scipy then makes a matrix of
    return matrix, [(i, j, value) for (i, j), value in matrix.items()], f"{place} = 3"


def _dense(rng: np.random.Generator) -> tuple[Any, Entries | None, str]:
    table = _typed(rng)
    how = str(rng.choice(["value", "value", "type", "flat", "deep", "order", "nothing"]))
    if how == "value":
        value = VALUES[rng.integers(len(VALUES))]
        table = table.astype(np.float64) if isinstance(value, float) else table.astype(np.int64)
        table[rng.integers(N_CELLS), rng.integers(N_GENES)] = value
        how = f"with {value}"
    elif how == "type":
        kind = str(rng.choice(TYPES + ODD_TYPES))
        with contextlib.suppress(TypeError, ValueError):
            table = table.astype(kind)
        how = f"as {kind}"
    elif how == "flat":
        return table.ravel(), None, how
    elif how == "deep":
        return table[:, :, None], None, how
    elif how == "order":
        table = np.asfortranarray(table)
    if table.dtype == object:
        return table, None, how
    return table, [(i, j, table[i, j]) for i in range(N_CELLS) for j in range(N_GENES)], how


FORMS: dict[str, Callable[[np.random.Generator], tuple[Any, Entries | None, str]]] = {
    "csr": lambda rng: _rows(rng, False),
    "csc": lambda rng: _rows(rng, True),
    "coo": _coo,
    "bsr": _bsr,
    "dia": _dia,
    "lil": _lil,
    "dok": _dok,
    "dense": _dense,
}
