"""Folders that are no model, or not one: a ModelFolderError that names the file, at once, whatever they hold."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import threading

import anndata
import numpy as np
import pytest
import safetensors.torch
import torch

import scrae
from scrae.model.folder import DESCRIPTION, STATE, WEIGHTS
from scrae.model.lock import LOCK
from scrae.model.stored import packed, packed_description, unpacked

SETTINGS = {"n_latent": 3, "n_hidden": (16,), "batch_size": 16, "max_epochs": 3, "verbose": False}


@pytest.fixture(scope="module")
def cells():
    rng = np.random.default_rng(3)
    counts = rng.poisson(rng.gamma(1.0, 1.5, size=(60, 30))).astype(np.float32)
    counts[:, 0] += 1
    return counts


@pytest.fixture(scope="module")
def _models(cells, tmp_path_factory):
    """Folders of two trainings that differ in their seed."""
    place = tmp_path_factory.mktemp("models")
    for seed in (0, 1):
        scrae.SCRAE(**SETTINGS, random_state=seed).fit(cells, model_dir=place / str(seed))
    return place


@pytest.fixture
def models(_models, tmp_path):
    shutil.copytree(_models, tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def folder(models):
    return models / "0"


def refused(folder, *names):
    """Loading is refused, by the name of one of these files, and so is training from there."""
    with pytest.raises(scrae.ModelFolderError) as error:
        scrae.SCRAE.load(folder)
    assert any(name in str(error.value) for name in names), str(error.value)
    assert isinstance(error.value, ValueError)
    return error.value


@pytest.mark.parametrize("name", [WEIGHTS, STATE])
@pytest.mark.parametrize("alone", [False, True])
def test_files_of_two_trainings_are_refused(models, name, alone):
    shutil.copy(models / "1" / name, models / "0" / name)
    if alone:
        (models / "0" / DESCRIPTION).unlink()
    refused(models / "0", WEIGHTS, STATE)


def test_a_description_of_another_training_is_refused(models):
    shutil.copy(models / "1" / DESCRIPTION, models / "0" / DESCRIPTION)
    refused(models / "0", WEIGHTS, STATE)


@pytest.mark.slow
@pytest.mark.parametrize("name", [DESCRIPTION, WEIGHTS, STATE])
@pytest.mark.parametrize("alone", [False, True])
def test_no_flipped_bit_passes(folder, cells, name, alone):
    """All that is read is what was saved, or it is refused."""
    content = (folder / name).read_bytes()
    expected = scrae.SCRAE.load(folder)
    if alone and name != DESCRIPTION:
        for other in {DESCRIPTION, WEIGHTS, STATE} - {name}:
            (folder / other).unlink()
    np.testing.assert_array_equal(scrae.SCRAE.load(folder).embed(cells), expected.embed(cells))
    rng = np.random.default_rng(0)
    passed = 0
    for _ in range(60):
        changed = bytearray(content)
        changed[rng.integers(len(content))] ^= 1 << rng.integers(8)
        (folder / name).write_bytes(changed)
        try:
            loaded = scrae.SCRAE.load(folder)
        except scrae.ModelFolderError:
            continue
        passed += 1  # a blank between two words of JSON, say
        np.testing.assert_array_equal(loaded.embed(cells), expected.embed(cells))
        assert loaded.settings == expected.settings
        assert loaded.random_state == expected.random_state
    assert passed < 30


@pytest.mark.parametrize("name", [WEIGHTS, STATE])
def test_weights_that_are_not_numbers_are_refused_also_with_a_right_digest(folder, name):
    stored = unpacked(folder / name)
    tensors = {
        key: torch.full_like(value, float("nan")) if value.is_floating_point() else value
        for key, value in stored.tensors.items()
    }
    for other in (DESCRIPTION, WEIGHTS, STATE):
        (folder / other).unlink()
    (folder / name).write_bytes(packed(tensors, stored.description)[0])
    assert "not finite" in str(refused(folder, WEIGHTS))


@pytest.mark.parametrize(
    "text",
    ["[]", "null", "3", '"text"', "{}", "", "\x00", "[" * 100_000, '{"format_version": 3}', '{"format_version": []}'],
)
def test_a_description_that_is_none_is_refused(folder, text):
    (folder / DESCRIPTION).write_text(text)
    refused(folder, DESCRIPTION)


WRONG = [
    ("settings", []),
    ("settings", {"n_latent": "three"}),
    ("settings", {"unheard_of": 3}),
    ("n_genes", "30"),
    ("n_genes", True),
    ("n_genes", -1),
    ("genes", [1] * 30),
    ("genes", ["a"]),
    ("covariate_levels", {"batch": "ab"}),
    ("covariate_levels", []),
    ("batch_key", "batch"),
    ("population", {}),
    ("population", {"covariate_codes": "x", "log_library_quantiles": [], "covariate_shares": []}),
    ("summary", {}),
    ("history", [3]),
    ("history", {}),
    ("cell_types", {"types": 3}),
    ("cell_types", []),
    ("files", []),
    ("files", {}),
    ("save_id", "../../somewhere"),
    ("training_id", 3),
    ("random_state", 1),
    ("fingerprint", "0"),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[f"{name}={str(value)[:20]}" for name, value in WRONG])
@pytest.mark.parametrize("signed", [False, True], ids=["", "with a right digest"])
def test_wrong_entries_are_refused(folder, name, value, signed):
    description = json.loads((folder / DESCRIPTION).read_text()) | {name: value}
    del description["digest"]
    content = packed_description(description) if signed else json.dumps(description).encode()
    (folder / DESCRIPTION).write_bytes(content)
    if signed and name in ("random_state", "fingerprint", "save_id"):  # who forges digests may say so
        scrae.SCRAE.load(folder)
    else:
        refused(folder, DESCRIPTION, WEIGHTS, STATE, "weights")


@pytest.mark.parametrize("name", ["preset", "settings", "n_genes", "genes", "summary", "population", "files", "digest"])
def test_missing_entries_are_refused_by_name(folder, name):
    description = json.loads((folder / DESCRIPTION).read_text())
    del description[name]
    (folder / DESCRIPTION).write_text(json.dumps(description))
    refused(folder, DESCRIPTION, WEIGHTS)


def test_an_enormous_model_is_refused_without_making_room_for_it(folder):
    import resource

    description = json.loads((folder / DESCRIPTION).read_text()) | {"n_genes": 10**9}
    (folder / DESCRIPTION).write_text(json.dumps(description))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(folder, "weights", DESCRIPTION)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def fifo(path):
    os.mkfifo(path)


def link_to(target):
    return lambda path: path.symlink_to(target)


def sparse(path):
    with open(path, "wb") as file:
        file.write((100).to_bytes(8, "little"))
        file.truncate(2**40)


SPECIAL = {
    "a FIFO": fifo,
    "a link to /dev/zero": link_to("/dev/zero"),
    "a link to /dev/null": link_to("/dev/null"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": link_to("nothing"),
    "a folder": lambda path: path.mkdir(),
    "a terabyte of nothing": sparse,
}


@pytest.mark.parametrize("what", SPECIAL)
@pytest.mark.parametrize("name", [DESCRIPTION, WEIGHTS, STATE])
def test_what_is_no_regular_file_is_refused_at_once(folder, name, what):
    (folder / name).unlink()
    SPECIAL[what](folder / name)
    thread = threading.Thread(target=refused, args=(folder, name))
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    refused(folder, name)


def test_a_missing_file_is_named(folder):
    (folder / WEIGHTS).unlink()
    assert "weights.safetensors is missing" in str(refused(folder, WEIGHTS))


def test_an_object_that_says_more_than_the_file_holds_is_refused(folder):
    tensors = safetensors.torch.load_file(folder / WEIGHTS)
    (folder / WEIGHTS).write_bytes(safetensors.torch.save(tensors))  # without a description
    refused(folder, WEIGHTS)


SAVING = """
import sys, numpy as np, torch, scrae
torch.set_num_threads(1)
one, other = scrae.SCRAE.load(sys.argv[1]), scrae.SCRAE.load(sys.argv[2])
print("ready", flush=True)
while True:
    one.save(sys.argv[3])
    other.save(sys.argv[3])
