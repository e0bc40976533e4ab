"""Folders with a text file of counts beside lists of genes and of cells, as pipelines write them.

They differ in the names of the three files, in what a row of the matrix is, and in what the lists have beside a name
(:data:`LAYOUTS`). Any of the files may be compressed, and may begin with a prefix, as those of repositories do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from scrae._errors import CountsError
from scrae._messages import some
from scrae.data.matrix_market import number_of_lines, refuse_malformed_text
from scrae.data.sparse_format import as_rows

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

COMPRESSED = ".gz"


@dataclass(frozen=True)
class Layout:
    """How a pipeline names its files, each with all names that its versions have used.

    Attributes
    ----------
    pipelines
        Those that write it.
    matrix, genes, cells
        Names of the files, without prefix and compression.
    by_cell
        Whether a row of the matrix is a cell.
    columns
        Of the list of genes, the columns with identifiers, names and types of features, by position; fewer where a file
        has fewer.
    table
        Whether the lists are tables with a header, separated by commas.
    """

    pipelines: str
    matrix: tuple[str, ...]
    genes: tuple[str, ...]
    cells: tuple[str, ...]
    by_cell: bool
    columns: tuple[int, ...] = (0, 1, 2)
    table: bool = False


LAYOUTS = (
    Layout(
        "Cell Ranger, STARsolo, BD Rhapsody",
        ("matrix.mtx", "UniqueAndMult-EM.mtx", "UniqueAndMult-Uniform.mtx"),
        ("features.tsv", "genes.tsv"),
        ("barcodes.tsv",),
        by_cell=False,
    ),
    Layout(
        "kallisto | bustools",
        ("genes.mtx", "genes.total.mtx"),  # it calls them cells_x_genes: a prefix like any other
        ("genes.genes.txt",),
        ("genes.barcodes.txt",),
        by_cell=True,
    ),
    Layout("alevin-fry", ("quants_mat.mtx",), ("quants_mat_cols.txt",), ("quants_mat_rows.txt",), by_cell=True),
    Layout(
        "Parse",
        ("count_matrix.mtx", "DGE.mtx"),
        ("all_genes.csv", "genes.csv"),
        ("cell_metadata.csv",),
        by_cell=True,
        columns=(0, 1),
        table=True,
    ),
)
NAMES_BESIDE = "genes.genes.names.txt"  # which kallisto | bustools lists in a file of their own


@dataclass(frozen=True)
class CountFolder:
    """The three files, and what they are."""

    layout: Layout
    prefix: str
    matrix: Path
    genes: Path
    cells: Path


def find_counts(folder: Path, prefix: str | None = None) -> CountFolder:
    """Find the counts of a folder.

    Parameters
    ----------
    folder
        Where.
    prefix
        What the names of the files begin with; None: whatever it is, where there is one matrix alone.

    Raises
    ------
    ValueError
        There is no matrix, or more than one, or a list is missing.
    """
    files = {path.name.removesuffix(COMPRESSED): path for path in sorted(folder.iterdir()) if path.is_file()}
    found = [
        (layout, name.removesuffix(matrix), path)
        for name, path in files.items()
        for layout in LAYOUTS
        for matrix in layout.matrix
        if name.endswith(matrix) and (prefix is None or name == prefix + matrix)
    ]
    complete = [
        CountFolder(layout, start, path, genes, cells)
        for layout, start, path in found
        if (genes := _first(files, start, layout.genes)) and (cells := _first(files, start, layout.cells))
    ]
    # The matrix with the name that comes first, where several ways of counting lie side by side.
    by_prefix: dict[str, CountFolder] = {}
    for one in sorted(complete, key=lambda one: one.layout.matrix.index(_stem(one.matrix)[len(one.prefix) :])):
        by_prefix.setdefault(one.prefix, one)
    if len(by_prefix) > 1:
        raise ValueError(
            f"{folder} has several matrices, whose files begin with {some(sorted(by_prefix))}: say which with "
            f"--prefix, as in --prefix {next(iter(sorted(by_prefix, reverse=True)))!r}"
        )
    if by_prefix:
        return next(iter(by_prefix.values()))
    if found:
        layout, start, path = min(found, key=lambda one: len(one[1]))  # count_matrix.mtx, and no matrix.mtx of count_
        raise ValueError(
            f"{path} is a matrix of {layout.pipelines}, and the lists that belong to it are missing: "
            f"{start}{' or '.join(layout.genes)}, and {start}{' or '.join(layout.cells)}, compressed or not"
        )
    raise ValueError(
        f"{folder} holds no counts{'' if prefix is None else f' in files that begin with {prefix!r}'}: folders of "
        f"{', '.join(layout.pipelines for layout in LAYOUTS)} are read, with {LAYOUTS[0].matrix[0]}, say"
    )


def read_counts_folder(folder: Path, prefix: str | None = None) -> AnnData:
    """Read the counts of a folder, with the names of its genes and cells.

    Returns
    -------
    AnnData, cells x genes, ``X`` a CSR matrix whose values are as they are stored; ``var`` has ``gene_ids`` and, where
    the pipeline tells them, ``feature_types``; ``obs`` what is told of cells. Names of genes may repeat.

    Raises
    ------
    ValueError
        See :func:`find_counts`.
    CountsError
        The matrix is damaged, or of another shape than its genes and cells.
    """
    import anndata
    import pandas as pd
    from scipy.io import mmread

    place = find_counts(folder, prefix)
    layout = place.layout
    lists = {"genes": place.genes, "cells": place.cells}
    if layout.by_cell:
        lists = {"cells": place.cells, "genes": place.genes}
    refuse_malformed_text(place.matrix, {kind: number_of_lines(path) - layout.table for kind, path in lists.items()})
    stored = mmread(place.matrix, spmatrix=False)
    counts = as_rows(sp.coo_array(stored if layout.by_cell else stored.T), str(place.matrix))
    genes = _listed(place.genes, layout.table)
    columns = [genes.iloc[:, i].to_numpy(dtype=str) for i in layout.columns if i < genes.shape[1]]
    beside = place.genes.with_name(place.prefix + NAMES_BESIDE)
    if len(columns) == 1 and beside.is_file():
        names = _listed(beside, table=False).iloc[:, 0].to_numpy(dtype=str)
        if len(names) == len(columns[0]):
            columns.append(names)
    var = pd.DataFrame({"gene_ids": columns[0]}, index=pd.Index(columns[min(1, len(columns) - 1)]))
    if len(columns) > 2:
        var["feature_types"] = columns[2]
    cells = _listed(place.cells, layout.table, typed=layout.table)
    obs = pd.DataFrame(index=pd.Index(cells.iloc[:, 0].to_numpy(dtype=str)))
    if layout.table:
        obs = cells.iloc[:, 1:].set_index(obs.index)
    counts, var = _spliced(counts, var)
    return anndata.AnnData(sp.csr_matrix(counts), obs=obs, var=var)


def _spliced(counts: sp.csr_array, var: pd.DataFrame) -> tuple[sp.csr_array, pd.DataFrame]:
    """Counts of genes, where alevin-fry has three columns for each: spliced, unspliced (-U) and ambiguous (-A) reads.

    Spliced and ambiguous counts are added, as for any library of mature transcripts.
    """
    names = var.index.to_numpy(dtype=str)
    n, rest = divmod(len(names), 3)
    parts = [names[k * n : (k + 1) * n] for k in range(3)]
    expected = [np.char.add(parts[0], ending) for ending in ("", "-U", "-A")]
    if rest or n == 0 or not all(map(np.array_equal, parts, expected)):
        return counts, var
    return sp.csr_array(counts[:, :n] + counts[:, 2 * n :]), var.iloc[:n]


def _listed(path: Path, table: bool, typed: bool = False) -> pd.DataFrame:
    """The columns of a list, as text, or with numbers for what is one."""
    import pandas as pd

    try:
        return pd.read_csv(
            path,
            sep="," if table else "\t",
            header=0 if table else None,
            dtype=None if typed else str,
            keep_default_na=typed,
            quoting=0 if table else 3,  # a name of a gene may hold a quotation mark
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise CountsError(
            f"{path} is damaged: {error}. Read or write it anew from its source.", "damaged_matrix", fault=str(error)
        ) from error


def _first(files: dict[str, Path], prefix: str, names: Sequence[str]) -> Path | None:
    return next((files[prefix + name] for name in names if prefix + name in files), None)


def _stem(path: Path) -> str:
    return path.name.removesuffix(COMPRESSED)
