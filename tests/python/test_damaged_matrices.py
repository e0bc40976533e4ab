"""Matrices whose arrays do not fit together: refused with the place and the number of faults, wherever they come from.

The oracle reads the three arrays of CSR entry by entry, in plain Python. What it cannot read has to be refused, and of
what it can read the same counts have to come: nothing ends the process, and nothing is silently another matrix.
"""

from __future__ import annotations

import gzip
import re
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import scrae
from scrae.cli import main
from scrae.data.cells import read_cells
from scrae.data.counts import as_counts
from scrae.data.files import cells_on_disk, read_counts

PARTS = ("data", "indices", "indptr")
N_CELLS, N_GENES = 5, 6


def healthy() -> dict[str, np.ndarray]:
    counts = sp.csr_matrix(np.random.default_rng(4).poisson(1.0, (N_CELLS, N_GENES)) + np.eye(N_CELLS, N_GENES))
    return {name: getattr(counts, name) for name in PARTS}


def read_by_hand(parts: dict[str, np.ndarray]) -> np.ndarray | None:
    """The matrix that three arrays are, or None where they are none of counts."""
    data, indices, indptr = (parts[name] for name in PARTS)
    if any(part.ndim != 1 for part in (data, indices, indptr)):
        return None
    if not all(np.issubdtype(part.dtype, np.integer) for part in (indices, indptr)):
        return None
    starts = [int(start) for start in indptr]
    rises = all(a <= b for a, b in pairwise(starts))
    if (
        len(starts) != N_CELLS + 1
        or starts[0] != 0
        or not rises
        or starts[-1] != len(data)
        or len(data) != len(indices)
    ):
        return None
    dense = np.zeros((N_CELLS, N_GENES))
    for cell in range(N_CELLS):
        for k in range(starts[cell], starts[cell + 1]):
            if not 0 <= int(indices[k]) < N_GENES:
                return None
            dense[cell, int(indices[k])] += data[k]
    return dense if dense.sum(1).all() else None  # cells without a count are refused as well


def mutated(parts: dict[str, np.ndarray], name: str, how: str, at: int, value: int) -> dict[str, np.ndarray]:
    part = parts[name].astype(np.int64 if name != "data" else parts[name].dtype)
    at %= len(part)
    if how == "set":
        part[at] = value
    elif how == "fraction":
        part = part.astype(np.float64)
        part[at] += 0.5
    elif how == "as float":
        part = part.astype(np.float64)
    elif how == "shorten":
        part = part[:-1]
    elif how == "lengthen":
        part = np.append(part, part[-1:])
    elif how == "exchange":
        part[[at, at - 1]] = part[[at - 1, at]]
    elif how == "table":
        part = part[:, None]
    elif how == "small":
        part = part.astype(np.int8)
    return parts | {name: part}


def matrix_of(parts: dict[str, np.ndarray]) -> sp.csr_matrix:
    """As anndata makes one of a file: the arrays are put where they belong, and scipy does not look."""
    matrix = sp.csr_matrix((N_CELLS, N_GENES), dtype=parts["data"].dtype)
    matrix.data, matrix.indices, matrix.indptr = (parts[name] for name in PARTS)
    return matrix


MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["indices", "indptr", "indices", "indptr", "data"]),
        st.sampled_from(["set", "set", "fraction", "as float", "shorten", "lengthen", "exchange", "table", "small"]),
        st.integers(0, 30),
        st.sampled_from([-1, 0, 1, 2, 3, N_GENES - 1, N_GENES, 17, 10**7, 2**31, 2**32 + 3, -(2**40)]),
    ),
    min_size=1,
    max_size=2,
)


def damage(mutations: list[tuple[str, str, int, int]]) -> dict[str, np.ndarray]:
    parts = healthy()
    for name, how, at, value in mutations:
        if parts[name].ndim == 1 and not (name == "data" and how in ("set", "fraction", "table", "small")):
            parts = mutated(parts, name, how, at, value if name != "data" else abs(value) % 100)
    return parts


@settings(deadline=None, max_examples=300)
@given(mutations=MUTATIONS)
def test_in_memory_a_damaged_matrix_is_refused_and_no_other_is_made_of_it(mutations: Any) -> None:
    parts = damage(mutations)
    expected = read_by_hand(parts)
    adata = anndata.AnnData(obs=pd.DataFrame(index=list("abcde")), var=pd.DataFrame(index=list("uvwxyz")))
    adata.layers["counts"] = sp.csr_matrix((N_CELLS, N_GENES))
    adata.layers["counts"] = matrix_of(parts)
    if expected is None:
        with pytest.raises(scrae.CountsError):
            read_cells(adata, "counts")
    else:
        np.testing.assert_array_equal(read_cells(adata, "counts").counts.toarray(), expected)


