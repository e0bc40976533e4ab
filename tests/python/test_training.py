"""The loop: same seed same bits, resuming, kills, interrupts, divergence, stopping."""

from __future__ import annotations

import io
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from types import SimpleNamespace

import anndata
import numpy as np
import pytest
import torch

import scrae
from scrae.autoencoder.settings import epochs_for
from scrae.compute import progress
from scrae.compute.bfloat16 import MULTIPLICATIONS_OF_A_THREAD, multiplies_bfloat16, useful_threads
from scrae.model.folder import STATE
from scrae.training.loop import RETRIES, Training
from scrae.training.means import Means


def assert_same_model(a, b):
    mine, theirs = (model.fitted.module.state_dict() for model in (a, b))
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert torch.equal(mine[name], theirs[name]), name
    columns = [c for c in a.history if c != "seconds"]
    assert a.history[columns].equals(b.history[columns])


def test_the_same_seed_gives_the_same_bits_and_another_does_not(pbmc):
    one, two, other = (scrae.SCRAE(random_state=s, max_epochs=3, verbose=False).fit(pbmc) for s in (5, 5, 6))
    assert_same_model(one, two)
    np.testing.assert_array_equal(one.embed(), two.embed())
    assert not np.array_equal(one.embed(), other.embed())


@pytest.mark.parametrize(
    ("n_cells", "n_steps", "epochs"),
    [
        (100, 1000, 400),  # no more, however few cells
        (3000, 1000, 43),  # 43 passes over 3,000 cells are 1,008 minibatches of 128
        (100_000, 1000, 10),
        (100_000, 5000, 10),
        (3000, 400, 17),
        (100_000, 400, 4),  # less than the ten of the default: a first look at many cells is shorter, too
        (1_000_000, 30, 1),
    ],
)
def test_number_of_steps_sets_the_number_of_epochs(n_cells, n_steps, epochs):
    assert epochs_for(n_cells, batch_size=128, n_steps=n_steps) == epochs


def test_fewer_steps_are_fewer_epochs_of_a_training(pbmc):
    many, few = (
        scrae.SCRAE(n_steps=n_steps, batch_size=20, verbose=False).fit(pbmc[:200]).summary["epochs"]
        for n_steps in (100, 30)
    )
    assert (many, few) == (11, 3)  # 180 cells are trained on, nine minibatches of twenty in an epoch


@pytest.mark.slow
def test_choosing_genes_leaves_the_number_of_threads_alone():
    """numba, under scanpy, sets the threads of the whole process: other bits, and a busy machine slows down."""
    code = (
        "import torch, scrae; torch.set_num_threads(1); adata = scrae.datasets.pbmc();"
        "scrae.pp.select_genes(adata, n_top=100); print(torch.get_num_threads());"
        "scrae.metrics.leiden(adata.X[:, :5].toarray()); print(torch.get_num_threads())"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2", "PYTHONWARNINGS": "ignore"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["1", "1"]


@pytest.mark.slow
def test_training_gets_by_with_one_thread_where_products_are_rounded_and_gives_them_back(small, quick, monkeypatch):
    used, epoch = [], Training._epoch

    def watched(self):
        used.append(torch.get_num_threads())
        return epoch(self)

    monkeypatch.setattr(Training, "_epoch", watched)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        for rounded in (True, False):
            scrae.SCRAE(**quick, bfloat16=rounded).fit(small, max_epochs=1)
            assert torch.get_num_threads() == 2
        assert used == [1 if multiplies_bfloat16("cpu") else 2, 2]
        assert useful_threads(10 * MULTIPLICATIONS_OF_A_THREAD, "cpu") == (11 if multiplies_bfloat16("cpu") else 2)
    finally:
        torch.set_num_threads(before)


def test_training_leaves_the_users_random_states_alone(small, quick):
    torch.manual_seed(1)
    np.random.seed(1)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(1)
    np.random.seed(1)
    model = scrae.SCRAE(**quick).fit(small)
    model.sample(2)
    assert torch.equal(torch.rand(3), expected[0])
    np.testing.assert_array_equal(np.random.rand(3), expected[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"early_stopping": False, "library": "learned", "dropout_rate": 0.1, "pull": 0.1},
        {"regulariser": "fixed_prior", "likelihood": "gaussian"},
        {"preset": "reference", "n_hidden": (32,)},
    ],
    ids=["default", "learned library", "fixed prior", "reference"],
)
def test_ten_epochs_saved_loaded_and_resumed_to_twenty_are_twenty_epochs_bit_for_bit(pbmc, tmp_path, settings):
    cells = pbmc[:200]
    whole = scrae.SCRAE(**settings, verbose=False).fit(cells, max_epochs=20)
    scrae.SCRAE(**settings, verbose=False).fit(cells, max_epochs=10).save(tmp_path / "model")
    resumed = scrae.SCRAE.load(tmp_path / "model", verbose=False).fit(cells, max_epochs=20, resume=True)
    assert_same_model(whole, resumed)
    np.testing.assert_array_equal(whole.embed(), resumed.embed())
    for name, tensor in whole.fitted.training_state.items():
        if name != "progress":  # holds seconds
            assert torch.equal(tensor, resumed.fitted.training_state[name]), name
    optimisers = {name.split(".")[1] for name in whole.fitted.training_state if name.startswith("optimiser.")}
    expected = {"autoencoder", "encoder_adversarial", "critic", "prior"}
    assert optimisers == expected - ({"prior"} if "regulariser" in settings else set())


