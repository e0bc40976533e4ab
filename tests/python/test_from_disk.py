"""Counts that stay on disk train what they train in memory, and take no memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from functools import partial

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

import scrae
import scrae.data.files
import scrae.data.minibatches
from scrae.cli import main
from scrae.data import blocks, index_types, mapped_arrays, on_disk
from scrae.data.cells import read_cells
from scrae.data.covariates import Covariates
from scrae.data.files import cells_on_disk
from scrae.data.minibatches import CountData, shuffled
from scrae.pp import moments


@pytest.fixture(autouse=True)
def few_entries_at_once(monkeypatch):
    """Blocks of a few cells, so that there are many."""
    monkeypatch.setattr(on_disk, "BLOCK", 1000)


READERS = {".h5ad": anndata.read_h5ad, ".zarr": anndata.read_zarr}


def write(adata, path):
    """As anndata does, whichever of the two the name says."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Writing zarr v2")
        getattr(adata, f"write_{path.suffix[1:]}")(path)
    return path


@pytest.fixture(params=sorted(READERS))
def stored(pbmc, tmp_path, request):
    pbmc.obs["batch"] = np.where(np.arange(pbmc.n_obs) % 3, "a", "b")
    pbmc.layers["doubled"] = pbmc.X * 2
    return write(pbmc, tmp_path / f"in{request.param}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{}, {"input_transform": "lognorm", "n_pcs": 0}, {"preset": "reference"}],
    ids=["default", "lognorm", "reference"],
)
def test_a_file_gives_the_bits_that_its_counts_in_memory_give(stored, pbmc, settings):
    genes = pbmc.var_names[40:300]
    of_file = scrae.SCRAE(max_epochs=2, verbose=False, **settings).fit(stored, genes=genes, batch_key="batch")
    in_memory = scrae.SCRAE(max_epochs=2, verbose=False, **settings).fit(pbmc, genes=genes, batch_key="batch")
    np.testing.assert_array_equal(of_file.embed(), in_memory.embed())
    np.testing.assert_array_equal(of_file.embed(stored), in_memory.embed())
    assert of_file.fitted.fingerprint == in_memory.fitted.fingerprint
    assert on_disk.is_on_disk(of_file.fitted.training_cells[0])
    assert not on_disk.is_on_disk(in_memory.fitted.training_cells[0])


@pytest.mark.slow
def test_what_is_shuffled_in_buffers_gives_the_same_bits_from_disk(stored, pbmc, monkeypatch):
    monkeypatch.setattr(scrae.data.minibatches, "shuffled", partial(shuffled, block=7, buffer=60))
    monkeypatch.setattr(scrae.data.minibatches, "CHUNK", 50)
    of_file, in_memory = (
        scrae.SCRAE(max_epochs=2, batch_size=32, verbose=False).fit(cells, genes=pbmc.var_names[40:300])
        for cells in (stored, pbmc)
    )
    np.testing.assert_array_equal(of_file.embed(), in_memory.embed())


@pytest.mark.parametrize("in_order", [True, False])
def test_what_a_minibatch_takes_from_disk_was_read_ahead(stored, monkeypatch, in_order):
    monkeypatch.setattr(scrae.data.minibatches, "BLOCK", 7)
    monkeypatch.setattr(scrae.data.minibatches, "CHUNK", 50)
    monkeypatch.setattr(scrae.data.minibatches, "shuffled", partial(shuffled, block=7, buffer=60))
    counts = sp.csr_array(cells_on_disk(stored).X)
    announced = np.zeros(counts.nnz, dtype=bool)

    def watched(array, starts, stops):
        assert array is counts.indices or array is counts.data
        for start, stop in zip(starts, stops, strict=True):
            announced[start:stop] = True
        mapped_arrays.read_ahead(array, starts, stops)

    monkeypatch.setattr(scrae.data.minibatches, "read_ahead", watched)
    data = CountData(counts, Covariates.none(counts.shape[0]), torch.device("cpu"))
    cells = torch.arange(3, counts.shape[0], 2)
    minibatches = data.in_order(16, cells) if in_order else data.in_random_order(16, cells)
    seen = []
    for number, minibatch in enumerate(minibatches):
        for cell in minibatch.cells.tolist():
            assert announced[counts.indptr[cell] : counts.indptr[cell + 1]].all()
        seen += minibatch.cells.tolist()
        if number == 0:
            assert announced.mean() < 0.9, "not everything at once"
    assert sorted(seen) == cells.tolist()


