"""From what users hold (AnnData or a matrix) to checked counts, names and covariate codes."""

from __future__ import annotations

import os
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from scrae._errors import CountsError, Refusal
from scrae._messages import first_few, shown, some, unknown
from scrae.data.counts import WHERE_COUNTS_ARE, Rounding, as_counts, empty_cells, looks_like_counts
from scrae.data.features import GENES
from scrae.data.files import cells_on_disk
from scrae.data.layers import named_layers
from scrae.data.lazy import computed, is_lazy
from scrae.data.on_disk import is_on_disk
from scrae.data.several_files import is_several, several_on_disk
from scrae.data.sparse_format import refuse_malformed


@dataclass(frozen=True)
class Cells:
    """Checked counts of some cells with what the model needs to know about them.

    Attributes
    ----------
    counts
        CSR of float32, cells x genes; every cell has a count.
    gene_names
        One per gene, unique; None for a bare matrix.
    where
        Where the counts came from, for messages.
    source
        The AnnData, or None for a bare matrix.
    rounding
        What was rounded to whole counts, where that was asked for.
    """

    counts: sp.csr_array
    gene_names: np.ndarray | None
    where: str
    source: Any = None
    rounding: Rounding | None = None

    def positions(self, genes: Sequence[Any] | np.ndarray) -> np.ndarray:
        """Positions of genes given by name, by position or as a boolean mask over all genes.

        Raises
        ------
        ValueError
            A name that is not there, a mask of the wrong length, a gene named twice, none at all.
        """
        n_genes = self.counts.shape[1]
        if isinstance(genes, Set):
            raise Refusal(
                f"genes is a {type(genes).__name__}, which has no order: give a list, such as sorted(genes)",
                "genes_without_order",
            )
        if isinstance(genes, str):
            genes = [genes]
        given = np.asarray(genes if hasattr(genes, "__array__") else list(genes))
        if given.ndim != 1:
            raise ValueError(
                f"genes is a table of {given.ndim} dimensions: give a list of names or positions, or a mask"
            )
        if given.dtype == bool:
            if given.shape != (n_genes,):
                raise ValueError(f"the mask of genes has {given.size} entries; {self.where} has {n_genes} genes")
            chosen = np.flatnonzero(given)
        elif np.issubdtype(given.dtype, np.integer):
            if given.size and (given.min() < 0 or given.max() >= n_genes):
                raise ValueError(f"genes are positions from 0 to {n_genes - 1}; got {given.min()} to {given.max()}")
            chosen = given.astype(np.int64)
        else:
            chosen = self._positions_by_name([str(gene) for gene in given])
        if len(chosen) == 0:
            raise ValueError("no gene was chosen")
        if len(np.unique(chosen)) < len(chosen):
            raise ValueError("a gene was chosen more than once")
        return chosen

    def _positions_by_name(self, names: list[str]) -> np.ndarray:
        if self.gene_names is None:
            raise ValueError("genes can be chosen by name in an AnnData only; give positions or a mask")
        position = {name: i for i, name in enumerate(self.gene_names)}
        missing = [name for name in names if name not in position]
        if missing:
            raise Refusal(
                f"{len(missing):,} of {len(names):,} chosen genes are not in adata.var_names: {some(missing)}",
                "genes_missing",
                n=len(missing),
                n_genes=len(names),
                names=first_few(missing),
            )
        return np.array([position[name] for name in names], dtype=np.int64)

    def covariate(self, key: str) -> np.ndarray:
        """Values of a categorical column of ``adata.obs`` as text, one per cell.

        Raises
        ------
        ValueError
            No such column, or missing values in it.
        """
        column = self._column(key)
        missing = int(column.isna().sum())
        if missing:
            raise Refusal(
                f"adata.obs[{key!r}] has {missing:,} missing value(s) in {len(column):,} cells; write the level that "
                f"they belong to, or drop those cells: adata = adata[adata.obs[{key!r}].notna()].copy()",
                "missing_values",
                column=key,
                n=missing,
                n_cells=len(column),
            )
        return np.asarray(column.astype(str), dtype=object)

    def numbers(self, key: str) -> np.ndarray:
        """Values of a numeric column of ``adata.obs``, float64 (n_cells,).

        Raises
        ------
        ValueError
            No such column, text in it, or values that are missing or infinite.
        """
        column = self._column(key)
        try:
            values = np.asarray(column, dtype=np.float64)
        except (TypeError, ValueError):
            raise Refusal(
                f"adata.obs[{key!r}] does not hold numbers ({column.dtype}): a column of names is a categorical "
                "covariate",
                "no_numbers",
                column=key,
            ) from None
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise Refusal(
                f"adata.obs[{key!r}] has {bad:,} missing or infinite value(s) in {len(values):,} cells; fill them or "
                "drop those cells",
                "not_finite",
                column=key,
                n=bad,
                n_cells=len(values),
            )
        return values

    def labels(self, key: str, unlabeled_category: str) -> np.ndarray:
        """Values of a column of ``adata.obs`` as text, ``unlabeled_category`` where they are missing.

        Raises
        ------
        ValueError
            No such column.
        """
        column = self._column(key)
        return np.where(column.isna(), unlabeled_category, column.astype(str)).astype(object)

    def _column(self, key: Any) -> Any:
        if not isinstance(key, str):
            raise Refusal(f"a column of adata.obs is named by text, not by {shown(key)}", "no_name", value=str(key))
        if self.source is None:
            raise ValueError(f"{key!r} is a column of adata.obs: give an AnnData, not a matrix")
        obs = self.source.obs
        refuse_unknown_column(self.source, key)
        found = obs[key]
        if found.ndim > 1:
            raise Refusal(
                f"adata.obs has {found.shape[1]:,} columns named {key!r}: leave one, or rename them",
                "repeated_column",
                column=key,
                n=found.shape[1],
            )
        return found


