"""Counts that stay on disk train what they train in memory, and take no memory."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from functools import partial

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
import torch

import scrae
import scrae.data.minibatches
from scrae.cli import main
from scrae.data import on_disk
from scrae.data.cells import read_cells
from scrae.data.covariates import Covariates
from scrae.data.files import cells_on_disk
from scrae.data.minibatches import CountData, shuffled


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
        on_disk.read_ahead(array, starts, stops)

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


def test_reading_ahead_changes_nothing_and_passes_by_what_is_no_file():
    with on_disk.ArrayOnDisk(np.float32) as file:
        file.append(np.arange(5000, dtype=np.float32))
        array = file.array()
    on_disk.read_only_what_is_asked_for(array)
    on_disk.read_ahead(array, [0, 10, 4999], [0, 3000, 5000])
    on_disk.read_ahead(array[:0], [], [])
    np.testing.assert_array_equal(array, np.arange(5000))
    in_memory = np.arange(10)
    on_disk.read_only_what_is_asked_for(in_memory)
    on_disk.read_ahead(in_memory, [0], [10])


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


def test_long_indices_are_on_disk_too(monkeypatch):
    """Of counts as few as here scipy makes short ones again: so it is looked at what it is given."""
    counts = sp.random_array((30, 20), density=0.3, format="csr", random_state=0, dtype=np.float32)
    given = []

    class Watched(sp.csr_array):
        def __init__(self, arrays, *others, **named):
            given.append(arrays)
            super().__init__(arrays, *others, **named)

    monkeypatch.setattr(on_disk, "BLOCK", 50)
    with monkeypatch.context() as patched:
        patched.setattr(sp, "csr_array", Watched)
        long = on_disk._with_long_indices(counts.data, counts.indices, counts.indptr.astype(np.int64), 20)
    _, indices, indptr = given[0]
    assert indices.dtype == indptr.dtype == np.int64
    assert on_disk._mapping(indices) is not None
    np.testing.assert_array_equal(indices, counts.indices)
    np.testing.assert_array_equal(long.toarray(), counts.toarray())


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