def test_what_a_pass_over_all_cells_takes_from_disk_was_read_ahead(stored, monkeypatch):
    counts = sp.csr_array(cells_on_disk(stored).X)
    announced = np.zeros(counts.nnz, dtype=int)

    def watched(array, starts, stops):
        for start, stop in zip(starts, stops, strict=True):
            announced[start:stop] += 1

    monkeypatch.setattr(blocks, "read_ahead", watched)
    places = [block.rows for block in blocks.consecutive(counts, 500, slice(7, 300))]
    assert len(places) > 5
    assert (places[0].start, places[-1].stop) == (7, 300)
    second, last = counts.indptr[[places[1].start, 300]]
    assert (announced[second:last] == 2).all(), "data and indices, once each"
    assert not announced[:second].any()
    assert not announced[last:].any()


def test_reading_ahead_changes_nothing_and_passes_by_what_is_no_file():
    with on_disk.ArrayOnDisk(np.float32) as file:
        file.append(np.arange(5000, dtype=np.float32))
        array = file.array()
    mapped_arrays.read_only_what_is_asked_for(array)
    mapped_arrays.read_ahead(array, [0, 10, 4999], [0, 3000, 5000])
    mapped_arrays.read_ahead(array[:0], [], [])
    np.testing.assert_array_equal(array, np.arange(5000))
    in_memory = np.arange(10)
    mapped_arrays.read_only_what_is_asked_for(in_memory)
    mapped_arrays.read_ahead(in_memory, [0], [10])


def test_a_large_embedding_of_counts_on_disk_is_on_disk_too_and_has_the_same_bits(
    stored, pbmc, tmp_path, quick, monkeypatch
):
    model = scrae.SCRAE(**quick).fit(pbmc)
    expected = model.embed(pbmc)
    on_file = cells_on_disk(stored)
    rooms, room = [], on_disk.room
    monkeypatch.setattr(scrae.data.minibatches, "room", lambda *what: rooms.append(room(*what)) or rooms[-1])
    small = model.embed(on_file)
    monkeypatch.setattr(on_disk, "SMALL", 0)
    large = model.embed(on_file)
    assert [mapped_arrays.is_mapped(array) for array in rooms] == [False, True]
    assert np.shares_memory(large, rooms[1])
    np.testing.assert_array_equal(small, expected)
    np.testing.assert_array_equal(large, expected)
    cells = anndata.AnnData(obs=pbmc.obs[[]], obsm={"X_scrae": large})
    cells.write_h5ad(tmp_path / "cells.h5ad")
    np.testing.assert_array_equal(anndata.read_h5ad(tmp_path / "cells.h5ad").obsm["X_scrae"], expected)


def test_what_a_disk_has_no_room_for_is_in_memory(small_disk, monkeypatch):
    """A process that wrote to a page without room on the disk would be killed."""
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk(2**20)))
    monkeypatch.setattr(on_disk, "SMALL", 0)
    there, not_there = (on_disk.room((n, 2), np.dtype(np.float32)) for n in (2**16, 2**18))
    assert mapped_arrays.is_mapped(there)
    assert not mapped_arrays.is_mapped(not_there)
    for array in (there, not_there):
        array[:] = 1.0
        assert array.sum() == array.size


@pytest.mark.slow
def test_a_training_in_memory_resumes_from_disk(stored, pbmc, tmp_path, quick):
    settings = quick | {"max_epochs": None}
    whole = scrae.SCRAE(**settings).fit(pbmc, max_epochs=3)
    scrae.SCRAE(**settings).fit(pbmc, max_epochs=2, model_dir=tmp_path / "model")
    resumed = scrae.SCRAE(**settings).fit(stored, max_epochs=3, model_dir=tmp_path / "model", resume=True)
    np.testing.assert_array_equal(resumed.embed(), whole.embed())