def test_a_model_resumes_in_memory_too(small, quick):
    whole = scrae.SCRAE(**quick).fit(small, max_epochs=9)
    parts = scrae.SCRAE(**quick).fit(small, max_epochs=4).fit(small, max_epochs=9, resume=True)
    assert_same_model(whole, parts)


def test_fit_without_resume_starts_anew(small, quick):
    model = scrae.SCRAE(**quick).fit(small)
    first = model.embed()
    np.testing.assert_array_equal(model.fit(small).embed(), first)


def test_resume_refuses_other_data_and_other_settings(small, quick, tmp_path):
    scrae.SCRAE(**quick).fit(small, model_dir=tmp_path)
    with pytest.raises(ValueError, match="not the cells, genes, covariates and pairs"):
        scrae.SCRAE(**quick).fit(small[:50], model_dir=tmp_path, resume=True)
    with pytest.raises(ValueError, match="settings or seed differ"):
        scrae.SCRAE(**quick, mask_rate=0.1).fit(small, model_dir=tmp_path, resume=True)
    with pytest.raises(ValueError, match="settings or seed differ"):
        scrae.SCRAE(**quick, random_state=1).fit(small, model_dir=tmp_path, resume=True)


def test_resume_with_nothing_to_resume_starts_anew(small, quick, tmp_path):
    plain = scrae.SCRAE(**quick).fit(small)
    resumed = scrae.SCRAE(**quick).fit(small, model_dir=tmp_path / "new", resume=True)
    assert_same_model(plain, resumed)


