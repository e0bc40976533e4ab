"""Folders of counts as pipelines write them. Each is made here by its own documentation, and says the same counts."""

from __future__ import annotations

import gzip
from pathlib import Path

import anndata
import numpy as np
import pytest
import scanpy as sc
import scipy.io
import scipy.sparse as sp

import scrae
from scrae.cli import main
from scrae.data.files import read_counts

COUNTS = np.array([[0, 3, 0, 1], [2, 0, 0, 0], [5, 1, 7, 0]])  # three cells, four genes
IDS = ["ENSG01", "ENSG02", "ENSG03", "ENSG04"]
SYMBOLS = ["CD3E", "HLA-A", 'odd"name', "MS4A1"]
CELLS = ["AAAC-1", "AAAG-1", "AAAT-1"]
TYPES = ["Gene Expression"] * 4


def lines(*columns: list[str], separator: str = "\t") -> str:
    return "".join(separator.join(row) + "\n" for row in zip(*columns, strict=True))


def write(path: Path, text: str | bytes) -> None:
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def matrix(counts: np.ndarray, tmp: Path) -> bytes:
    scipy.io.mmwrite(tmp / "written.mtx", sp.coo_array(counts))
    return (tmp / "written.mtx").read_bytes()


def cell_ranger_2(folder: Path, tmp: Path) -> None:
    write(folder / "matrix.mtx", matrix(COUNTS.T, tmp))
    write(folder / "genes.tsv", lines(IDS, SYMBOLS))
    write(folder / "barcodes.tsv", lines(CELLS))


def cell_ranger_9(folder: Path, tmp: Path, prefix: str = "") -> None:
    write(folder / f"{prefix}matrix.mtx.gz", matrix(COUNTS.T, tmp))
    write(folder / f"{prefix}features.tsv.gz", lines(IDS, SYMBOLS, TYPES))
    write(folder / f"{prefix}barcodes.tsv.gz", lines(CELLS))


def of_a_repository(folder: Path, tmp: Path) -> None:
    cell_ranger_9(folder, tmp, prefix="GSM1234567_donor1_")
    write(folder / "GSM1234567_donor1_metadata.csv", "cell,type\n")


def genes_compressed(folder: Path, tmp: Path) -> None:
    write(folder / "s1.matrix.mtx.gz", matrix(COUNTS.T, tmp))
    write(folder / "s1.genes.tsv.gz", lines(IDS, SYMBOLS))
    write(folder / "s1.barcodes.tsv.gz", lines(CELLS))


def starsolo(folder: Path, tmp: Path) -> None:
    write(folder / "matrix.mtx", matrix(COUNTS.T, tmp))
    write(folder / "UniqueAndMult-EM.mtx", matrix(COUNTS.T + 1, tmp))
    write(folder / "features.tsv", lines(IDS, SYMBOLS, TYPES))
    write(folder / "barcodes.tsv", lines(CELLS))


def alevin_fry(folder: Path, tmp: Path) -> None:
    write(folder / "quants_mat.mtx", matrix(COUNTS, tmp))
    write(folder / "quants_mat_cols.txt", lines(IDS))
    write(folder / "quants_mat_rows.txt", lines(CELLS))


def alevin_fry_by_splicing(folder: Path, tmp: Path) -> None:
    ambiguous = np.minimum(COUNTS, 1)
    write(folder / "quants_mat.mtx", matrix(np.hstack([COUNTS - ambiguous, 9 * COUNTS, ambiguous]), tmp))
    write(folder / "quants_mat_cols.txt", lines([name + end for end in ("", "-U", "-A") for name in IDS]))
    write(folder / "quants_mat_rows.txt", lines(CELLS))


def kallisto(folder: Path, tmp: Path) -> None:
    write(folder / "cells_x_genes.mtx", matrix(COUNTS, tmp))
    write(folder / "cells_x_genes.genes.txt", lines(IDS))
    write(folder / "cells_x_genes.barcodes.txt", lines(CELLS))


def kallisto_with_names(folder: Path, tmp: Path) -> None:
    kallisto(folder, tmp)
    write(folder / "cells_x_genes.genes.names.txt", lines(SYMBOLS))


def parse(folder: Path, tmp: Path) -> None:
    write(folder / "count_matrix.mtx", matrix(COUNTS, tmp))
    quoted = [name.replace('"', '""').join('""') for name in SYMBOLS]
    write(folder / "all_genes.csv", "gene_id,gene_name,genome\n" + lines(IDS, quoted, ["hg38"] * 4, separator=","))
    write(folder / "cell_metadata.csv", "bc_wells,sample\n" + lines(CELLS, ["a", "b", "a"], separator=","))


WITH_SYMBOLS = (cell_ranger_2, cell_ranger_9, of_a_repository, genes_compressed, starsolo, kallisto_with_names, parse)
WITH_IDS = (alevin_fry, alevin_fry_by_splicing, kallisto)


