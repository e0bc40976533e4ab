"""Saved models: complete, without pickle, never half, and clear when they cannot be read."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import safetensors
import torch

import scrae

FILES = ["scrae.json", "training_state.safetensors", "weights.safetensors"]


@pytest.fixture
def folder(small, quick, tmp_path):
    scrae.SCRAE(**quick).fit(small, batch_key="batch", model_dir=tmp_path / "model")
    return tmp_path / "model"


def test_a_loaded_model_gives_the_same_results(small, quick, tmp_path):
    model = scrae.SCRAE(**quick, library="learned").fit(small, batch_key="batch")
    model.save(tmp_path / "model")
    loaded = scrae.SCRAE.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.embed(small), model.embed())
    np.testing.assert_array_equal(loaded.map(small), model.embed())
    np.testing.assert_array_equal(loaded.denoise(small), model.denoise())
    np.testing.assert_array_equal(loaded.sample(7), model.sample(7))
    np.testing.assert_array_equal(loaded.gene_names, model.gene_names)
    assert loaded.history.equals(model.history)
    assert loaded.summary == model.summary
    assert loaded.settings == model.settings
    assert repr(loaded) == repr(model)
    with pytest.raises(ValueError, match="does not hold its training cells: give the data"):
        loaded.embed()


def test_the_folder_holds_three_files_and_no_pickle(folder):
    assert sorted(path.name for path in folder.iterdir()) == FILES
    # A pickle says its protocol first; a lone 0x80 may be the length of a header. PK: the zip that torch.save makes.
    pickles = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
    for path in folder.iterdir():
        assert not path.read_bytes().startswith((*pickles, b"PK"))
        if path.suffix == ".safetensors":
            with safetensors.safe_open(path, "np") as file:
                assert file.keys()
    description = json.loads((folder / "scrae.json").read_text(), parse_constant=pytest.fail)
    assert description["format_version"] == 3
    assert description["covariate_levels"] == {"batch": ["a", "b"]}


def test_another_format_version_is_refused_with_both_versions(folder):
    path = folder / "scrae.json"
    path.write_text(path.read_text().replace('"format_version": 3', '"format_version": 99'))
    with pytest.raises(scrae.ModelFolderError, match="format version 99; this version of scrae reads versions 2 and 3"):
        scrae.SCRAE.load(folder)


@pytest.mark.parametrize("keep", [0, 5, 100, -1, -1000])
@pytest.mark.parametrize("name", ["weights.safetensors", "training_state.safetensors"])
def test_a_file_cut_short_is_refused_by_name(folder, name, keep):
    path = folder / name
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(scrae.ModelFolderError, match=f"{name} is damaged or cut short"):
        scrae.SCRAE.load(folder)


def test_a_damaged_description_is_refused_by_name(folder):
    (folder / "scrae.json").write_text("{ not json")
    with pytest.raises(scrae.ModelFolderError, match="scrae.json is damaged"):
        scrae.SCRAE.load(folder)


def test_weights_that_do_not_fit_the_description_are_refused(folder):
    path = folder / "scrae.json"
    path.write_text(path.read_text().replace('"n_latent": 3', '"n_latent": 4'))
    with pytest.raises(scrae.ModelFolderError, match="do not fit the settings"):
        scrae.SCRAE.load(folder)


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no model folder"):
        scrae.SCRAE.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="holds no scRAE model"):
        scrae.SCRAE.load(tmp_path)


def test_saving_where_a_file_stands_says_so(small, quick, tmp_path):
    (tmp_path / "model").write_text("")
    with pytest.raises(NotADirectoryError, match="a model is saved as a folder"):
        scrae.SCRAE(**quick).fit(small).save(tmp_path / "model")


# Kills itself at the given move or deletion while it saves (or trains and saves) another model.
SAVE = """
import os, signal, sys
import anndata, torch, scrae
torch.set_num_threads(1)
source, folder, at, what = sys.argv[1:]
count = 0
def happened(name, arguments):
    global count
    if name in ("os.rename", "os.remove"):
        count += 1
        if count == int(at):
            os.kill(os.getpid(), signal.SIGKILL)
