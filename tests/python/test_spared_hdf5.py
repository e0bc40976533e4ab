"""Disks that others fill while HDF5 writes: an error and an exit status, not the end of the process."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys

import anndata
import h5py
import numpy as np
import pytest

from scrae.data.spared_hdf5 import Spared
from scrae.data.written_files import write_whole


class Filling(io.FileIO):
    """A file on a disk that takes no more from some write on, and half of that one."""

    def __init__(self, path, writes):
        super().__init__(path, "w+")
        self.writes = writes

    def write(self, content):
        self.writes -= 1
        if self.writes < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(content[: len(content) // 2] if self.writes == 0 else content)


@pytest.mark.parametrize("writes", [0, 1, 7, 10**6])
def test_what_is_read_is_what_was_written_also_when_the_disk_is_full(tmp_path, writes):
    rng, oracle = np.random.default_rng(writes), io.BytesIO()
    with Filling(tmp_path / "file", writes) as file:
        spared = Spared(file)
        for _ in range(300):
            place, n = (int(x) for x in rng.integers(0, 400, 2))
            for each in (spared, oracle):
                each.seek(place)
            if rng.random() < 0.5:
                content = rng.bytes(n)
                assert spared.write(content) == oracle.write(content) == n
            else:
                found = bytearray(b"x" * n)
                spared.readinto(found)
                expected = oracle.read(n)
                assert found == expected + bytes(n - len(expected))
        assert spared.seek(0, os.SEEK_END) == len(oracle.getvalue())
        if writes == 10**6:
            assert spared.error is None
            assert (tmp_path / "file").read_bytes() == oracle.getvalue()
        else:
            assert spared.error.errno == errno.ENOSPC


def test_what_is_let_go_on_a_full_disk_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("scrae.data.spared_hdf5.MOST_REMEMBERED", 1000)
    with Filling(tmp_path / "file", 0) as file:
        spared = Spared(file)
        for _ in range(10):
            spared.write(bytes(300))
        assert sum(len(content) for _, content in spared._remembered) == 900


class Interrupted(io.FileIO):
    """A file during whose second write somebody types Ctrl-C."""

    writes = 0

    def write(self, content):
        self.writes += 1
        if self.writes == 2:
            raise KeyboardInterrupt
        return super().write(content)


def test_ctrl_c_in_the_middle_of_a_write_waits_until_hdf5_has_closed_the_file(tmp_path):
    with Interrupted(tmp_path / "file.h5", "w+") as file:
        spared = Spared(file)
        with h5py.File(spared, "w") as written:
            for i in range(20):
                written[f"part {i}"] = np.arange(1000)
        assert not written  # it is closed
        assert isinstance(spared.error, KeyboardInterrupt)


def listed(path):
    """Names, kinds, chunks, values and attributes of all that is in an HDF5 file."""
    found = {}

    def add(name, item):
        value = item[()].tolist() if isinstance(item, h5py.Dataset) else None
        found[name] = value, getattr(item, "chunks", None), sorted((k, str(v)) for k, v in item.attrs.items())

    with h5py.File(path) as file:
        add("/", file)
        file.visititems(add)
    return found


@pytest.mark.parametrize("with_raw", [True, False])
def test_an_h5ad_file_holds_what_anndata_writes(small, tmp_path, with_raw):
    small.layers["twice"] = small.X * 2
    small.obsm["X_scrae"] = np.arange(120.0).reshape(60, 2)
    small.obsp["distances"] = small.X @ small.X.T
    small.varm["loadings"] = np.ones((30, 2))
    small.uns["scrae"] = {"genes": ["a", "b"], "n": 3, "nested": {"x": np.arange(3)}}
    if with_raw:
        small.raw = small
    small.copy().write_h5ad(tmp_path / "of_anndata.h5ad")
    write_whole(small, tmp_path / "ours.h5ad")
    ours, theirs = listed(tmp_path / "ours.h5ad"), listed(tmp_path / "of_anndata.h5ad")
    for tables in (ours, theirs):  # anndata 0.13 writes names as nullable text, which readers in R do not know
        for name in [name for name in tables if "_index" in name]:
            del tables[name]
    assert ours == theirs
    read = anndata.read_h5ad(tmp_path / "ours.h5ad")
    assert list(read.obs_names) == list(small.obs_names)
    assert list(read.var_names) == list(small.var_names)


# Fills each of the disks that are given when there was room, to what it leaves, and then writes there.
FILLED = """
import shutil, sys, warnings
from pathlib import Path
import anndata, numpy as np, scipy.sparse as sp
from scrae.data import files, written_files

rng = np.random.default_rng(0)
cells = anndata.AnnData(sp.csr_matrix(rng.poisson(1.0, (500, 300)).astype(np.float32)))
cells.obs["name"] = [f"text {i}" for i in range(500)]
cells.obsm["X_scrae"] = np.zeros((500, 30), np.float32)
cells.uns["many"] = {f"part {i}": np.arange(i) for i in range(60)}
look = written_files.refuse_without_room

def look_and_fill(path, needed):
    look(path, needed)
    (path.parent / "filler").write_bytes(bytes(max(0, shutil.disk_usage(path.parent).free - free)))

for free, disk in ((int(free), Path(disk)) for free, disk in (typed.split(":") for typed in sys.argv[1:])):
    cells.write_h5ad(disk / "in.h5ad")
    before = (disk / "in.h5ad").read_bytes()
    on_disk = files.cells_on_disk(disk / "in.h5ad")
    on_disk.uns["many more"] = {f"part {i}": np.arange(50) for i in range(200)}
    for write in (
        lambda: written_files.write_whole(cells, disk / "out.h5ad"),
        lambda: written_files.write_beside(disk / "in.h5ad", on_disk, disk / "out.h5ad"),
        lambda: written_files.write_whole(cells, disk / "in.h5ad"),
    ):
        written_files.refuse_without_room = look_and_fill
        try:
            write()
        except OSError as error:
            print("said" if "No space left on device" in str(error) else error)
        else:
            print("written")
        (disk / "filler").unlink()
    assert (disk / "in.h5ad").read_bytes() == before
    assert sorted(path.name for path in disk.iterdir()) == ["in.h5ad"], list(disk.iterdir())
print("to the end")
"""


@pytest.mark.slow
def test_a_disk_that_fills_while_h5ad_is_written_is_an_error_and_not_the_end_of_the_process(small_disk):
    disks = [f"{free * 1024}:{small_disk(8 * 2**20)}" for free in (0, 4, 30, 100, 250, 500, 700)]
    done = subprocess.run([sys.executable, "-c", FILLED, *disks], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split("\n") == ["said"] * 3 * len(disks) + ["to the end", ""]
