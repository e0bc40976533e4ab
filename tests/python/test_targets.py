"""What a result may replace, and that what is not ours stays, whatever happens."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest

import scrae
from scrae._errors import Refusal
from scrae.cli import main
from scrae.data import written_files
from scrae.model import folder
from scrae.training.loop import Training

QUICK = ["--max-epochs", "1", "--genes", "all", "--n-latent", "4", "--quiet"]


def write(adata, path):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Writing zarr v2")
        getattr(adata, f"write_{path.suffix[1:]}")(path)
    return path


@pytest.fixture
def h5ad(small, tmp_path):
    return write(small, tmp_path / "in.h5ad")


@pytest.fixture
def never_trained(monkeypatch):
    """A refusal has to come before training."""

    def run(*_):
        pytest.fail("it was trained")

    monkeypatch.setattr(Training, "run", run)


def contents(path):
    """Digest of all files below a path; None where it is a folder."""
    paths = [path, *sorted(path.rglob("*"))]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else None for p in paths}


def folder_with(*names):
    def make(path, small):
        for name in names:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text("of the user")

    return make


def empty_folders(path, small):
    (path / "images").mkdir(parents=True)


def store_with_more(path, small):
    write(small, path)
    (path / "images").mkdir()
    (path / "images" / "slide.tif").write_text("of the user")


def file_of(text):
    return lambda path, small: path.write_text(text)


def other_hdf5(path, small):
    with h5py.File(path, "w") as file:
        file["matrix/data"] = np.arange(3)


def mudata(path, small):
    with h5py.File(path, "w") as file:
        file.attrs["encoding-type"] = "MuData"
        for name in ("mod/rna", "obs", "var"):
            file.create_group(name)


def cut_short(path, small):
    write(small, path)
    path.write_bytes(path.read_bytes()[:500])


def fifo(path, small):
    os.mkfifo(path)


def link_to_nothing(path, small):
    path.symlink_to(path.parent / "nothing")


FOREIGN = {
    "folders in a folder": ("out.zarr", empty_folders),
    "an empty folder": ("out.zarr", lambda path, small: path.mkdir()),
    "files in a folder": ("out.zarr", folder_with("images/one.tif", "notes.txt")),
    "a store with more in it": ("out.zarr", store_with_more),
    "a file that should be a store": ("out.zarr", file_of("of the user")),
    "a folder that should be a file": ("out.h5ad", folder_with("notes.txt")),
    "text": ("out.h5ad", file_of("of the user")),
    "another HDF5 file": ("out.h5ad", other_hdf5),
    "MuData": ("out.h5ad", mudata),
    "a damaged file": ("out.h5ad", cut_short),
    "a FIFO": ("out.h5ad", fifo),
    "a link to nothing": ("out.h5ad", link_to_nothing),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_is_no_anndata_is_refused_before_training_and_stays(h5ad, small, tmp_path, capsys, never_trained, what):
    name, make = FOREIGN[what]
    out = tmp_path / name
    make(out, small)
    before = contents(out)
    assert main(["run", str(h5ad), "--out", str(out), *QUICK]) == 2
    assert "exists and is not replaced, because" in capsys.readouterr().err
    assert contents(out) == before


def test_what_comes_while_it_trains_is_not_replaced_either(h5ad, small, tmp_path, monkeypatch):
    out, run = tmp_path / "out.zarr", Training.run

    def meanwhile(self, *arguments):
        empty_folders(out, small)
        return run(self, *arguments)

    monkeypatch.setattr(Training, "run", meanwhile)
    assert main(["run", str(h5ad), "--out", str(out), *QUICK]) == 2
    assert (out / "images").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_a_result_of_before_is_replaced(h5ad, small, tmp_path, suffix):
    out = write(small, tmp_path / f"out{suffix}")
    assert main(["run", str(h5ad), "--out", str(out), *QUICK]) == 0
    read = anndata.read_h5ad if suffix == ".h5ad" else anndata.read_zarr
    assert "X_scrae" in read(out).obsm
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_a_private_result_stays_private(h5ad, small, tmp_path):
    out = write(small, tmp_path / "out.h5ad")
    out.chmod(0o600)
    assert main(["run", str(h5ad), "--out", str(out), *QUICK]) == 0
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_model_within_the_result_is_refused(h5ad, tmp_path, capsys, never_trained):
    out = tmp_path / "out.zarr"
    assert main(["run", str(h5ad), "--out", str(out), "--model-dir", str(out / "model"), *QUICK]) == 2
    assert "lies within" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that nobody can write into")
def test_a_folder_that_cannot_be_written_is_refused_before_training(h5ad, capsys, never_trained):
    assert main(["run", str(h5ad), "--out", "/proc/self/out.h5ad", *QUICK]) == 2
    assert "could not write '/proc/self'" in capsys.readouterr().err


def test_a_disk_without_room_is_refused_before_training(h5ad, tmp_path, capsys, never_trained, monkeypatch):
    monkeypatch.setattr("scrae.data.written_files.shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    assert main(["run", str(h5ad), "--out", str(tmp_path / "out.h5ad"), *QUICK]) == 2
    assert "there is no room for" in capsys.readouterr().err


def room_for_a_model(small, folder):
    """Bytes of a model and two of its training states: what there is at the end, before any is replaced."""
    scrae.SCRAE(max_epochs=1, verbose=False).fit(small, model_dir=folder)
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    return sizes["weights.safetensors"] + 2 * sizes["training_state.safetensors"]


@pytest.mark.parametrize("share", [0.3, 0.93])
def test_a_disk_without_room_for_the_model_is_refused_before_training(small, tmp_path, small_disk, monkeypatch, share):
    disk = small_disk(int(share * room_for_a_model(small, tmp_path / "elsewhere")))
    monkeypatch.setattr(Training, "run", lambda *_: pytest.fail("it was trained"))
    with pytest.raises(Refusal, match=r"there is no room for '.*model': it takes .* GB or more, and") as refusal:
        scrae.SCRAE(max_epochs=1, verbose=False).fit(small, model_dir=disk / "model")
    assert refusal.value.code == "no_room"
    assert os.listdir(disk) == []


def test_a_disk_with_just_enough_room_for_the_model_is_not_refused(small, tmp_path, small_disk):
    disk = small_disk(int(1.05 * room_for_a_model(small, tmp_path / "elsewhere")))
    model = scrae.SCRAE(max_epochs=2, verbose=False).fit(small, model_dir=disk / "model", checkpoint_seconds=0)
    np.testing.assert_array_equal(scrae.SCRAE.load(disk / "model").embed(small), model.embed())
    # What is there makes room for what comes in its place.
    scrae.SCRAE(max_epochs=1, random_state=1, verbose=False).fit(small, model_dir=disk / "model", overwrite=True)


def full(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("how", [["--quiet"], ["--from-disk"]])
def test_a_result_that_cannot_be_written_at_the_end_is_put_elsewhere(h5ad, tmp_path, capsys, monkeypatch, how):
    writer = "write_beside" if how == ["--from-disk"] else "write_whole"
    original = getattr(written_files, writer)
    monkeypatch.setattr(written_files, writer, full)
    if writer == "write_whole":  # full until the embedding alone is written

        def of_embedding(adata, path):
            return (full if adata.n_vars else original)(adata, path)

        monkeypatch.setattr(written_files, writer, of_embedding)
    out = tmp_path / "out.h5ad"
    assert main(["run", str(h5ad), "--out", str(out), *QUICK, *how]) == 2
    said = capsys.readouterr().err
    place = re.search(r"the embedding was put into '([^']+)'", said)
    assert "No space left on device" in said
    assert anndata.read_h5ad(place[1]).obsm["X_scrae"].shape == (60, 4)
    assert not out.exists()


def test_a_result_without_room_is_refused_before_hdf5_writes_it(small, tmp_path, monkeypatch):
    monkeypatch.setattr("scrae.data.written_files.shutil.disk_usage", lambda _: type("Usage", (), {"free": 2**20})())
    with pytest.raises(ValueError, match="there is no room for"):
        written_files.write_whole(small, tmp_path / "out.h5ad")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("beside", [True, False])
def test_a_model_that_cannot_be_saved_at_the_end_is_put_elsewhere(small, tmp_path, monkeypatch, beside):
    save, target = folder.save_model, tmp_path / "models" / "model"

    def full_there(path, model):
        if Path(path) == target or (Path(path).parent == target.parent and not beside):
            full()
        save(path, model)

    monkeypatch.setattr(folder, "save_model", full_there)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = scrae.SCRAE(n_latent=4, max_epochs=1, verbose=False)
    with pytest.raises(OSError, match=r"No space left on device; the trained model was put into") as error:
        model.fit(small, model_dir=target)
    place = Path(error.value.fields["place"])
    assert place.parent == (target.parent if beside else tmp_path)
    np.testing.assert_array_equal(scrae.SCRAE.load(place).embed(small), model.embed())


# Kills itself at the given move or deletion.
RUN = """
import os, signal, sys
count = 0
def happened(name, arguments):
    global count
    if name in ("os.rename", "shutil.rmtree", "os.rmdir", "os.remove", "os.chmod"):
        count += 1
        if count == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
from scrae.compute import atomic
from scrae._errors import Refusal
from scrae.cli import main
write = atomic._to_disk
def watched(path):
    write(path)
    sys.addaudithook(happened)
    atomic._to_disk = write
atomic._to_disk = watched
sys.exit(main(["run", *sys.argv[2:]]))
"""


@pytest.mark.slow
def test_an_input_that_is_the_target_survives_kills(small, tmp_path):
    """Old bytes or new ones, at every point: between the two the input was gone."""
    path = write(small, tmp_path / "cells.zarr")
    for at in (1, 2, 3, 5, 20):
        command = [sys.executable, "-c", RUN, str(at), path, "--out", path, *QUICK]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode in (-signal.SIGKILL, 0), done.stderr
        np.testing.assert_array_equal(anndata.read_zarr(path).X.toarray(), small.X.toarray())
    assert main(["run", str(path), "--out", str(path), *QUICK]) == 0
    assert os.listdir(tmp_path) == ["cells.zarr"]
    expected = scrae.SCRAE(n_latent=4, max_epochs=1, verbose=False).fit(small).embed()
    np.testing.assert_array_equal(anndata.read_zarr(path).obsm["X_scrae"], expected)