@pytest.mark.parametrize("layout", [*WITH_SYMBOLS, *WITH_IDS], ids=lambda layout: layout.__name__)
def test_each_pipeline_gives_the_same_cells(layout, tmp_path):
    folder = tmp_path / "counts"
    folder.mkdir()
    layout(folder, tmp_path)
    adata = read_counts(folder)
    np.testing.assert_array_equal(adata.X.toarray(), COUNTS)
    assert list(adata.obs_names) == CELLS
    assert list(adata.var_names) == (SYMBOLS if layout in WITH_SYMBOLS else IDS)
    assert list(adata.var["gene_ids"]) == IDS


@pytest.mark.parametrize("layout", [cell_ranger_2, cell_ranger_9], ids=lambda layout: layout.__name__)
def test_folders_of_cell_ranger_are_read_as_scanpy_reads_them(layout, tmp_path):
    folder = tmp_path / "counts"
    folder.mkdir()
    layout(folder, tmp_path)
    ours, theirs = read_counts(folder), sc.read_10x_mtx(folder, gex_only=False)
    np.testing.assert_array_equal(ours.X.toarray(), theirs.X.toarray())
    assert list(ours.obs_names) == list(theirs.obs_names)
    assert ours.var.astype(object).equals(theirs.var.astype(object))


def test_what_parse_tells_of_cells_is_kept(tmp_path):
    folder = tmp_path / "counts"
    folder.mkdir()
    parse(folder, tmp_path)
    assert list(read_counts(folder).obs["sample"]) == ["a", "b", "a"]


def test_one_of_several_samples_is_named_by_its_prefix(tmp_path):
    folder = tmp_path / "counts"
    folder.mkdir()
    cell_ranger_9(folder, tmp_path, "GSM1_")
    cell_ranger_9(folder, tmp_path, "GSM2_")
    write(folder / "GSM2_matrix.mtx.gz", matrix(2 * COUNTS.T, tmp_path))
    with pytest.raises(ValueError, match="several matrices, whose files begin with 'GSM1_', 'GSM2_'.*--prefix"):
        read_counts(folder)
    np.testing.assert_array_equal(read_counts(folder, "GSM2_").X.toarray(), 2 * COUNTS)
    with pytest.raises(ValueError, match="no counts in files that begin with 'GSM3_'"):
        read_counts(folder, "GSM3_")


@pytest.mark.parametrize(("layout", "lost"), [(parse, "all_genes.csv"), (kallisto, "cells_x_genes.barcodes.txt")])
def test_a_list_that_is_missing_is_named(layout, lost, tmp_path):
    folder = tmp_path / "counts"
    folder.mkdir()
    layout(folder, tmp_path)
    (folder / lost).unlink()
    with pytest.raises(ValueError, match=f"lists that belong to it are missing: .*{lost}"):
        read_counts(folder)


@pytest.mark.parametrize("layout", [cell_ranger_9, alevin_fry, kallisto, parse], ids=lambda layout: layout.__name__)
def test_a_matrix_of_another_shape_than_its_lists_is_refused(layout, tmp_path):
    folder = tmp_path / "counts"
    folder.mkdir()
    layout(folder, tmp_path)
    lists = [path for path in folder.iterdir() if any(word in path.name for word in ("barcodes", "rows", "cell_meta"))]
    (data,) = [gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes() for p in lists]
    write(lists[0], data + (b"AAAX-1,b\n" if lists[0].suffix == ".csv" else b"AAAX-1\n"))
    with pytest.raises(scrae.CountsError, match="has 3 cells, and 4 are listed beside it"):
        read_counts(folder)


def test_a_value_is_judged_before_values_of_one_place_are_summed(tmp_path):
    folder = tmp_path / "counts"
    folder.mkdir()
    cell_ranger_9(folder, tmp_path)
    text = "%%MatrixMarket matrix coordinate integer general\n4 3 3\n1 1 3\n1 1 -1\n2 2 2\n"
    write(folder / "matrix.mtx.gz", text)
    with pytest.raises(scrae.CountsError, match="negative"):
        scrae.tl.scrae(read_counts(folder), genes="all", n_latent=2)


def test_the_command_line_takes_a_prefix(small, tmp_path):
    folder = tmp_path / "counts"
    folder.mkdir()
    for prefix, factor in (("a_", 1), ("b_", 2)):
        write(folder / f"{prefix}matrix.mtx.gz", matrix(factor * small.X.T.astype(int), tmp_path))
        write(folder / f"{prefix}features.tsv.gz", lines(list(small.var_names)))
        write(folder / f"{prefix}barcodes.tsv.gz", lines(list(small.obs_names)))
    arguments = ["--genes", "all", "--n-latent", "4", "--max-epochs", "2", "--quiet", "--prefix", "b_"]
    assert main(["run", str(folder), "--out", str(tmp_path / "out.h5ad"), *arguments]) == 0
    written = anndata.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(
        written.X.toarray(), 2 * np.asarray(small.X.todense() if sp.issparse(small.X) else small.X)
    )