TRAIN = """
import os, signal, sys
import numpy as np, torch, scrae
from scrae.model.folder import STATE
from scrae.training.means import Means
from scrae.training.loop import Training

torch.set_num_threads(1)
counts, folder, epochs, event, number = sys.argv[1:]
left = int(number)

def happened():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def audit(name, arguments):
    if event == "move" and name == "os.rename" and str(arguments[1]).endswith(STATE):
        happened()

sys.addaudithook(audit)
step = Training._step

def watched(self, phase, losses):
    if event == "step":
        happened()
    return step(self, phase, losses)

Training._step = watched
model = scrae.SCRAE(verbose=False, n_hidden=(32,), early_stopping=False)
model.fit(np.load(counts), max_epochs=int(epochs), model_dir=folder, checkpoint_seconds=0.0, resume=True)
"""


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_in_steps_and_between_writing_and_moving_it_resumes_to_the_same_bits(pbmc, tmp_path):
    """SIGKILL three times in mid-training; what is on disk is whole each time, and the end is as if undisturbed."""
    epochs, folder, counts = 20, tmp_path / "model", pbmc.X[:200].toarray()
    np.save(tmp_path / "counts.npy", counts)
    rng = np.random.default_rng(0)
    reached = [0]
    # A checkpoint is written after each epoch, aside and then moved: the fourth has been written when it cannot move.
    for event, number in (("step", rng.integers(10, 30)), ("move", 4), ("step", rng.integers(10, 30))):
        command = [sys.executable, "-c", TRAIN, tmp_path / "counts.npy", folder, str(epochs), event, str(number)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {STATE}
        reached.append(scrae.SCRAE.load(folder).summary["epochs"])
    assert reached[2] == reached[1] + 3
    assert 0 < reached[1] < reached[2] < reached[3] < epochs
    model = scrae.SCRAE(verbose=False, n_hidden=(32,), early_stopping=False)
    with pytest.warns(UserWarning, match="this one takes over"):  # the lock of the one that was killed last
        resumed = model.fit(counts, max_epochs=epochs, model_dir=folder, resume=True)
    whole = scrae.SCRAE(verbose=False, n_hidden=(32,), early_stopping=False).fit(counts, max_epochs=epochs)
    assert_same_model(whole, resumed)
    assert_same_model(whole, scrae.SCRAE.load(folder))


@pytest.mark.slow
@pytest.mark.parametrize("early_stopping", [False, True])
def test_what_a_killed_training_leaves_is_the_model_that_fewer_epochs_give(pbmc, tmp_path, early_stopping):
    running, left = tmp_path / "running", tmp_path / "left"

    def kill(epoch, epochs, losses):  # what is on disk is then of the epoch before
        if epoch == 4:
            shutil.copytree(running, left)

    model = scrae.SCRAE(verbose=False, n_hidden=(32,), early_stopping=early_stopping)
    model.fit(pbmc, max_epochs=5, model_dir=running, checkpoint_seconds=0.0, on_epoch=kill)
    shorter = scrae.SCRAE(verbose=False, n_hidden=(32,), early_stopping=early_stopping).fit(pbmc, max_epochs=3)
    assert_same_model(shorter, scrae.SCRAE.load(left))


@pytest.mark.parametrize(("number", "reason"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_to_stop_keeps_the_best_model_and_a_resume_goes_on(pbmc, tmp_path, monkeypatch, number, reason):
    """Ctrl-C, or the SIGTERM of a queue: once, in the middle of the fourth epoch."""
    done, pressed, step = [], [], Training._step

    def watched(self, phase, losses):
        if self.progress.step == 20 and not pressed:  # six steps an epoch
            pressed.append(self.progress.step)
            os.kill(os.getpid(), number)
        return step(self, phase, losses)

    settings = {"verbose": False, "early_stopping": False, "n_hidden": (32,)}
    model, before = scrae.SCRAE(**settings, max_epochs=100_000), signal.getsignal(number)
    with monkeypatch.context() as patched:
        patched.setattr(Training, "_step", watched)
        model.fit(pbmc, model_dir=tmp_path, on_epoch=lambda epoch, *_: done.append(epoch))
    assert len(pressed) == 1
    assert model.summary["stop_reason"] == reason
    assert model.summary["epochs"] == len(done) == 3
    np.testing.assert_array_equal(scrae.SCRAE.load(tmp_path).embed(pbmc), model.embed())
    assert_same_model(model.fit(pbmc, max_epochs=5, resume=True), scrae.SCRAE(**settings).fit(pbmc, max_epochs=5))
    assert signal.getsignal(number) is before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "reason", "status"), [(signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "terminated", 143)]
)
def test_a_signal_to_stop_makes_the_command_line_write_the_result(pbmc, tmp_path, number, reason, status):
    source, out, folder = tmp_path / "in.h5ad", tmp_path / "out.h5ad", tmp_path / "model"
    pbmc.write_h5ad(source)
    command = [sys.executable, "-m", "scrae.cli", "run", source, "--out", out, "--max-epochs", "100000"]
    command += ["--genes", "all", "--model-dir", folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        wait_for((folder / STATE).exists)
        process.send_signal(number)
        printed = process.communicate(timeout=60)[0]
    assert process.returncode == status
    assert f"({reason})" in printed
    assert anndata.read_h5ad(out).obsm["X_scrae"].shape == (700, 30)


@pytest.mark.slow
def test_sigterm_before_there_is_anything_to_keep_ends_the_program_as_ever():
    code = """
import os, signal, numpy as np, scrae
from scrae.training.means import Means
from scrae.training.loop import Training
step = Training._step

def told(self, phase, losses):
    if self.progress.step == 0 and phase.name == "autoencoder":
        os.kill(os.getpid(), signal.SIGTERM)
    return step(self, phase, losses)

Training._step = told
counts = np.random.default_rng(0).poisson(2.0, (60, 30)).astype(np.float32)
scrae.SCRAE(n_latent=2, n_hidden=(8,), max_epochs=5, verbose=False).fit(counts)
print("went on")
"""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (-signal.SIGTERM, "", "")


def test_a_program_that_handles_sigterm_itself_goes_on_doing_so(small, quick):
    told = []
    before = signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    try:
        model = scrae.SCRAE(**quick).fit(small, on_epoch=lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(told) == 4
    assert model.summary["stop_reason"] == "max_epochs"


def test_training_in_another_thread_works(small, quick):
    """Where signals cannot be caught, training still runs."""
    result = []
    thread = threading.Thread(target=lambda: result.append(scrae.SCRAE(**quick).fit(small).embed()))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(result[0], scrae.SCRAE(**quick).fit(small).embed())


def with_bad_losses(model, monkeypatch, bad_steps):
    """Let the reconstruction be NaN in the given steps of the run."""
    from scrae.autoencoder.autoencoder import RegularisedAutoencoder

    losses, step = RegularisedAutoencoder.losses, iter(range(10**9))

    def spoiled(self, minibatch):
        result = losses(self, minibatch)
        if bad_steps(next(step)):
            result = {name: value * float("nan") for name, value in result.items()}
        return result

    monkeypatch.setattr(RegularisedAutoencoder, "losses", spoiled)


def test_a_loss_that_is_not_finite_is_undone_once_said_and_the_rates_halved(small, quick, monkeypatch):
    model = scrae.SCRAE(**quick | {"max_epochs": 12})
    with_bad_losses(model, monkeypatch, lambda step: step == 30)
    with pytest.warns(RuntimeWarning, match="half the learning rates") as said:
        model.fit(small)
    assert len(said) == 1
    assert model.summary["epochs"] == 12
    assert np.isfinite(model.history[["reconstruction", "seconds"]].to_numpy()).all()
    assert np.isfinite(model.embed()).all()


def test_learning_rates_are_halved_after_a_bad_loss_and_stay_so_after_a_resume(small, quick, monkeypatch):
    model = scrae.SCRAE(**quick | {"max_epochs": 12})
    with_bad_losses(model, monkeypatch, lambda step: step == 30)
    rates = []
    from scrae.training.loop import Training

    run = Training.run

    def spy(self, *arguments):
        try:
            return run(self, *arguments)
        finally:
            rates.append(self.optimisers["autoencoder"].learning_rate)

    monkeypatch.setattr(Training, "run", spy)
    with pytest.warns(RuntimeWarning):
        model.fit(small)
    model.fit(small, max_epochs=14, resume=True)
    assert rates == [5e-4, 5e-4]


def test_losses_that_are_never_finite_end_training_with_the_best_model_kept(small, quick, monkeypatch, tmp_path):
    model = scrae.SCRAE(**quick | {"max_epochs": 50})
    with_bad_losses(model, monkeypatch, lambda step: step > 40)
    with (
        pytest.warns(RuntimeWarning, match="half the learning rates") as said,
        pytest.raises(scrae.TrainingDiverged, match=f"halving the learning rates {RETRIES} times"),
    ):
        model.fit(small, model_dir=tmp_path)
    assert len(said) == 1
    assert model.summary["stop_reason"] == "diverged"
    assert model.summary["epochs"] == len(model.history) > 0
    assert np.isfinite(model.embed()).all()
    np.testing.assert_array_equal(scrae.SCRAE.load(tmp_path).embed(small), model.embed())


def test_a_training_that_diverges_in_its_first_epoch_gives_no_model(small, quick, monkeypatch, tmp_path):
    model = scrae.SCRAE(**quick)
    with_bad_losses(model, monkeypatch, lambda step: True)
    with (
        pytest.warns(RuntimeWarning, match="half the learning rates"),
        pytest.raises(scrae.TrainingDiverged, match="there is no model to keep"),
    ):
        model.fit(small, model_dir=tmp_path / "model")
    with pytest.raises(scrae.NotFittedError):
        model.embed()
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_early_stopping_keeps_the_epoch_with_the_best_held_out_reconstruction(pbmc):
    model = scrae.SCRAE(patience=5, max_epochs=400, learning_rate=5e-3, mask_rate=0.0, verbose=False).fit(pbmc)
    held_out = model.history["validation_reconstruction"]
    assert model.summary["stop_reason"] == "early_stopping"
    assert model.summary["epochs"] == held_out.idxmin() + 5
    assert model.summary["best_epoch"] == held_out.idxmin()
    again = scrae.SCRAE(patience=500, max_epochs=int(held_out.idxmin()), learning_rate=5e-3, mask_rate=0.0)
    np.testing.assert_array_equal(again.fit(pbmc).embed(), model.embed())


def test_without_early_stopping_all_cells_train_for_all_epochs(small, quick):
    model = scrae.SCRAE(**quick, early_stopping=False).fit(small)
    assert model.summary["n_validation_cells"] == 0
    assert model.summary["stop_reason"] == "max_epochs"
    assert "validation_reconstruction" not in model.history


@pytest.mark.slow
def test_training_improves_the_likelihood_of_cells_it_never_saw(pbmc):
    history = scrae.SCRAE(max_epochs=15, verbose=False).fit(pbmc).history
    assert history["validation_reconstruction"].iloc[-1] < 0.9 * history["validation_reconstruction"].iloc[0]


def test_the_bar_shows_when_asked_and_quiet_is_quiet(small, quick, capfd):
    scrae.SCRAE(**quick).fit(small)
    assert capfd.readouterr() == ("", "")
    scrae.SCRAE(**quick | {"verbose": None}).fit(small)
    assert capfd.readouterr() == ("", "")  # standard error is no terminal here
    for cells in (small, anndata.concat([small, small], index_unique="-")):  # none and some are held out
        last = scrae.SCRAE(**quick | {"verbose": True}).fit(cells).history.iloc[-1]
        said = f"loss {last['reconstruction']:.4g}"
        if cells is not small:
            said += f", held out {last['validation_reconstruction']:.4g}"
        printed = capfd.readouterr().err
        assert printed.lstrip("\r").startswith("scRAE:")
        assert re.search(rf"4/4 .*, {said}\]", printed)


def test_a_log_gets_a_line_every_thirty_seconds_at_most_and_one_at_the_end(small, quick, capfd, monkeypatch):
    """On a clock on which each epoch takes eleven seconds."""
    done = []
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: 11.0 * len(done)))

    def fit(verbose, epochs):
        done.clear()
        settings = quick | {"verbose": verbose, "max_epochs": epochs}
        return scrae.SCRAE(**settings).fit(small, on_epoch=lambda *_: done.append(1)).history["reconstruction"]

    loss = fit(None, 8)
    assert capfd.readouterr().err.splitlines() == [
        f"scRAE: 4/8 epochs, 00:33 gone, 00:33 left, loss {loss[4]:.4g}",
        f"scRAE: 7/8 epochs, 01:06 gone, 00:09 left, loss {loss[7]:.4g}",
        f"scRAE: 8/8 epochs, 01:28 gone, 00:00 left, loss {loss[8]:.4g}",
    ]
    fit(False, 8)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: 1.2 * len(done)))
    fit(None, 4)
    assert capfd.readouterr() == ("", "")
    fit(None, 5)
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_log_that_cannot_be_written_does_not_end_training(small, quick, monkeypatch):
    done = []
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: 40.0 * len(done)))
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: False)
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    model = scrae.SCRAE(**quick | {"verbose": None}).fit(small, on_epoch=lambda *_: done.append(1))
    assert model.summary["epochs"] == 4


