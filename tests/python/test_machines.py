"""Four machines train together: network namespaces with addresses of their own, joined by a bridge (root, Linux)."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anndata
import numpy as np
import pytest

import killed_while_it_makes
from scrae.cli import main
from scrae.model.folder import STATE
from test_distributed import ENVIRONMENT, process_of, wait_for

MACHINES = 4


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def machines() -> Iterator[list[str]]:
    """Names of the namespaces; machine i has the address 10.87.0.(i + 1)."""
    own = secrets.token_hex(3)  # at each call: the kernel takes its time to forget a name
    names = [f"scrae-{own}-{i}" for i in range(MACHINES)]
    bridge = f"br-{own}"
    try:
        ip("link", "add", bridge, "type", "bridge")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("network namespaces need root and iproute2")
    try:
        ip("link", "set", bridge, "up")
        for i, name in enumerate(names):
            outside = f"veth-{own}-{i}"
            ip("netns", "add", name)
            ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", outside, "master", bridge, "up")
            ip("-n", name, "addr", "add", f"10.87.0.{i + 1}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        subprocess.run(["ip", "link", "del", bridge], capture_output=True)


def started(names: list[str], folder: Path, command: list[str]) -> list[subprocess.Popen[str]]:
    """torchrun on each machine, one process each: of a program, or of a module after "-m"; logs go to the folder."""
    runs = []
    for i, name in enumerate(names):
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", str(len(names)), "--nproc-per-node", "1"]
        place = ["--node-rank", str(i), "--master-addr", "10.87.0.1", "--master-port", "29500"]
        runs.append(
            subprocess.Popen(
                ["ip", "netns", "exec", name, *torchrun, *place, "--log-dir", str(folder), *command],
                env=ENVIRONMENT | {"GLOO_SOCKET_IFNAME": "eth0"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return runs


@pytest.mark.slow
def test_four_machines_stop_when_one_is_killed_and_resume_to_what_one_process_gives(machines, pbmc, tmp_path):
    pbmc.write_h5ad(tmp_path / "in.h5ad")
    options = ["run", str(tmp_path / "in.h5ad"), "--preset", "scvi", "--seed", "1", "--from-disk"]
    folder = ["--model-dir", str(tmp_path / "model"), "--resume"]
    four = [*options, *folder, "--out", str(tmp_path / "four.h5ad")]
    runs = started(machines, tmp_path / "log", ["-m", "scrae", *four, "--max-epochs", "5000"])
    try:
        wait_for(tmp_path / "model" / STATE, 120)
        os.kill(process_of(runs[3].pid, rank=3), signal.SIGKILL)
        killed = time.monotonic()
        errors = [run.communicate(timeout=120)[1] for run in runs]
        assert time.monotonic() - killed < 60
    finally:
        for run in runs:
            run.terminate()
    assert all(run.returncode != 0 for run in runs)
    assert "scrae: process 0 of 4" in errors[0]
    assert not (tmp_path / "four.h5ad").exists()

    runs = started(machines, tmp_path / "log", ["-m", "scrae", *four, "--max-epochs", "3"])
    printed = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * MACHINES
    assert "".join(printed).count("3 epochs (max_epochs)") == 1
    assert main([*options, "--max-epochs", "3", "--out", str(tmp_path / "one.h5ad"), "--quiet"]) == 0
    one, found = (anndata.read_h5ad(tmp_path / f"{name}.h5ad") for name in ("one", "four"))
    assert list(one.obs_names) == list(found.obs_names)
    scale = np.abs(one.obsm["X_scrae"]).max()
    np.testing.assert_allclose(found.obsm["X_scrae"], one.obsm["X_scrae"], atol=1e-4 * scale)


@pytest.mark.slow
def test_who_waits_for_what_another_makes_learns_that_it_was_killed(machines, tmp_path):
    """As long as the making takes: no message between the machines would find out before it times out."""
    runs = started(machines[:2], tmp_path / "log", [killed_while_it_makes.__file__])
    try:
        errors = [run.communicate(timeout=60)[1] for run in runs]
    finally:
        for run in runs:
            run.terminate()
    assert all(run.returncode != 0 for run in runs)
    assert "process 0 of 2 waited for another one, which has died" in errors[0]
