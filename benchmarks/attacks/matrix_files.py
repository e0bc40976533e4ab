"""Damaged matrices of counts in files, beside a reader that follows what stands there entry by entry."""

from __future__ import annotations

import contextlib
import gzip
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

import scrae
from attacks.matrices import (
    N_CELLS,
    N_GENES,
    NUMBERS,
    PARTS,
    Entries,
    counts,
    damaged,
    dense_of,
    entries_of_rows,
    in_memory,
    same,
)
from attacks.outcome import Lost, Outcome, outcome
from scrae import cli
from scrae.data.cells import read_cells
from scrae.data.files import cells_on_disk, read_counts


def in_h5ad(rng: np.random.Generator, place: Path) -> Outcome:
    """Arrays and attributes of an h5ad file."""
    path = place / "cells.h5ad"
    form = _written(rng, path)
    with h5py.File(path, "r+") as file:
        how = _group_damaged(rng, file, form)
    return _judged(rng, path, f"h5ad, {form}, {how}", stored_by_anndata)


def in_zarr(rng: np.random.Generator, place: Path) -> Outcome:
    """Arrays, attributes and bytes of a zarr store."""
    import zarr

    path = place / "cells.zarr"
    form = _written(rng, path)
    if rng.random() < 0.5:
        how = _bytes_damaged(rng, _some_file(rng, path))
    else:
        how = _group_damaged(rng, zarr.open_group(str(path), mode="r+", use_consolidated=False), form)
    return _judged(rng, path, f"zarr, {form}, {how}", stored_by_anndata)


def bytes_of_h5ad(rng: np.random.Generator, place: Path) -> Outcome:
    """Flipped bits and lost ends of h5ad and 10x files."""
    if rng.random() < 0.7:
        path = place / "cells.h5ad"
        form = _written(rng, path)
        how = _bytes_damaged(rng, path)
        return _judged(rng, path, f"h5ad, {form}, {how}", stored_by_anndata)
    path = tenx(place / "cells.h5", rng, {})
    return _judged(rng, path, f"10x, {_bytes_damaged(rng, path)}", stored_by_tenx)


def in_tenx(rng: np.random.Generator, place: Path) -> Outcome:
    """Arrays of a 10x file."""
    sound = sp.csr_matrix(counts(rng))
    parts, how = damaged(rng, {name: getattr(sound, name) for name in PARTS})
    if rng.random() < 0.1:
        parts, how = parts | {"shape": np.array(rng.choice(NUMBERS, rng.integers(1, 4)))}, f"{how}, another shape"
    path = tenx(place / "cells.h5", rng, {name: part for name, part in parts.items() if _storable(part)})
    if rng.random() < 0.1:
        with h5py.File(path, "r+") as file:
            name = str(rng.choice(["matrix/data", "matrix/shape", "matrix/features/id", "matrix/barcodes", "matrix"]))
            del file[name]
            how = f"without {name}"
    return _judged(rng, path, f"10x, {how}", stored_by_tenx)


def in_folder(rng: np.random.Generator, place: Path) -> Outcome:
    """Text of a 10x folder."""
    path = place / "filtered"
    path.mkdir()
    made = counts(rng).T
    listed = [f"{i + 1} {j + 1} {made[i, j]}" for i, j in np.argwhere(made)]
    kind = str(rng.choice(["integer", "integer", "real"]))
    lines = [f"%%MatrixMarket matrix coordinate {kind} general", f"{N_GENES} {N_CELLS} {len(listed)}", *listed]
    how = _text_damaged(rng, lines)
    genes = [f"gene{i}\tgene{i}\tGene Expression" for i in range(N_GENES)]
    cells = [f"cell{i}" for i in range(N_CELLS)]
    for name, content in (("matrix.mtx", lines), ("features.tsv", genes), ("barcodes.tsv", cells)):
        (path / f"{name}.gz").write_bytes(gzip.compress("".join(f"{line}\n" for line in content).encode()))
    if rng.random() < 0.2:
        how = f"{how}, {_bytes_damaged(rng, _some_file(rng, path))}"
    return _judged(rng, path, f"10x folder, {how}", stored_as_text)


def _written(rng: np.random.Generator, path: Path) -> str:
    form = str(rng.choice(["csr", "csr", "csc", "dense"]))
    table = counts(rng).astype(str(rng.choice(["f4", "f8", "i4", "u1"])))
    matrix: Any = {"csr": sp.csr_matrix, "csc": sp.csc_matrix, "dense": np.asarray}[form](table)
    adata = anndata.AnnData(matrix, obs=_names("cell", N_CELLS), var=_names("gene", N_GENES))
    packed = {"compression": "gzip"} if path.suffix == ".h5ad" and rng.random() < 0.3 else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(adata, f"write_{path.suffix[1:]}")(path, **packed)
    return form