@pytest.mark.slow
def test_the_command_line_adds_to_a_copy_of_the_file(stored, tmp_path):
    kind = stored.suffix
    options = ["--layer", "doubled", "--n-genes", "100", "--max-epochs", "2", "--batch-key", "batch", "--quiet"]
    for out, more in ((f"memory{kind}", []), (f"disk{kind}", ["--from-disk"]), (f"disk{kind}", ["--from-disk"])):
        assert main(["run", str(stored), "--out", str(tmp_path / out), *options, *more]) == 0
    found, expected = (READERS[kind](tmp_path / f"{name}{kind}") for name in ("disk", "memory"))
    for where, key in (("obsm", "X_scrae"), ("layers", "doubled")):
        found_values, expected_values = (getattr(adata, where)[key] for adata in (found, expected))
        assert abs(found_values - expected_values).max() == 0
    assert abs(found.X - expected.X).max() == 0
    assert found.var.equals(expected.var)
    assert set(found.uns) == set(expected.uns)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}{kind}" for name in ("disk", "in", "memory")]


def test_dense_counts_and_stored_zeros_are_read(tmp_path):
    counts = np.random.default_rng(0).poisson(1.0, (50, 8)).astype(np.float32)
    counts[:, 0] += 1
    stored = sp.csr_matrix(np.ones_like(counts))
    stored.data[:] = counts.ravel()
    for name, matrix in (("dense.h5ad", counts), ("dense.zarr", counts), ("zeros.h5ad", stored)):
        cells = read_cells(write(anndata.AnnData(matrix), tmp_path / name))
        np.testing.assert_array_equal(cells.counts.toarray(), counts)
        assert cells.counts.nnz == np.count_nonzero(counts)
        assert on_disk.is_on_disk(cells.counts)


@pytest.mark.slow
@pytest.mark.parametrize("foreseen", [True, False], ids=["foreseen", "not foreseen"])
def test_positions_of_64_bits_from_file_to_embedding_give_the_same_bits(stored, pbmc, quick, monkeypatch, foreseen):
    """With a border of 5,000 stored entries in the place of 2^31: all that is asked of so many is asked here."""
    names = pbmc.var_names[40:300]
    in_memory = scrae.SCRAE(**quick).fit(pbmc, genes=names, batch_key="batch")
    scrae.pp.select_genes(pbmc, n_top=100)

    monkeypatch.setattr(index_types, "MANY", 5000)
    if not foreseen:
        monkeypatch.setattr(scrae.data.files, "_stored_entries", lambda stored: 0)
    handed = []
    monkeypatch.setattr(scrae.data.minibatches, "is_on_disk", lambda counts: handed.append(counts) or True)
    adata = cells_on_disk(stored)
    assert adata.X.indices.dtype == adata.X.indptr.dtype == np.int64
    assert on_disk.is_on_disk(adata.X)
    assert mapped_arrays.is_mapped(adata.X.indices), "scipy has made no array of its own"
    of_file = scrae.SCRAE(**quick).fit(adata, genes=names, batch_key="batch")
    assert handed[-1].shape == (pbmc.n_obs, len(names))
    assert {counts.indices.dtype for counts in handed if counts.nnz >= 5000} == {np.dtype(np.int64)}
    np.testing.assert_array_equal(of_file.embed(), in_memory.embed())
    np.testing.assert_array_equal(of_file.embed(stored), in_memory.embed())
    assert of_file.fitted.fingerprint == in_memory.fitted.fingerprint
    scrae.pp.select_genes(adata, n_top=100)
    pd.testing.assert_frame_equal(adata.var, pbmc.var)