adata = anndata.read_h5ad(source)
model = scrae.SCRAE(n_latent=5, n_hidden=(16,), batch_size=16, max_epochs=2, verbose=False)
if what == "save":
    model.fit(adata)
    sys.addaudithook(happened)
    model.save(folder)
else:
    sys.addaudithook(happened)
    model.fit(adata, model_dir=folder, checkpoint_seconds=0, overwrite=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["save", "train"])
def test_a_kill_at_any_point_leaves_the_model_of_before_or_the_new_one(small, quick, tmp_path, what):
    small.write_h5ad(tmp_path / "cells.h5ad")
    older = scrae.SCRAE(**quick).fit(small)
    older.save(tmp_path / "older")
    seen = []
    for at in range(1, 60, 1 if what == "save" else 3):
        folder = tmp_path / f"model{at}"
        shutil.copytree(tmp_path / "older", folder)
        command = [sys.executable, "-c", SAVE, tmp_path / "cells.h5ad", folder, str(at), what]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode in (-signal.SIGKILL, 0), done.stderr
        loaded = scrae.SCRAE.load(folder)
        seen.append(loaded.settings.n_latent)
        if seen[-1] == 3:
            np.testing.assert_array_equal(loaded.embed(small), older.embed())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the lock of the killed process is taken over
            loaded.save(folder)
        assert sorted(path.name for path in folder.iterdir()) == FILES
        np.testing.assert_array_equal(scrae.SCRAE.load(folder).embed(small), loaded.embed(small))
        if done.returncode == 0:
            break
    assert done.returncode == 0
    assert seen == sorted(seen)
    assert set(seen) == {3, 5}


FULL_DISK = """
import resource, signal, sys, warnings
import numpy as np, torch, scrae
torch.set_num_threads(1)
counts = np.random.default_rng(0).poisson(1.0, (60, 30)).astype("float32") + np.eye(60, 30, dtype="float32")
counts[:, 0] += 1
model = scrae.SCRAE(n_latent=3, n_hidden=(16,), batch_size=16, max_epochs=4, verbose=False).fit(counts)
model.save(sys.argv[1])
before = model.embed()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
try:
    model.fit(counts, max_epochs=6).save(sys.argv[1])
except OSError as error:
    print("refused:", error)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    try:
        model.fit(counts, max_epochs=8, model_dir=sys.argv[1], checkpoint_seconds=0)
    except OSError as error:
        print("trained to the end:", model.summary["epochs"], model.summary["stop_reason"])
print("warned:", len(said), said[0].message)
print("old model whole:", np.array_equal(scrae.SCRAE.load(sys.argv[1]).embed(counts), before))
"""


@pytest.mark.slow
def test_a_disk_that_is_full_leaves_the_old_files_whole_and_training_going(tmp_path):
    """A real limit on file size (RLIMIT_FSIZE) makes writes fail as on a full disk."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "model")], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("refused:")
    assert "could not write" in lines[0]
    assert lines[1] == "trained to the end: 8 max_epochs"
    assert lines[2].startswith("warned: 1 no checkpoint: ")
    assert lines[3] == "old model whole: True"
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == FILES


def test_a_checkpoint_alone_loads_as_the_best_model_so_far(folder, small):
    expected = scrae.SCRAE.load(folder).embed(small)
    (folder / "weights.safetensors").unlink()
    (folder / "scrae.json").unlink()
    np.testing.assert_array_equal(scrae.SCRAE.load(folder).embed(small), expected)


def test_the_training_state_holds_all_optimisers_and_the_random_state(folder):
    with safetensors.safe_open(folder / "training_state.safetensors", "pt") as file:
        keys = set(file.keys())
    for phase in ("autoencoder", "encoder_adversarial", "prior", "critic"):
        assert any(key.startswith(f"optimiser.{phase}.") and key.endswith("exp_avg_sq") for key in keys)
    assert "random_state" in keys
    assert not torch.is_inference_mode_enabled()
