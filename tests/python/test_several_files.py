"""Several files are trained on as one: genes by name, cells one file after the other, a batch for each."""

from __future__ import annotations

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

import scrae
from scrae._errors import CountsError, Notice, Refusal
from scrae.cli import main
from scrae.data import on_disk
from scrae.data.cells import read_cells
from scrae.data.files import read_counts
from scrae.data.several_files import read_several, several_on_disk


@pytest.fixture
def files(pbmc, tmp_path, monkeypatch):
    """300 cells without the first 100 genes, and 400 cells whose genes stand in another order."""
    monkeypatch.setattr(on_disk, "BLOCK", 1000)  # so that there are many blocks
    first, second = pbmc[:300, 100:].copy(), pbmc[300:, ::-1].copy()
    first.obs["clinic"], second.obs["sex"] = "north", pd.Categorical(["f", "m"] * 200)
    paths = [tmp_path / "first.h5ad", tmp_path / "second.h5ad"]
    for path, part in zip(paths, (first, second), strict=True):
        part.write_h5ad(path)
    return paths


def run(*arguments) -> int:
    return main(["run", *map(str, arguments), "--quiet", "--max-epochs", "2", "--genes", "all"])


@pytest.mark.filterwarnings("ignore:665 genes are in every file")
def test_cells_and_genes_are_those_that_anndata_joins(pbmc, files):
    joined, mapped = read_several(files), several_on_disk(files)
    expected = anndata.concat([read_counts(path) for path in files], join="inner")
    for found in (joined, mapped):
        assert list(found.var_names) == list(pbmc.var_names[100:])
        assert list(found.obs_names) == list(pbmc.obs_names)
        assert (found.X != expected.X).nnz == 0
        assert (pbmc.X[:, 100:] != found.X).nnz == 0
    pd.testing.assert_frame_equal(joined.obs, mapped.obs)
    pd.testing.assert_frame_equal(joined.var, mapped.var)
    assert on_disk.is_on_disk(mapped.X)


@pytest.mark.filterwarnings("ignore:665 genes are in every file")
def test_each_cell_says_its_file_and_keeps_what_its_file_says_of_it(files):
    obs = read_several(files).obs
    assert list(obs["file"].value_counts(sort=False).items()) == [("first", 300), ("second", 400)]
    assert (obs["clinic"][:300] == "north").all()
    assert obs["clinic"][300:].isna().all()
    assert obs["sex"][:300].isna().all()
    assert list(obs["sex"][300:302]) == ["f", "m"]


@pytest.mark.parametrize("from_disk", [[], ["--from-disk"]], ids=["memory", "disk"])
def test_columns_of_different_kinds_are_written_as_text_and_missing_values_stay(pbmc, tmp_path, from_disk):
    first, second = pbmc[:350].copy(), pbmc[350:].copy()
    first.obs["plate"], second.obs["plate"] = 1, "two"
    first.obs["lane"], second.obs["lane"] = pd.Categorical(["L"] * 350), pd.Categorical([5] * 350)
    first.obs["passed"], first.obs["age"] = True, 31
    first.obs["known"] = pd.array([True, None] * 175, dtype="boolean")
    first.obs["grade"] = pd.Categorical(["low", "high"] * 175, categories=["low", "high"], ordered=True)
    second.obs["grade"] = pd.Categorical(["high", "low"] * 175, categories=["high", "low"], ordered=True)
    first.raw = first
    first.var["kept"], second.var["other"] = 2.5, "words"
    paths = [tmp_path / "first.h5ad", tmp_path / "second.h5ad"]
    for path, part in zip(paths, (first, second), strict=True):
        part.write_h5ad(path)
    assert run(*paths, "--out", tmp_path / "both.h5ad", *from_disk) == 0
    both = anndata.read_h5ad(tmp_path / "both.h5ad")
    assert both.obs["plate"].astype(str).value_counts().to_dict() == {"1": 350, "two": 350}
    assert both.obs["lane"].astype(str).value_counts().to_dict() == {"L": 350, "5": 350}
    assert both.obs["passed"][:350].all()
    assert both.obs[["passed", "age", "known"]][350:].isna().all(axis=None)
    assert (both.obs["age"][:350] == 31).all()
    assert list(both.obs["grade"].astype(str)) == ["low", "high"] * 175 + ["high", "low"] * 175
    assert (both.var["kept"] == 2.5).all()
    assert (both.var["other"].astype(str) == "words").all()


def test_genes_that_are_left_out_are_counted(files):
    with pytest.warns(Notice, match=r"665 genes are in every file; .* are left out \(100 of second\)"):
        read_several(files)


def test_names_of_cells_stay_where_they_tell_cells_apart_and_are_completed_where_not(pbmc, tmp_path):
    for name in ("a", "b"):
        pbmc[:50].write_h5ad(tmp_path / f"{name}.h5ad")
    found = read_several([tmp_path / "a.h5ad", tmp_path / "b.h5ad"])
    assert found.obs_names.is_unique
    assert found.obs_names[0] == f"{pbmc.obs_names[0]}-a"
    assert found.obs_names[50] == f"{pbmc.obs_names[0]}-b"


def test_files_of_one_name_are_told_apart_by_their_folders(pbmc, tmp_path):
    paths = [tmp_path / donor / "outs" / "counts.h5ad" for donor in ("d1", "d2")]
    for path in paths:
        path.parent.mkdir(parents=True)
        pbmc[:50].write_h5ad(path)
    assert set(several_on_disk(paths).obs["file"]) == {"d1/outs/counts", "d2/outs/counts"}