def test_positions_are_short_where_fewer_entries_are_left_than_were_stored(tmp_path, monkeypatch):
    counts = sp.csr_matrix(np.ones((50, 8), dtype=np.float32))
    counts.data[::2] = 0
    path = write(anndata.AnnData(counts), tmp_path / "zeros.h5ad")
    monkeypatch.setattr(index_types, "MANY", 300)
    found = cells_on_disk(path).X
    assert found.nnz == 200
    assert found.indices.dtype == found.indptr.dtype == np.int32
    assert mapped_arrays.is_mapped(found.indices)
    np.testing.assert_array_equal(found.toarray(), counts.toarray())


N_GENES, FEW = 1000, 3  # cells, at either end of the file


def past_the_border(n_genes=N_GENES):
    """Starts of cells with all genes each, as many as it takes to pass 2^31 stored entries."""
    return np.arange(0, 2**31 + 2 * FEW * n_genes, n_genes, dtype=np.int64)


def last_cells(rng):
    """Counts of the last cells, none of them zero."""
    return rng.integers(1, 9, (FEW, N_GENES)).astype(np.float32)


def test_cells_beyond_2_to_the_31_entries_are_read_from_a_file(tmp_path, monkeypatch):
    """Of 17 GB of counts the last cells alone are written; what was never written takes no room."""
    indptr, counts = past_the_border(), last_cells(np.random.default_rng(0))
    n_cells, n_entries = len(indptr) - 1, int(indptr[-1])
    assert indptr[-1 - FEW] > 2**31
    with h5py.File(tmp_path / "large.h5ad", "w") as file:
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": (n_cells, N_GENES)})
        group["indptr"] = indptr
        for name, values in (("data", counts), ("indices", np.tile(np.arange(N_GENES, dtype=np.int32), (FEW, 1)))):
            part = group.create_dataset(name, n_entries, values.dtype, chunks=(2**18,))
            part[-values.size :] = values.ravel()
    assert (tmp_path / "large.h5ad").stat().st_size < 2**26
    ends = np.array([n_cells - FEW, n_cells - 1, n_cells])
    monkeypatch.setattr(scrae.data.files, "edges", lambda starts: ends)
    names = np.arange(n_cells).astype(str), np.arange(N_GENES).astype(str)
    with h5py.File(tmp_path / "large.h5ad") as file:
        assert scrae.data.files._stored_entries(file["X"]) == n_entries
        blocks = list(scrae.data.files._checked(tmp_path, file["X"], "X", *names, None))
    np.testing.assert_array_equal(np.vstack([block.toarray() for block in blocks]), counts)


@pytest.fixture
def past_2_to_the_31(tmp_path):
    """CSR of more than 2^31 entries: those of its last cells are real, and no page of the others is ever touched."""
    indptr, counts = past_the_border(), last_cells(np.random.default_rng(0))
    arrays = []
    for values in (counts, np.tile(np.arange(N_GENES, dtype=np.int64), (FEW, 1))):
        with open(tmp_path / values.dtype.name, "wb") as file:
            file.truncate(int(indptr[-1]) * values.itemsize)
        array = np.memmap(tmp_path / values.dtype.name, values.dtype, mode="r+")
        array[-values.size :] = values.ravel()
        arrays.append(array)
    return index_types.rows_of_arrays(*arrays, indptr, (len(indptr) - 1, N_GENES)), counts


def test_minibatches_of_cells_beyond_2_to_the_31_entries_have_their_counts(past_2_to_the_31):
    matrix, counts = past_2_to_the_31
    assert matrix.nnz > 2**31 + FEW * N_GENES
    data = CountData(matrix, Covariates.none(matrix.shape[0]), torch.device("cpu"))
    cells = torch.arange(matrix.shape[0] - FEW, matrix.shape[0])
    np.testing.assert_array_equal(data.minibatch(cells.flip(0)).counts.dense(), counts[::-1])
    in_order = list(data.in_order(2, cells))
    np.testing.assert_array_equal(torch.cat([one.counts.dense() for one in in_order]), counts)