@pytest.mark.slow
@settings(deadline=None, max_examples=120)
@given(mutations=MUTATIONS)
def test_in_files_a_damaged_matrix_is_refused_and_no_other_is_made_of_it(
    mutations: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    parts = damage(mutations)
    expected = read_by_hand(parts)
    path = stored(tmp_path_factory.mktemp("damaged") / "cells.h5ad", parts)
    for read in (lambda: cells_on_disk(path), lambda: read_counts(path)):
        if expected is None:
            with pytest.raises(scrae.CountsError, match=r"X of .*cells\.h5ad|adata\.X"):
                read_cells(read())
        else:
            np.testing.assert_array_equal(read_cells(read()).counts.toarray(), expected)


def stored(path: Path, parts: dict[str, np.ndarray]) -> Path:
    whole = sp.csr_matrix(tuple(healthy()[name] for name in PARTS), shape=(N_CELLS, N_GENES))
    names = {"obs": pd.DataFrame(index=list("abcde")), "var": pd.DataFrame(index=list("uvwxyz"))}
    anndata.AnnData(whole, **names).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        for name, part in parts.items():
            del file[f"X/{name}"]
            file[f"X/{name}"] = part
    return path


def one_wrong(name: str, at: int, value: float) -> dict[str, np.ndarray]:
    parts = healthy()
    part = parts[name].astype(np.int64 if isinstance(value, int) else np.float64)
    part[at] = value
    return parts | {name: part}


SAMPLES: list[tuple[dict[str, np.ndarray], str]] = [
    (one_wrong("indices", 2, -1), r"1 of \d+ positions of genes are outside of 0 to 5 \(the first: -1\)"),
    (one_wrong("indices", 2, 10**7), r"1 of \d+ positions of genes are outside of 0 to 5 \(the first: 10,000,000\)"),
    (one_wrong("indices", 2, 2**32 + 3), "positions of genes are outside"),
    (one_wrong("indices", 2, 1.5), "positions of genes are not whole numbers, but of type float64"),
    (one_wrong("indptr", 2, 10**6), r"starts of cells \(indptr\) fall in 1 of 5 places"),
    (one_wrong("indptr", 0, 2), r"starts of cells \(indptr\) begin at 2, not at 0"),
    (one_wrong("indptr", -1, len(healthy()["data"]) - 1), r"\(indptr\) end at \d+, and \d+ entries are stored"),
    (healthy() | {"indptr": healthy()["indptr"][:-1]}, r"there are 5 starts of cells \(indptr\), where 5 cells need 6"),
    (
        healthy() | {"indices": healthy()["indices"][:-1]},
        r"there are \d+ positions \(indices\) for \d+ values \(data\)",
    ),
]


@pytest.mark.parametrize(("parts", "message"), SAMPLES)
@pytest.mark.parametrize("door", ["matrix", "view", "h5ad", "from disk", "10x"])
def test_each_fault_is_named_at_each_door(
    parts: dict[str, np.ndarray], message: str, door: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if door in ("matrix", "view"):
        adata = anndata.AnnData(sp.csr_matrix((N_CELLS, N_GENES)))
        adata.X = matrix_of(parts)
        with pytest.raises(scrae.CountsError, match=message) as refused:
            scrae.SCRAE().fit(adata.X if door == "matrix" else adata[:3])
        assert refused.value.code == "damaged_matrix"
        return
    path = tenx(tmp_path / "cells.h5", parts) if door == "10x" else stored(tmp_path / "cells.h5ad", parts)
    out = tmp_path / "out.h5ad"
    status = main(
        ["run", str(path), "--out", str(out), "--genes", "all", *(["--from-disk"] if door == "from disk" else [])]
    )
    said = capsys.readouterr().err
    assert status == 2
    assert re.search(message, said), said
    assert "is damaged" in said
    assert not out.exists()


def tenx(path: Path, parts: dict[str, np.ndarray]) -> Path:
    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        for name, part in parts.items():
            matrix[name] = part
        matrix["shape"] = [N_GENES, N_CELLS]
        matrix["barcodes"] = [name.encode() for name in "abcde"]
        for name, values in {
            "id": list("uvwxyz"),
            "name": list("uvwxyz"),
            "feature_type": ["Gene Expression"] * N_GENES,
            "genome": ["hs"] * N_GENES,
        }.items():
            matrix[f"features/{name}"] = [value.encode() for value in values]
    return path


@pytest.mark.parametrize("form", [sp.csc_matrix, sp.coo_matrix, sp.bsr_matrix, sp.csc_array, sp.coo_array])
@pytest.mark.parametrize("wrong", [-1, 10**7])
def test_other_forms_are_looked_at_as_well(form: Any, wrong: int) -> None:
    matrix = form(np.eye(4))
    name = next(name for name in ("indices", "col") if hasattr(matrix, name))
    getattr(matrix, name)[1] = wrong
    with pytest.raises(scrae.CountsError, match="1 of 4 positions of"):
        as_counts(matrix)


@pytest.mark.parametrize("form", [sp.csr_matrix, sp.csc_matrix, sp.coo_matrix])
@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([200, 100], np.uint8, 300),
        ([30_000, 30_000], np.int16, 60_000),
        ([2**24, 0], np.float32, 2**24),
        ([-1, 3], np.int64, "negative"),
        ([0.5, 0.5], np.float32, "fractional"),
        ([2**24, 1], np.float32, "larger than"),
        ([2**23 + 1, 2**23], np.int32, "larger than"),
    ],
)
def test_values_are_checked_before_and_after_those_in_one_place_are_summed(
    form: Any, values: list[float], dtype: Any, expected: Any
) -> None:
    twice = form((2, 2), dtype=np.float64)
    data, zeros = np.array(values, dtype=dtype), np.zeros(2, dtype=np.int32)
    if form is sp.coo_matrix:
        twice = sp.coo_matrix((data, (zeros, zeros)), shape=(2, 2))
    else:
        twice.data, twice.indices, twice.indptr = data, zeros, np.array([0, 2, 2], dtype=np.int32)
    if isinstance(expected, str):
        with pytest.raises(scrae.CountsError, match=expected):
            as_counts(twice)
    else:
        assert as_counts(twice).toarray().tolist() == [[expected, 0], [0, 0]]


