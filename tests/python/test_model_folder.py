"""Saved models: complete, without pickle, never half, and clear when they cannot be read."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors
import torch

import scrae


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
    assert sorted(path.name for path in folder.iterdir()) == [
        "scrae.json",
        "training_state.safetensors",
        "weights.safetensors",
    ]
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


def test_a_save_cut_off_between_its_two_files_still_loads_as_one_model(small, quick, tmp_path):
    """New weights beside the old description: the weights' own copy of the description is taken."""
    folder = tmp_path / "model"
    scrae.SCRAE(**quick).fit(small).save(folder)
    old = (folder / "scrae.json").read_text()
    newer = scrae.SCRAE(**quick | {"n_latent": 5}).fit(small)
    newer.save(folder)
    (folder / "scrae.json").write_text(old)
    np.testing.assert_array_equal(scrae.SCRAE.load(folder).embed(small), newer.embed())


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
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "scrae.json",
        "training_state.safetensors",
        "weights.safetensors",
    ]


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