def read_cells(data: Any, layer: str | None = None, *, copy: bool = True, counts: str = "raw") -> Cells:
    """Read and check counts.

    Parameters
    ----------
    data
        AnnData (in memory, a view, backed, or with arrays of dask, whose blocks are computed one after the other and
        put on disk), a matrix of cells x genes (dense, scipy sparse or of dask), or the path of an
        h5ad file or a zarr store, or a list of such paths, whose counts stay on disk
        (:func:`scrae.data.files.cells_on_disk`, :func:`scrae.data.several_files.several_on_disk`).
    layer
        Layer of the AnnData that holds raw counts; None: ``adata.X``.
    copy
        False: the counts may share their memory with ``data`` (:func:`scrae.data.counts.as_counts`).
    counts
        ``"raw"``, or ``"round"`` for estimated counts that are to be rounded to whole ones.

    Raises
    ------
    CountsError
        No counts, or cells without a single count.
    ValueError
        No such layer, gene names that are not unique.
    """
    rounding = Rounding.asked(counts)
    if isinstance(data, str | os.PathLike):
        data, layer = cells_on_disk(data, layer, counts=counts), None
    elif is_several(data):
        data, layer = several_on_disk(data, layer, counts=counts), None
    if _is_table_of_cells(data):
        return _read_anndata(data, layer, copy, rounding)
    if layer is not None:
        raise ValueError(f"layer={layer!r} needs an AnnData; a matrix has no layers")
    matrix = _counts(data, "the matrix", copy=copy, rounding=rounding)
    return _refuse_empty_cells(Cells(matrix, None, "the matrix", rounding=rounding))


def require_anndata(data: Any, who: str) -> None:
    """Refuse what is no AnnData, with what to do instead.

    Raises
    ------
    ValueError
        A matrix, a path, a MuData, or something else.
    """
    if _is_table_of_cells(data):
        return
    if isinstance(data, str | os.PathLike):
        given, cure = "the path of a file", "read it with anndata.read_h5ad, or call scrae.SCRAE().fit(path)"
    elif is_several(data):
        given = "a list of paths"
        cure = "open them with scrae.data.several_files.several_on_disk, or call scrae.SCRAE().fit(paths)"
    elif hasattr(data, "shape"):
        given, cure = "a matrix", "put it into one, anndata.AnnData(matrix), or call scrae.SCRAE().fit(matrix)"
    else:
        given, cure = f"an object of type {type(data).__name__}", "put the counts into one, cells x genes"
    raise Refusal(f"{who} needs an AnnData, not {given}: {cure}", "no_anndata", given=given)


def _is_table_of_cells(data: Any) -> bool:
    """Whether it is an AnnData.

    Raises
    ------
    ValueError
        It is a MuData, which holds several.
    """
    if hasattr(data, "mod") and hasattr(data, "obs_names"):
        names = [str(name) for name in data.mod]
        first = next((name for name in names if name.lower() in GENES), names[0] if names else "rna")
        raise Refusal(
            f"this is a MuData of {some(names) or 'no modality'}: give the AnnData of one of them, mdata[{first!r}]",
            "several_modalities",
            names=first_few(names),
        )
    return hasattr(data, "obs_names") and hasattr(data, "var_names")