def test_what_a_matrix_believes_of_itself_is_not_believed() -> None:
    matrix = sp.csr_matrix(np.array([[1.0, 2.0, 0.0]]))
    assert matrix.has_canonical_format
    matrix.indices[:] = [1, 1]  # scipy remembers that there were no duplicates
    assert as_counts(matrix).toarray().tolist() == [[0, 3, 0]]


def test_dense_values_of_any_kind_are_read() -> None:
    for kind in ("float16", ">f8", ">i4", "longdouble", "uint64"):
        np.testing.assert_array_equal(as_counts(np.eye(3, dtype=kind)).toarray(), np.eye(3))


@pytest.mark.parametrize(("value", "dtype"), [(1.0000001, np.float32), (0.99999994, np.float32), (1.0000001, float)])
def test_what_is_whole_within_the_rounding_of_float32_is_whole(value: float, dtype: Any) -> None:
    values = np.array([[1, 2], [value, 3]], dtype=dtype)
    before = values.copy()
    assert as_counts(values).toarray().tolist() == [[1, 2], [1, 3]]
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize(("value", "shown"), [(1.0004, "1.0004"), (1e-7, "1e-07"), (100_000.05, "100000.05")])
def test_a_fraction_is_shown_with_the_digits_that_make_it_one(value: float, shown: str) -> None:
    with pytest.raises(scrae.CountsError, match=rf"fractional \(the first: {shown}, cell number 0, gene number 1\)"):
        as_counts(np.array([[1, value]]))


@pytest.mark.parametrize("place", ["X", "layer"])
@pytest.mark.parametrize("of", ["indices", "indptr"])
def test_a_view_of_a_damaged_matrix_is_not_sliced(place: str, of: str) -> None:
    adata = anndata.AnnData(sp.csr_matrix(np.ones((N_CELLS, N_GENES))))
    adata.layers["counts"] = adata.X.copy()
    damaged = adata.X if place == "X" else adata.layers["counts"]
    getattr(damaged, of)[2] = 10**7
    for ask in (
        lambda view: scrae.tl.scrae(view, copy=True, genes="all"),
        lambda view: scrae.tl.stability(view, 2),
        lambda view: scrae.SCRAE().fit(view),
    ):
        with pytest.raises(scrae.CountsError, match="is damaged"):
            ask(adata[1:4])