@pytest.mark.filterwarnings("ignore:665 genes are in every file")
def test_training_on_files_is_training_on_the_joined_cells_with_the_file_as_batch(files):
    model = scrae.SCRAE(max_epochs=2, verbose=False).fit(files)
    joined = scrae.SCRAE(max_epochs=2, verbose=False).fit(read_several(files), batch_key="file")
    assert np.array_equal(model.embed(), joined.embed())
    assert np.array_equal(model.embed(files), joined.embed(read_several(files)))
    without = scrae.SCRAE(max_epochs=2, verbose=False).fit(several_on_disk(files))
    assert not np.array_equal(model.embed(), without.embed())


@pytest.mark.filterwarnings("ignore:665 genes are in every file")
def test_a_batch_that_is_named_takes_the_place_of_the_file(pbmc, files):
    pbmc.obs["donor"] = ["x", "y"] * 350
    for path, cells in zip(files, (slice(0, 300), slice(300, 700)), strict=True):
        part = anndata.read_h5ad(path)
        part.obs["donor"] = pbmc.obs["donor"][cells].to_numpy()
        part.write_h5ad(path)
    named = scrae.SCRAE(max_epochs=2, verbose=False).fit(files, batch_key="donor")
    joined = scrae.SCRAE(max_epochs=2, verbose=False).fit(read_several(files), batch_key="donor")
    assert np.array_equal(named.embed(), joined.embed())


@pytest.mark.filterwarnings("ignore:665 genes are in every file")
def test_command_line_writes_one_file_with_the_embedding_from_memory_and_from_disk(files, tmp_path):
    assert run(*files, "--out", tmp_path / "memory.h5ad") == 0
    assert run(*files, "--out", tmp_path / "disk.h5ad", "--from-disk") == 0
    assert run(*files, "--out", tmp_path / "plain.h5ad", "--no-batch") == 0
    memory, disk, plain = (anndata.read_h5ad(tmp_path / f"{name}.h5ad") for name in ("memory", "disk", "plain"))
    assert np.array_equal(memory.obsm["X_scrae"], disk.obsm["X_scrae"])
    assert not np.array_equal(memory.obsm["X_scrae"], plain.obsm["X_scrae"])
    assert (memory.X != disk.X).nnz == 0
    assert list(memory.obs["file"]) == list(disk.obs["file"])
    assert memory.uns["scrae"]["params"]["batch_key"] == "file"
    assert "batch_key" not in plain.uns["scrae"]["params"]
    with h5py.File(tmp_path / "disk.h5ad") as file:
        assert file["X"].attrs["encoding-type"] == "csr_matrix"


@pytest.mark.filterwarnings("ignore:665 genes are in every file", "ignore:Writing zarr v2")
def test_kinds_of_files_may_differ(pbmc, files, tmp_path):
    pbmc[:300, 100:].write_zarr(tmp_path / "first.zarr")
    zarr = several_on_disk([tmp_path / "first.zarr", files[1]])
    assert (zarr.X != several_on_disk(files).X).nnz == 0
    assert list(zarr.obs["file"].cat.categories) == ["first", "second"]


def test_what_cannot_be_one_data_set_is_refused_with_the_reason(pbmc, files, tmp_path):
    with pytest.raises(ValueError, match=r"first\.h5ad is named twice"):
        several_on_disk([files[0], files[0]])
    with pytest.raises(FileNotFoundError, match=r"there is no .*third\.h5ad"):
        read_cells([files[0], tmp_path / "third.h5ad"])
    other = pbmc[:50].copy()
    other.var_names = [f"ENSG{i:011d}" for i in range(pbmc.n_vars)]
    other.write_h5ad(tmp_path / "identifiers.h5ad")
    with pytest.raises(ValueError, match=r"share 0 genes.*by symbols and by identifiers: first: .*'ENSG00000000000'"):
        several_on_disk([files[0], tmp_path / "identifiers.h5ad"])
    twice = pbmc[:50].copy()
    twice.var_names = ["CD4", "CD4", *pbmc.var_names[2:]]
    twice.write_h5ad(tmp_path / "twice.h5ad")
    with pytest.raises(ValueError, match=r"twice: 1 gene name\(s\) occur more than once \('CD4'\)"):
        read_several([files[0], tmp_path / "twice.h5ad"])
    taken = pbmc[:50].copy()
    taken.obs["file"] = "mine"
    taken.write_h5ad(tmp_path / "taken.h5ad")
    with pytest.raises(ValueError, match="taken has a column 'file' in obs"):
        read_several([files[1], tmp_path / "taken.h5ad"])
    with pytest.raises(Refusal, match=r"needs an AnnData, not a list of paths: open them with .*several_on_disk"):
        scrae.tl.scrae([str(path) for path in files])


def test_names_that_do_not_fit_are_refused_before_counts_are_read_from_disk(pbmc, files, tmp_path):
    """Of the first file no count is whole, which nobody looks at."""
    halves = pbmc[:50].copy()
    halves.X = halves.X * 0.5
    halves.write_h5ad(tmp_path / "halves.h5ad")
    with pytest.raises(CountsError):
        several_on_disk([tmp_path / "halves.h5ad", files[1]])
    other = pbmc[50:100].copy()
    other.var_names = [f"ENSG{i:011d}" for i in range(pbmc.n_vars)]
    other.write_h5ad(tmp_path / "identifiers.h5ad")
    with pytest.raises(ValueError, match="share 0 genes"):
        several_on_disk([tmp_path / "halves.h5ad", tmp_path / "identifiers.h5ad"])


def test_command_line_refuses_a_batch_and_none(files, tmp_path, capsys):
    assert run(*files, "--out", tmp_path / "out.h5ad", "--no-batch", "--batch-key", "file") != 0
    assert "give one of them" in capsys.readouterr().err
    assert not (tmp_path / "out.h5ad").exists()
