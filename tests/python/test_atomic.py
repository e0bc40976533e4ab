"""What is written is whole or absent: kills, planted links, permissions, left-overs."""

from __future__ import annotations

import os
import pickle
import signal
import stat
import subprocess
import sys

import pytest

from scrae.compute import atomic
from scrae.compute.atomic import NotWritten, sweep, write_bytes, written_aside

# Kills itself at the given move (or exchange, or flush to the disk) while it replaces a folder by another.
REPLACE = """
import os, signal, sys
from pathlib import Path
from scrae.compute import atomic
path, at, exchange = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True"
count = 0
def happened(*_):
    global count
    count += 1
    if count == at:
        os.kill(os.getpid(), signal.SIGKILL)
if not exchange:
    atomic._exchange = lambda *_: False
sys.addaudithook(lambda name, _: happened() if name in ("os.rename", "shutil.rmtree", "os.rmdir", "os.chmod") else None)
with atomic.written_aside(path) as aside:
    aside.mkdir()
    (aside / "part").write_text("new")
    (aside / "more").write_text("new")
print(count)
"""


@pytest.mark.slow
@pytest.mark.parametrize("exchange", [True, False])
def test_a_kill_at_any_point_leaves_the_old_folder_or_the_new_one(tmp_path, exchange):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "part").write_text("old")
    for at in range(1, 20):
        command = [sys.executable, "-c", REPLACE, path, str(at), str(exchange)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if exchange:
            assert path.exists()
        sweep(tmp_path)
        assert {file.read_text() for file in path.iterdir()} in ({"old"}, {"new"})
        assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert at > 3
    assert (path / "more").read_text() == "new"


def test_a_folder_is_not_replaced_by_a_file_nor_a_file_by_a_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotWritten):
        write_bytes(tmp_path / "folder", b"new")
    with pytest.raises(NotADirectoryError), written_aside(tmp_path / "file") as aside:
        aside.mkdir()
    assert (tmp_path / "folder" / "mine").read_text() == (tmp_path / "file").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604])
def test_a_file_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    write_bytes(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_permissions_that_other_new_files_have(tmp_path):
    (tmp_path / "other").write_bytes(b"")
    write_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path):
    (tmp_path / "of others").write_bytes(b"theirs")
    (tmp_path / "file").symlink_to(tmp_path / "of others")
    write_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "of others").read_bytes() == b"theirs"
    assert not (tmp_path / "file").is_symlink()


def test_where_it_is_written_cannot_be_guessed_and_is_closed_to_others(tmp_path):
    seen = set()
    for _ in range(3):
        with written_aside(tmp_path / "file") as aside:
            aside.write_bytes(b"new")
            (private,) = [entry for entry in tmp_path.iterdir() if entry.name.startswith(".scrae-")]
            assert stat.S_IMODE(private.stat().st_mode) == 0o700
            seen.add(private.name)
    assert len(seen) == 3


def test_a_name_as_long_as_names_may_be_can_be_written(tmp_path):
    write_bytes(tmp_path / ("n" * 255), b"new")
    assert (tmp_path / ("n" * 255)).read_bytes() == b"new"


def test_what_dead_processes_left_is_swept_and_what_others_write_is_not(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    host = atomic._host()
    for name in (f"{host}-{process.pid}-dead", f"{host}-{os.getppid()}-alive", f"{'0' * 8}-{process.pid}-elsewhere"):
        (tmp_path / f".scrae-{name}" / atomic.NEW).mkdir(parents=True)
    (tmp_path / ".scrae.json").write_text("of the user")
    write_bytes(tmp_path / "file", b"new")
    assert {name.split("-")[-1] for name in os.listdir(tmp_path)} == {"alive", "elsewhere", ".scrae.json", "file"}


def test_what_could_not_be_written_is_told_to_other_processes(tmp_path):
    error = NotWritten(tmp_path / "file", OSError(28, "No space left on device"))
    found = pickle.loads(pickle.dumps(error))
    assert (type(found), str(found), found.errno, found.fields) == (NotWritten, str(error), 28, error.fields)