"""


@pytest.mark.slow
def test_loads_beside_saves_give_one_model_or_the_other(models, cells):
    target = models / "target"
    shutil.copytree(models / "0", target)
    known = [scrae.SCRAE.load(models / name).embed(cells) for name in "01"]
    command = [sys.executable, "-c", SAVING, models / "0", models / "1", target]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            process.stdout.readline()
            seen = set()
            for _ in range(150):
                found = scrae.SCRAE.load(target)
                assert found.random_state in (0, 1)
                np.testing.assert_array_equal(found.embed(cells), known[found.random_state])
                seen.add(found.random_state)
        finally:
            process.kill()
    assert seen == {0, 1}


FORGED = [
    ("history", [{"x": 1}] * 3),
    ("history", [{"epoch": float("nan")}]),
    ("population", {"log_library_quantiles": "x", "covariate_codes": [[]], "covariate_shares": [1.0]}),
    ("population", {"log_library_quantiles": [0.0], "covariate_codes": [[]], "covariate_shares": [1.0]}),
]


@pytest.mark.parametrize(("name", "value"), FORGED)
def test_what_is_forged_is_a_model_or_refused(folder, name, value):
    description = json.loads((folder / DESCRIPTION).read_text()) | {name: value}
    del description["digest"]
    (folder / DESCRIPTION).write_bytes(packed_description(description))
    refused(folder, DESCRIPTION)


@pytest.mark.parametrize("name", ["readout.shift", "readout.axes", "readout.offset", "readout.loadings"])
def test_a_forged_read_out_is_refused(folder, name):
    stored = unpacked(folder / WEIGHTS)
    tensors = stored.tensors | {name: stored.tensors[name].reshape(-1)[:-1].clone()}
    for other in (DESCRIPTION, STATE):
        (folder / other).unlink()
    (folder / WEIGHTS).write_bytes(packed(tensors, stored.description)[0])
    refused(folder, "weights")


@pytest.mark.parametrize(("part", "value"), [("temperature", []), ("whitening", 1), ("offsets", [0.0] * 3)])
def test_forged_types_of_cells_are_refused(cells, tmp_path, part, value):
    adata = anndata.AnnData(cells, obs={"kind": ["x", "y"] * 30})
    scrae.SCRAE(**SETTINGS).fit(adata).fit_labels(adata, "kind").save(tmp_path)
    description = json.loads((tmp_path / DESCRIPTION).read_text())
    del description["digest"]
    description["cell_types"][part] = value
    (tmp_path / DESCRIPTION).write_bytes(packed_description(description))
    refused(tmp_path, DESCRIPTION)


def test_a_folder_where_a_save_would_wait_is_left_alone(folder, cells):
    waiting = folder / f".{WEIGHTS}.{'a' * 32}"
    waiting.mkdir()
    model = scrae.SCRAE(**SETTINGS).fit(cells, model_dir=folder)
    np.testing.assert_array_equal(scrae.SCRAE.load(folder).embed(cells), model.embed())
    assert waiting.is_dir()


# -- who writes -----------------------------------------------------------------------------------------------------


def owner(**changes):
    return json.dumps({"process": os.getppid(), "started": None, "host": socket.gethostname()} | changes)


@pytest.mark.parametrize("changes", [{}, {"host": "elsewhere", "process": 2**22 + 1}], ids=["alive", "elsewhere"])
def test_one_process_writes_at_a_time(folder, cells, changes):
    (folder / LOCK).write_text(owner(**changes))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(scrae.ModelFolderError, match="is writing into"):
        scrae.SCRAE(**SETTINGS).fit(cells, model_dir=folder)
    with pytest.raises(scrae.ModelFolderError, match="is writing into"):
        scrae.SCRAE.load(folder).save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_damaged_lock_is_named(folder, cells):
    (folder / LOCK).write_text("?")
    with pytest.raises(scrae.ModelFolderError, match="lock' is damaged"):
        scrae.SCRAE(**SETTINGS).fit(cells, model_dir=folder)


def ended():
    process = multiprocessing.get_context("spawn").Process()
    process.start()
    process.join()
    return process.pid


@pytest.mark.parametrize("who", ["dead", "this number, another start", "this process, before it was started"])
def test_the_lock_of_a_dead_process_is_taken_over_and_said(folder, cells, who):
    owners = {
        "dead": lambda: owner(process=ended()),
        "this number, another start": lambda: owner(started="1"),
        "this process, before it was started": lambda: owner(process=os.getpid()),
    }
    (folder / LOCK).write_text(owners[who]())
    with pytest.warns(UserWarning, match="ended without finishing .* this one takes over"):
        scrae.SCRAE(**SETTINGS).fit(cells, model_dir=folder)
    assert sorted(os.listdir(folder)) == [DESCRIPTION, STATE, WEIGHTS]


def test_another_thread_of_this_process_is_another_writer(folder, cells):
    said, other = [], scrae.SCRAE.load(folder)

    def save(epoch, most, losses):
        if epoch == 1:
            thread = threading.Thread(target=attempt)
            thread.start()
            thread.join()

    def attempt():
        try:
            other.save(folder)
        except scrae.ModelFolderError as error:
            said.append(str(error))

    scrae.SCRAE(**SETTINGS).fit(cells, model_dir=folder, on_epoch=save)
    assert len(said) == 1


# -- a second training ----------------------------------------------------------------------------------------------


OTHERS = {
    "data": lambda cells: (SETTINGS, cells[:50]),
    "settings": lambda cells: (SETTINGS | {"mask_rate": 0.1}, cells),
    "seed": lambda cells: (SETTINGS | {"random_state": 5}, cells),
}


@pytest.mark.parametrize("what", OTHERS)
def test_the_model_of_another_training_is_replaced_only_when_asked(folder, cells, what):
    settings, data = OTHERS[what](cells)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match="trained on other data or with other settings; .* overwrite=True"):
        scrae.SCRAE(**settings).fit(data, model_dir=folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    model = scrae.SCRAE(**settings).fit(data, model_dir=folder, overwrite=True)
    np.testing.assert_array_equal(scrae.SCRAE.load(folder).embed(data), model.embed())


def test_a_damaged_model_is_replaced_only_when_asked(folder, cells):
    (folder / DESCRIPTION).write_text("[]")
    with pytest.raises(scrae.ModelFolderError, match=r"scrae\.json is damaged"):
        scrae.SCRAE(**SETTINGS).fit(cells, model_dir=folder)
    model = scrae.SCRAE(**SETTINGS).fit(cells, model_dir=folder, overwrite=True)
    np.testing.assert_array_equal(scrae.SCRAE.load(folder).embed(cells), model.embed())


def test_the_same_training_again_and_a_resume_need_not_ask(folder, cells):
    scrae.SCRAE(**SETTINGS).fit(cells, model_dir=folder)
    scrae.SCRAE(**SETTINGS).fit(cells, model_dir=folder, max_epochs=2)
    assert scrae.SCRAE(**SETTINGS).fit(cells, model_dir=folder, max_epochs=5, resume=True).summary["epochs"] == 5


def test_a_folder_that_is_a_file_is_refused_before_training(cells, tmp_path):
    (tmp_path / "model").write_text("of the user")
    with pytest.raises(NotADirectoryError, match="is a file"):
        scrae.SCRAE(**SETTINGS).fit(cells, model_dir=tmp_path / "model", on_epoch=lambda *_: pytest.fail("trained"))


def test_a_training_that_fails_before_its_first_epoch_leaves_no_folder(cells, tmp_path, monkeypatch):
    def out_of_memory(*_, **__):
        raise MemoryError

    monkeypatch.setattr("scrae.model.fitting.CountData", out_of_memory)
    with pytest.raises(MemoryError):
        scrae.SCRAE(**SETTINGS).fit(cells, model_dir=tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_clusters_made_by_hand_are_not_replaced(small):
    small.obs["scrae_clusters"] = "by hand"
    with pytest.raises(ValueError, match="is not the work of an earlier call"):
        scrae.tl.scrae(small, preset="scdeepcluster", genes="all", max_epochs=1, verbose=False)
    assert set(small.obs["scrae_clusters"]) == {"by hand"}
    assert "X_scrae" not in small.obsm
