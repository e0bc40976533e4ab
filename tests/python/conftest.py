"""What the tests share: one thread, real counts, made counts, and the way to the shared data."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import HealthCheck, settings
from matplotlib.figure import Figure

import scrae

PEER = Path(os.environ.get("SCRAE_PEERS", Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"))
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SHARED_DATA = Path(os.environ.get("SCRAE_DATA", Path(__file__).parents[3] / "shared" / "data"))

# A busy machine is no fault of what is tested.
settings.register_profile("scrae", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("scrae")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Two OpenMP threads on a busy machine of two cores are many times slower than one."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def heard_interrupts():
    """Processes of pytest-xdist take no notice of SIGINT, and what they start would not either."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def _pbmc():
    return scrae.datasets.pbmc()


@pytest.fixture
def pbmc(_pbmc):
    """Real counts: 700 cells x 765 genes with cell types."""
    return _pbmc.copy()


@pytest.fixture
def small():
    """Made counts: 60 cells x 30 genes in two batches, no empty cell."""
    rng = np.random.default_rng(3)
    counts = rng.poisson(rng.gamma(1.0, 1.5, size=(60, 30))).astype(np.float32)
    counts[:, 0] += 1
    obs = pd.DataFrame({"batch": ["a", "b"] * 30}, index=[f"cell{i}" for i in range(60)])
    var = pd.DataFrame(index=[f"gene{i}" for i in range(30)])
    return anndata.AnnData(sp.csr_matrix(counts), obs=obs, var=var)


@pytest.fixture
def made():
    """Made UMI counts with depths that differ: 300 cells of two kinds, 400 genes, of which 20 mark the second kind."""
    rng = np.random.default_rng(5)
    depth = rng.lognormal(0.0, 0.4, 300)
    expression = rng.lognormal(-0.5, 1.2, 400)
    kind = np.arange(300) % 2
    fold = np.ones((300, 400))
    fold[np.ix_(kind == 1, range(20))] = 15.0
    expression[:20] = 0.3
    mean = depth[:, None] * expression * fold
    counts = rng.negative_binomial(4.0, 4.0 / (4.0 + mean)).astype(np.float32)
    counts[:, -1] += 1
    obs = pd.DataFrame(
        {"kind": kind.astype(str), "batch": np.repeat(["a", "b"], 150)}, index=[f"c{i}" for i in range(300)]
    )
    return anndata.AnnData(sp.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(400)]))


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a disk of so many bytes, in memory, and gives its folder; skips where that is not allowed."""
    mounted = []

    def mount(size: int) -> Path:
        disk = tmp_path / f"disk{len(mounted)}"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "scrae-test", str(disk)]
        if shutil.which("mount") is None or subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("no disk can be mounted here: that takes root, and Linux")
        mounted.append(disk)
        return disk

    yield mount
    for disk in mounted:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def shared():
    """Reader of a labelled data set of the project's shared folder; skips where a clone has none."""

    def read(name: str) -> anndata.AnnData:
        path = SHARED_DATA / f"{name}.h5ad"
        if not path.exists():
            pytest.skip(f"no {path}: the shared data are not part of a clone (set SCRAE_DATA to point to them)")
        return anndata.read_h5ad(path)

    return read


@pytest.fixture(scope="session")
def peer():
    """The Python that has scvi-tools and scib-metrics; skips where there is none."""
    if not PEER.exists():
        pytest.skip(f"no {PEER}: no other packages to compare with (make peers installs them; or set SCRAE_PEERS)")
    return str(PEER)


@pytest.fixture
def quick():
    """Settings of a model that trains in a blink."""
    return {"n_latent": 3, "n_hidden": (16,), "batch_size": 16, "max_epochs": 4, "verbose": False}


@pytest.fixture
def saved(monkeypatch):
    """The figures that are saved from here on, by the names of their files."""
    figures, save = {}, Figure.savefig

    def keeping(figure, path, **options):
        save(figure, path, **options)
        figures[Path(path).name] = figure

    monkeypatch.setattr(Figure, "savefig", keeping)
    return figures


@pytest.fixture
def program(monkeypatch):
    """A program of benchmarks/, or a study below it, as a module."""
    monkeypatch.syspath_prepend(BENCHMARKS / "studies")
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module
