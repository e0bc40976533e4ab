"""Several files of cells as one: genes matched by name, the cells of one file after those of another.

What is joined how is anndata's choice (:func:`anndata.concat`). What is added is what has to hold first: unique genes,
names that the files share, cells that can be told apart, and a column that says where each cell is from.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import scipy.sparse as sp

from scrae._errors import Notice
from scrae._messages import first_few, some
from scrae.data.files import cells_on_disk, read_counts, tables_on_disk, with_counts
from scrae.data.on_disk import blocks, on_disk

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

FILE = "file"
"""Column of ``obs`` that names the file of each cell."""
LEAST_SHARED = 0.1  # of the genes of the file that has fewest; names of another kind share none, or a handful by chance

Paths = Sequence[str | os.PathLike[str]]


def is_several(data: object) -> TypeGuard[Paths]:
    """Whether it is a list of paths."""
    return (
        isinstance(data, list | tuple) and len(data) > 0 and all(isinstance(path, str | os.PathLike) for path in data)
    )


def batch_of(data: object, batch_key: str | None) -> str | None:
    """The column with batches: each of several files is one where no column is named."""
    return FILE if batch_key is None and is_several(data) and len(data) > 1 else batch_key


def read_several(paths: Paths, prefix: str | None = None) -> AnnData:
    """Read several files of raw counts into one AnnData.

    Parameters
    ----------
    paths
        What :func:`scrae.data.files.read_counts` reads, one or more of it; kinds may differ.
    prefix
        What the names of the files in folders of counts begin with.

    Returns
    -------
    The only file as it is. Of several, all cells with the genes that every file has. ``obs["file"]`` names the file of
    each cell. Where the same name of a cell occurs in two files, the file is added to the name of every cell. Columns
    of ``obs`` that a file lacks are missing values in its cells, and one that holds words in a file and numbers in
    another becomes text; layers and other parts are kept where every file has them.

    Raises
    ------
    FileNotFoundError
        A file is not there.
    ValueError
        A file cannot be read, is named twice, repeats the name of a gene, or has a column "file" already; or the
        files hardly share a gene.
    """
    if len(paths) == 1:
        return read_counts(Path(paths[0]), prefix)
    import anndata

    names = names_of_files(paths)
    parts = [read_counts(Path(path), prefix) for path in paths]
    _shared_genes(parts, names)
    obs = _obs(parts, names)
    if any(part.raw is None for part in parts):
        for part in parts:
            part.raw = None
    joined = anndata.concat(parts, join="inner", merge="unique", keys=names, index_unique="-")
    joined.obs = obs
    return joined


def several_on_disk(paths: Paths, layer: str | None = None, *, counts: str = "raw") -> AnnData:
    """Open several h5ad files or zarr stores as one, whose counts are too large for memory.

    Parameters
    ----------
    paths, layer, counts
        As for :func:`scrae.data.files.cells_on_disk`, each file for itself.

    Returns
    -------
    What :func:`~scrae.data.files.cells_on_disk` gives of a file, joined as by :func:`read_several`: ``obs``, ``var``
    and the counts alone.

    Raises
    ------
    FileNotFoundError, ValueError, scrae.CountsError
        As for both.

    Examples
    --------
    >>> import tempfile
    >>> import scrae
    >>> from scrae.data.several_files import several_on_disk
    >>> folder = tempfile.mkdtemp()
    >>> adata = scrae.datasets.pbmc()
    >>> adata[:400].write_h5ad(f"{folder}/first.h5ad")
    >>> adata[400:].write_h5ad(f"{folder}/second.h5ad")
    >>> both = several_on_disk([f"{folder}/first.h5ad", f"{folder}/second.h5ad"])
    >>> both.obs["file"].value_counts(sort=False).to_dict()
    {'first': 400, 'second': 300}
    """
    if len(paths) == 1:
        return cells_on_disk(paths[0], layer, counts=counts)
    import anndata

    names = names_of_files(paths)
    tables = [tables_on_disk(path) for path in paths]  # what does not fit together is refused before counts are read
    genes = _shared_genes(tables, names)
    obs = _obs(tables, names)
    parts = [with_counts(of, path, layer, counts=counts) for of, path in zip(tables, paths, strict=True)]
    places = [part.var_names.get_indexer(genes) for part in parts]
    cells = (
        sp.csr_array(block[:, place])
        for part, place in zip(parts, places, strict=True)
        for block in blocks(sp.csr_array(part.X))
    )
    matrix = on_disk(cells, len(genes), at_most=sum(part.X.nnz for part in parts))
    var = anndata.concat([anndata.AnnData(var=part.var) for part in parts], merge="unique").var
    return anndata.AnnData(X=sp.csr_matrix(matrix), obs=obs, var=var.loc[genes])


def names_of_files(paths: Paths) -> list[str]:
    """What each file is called in ``obs["file"]``: its name, with as many folders before it as tell all files apart.

    Raises
    ------
    FileNotFoundError
        A file is not there: better known before the others are read.
    ValueError
        A file is named twice.
    """
    for path in paths:
        if not Path(path).exists():
            raise FileNotFoundError(f"there is no {path}")
    places = [Path(path).resolve() for path in paths]
    repeated = [place for i, place in enumerate(places) if place in places[:i]]
    if repeated:
        raise ValueError(f"{repeated[0]} is named twice: each file is read once")
    ends = [(*place.parts[:-1], place.stem if _has_suffix(place) else place.name) for place in places]
    for length in range(1, max(map(len, ends)) + 1):
        names = ["/".join(end[-length:]) for end in ends]
        if len(set(names)) == len(names):
            return names
    return [place.name for place in places]  # a.h5ad and a.zarr


def _has_suffix(path: Path) -> bool:
    """Whether its name ends in that of a kind: folders of counts may have dots in their names."""
    return path.suffix == ".zarr" or not path.is_dir()


def _shared_genes(parts: Sequence[AnnData], names: Sequence[str]) -> pd.Index:
    """Genes that every file has, in the order of the first; tells what is left out."""
    for part, name in zip(parts, names, strict=True):
        repeated = part.var_names[part.var_names.duplicated()].unique()
        if len(repeated):
            raise ValueError(
                f"{name}: {len(repeated):,} gene name(s) occur more than once ({some(repeated)}), and genes are "
                "matched by name: call adata.var_names_make_unique() and write the file again"
            )
    shared: pd.Index = parts[0].var_names
    for part in parts[1:]:
        shared = shared[shared.isin(part.var_names)]
    if len(shared) < max(1, LEAST_SHARED * min(part.n_vars for part in parts)):
        examples = "; ".join(f"{name}: {some(part.var_names)}" for part, name in zip(parts[:3], names, strict=False))
        raise ValueError(
            f"the files share {len(shared):,} genes, and genes are matched by name. They are called differently, as by "
            f"symbols and by identifiers: {examples}"
        )
    left = {name: part.n_vars - len(shared) for part, name in zip(parts, names, strict=True)}
    lacking = [f"{n:,} of {name}" for name, n in left.items() if n]
    if lacking:
        counted = ", ".join(lacking[:3]) + (", ..." if len(lacking) > 3 else "")
        warnings.warn(
            Notice(
                f"{len(shared):,} genes are in every file; genes that others lack are left out ({counted})",
                "genes_of_some_files",
                n=len(shared),
                names=first_few(name for name, n in left.items() if n),
            ),
            stacklevel=3,
        )
    return shared


def _obs(parts: Sequence[AnnData], names: Sequence[str]) -> pd.DataFrame:
    """All columns of all files, and the file of each cell."""
    import anndata

    for part, name in zip(parts, names, strict=True):
        if FILE in part.obs:
            raise ValueError(f"{name} has a column {FILE!r} in obs, which would be replaced: rename it in the file")
    n_names = len({cell for part in parts for cell in part.obs_names})
    told_apart = n_names == sum(part.obs_names.nunique() for part in parts)
    tables = [anndata.AnnData(obs=part.obs) for part in parts]
    made_unique = None if told_apart else "-"
    obs: pd.DataFrame = anndata.concat(tables, join="outer", label=FILE, keys=names, index_unique=made_unique).obs
    for column in obs.columns[[_is_mixed(obs[column]) for column in obs]]:
        obs[column] = obs[column].astype(object).map(str, na_action="ignore")
    return obs


def _is_mixed(column: pd.Series) -> bool:
    """Whether it holds text beside something else: numbers in one file and words in another, which no file can hold."""
    values = column.cat.categories if hasattr(column, "cat") else column
    return values.dtype == object and not values.dropna().map(lambda value: isinstance(value, str)).all()