def _read_anndata(adata: Any, layer: Any, copy: bool, rounding: Rounding | None) -> Cells:
    if layer is not None and (not isinstance(layer, str) or layer not in named_layers(adata)):
        hint = " adata.X is used where layer is left out." if layer == "X" else ""
        hint = ' adata.raw.to_adata() gives what is in "raw".' if layer == "raw" and adata.raw is not None else hint
        raise ValueError(unknown("layer", layer, list(named_layers(adata)), "adata.layers") + hint)
    where = "adata.X" if layer is None else f"adata.layers[{layer!r}]"
    gene_names = np.asarray(adata.var_names.astype(str), dtype=object)
    if not adata.var_names.is_unique:
        repeated = adata.var_names[adata.var_names.duplicated()]
        raise Refusal(
            f"{len(repeated):,} gene name(s) occur more than once in adata.var_names ({some(repeated)}); "
            "genes are matched by name: call adata.var_names_make_unique() first",
            "repeated_genes",
            n=len(repeated),
            names=first_few(repeated),
        )
    refuse_damaged_source(adata)
    matrix = adata.X if layer is None else adata.layers[layer]
    if matrix is None:
        raise CountsError(f"{where} is empty: there is no matrix. {_suggestion(adata, layer)}", "no_matrix")
    if isinstance(matrix, sp.csr_matrix | sp.csr_array) and is_on_disk(matrix):
        copy = False  # it is ours, and too large
    try:
        counts = _counts(matrix, where, adata.obs_names, adata.var_names, copy=copy, rounding=rounding)
    except CountsError as error:
        text = f"{error} {_suggestion(adata, layer)}".strip()
        raise CountsError(text, error.code, **error.fields) from None
    return _refuse_empty_cells(Cells(counts, gene_names, where, adata, rounding))


def refuse_unknown_column(adata: Any, key: str) -> None:
    """Refuse a column that ``adata.obs`` does not have.

    Raises
    ------
    ValueError
        The message names those that it has.
    """
    if key not in adata.obs:
        known = list(map(str, adata.obs.columns))
        raise Refusal(unknown("column", key, known, "adata.obs"), "unknown_column", column=key, known=known)


def refuse_damaged_source(adata: Any) -> None:
    """Look at what a view is of, before anndata slices it to give or copy a matrix.

    Raises
    ------
    CountsError
        The arrays of a sparse matrix do not fit together.
    """
    source = getattr(adata, "_adata_ref", None) if getattr(adata, "is_view", False) else None
    if source is None or source.isbacked:
        return
    places = {"adata.X": source.X} | {f"adata.layers[{name!r}]": layer for name, layer in named_layers(source).items()}
    for where, matrix in places.items():
        if sp.issparse(matrix):
            refuse_malformed(matrix, where)


def _counts(
    matrix: Any, where: str, cell_names: Any = None, gene_names: Any = None, *, copy: bool, rounding: Rounding | None
) -> sp.csr_array:
    """Checked counts; those of dask are put on disk, a block after the other."""
    if is_lazy(matrix):
        return computed(matrix, where, cell_names, gene_names, rounding)
    return as_counts(_in_memory(matrix), where, cell_names, gene_names, copy=copy, rounding=rounding)


def _in_memory(matrix: Any) -> Any:
    """A backed matrix (h5py data set or anndata's sparse data set) or one of dask in memory; others as they are."""
    if is_lazy(matrix):
        return matrix.compute()  # its blocks may be sparse, which numpy could not put together
    if hasattr(matrix, "to_memory"):
        return matrix.to_memory()
    return matrix[:] if hasattr(matrix, "chunks") and not isinstance(matrix, np.ndarray) else matrix


def _suggestion(adata: Any, layer: str | None) -> str:
    """The call that would work, if the object holds counts elsewhere."""
    for name, matrix in named_layers(adata).items():
        if name != layer and _holds_counts(matrix):
            return f'adata.layers[{name!r}] does hold whole counts: pass layer="{name}".'
    if layer is not None and adata.X is not None and _holds_counts(adata.X):
        return "adata.X does hold whole counts: leave layer out."
    if adata.raw is not None and _holds_counts(adata.raw.X):
        return "adata.raw.X does hold whole counts: pass adata.raw.to_adata()."
    return ""


def _holds_counts(matrix: Any) -> bool:
    """Whether its first cells do; of a matrix on disk no more than these are read."""
    whole = sp.issparse(matrix) or isinstance(matrix, np.ndarray)
    return looks_like_counts(matrix if whole else _in_memory(matrix[:200]))


def _refuse_empty_cells(cells: Cells) -> Cells:
    empty, n_cells = int(empty_cells(cells.counts).sum()), cells.counts.shape[0]
    if empty == n_cells:
        raise CountsError(
            f"{cells.where} is all zero: none of its {n_cells:,} cells has a count. {WHERE_COUNTS_ARE}",
            "all_zero",
            n_cells=n_cells,
        )
    if empty:
        raise CountsError(
            f"{empty:,} of {n_cells:,} cells in {cells.where} have no count at all; drop them first: "
            "sc.pp.filter_cells(adata, min_counts=1)",
            "empty_cells",
            n=empty,
            n_cells=n_cells,
        )
    return cells