TRAINING_WITH_A_BAR = """
import multiprocessing

multiprocessing.set_start_method("forkserver")  # Python 3.14's own on Linux

import anndata
import numpy as np
import scrae

counts = np.random.default_rng(0).poisson(2, (60, 40)).astype(np.float32)
scrae.SCRAE(n_latent=2, n_hidden=8, max_epochs=1, device="cpu", verbose=True).fit(anndata.AnnData(counts), genes="all")
"""


@pytest.mark.skipif(os.name != "posix", reason="no such process elsewhere")
def test_a_training_starts_no_process_that_would_run_files_of_the_working_directory(tmp_path):
    """What keeps an eye on locks between processes is one, and imports what it needs from there."""
    script, folder = tmp_path / "train.py", tmp_path / "here"
    script.write_text(TRAINING_WITH_A_BAR)
    folder.mkdir()
    (folder / "multiprocessing.py").write_text("open('found', 'w').close()")
    done = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "scRAE" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["multiprocessing.py"]


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of GNU's C library")
def test_no_steps_losses_are_kept_beside_the_arrays_of_the_next(pbmc, quick, monkeypatch):
    """Small pieces that outlive the large arrays of their step cost hundreds of megabytes for a million cells."""
    step, pieces = Training._step, []

    def watched(self, phase, losses):
        assert [piece() for piece in pieces] == [None] * len(pieces)
        result = step(self, phase, losses)
        pieces.extend(map(weakref.ref, result.values()))
        return result

    monkeypatch.setattr(Training, "_step", watched)
    model = scrae.SCRAE(**quick).fit(pbmc)
    assert len(pieces) > 5 * len(model.history)