def test_genes_are_judged_by_cells_beyond_2_to_the_31_entries(past_2_to_the_31, monkeypatch):
    matrix, counts = past_2_to_the_31
    ends = np.array([matrix.shape[0] - FEW, matrix.shape[0] - 1, matrix.shape[0]])
    monkeypatch.setattr(blocks, "edges", lambda starts, n_entries: ends)
    scale = np.arange(matrix.shape[0]) % 7 + 1.0
    of_last = scale[-FEW:, None] * counts
    found = moments.scaled_sums(matrix, scale, "", False)
    np.testing.assert_allclose(found, [of_last.sum(0), (of_last**2).sum(0)])
    np.testing.assert_array_equal(moments.cells_with(matrix, False), np.full(N_GENES, FEW))
    genes = np.array([5, 900, 31])
    chosen = on_disk.by_rows(matrix, lambda rows: sp.csr_array(rows[:, genes]), len(genes))
    np.testing.assert_array_equal(chosen.toarray(), counts[:, genes])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: setattr(a, "X", a.X.tocsc()), "is stored as csc_matrix"),
        (lambda a: setattr(a, "X", a.X * 0.5), "are fractional"),
        (lambda a: setattr(a, "X", a.X * 0), "all zero"),
        (lambda a: setattr(a, "X", None), "has no X"),
    ],
    ids=["by gene", "no counts", "empty", "no matrix"],
)
@pytest.mark.parametrize("kind", READERS)
def test_files_without_counts_by_cell_are_refused(small, tmp_path, kind, change, message):
    change(small)
    with pytest.raises(ValueError, match=message):
        read_cells(write(small, tmp_path / f"in{kind}"))


def test_what_is_no_file_of_cells_is_refused(stored, tmp_path):
    (tmp_path / "text.h5ad").write_text("nothing")
    (tmp_path / "folder.zarr").mkdir()
    with pytest.raises(FileNotFoundError, match="there is no"):
        cells_on_disk(tmp_path / "nowhere.h5ad")
    with pytest.raises(ValueError, match="cannot be read as h5ad"):
        cells_on_disk(tmp_path / "text.h5ad")
    with pytest.raises(ValueError, match="cannot be read as zarr"):
        cells_on_disk(tmp_path / "folder.zarr")
    with pytest.raises(ValueError, match="no layer 'count'"):
        cells_on_disk(stored, "count")


MEASURED = """
import sys, threading, time
import scrae.data.on_disk
scrae.data.on_disk.BLOCK = 2**18

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

def most(path):
    found, done = [], threading.Event()
    def watch():
        while not done.wait(0.005):
            found.append(anonymous())
    watcher = threading.Thread(target=watch)
    watcher.start()
    model = scrae.SCRAE("ae", n_hidden=(16,), n_latent=4, n_pcs=5, batch_size=1024, max_epochs=1, verbose=False)
    model.fit(path).embed()
    done.set()
    watcher.join()
    return max(found)

few = most(sys.argv[1])
print(most(sys.argv[2]) - few)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_counts(tmp_path):
    """16 million counts are 128 MB in memory, and what fitting makes of them a multiple of that."""
    rng = np.random.default_rng(0)
    n_genes, a_cell = 800, 400
    for name, n_cells in (("few", 8000), ("many", 40_000)):
        indices = np.concatenate([np.sort(rng.permuted(np.arange(n_genes))[:a_cell]) for _ in range(2000)])
        indices = np.tile(indices, n_cells // 2000).astype(np.int32)
        data = rng.integers(1, 9, len(indices)).astype(np.float32)
        counts = sp.csr_matrix((data, indices, np.arange(0, len(indices) + 1, a_cell)), shape=(n_cells, n_genes))
        write(anndata.AnnData(counts), tmp_path / f"{name}.h5ad")
    # What was freed goes back to the system at once, so that what is counted is what is held.
    taken = subprocess.run(
        [sys.executable, "-c", MEASURED, tmp_path / "few.h5ad", tmp_path / "many.h5ad"],
        env=os.environ | {"MALLOC_TRIM_THRESHOLD_": "100000"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(taken.stdout) < 80