def _names(kind: str, n: int) -> pd.DataFrame:
    return pd.DataFrame({"batch": pd.Categorical(["a", "b"] * (n // 2))}, index=[f"{kind}{i}" for i in range(n)])


def _storable(part: np.ndarray) -> bool:
    return part.dtype.kind in "iufS" and part.dtype.itemsize <= 8


def _group_damaged(rng: np.random.Generator, file: Any, form: str) -> str:
    """Damage what stands in a file: the parts of X, or what describes it."""
    if rng.random() < 0.25:
        return _attribute_damaged(rng, file)
    if form == "dense":
        table = np.asarray(file["X"][...])
        changed, how = damaged(rng, {"data": table.ravel()})
        part = changed["data"]
        table = part.reshape(table.shape) if part.size == table.size else part
        if _storable(table):
            _replaced(file, "X", table)
        return how
    changed, how = damaged(rng, {name: np.asarray(file["X"][name][...]) for name in PARTS})
    for name, part in changed.items():
        if _storable(part):
            _replaced(file["X"], name, part)
    return how


def _replaced(group: Any, name: str, part: np.ndarray) -> None:
    attributes = dict(group[name].attrs)
    del group[name]
    if hasattr(group, "create_array"):
        group.create_array(name, data=np.ascontiguousarray(part))
    else:
        group[name] = part
    for key, value in attributes.items():
        group[name].attrs[key] = value


def _attribute_damaged(rng: np.random.Generator, file: Any) -> str:
    name = str(rng.choice(["X", "X", "obs", "var", "layers", "X/indptr", "X/data"]))
    if name not in file:
        return "nothing"
    if rng.random() < 0.3:
        del file[name]
        return f"without {name}"
    attributes = file[name].attrs
    key = str(rng.choice(["shape", "encoding-type", "encoding-version", "_index"]))
    values: list[Any] = [None, "", "csr_matrix", "csc_matrix", "array", "dataframe", 3, [N_CELLS], [N_GENES, N_CELLS]]
    values += [[-1, 5], [2**40, 2**40], [N_CELLS, N_GENES, 1], [N_CELLS + 1, N_GENES], "gene"]
    value = values[rng.integers(len(values))]
    if value is None:
        if key in attributes:
            del attributes[key]
    else:
        attributes[key] = value
    return f"{key} of {name} = {value!r}"


def _some_file(rng: np.random.Generator, folder: Path) -> Path:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return files[rng.integers(len(files))]


def _bytes_damaged(rng: np.random.Generator, path: Path) -> str:
    content = bytearray(path.read_bytes())
    how = str(rng.choice(["flip", "flip", "flip", "flips", "cut", "zeros", "gone"]))
    at = int(rng.integers(max(1, len(content))))
    if how == "gone" and path.suffix not in (".h5ad", ".h5"):
        path.unlink()
        return f"without {path.name}"
    if how in ("flip", "flips", "gone"):
        places = rng.integers(len(content), size=1 if how == "flip" else 16) if content else []
        for place in places:
            content[place] ^= 1 << int(rng.integers(8))
    elif how == "cut":
        del content[at:]
    elif how == "zeros":
        content[at : at + 512] = bytes(len(content[at : at + 512]))
    path.write_bytes(content)
    return f"{path.name} {how} at {at}"


def _text_damaged(rng: np.random.Generator, lines: list[str]) -> str:
    how = str(rng.choice(["entry", "entry", "entry", "size", "without", "twice", "kind", "word", "nothing"]))
    at = int(rng.integers(2, len(lines)))
    row, column, value = lines[at].split()
    if how == "entry":
        new = str(rng.choice([*map(str, NUMBERS), "0.5", "1e3", "nan", "-1", "x", "1e400"]))
        place = int(rng.integers(3))
        fields = [row, column, value]
        fields[place] = new
        lines[at], how = " ".join(fields), f"entry {at}: {' '.join(fields)}"
    elif how == "size":
        sizes = lines[1].split()
        sizes[rng.integers(3)] = str(NUMBERS[rng.integers(len(NUMBERS))])
        lines[1] = " ".join(sizes)
        how = f"size {lines[1]}"
    elif how == "without":
        del lines[at]
    elif how == "twice":
        lines.insert(at, lines[at])
    elif how == "kind":
        kind = str(rng.choice(["real general", "pattern general", "integer symmetric", "complex general", "?"]))
        lines[0] = f"%%MatrixMarket matrix coordinate {kind}"
        how = kind
    elif how == "word":
        lines[at] = "counts"
    return how


def tenx(path: Path, rng: np.random.Generator, parts: dict[str, np.ndarray]) -> Path:
    """A 10x file, with some of its parts others."""
    sound = sp.csr_matrix(counts(rng))
    whole = {name: getattr(sound, name) for name in PARTS} | {"shape": np.array([N_GENES, N_CELLS])} | parts
    texts = {"id": "gene{}", "name": "gene{}", "feature_type": "Gene Expression", "genome": "hs"}
    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        for name, part in whole.items():
            matrix[name] = part
        matrix["barcodes"] = [f"cell{i}".encode() for i in range(N_CELLS)]
        for name, text in texts.items():
            matrix[f"features/{name}"] = [text.format(i).encode() for i in range(N_GENES)]
    return path


# -- what stands in files -------------------------------------------------------------------------------------------


def stored_by_anndata(path: Path) -> Iterator[Entries | None]:
    """Entries of X of an h5ad file or zarr store; of a store as its parts say and as its list of parts says."""
    if path.suffix == ".h5ad":
        with h5py.File(path, "r") as file:
            yield _entries_of_group(file["X"])
        return
    import zarr

    for listed in (False, None):
        with contextlib.suppress(Exception):
            yield _entries_of_group(zarr.open_group(str(path), mode="r", use_consolidated=listed)["X"])


def _entries_of_group(stored: Any) -> Entries | None:
    if not hasattr(stored, "keys"):
        table = np.asarray(stored[...])
        if table.shape != (N_CELLS, N_GENES):
            return None
        return [(i, j, table[i, j]) for i in range(N_CELLS) for j in range(N_GENES)]
    by_gene = stored.attrs["encoding-type"] == "csc_matrix"
    if not by_gene and stored.attrs["encoding-type"] != "csr_matrix":
        return None
    if "shape" in stored.attrs and [int(n) for n in stored.attrs["shape"]] != [N_CELLS, N_GENES]:
        return None
    parts = {name: np.asarray(stored[name][...]) for name in PARTS}
    return entries_of_rows(parts, N_GENES if by_gene else N_CELLS, by_gene)


def stored_by_tenx(path: Path) -> Iterator[Entries | None]:
    """Entries of a 10x file."""
    with h5py.File(path, "r") as file:
        matrix = file["matrix"]
        if [int(n) for n in matrix["shape"][...]] != [N_GENES, N_CELLS]:
            return
        yield entries_of_rows({name: np.asarray(matrix[name][...]) for name in PARTS}, N_CELLS, False)


def stored_as_text(path: Path) -> Iterator[Entries | None]:
    """Entries of a 10x folder."""
    lines = gzip.decompress((path / "matrix.mtx.gz").read_bytes()).decode().splitlines()
    _, _, form, field, symmetry = lines[0].split()
    if form != "coordinate" or field not in ("integer", "real") or symmetry != "general":
        return
    sizes = [int(size) for size in lines[1].split()]
    if sizes != [N_GENES, N_CELLS, len(lines) - 2]:
        return
    read: Any = int if field == "integer" else float
    fields = [line.split() for line in lines[2:]]
    yield [(int(cell) - 1, int(gene) - 1, read(value)) for gene, cell, value in fields]


def _judged(
    rng: np.random.Generator, path: Path, what: str, stored: Callable[[Path], Iterator[Entries | None]]
) -> Outcome:
    """Read a file in one of the ways there are, beside what stands in it."""
    ways: dict[str, Callable[[], Any]] = {"read": lambda: read_cells(read_counts(path)).counts}
    if path.suffix in (".h5ad", ".zarr"):
        ways["from disk"] = lambda: read_cells(cells_on_disk(path)).counts
        ways["path"] = lambda: read_cells(path).counts
    ways["run"] = lambda: _run(path)
    way = str(rng.choice(list(ways), p=np.array([3, 2, 1, 0.3] if len(ways) == 4 else [6, 0.3]) / 6.3))
    before = _files(path)

    def act() -> Any:
        try:
            return ways[way]()
        finally:
            if _files(path) != before:
                raise Lost("the input was changed")

    def is_right(found: Any) -> bool:
        return any(same(table)(found) for table in _tables(path, stored))

    return outcome(f"{what} ({way})", act, is_right)


def _tables(path: Path, stored: Callable[[Path], Iterator[Entries | None]]) -> Iterator[np.ndarray]:
    with contextlib.suppress(Exception):  # what cannot be read by hand is nothing
        for entries in stored(path):
            table = dense_of(entries)
            if table is not None and table.sum(1).all():
                yield table


def _run(path: Path) -> np.ndarray:
    """``scrae run``: what it embeds, or what it says; an exception that is not caught is one."""
    out = path.parent / "out.h5ad"
    said = io.StringIO()
    asked = ["run", str(path), "--out", str(out), "--genes", "all", "--n-latent", "2", "--max-epochs", "1", "--quiet"]
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        status = cli.main(asked)
    if status:
        raise scrae.CountsError(said.getvalue(), "run")
    return sp.csr_array(anndata.read_h5ad(out).X).toarray()


def _files(path: Path) -> dict[str, bytes]:
    if path.is_file():
        return {path.name: path.read_bytes()}
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


KINDS: dict[str, Callable[[np.random.Generator, Path], Outcome]] = {
    "memory": in_memory,
    "h5ad": in_h5ad,
    "zarr": in_zarr,
    "bytes": bytes_of_h5ad,
    "10x": in_tenx,
    "folder": in_folder,
}
DOORS, SHARES = list(KINDS), [0.4, 0.22, 0.08, 0.12, 0.1, 0.08]


def attempt(rng: np.random.Generator, place: Path) -> Outcome:
    """One damaged matrix at one door; files are made in ``place``."""
    door = rng.choice(DOORS, p=SHARES)
    return KINDS[door](rng, place)
