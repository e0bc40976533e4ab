"""Several processes train what one process trains, and stop together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch

import divide_passes
import share_one_machine
import train_in_double
from scrae.cli import main
from scrae.compute import distributed
from scrae.compute.rows import rows_of
from scrae.model.folder import STATE

TORCHRUN = [sys.executable, "-W", "error", "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore::FutureWarning:torch"}


@pytest.fixture
def torchrun(tmp_path_factory):
    """The command, with a folder for its log, which it would otherwise leave in the system's temporary one.

    Debian's build of torch has no libuv, without which it does not start.
    """
    try:
        torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, use_libuv=True)
    except RuntimeError as error:
        if "libuv" not in str(error):
            raise
        pytest.skip(str(error))
    return [*TORCHRUN, "--log-dir", str(tmp_path_factory.mktemp("torchrun"))]


@pytest.fixture
def h5ad(pbmc, tmp_path):
    pbmc.obs["batch"] = np.where(np.arange(pbmc.n_obs) % 3, "a", "b")
    pbmc.write_h5ad(tmp_path / "in.h5ad")
    return tmp_path / "in.h5ad"


@pytest.mark.slow
def test_two_processes_train_every_preset_as_one_does(torchrun, tmp_path):
    """Minibatches of 15 and 16 cells, three batches, every regulariser; losses, held-out losses and codes."""
    script = Path(train_in_double.__file__)
    subprocess.run([*torchrun, script, tmp_path / "two.npz"], env=ENVIRONMENT, check=True, timeout=120)
    two, one = np.load(tmp_path / "two.npz"), train_in_double.train_all()
    assert two["n_processes"] == 2
    for name, expected in one.items():
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(two[name], expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max(), err_msg=name)


@pytest.mark.slow
def test_a_killed_process_stops_the_others_and_the_run_resumes_to_what_one_process_gives(torchrun, h5ad, tmp_path):
    def command(out, epochs, *more):
        options = [
            "--preset",
            "scvi",
            "--batch-key",
            "batch",
            "--genes",
            "all",
            "--seed",
            "1",
            "--max-epochs",
            str(epochs),
        ]
        return ["run", str(h5ad), "--out", str(tmp_path / out), *options, *more]

    together, folder = [*torchrun, "-m", "scrae"], str(tmp_path / "model")
    run = subprocess.Popen(
        [*together, *command("two.h5ad", 5000, "--model-dir", folder)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(Path(folder, STATE))
    os.kill(process_of(run.pid, rank=1), signal.SIGKILL)
    started = time.monotonic()
    _, errors = run.communicate(timeout=60)
    assert time.monotonic() - started < 30
    assert run.returncode != 0
    assert "scrae: process 0 of 2" in errors
    assert "--resume goes on from the last checkpoint" in errors
    assert not (tmp_path / "two.h5ad").exists()

    done = subprocess.run(
        [*together, *command("two.h5ad", 3, "--model-dir", folder, "--resume")],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.count("700 cells x 765 genes, 3 epochs (max_epochs)") == 1
    assert main(command("one.h5ad", 3, "--quiet")) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"in.h5ad", "model", "one.h5ad", "two.h5ad"}

    one, two = anndata.read_h5ad(tmp_path / "one.h5ad"), anndata.read_h5ad(tmp_path / "two.h5ad")
    history, expected = (found.uns["scrae"]["history"].drop(columns="seconds") for found in (two, one))
    np.testing.assert_allclose(history, expected, rtol=1e-4)
    scale = np.abs(one.obsm["X_scrae"]).max()
    np.testing.assert_allclose(two.obsm["X_scrae"], one.obsm["X_scrae"], atol=1e-4 * scale)


@pytest.mark.slow
def test_processes_on_one_machine_have_the_counts_of_a_file_on_disk_once(torchrun, h5ad, tmp_path):
    broken = anndata.read_h5ad(h5ad)
    broken.X = broken.X * 0.5
    broken.write_h5ad(tmp_path / "broken.h5ad")
    expected = anndata.read_h5ad(h5ad)
    script = Path(share_one_machine.__file__)
    subprocess.run(
        [*torchrun, script, h5ad, tmp_path / "broken.h5ad", tmp_path], env=ENVIRONMENT, check=True, timeout=120
    )
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert len(first["files"]) == 2
    assert first["files"] == second["files"]
    assert first["sum"] == second["sum"] == expected.X.sum()
    assert first["shape"] == second["shape"] == list(expected.shape)
    assert first["code"] == second["code"] == "not_counts"
    assert first["error"] == second["error"]
    assert (first["made"], second["made"]) == (0, 0)
    assert (first["made_where_it_cannot_be_found"], second["made_where_it_cannot_be_found"]) == (0, 1)
    assert not set(first["files_of_its_own"]) & set(second["files_of_its_own"])
    assert all(found["files_of_its_own"] and found["equal"] for found in (first, second))


@pytest.mark.slow
def test_rows_that_processes_share_come_together_in_order(torchrun, h5ad, tmp_path):
    script = Path(share_one_machine.__file__)
    subprocess.run([*torchrun, script, h5ad, h5ad, tmp_path], env=ENVIRONMENT, check=True, timeout=120)
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert [of["share"] for of in found] == [[0, 2], [2, 5]]
    assert [of["together"] for of in found] == [[[i, i] for i in range(5)]] * 2
    assert [of["too_few"] for of in found] == [[0, 3]] * 2


@pytest.mark.slow
def test_processes_that_divide_the_passes_over_all_cells_find_what_one_finds(torchrun, h5ad, tmp_path):
    """Genes, components and library sizes; the same bits in both, and half of the cells each."""
    script = Path(divide_passes.__file__)
    subprocess.run([*torchrun, script, h5ad, tmp_path], env=ENVIRONMENT, check=True, timeout=300)
    first, second = (dict(np.load(tmp_path / f"divided{rank}.npz")) for rank in range(2))
    alone = dict(np.load(tmp_path / "alone0.npz"))
    for found in (first, second):
        of_genes, of_training = found.pop("refusals")
        assert "do not have the same cells and genes" in of_genes
        assert "do not have the same cells, genes, settings and seed" in of_training
    assert first["looked_at"] + second["looked_at"] == alone["looked_at"]
    assert max(first.pop("looked_at"), second.pop("looked_at")) <= 0.51 * alone.pop("looked_at")
    assert first.keys() == second.keys() == alone.keys()
    for name, expected in alone.items():
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        if name.endswith(divide_passes.RANKS):  # genes with the same statistic change places for a rounding error
            apart = np.abs(first[name] - expected)
            assert np.nanmax(apart) <= 2
            assert np.nanmean(apart > 0) < 0.01
        else:
            np.testing.assert_allclose(first[name], expected, rtol=1e-6, atol=1e-9, err_msg=name)


@pytest.mark.slow
def test_two_processes_train_from_disk_what_one_trains_in_memory(torchrun, h5ad, tmp_path):
    options = ["--preset", "scvi", "--batch-key", "batch", "--max-epochs", "3", "--n-genes", "300"]
    run = [*torchrun, "-m", "scrae", "run", str(h5ad), "--out", str(tmp_path / "two.h5ad"), "--from-disk", *options]
    subprocess.run(run, env=ENVIRONMENT, check=True, timeout=120)
    assert main(["run", str(h5ad), "--out", str(tmp_path / "one.h5ad"), "--quiet", *options]) == 0
    one, two = anndata.read_h5ad(tmp_path / "one.h5ad"), anndata.read_h5ad(tmp_path / "two.h5ad")
    assert list(one.uns["scrae"]["genes"]) == list(two.uns["scrae"]["genes"])
    scale = np.abs(one.obsm["X_scrae"]).max()
    np.testing.assert_allclose(two.obsm["X_scrae"], one.obsm["X_scrae"], atol=1e-4 * scale)


def wait_for(path: Path, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, f"no {path}"
        time.sleep(0.05)


def process_of(parent: int, rank: int) -> int:
    """The child of torchrun with this rank."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if int(fields[1]) == parent and f"RANK={rank}".encode() in variables:
            return int(process.name)
    raise AssertionError(f"torchrun has no process of rank {rank}")


def test_one_process_alone_is_left_as_it_was(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with distributed.joined():
        assert (distributed.n_processes(), distributed.rank(), distributed.in_charge()) == (1, 0, True)
        assert distributed.any_of(False) is False
        distributed.require_same("cells", "these")


def test_more_processes_than_cells_of_a_minibatch_are_refused(monkeypatch):
    import torch

    monkeypatch.setattr(distributed, "n_processes", lambda: 3)
    with pytest.raises(ValueError, match="3 processes cannot share a minibatch of 2 cells"):
        rows_of(torch.ones(2, dtype=torch.int64))