@pytest.mark.parametrize("what", ["one matrix", "one matrix and tables"])
def test_files_of_old_anndata_and_seuratdisk_are_read_from_disk(what: str, tmp_path: Path) -> None:
    path = stored(tmp_path / "old.h5ad", healthy())
    expected = read_cells(path).counts.toarray()
    with h5py.File(path, "r+") as file:
        for name in list(file["X"].attrs):
            del file["X"].attrs[name]
        file["X"].attrs["h5sparse_format"], file["X"].attrs["h5sparse_shape"] = "csr", (N_CELLS, N_GENES)
        if what != "one matrix":
            for name in list(file.attrs):
                del file.attrs[name]
            for name, names in (("obs", "abcde"), ("var", "uvwxyz")):
                del file[name]
                file[name] = np.array([(one.encode(),) for one in names], dtype=[("index", "S1")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata speaks of the age of the file
        cells = read_cells(path)
    np.testing.assert_array_equal(cells.counts.toarray(), expected)
    assert "".join(cells.gene_names) == "uvwxyz"


DURATIONS = np.ones(3, dtype="m8[s]")


def diagonals(offset: int) -> sp.dia_matrix:
    matrix = sp.dia_matrix(np.eye(4))
    matrix.offsets = np.array([offset], dtype=np.int64)
    return matrix


def by_key(key: tuple[int, int]) -> sp.dok_matrix:
    matrix = sp.dok_matrix(np.eye(4))
    matrix._dict[key] = 3.0
    return matrix


def listed(gene: int) -> sp.lil_matrix:
    matrix = sp.lil_matrix(np.eye(4))
    matrix.rows[0][0] = gene
    return matrix


def with_table_of_values() -> sp.coo_matrix:
    matrix = sp.coo_matrix(np.eye(4))
    matrix.data = matrix.data[:, None]
    return matrix


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (diagonals(2**32 + 1), "1 of 1 diagonals lie outside of it"),  # scipy reads it as 1
        (by_key((0, -1)), "1 of 5 positions of genes are outside"),
        (by_key((10**9, 0)), "1 of 5 positions of cells are outside"),
        (listed(17), r"1 of 4 positions of genes are outside of 0 to 3 \(the first: 17\)"),
        (with_table_of_values(), r"its values \(data\) have 2 dimensions instead of 1"),
        (np.diag(DURATIONS), "holds values of type timedelta64"),
    ],
)
def test_what_scipy_and_numpy_take_for_something_else_is_refused(matrix: Any, message: str) -> None:
    with pytest.raises(scrae.CountsError, match=message):
        as_counts(matrix)


def test_durations_are_no_positions() -> None:
    matrix = sp.csr_matrix(np.eye(3))
    matrix.indices = matrix.indices.astype("m8[s]")
    with pytest.raises(scrae.CountsError, match="are not whole numbers, but of type timedelta64"):
        as_counts(matrix)


def tenx_folder(path: Path, *lines: str, header: str = "integer general", sizes: str | None = None) -> Path:
    path.mkdir()
    entries = [f"{i + 1} {i + 1} 2" for i in range(4)] + list(lines)
    head = [f"%%MatrixMarket matrix coordinate {header}", "%", sizes or f"4 4 {len(entries)}"]
    (path / "matrix.mtx.gz").write_bytes(gzip.compress("\n".join([*head, *entries, ""]).encode()))
    genes = "".join(f"g{i}\tg{i}\tGene Expression\n" for i in range(4))
    (path / "features.tsv.gz").write_bytes(gzip.compress(genes.encode()))
    (path / "barcodes.tsv.gz").write_bytes(gzip.compress(b"a\nb\nc\nd\n"))
    return path


@pytest.mark.parametrize("header", ["integer general", "real general"])
def test_a_sound_10x_folder_is_read(header: str, tmp_path: Path) -> None:
    adata = read_counts(tenx_folder(tmp_path / "x", "2 1 7", header=header))
    np.testing.assert_array_equal(adata.X.toarray(), 2 * np.eye(4) + np.eye(4, k=1) * [0, 7, 0, 0])


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (["2 1 0.5"], {}, "holds b'2 1 0.5' among numbers of kind 'integer'"),  # its reader takes it for 0
        (["2 1 1e3"], {}, "holds b'2 1 1e3'"),
        (["1.5 1 3"], {"header": "real general"}, "positions of genes or cells are not whole numbers"),
        ([], {"header": "pattern general"}, "values of kind 'pattern'"),
        ([], {"header": "integer symmetric"}, "it begins with"),
        ([], {"sizes": "4 2147483648 4"}, "has 2,147,483,648 cells, and 4 are listed"),  # 16 GB
        ([], {"sizes": "5 4 4"}, "has 5 genes, and 4 are listed"),
        ([], {"sizes": "4 4"}, "does not say how many"),
    ],
)
def test_text_of_a_10x_folder_is_looked_at_before_it_is_read(
    lines: list[str], options: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(scrae.CountsError, match=f"matrix.mtx.gz is damaged: .*{message}"):
        read_counts(tenx_folder(tmp_path / "x", *lines, **options))


@pytest.mark.parametrize("part", ["obs", "var"])
def test_what_stands_beside_the_counts_is_damaged_in_plain_words(part: str, tmp_path: Path) -> None:
    path = stored(tmp_path / "cells.h5ad", healthy())
    with h5py.File(path, "r+") as file:
        file[part].attrs["encoding-version"] = "17"
    for read in (cells_on_disk, read_counts):
        with pytest.raises(ValueError, match=r"cells\.h5ad cannot be read: "):
            read(path)