@pytest.mark.slow
def test_freed_gradients_are_not_asked_for_anew_in_every_step():
    """Page faults took a fifth of a step where they were. Without this there are some or none, as an import (which may
    free a large block, too) had it: so the first count is before any."""
    code = (
        "import resource, numpy\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def step():\n"
        "    before = faults()\n"
        "    gradients = [numpy.ones(600_000, numpy.float32) for _ in range(20)]\n"
        "    return faults() - before\n"
        "print([step() for _ in range(10)][-1])\n"
        "import scrae.training.loop\n"
        "scrae.training.loop.keep_freed_memory()\n"
        "print([step() for _ in range(10)][-1])"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    without, kept = map(int, run.stdout.split())
    assert without > 1000
    assert kept < 10


def test_means_are_of_what_was_counted_in_since_the_last_restart_and_their_sums_stay_in_place():
    means = Means()
    for value in (1.0, 4.0):
        means.add({"a": torch.tensor(value), "b": torch.tensor(2 * value)})
    assert means.so_far() == {"a": 2.5, "b": 5.0}
    places = [total.data_ptr() for total in means._totals.values()]
    means.restart()
    assert means.so_far() == {}
    means.add({"b": torch.tensor(7.0)})
    assert means.so_far() == {"b": 7.0}
    assert [total.data_ptr() for total in means._totals.values()] == places
