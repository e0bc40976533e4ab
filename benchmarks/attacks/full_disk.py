"""A disk that fills up, at eleven places: a clear error, and what was there before is there still.

The disk is in memory and as small as is wanted. To mount one takes root.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import scrae
from attacks import models
from attacks.outcome import CRASH, FOREIGN, LOST, REFUSED, RIGHT, WRONG, Outcome, is_own
from attacks.processes import Child, Died
from scrae.data.files import cells_on_disk
from scrae.data.written_files import write_beside, write_whole
from scrae.model import folder

KB = 1024
FREE = (8 * KB, 40 * KB, 120 * KB)  # less than each of the places needs


def can_mount(place: Path) -> bool:
    """Whether this process may mount a disk."""
    try:
        with _disk(place):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextmanager
def _disk(place: Path, size: int = 4096 * KB) -> Iterator[Path]:
    disk = place / "disk"
    disk.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "scrae-attack", str(disk)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True, capture_output=True)


def _fill(disk: Path, free: int) -> None:
    """Leave about ``free`` bytes."""
    left = shutil.disk_usage(disk).free
    with open(disk / "filler", "wb") as file:
        file.write(bytes(max(0, left - free)))


class FullDisks:
    """Tries of :data:`PLACES`, in turn, with more and more room that is not enough."""

    def __init__(self, saved: Path) -> None:
        self.saved = saved
        self.adata = models.cells()
        self.one = models.facts(models.load(saved / "one"), self.adata)
        self.embedding = models.load(saved / "one").embed(self.adata)

    def attempt(self, number: int, place: Path) -> Outcome:
        """One place, full."""
        name = list(PLACES)[number % len(PLACES)]
        free = FREE[number // len(PLACES) % len(FREE)]
        prepare, act, kept = PLACES[name]
        what = f"{name}, {free // KB} kB free"
        with _disk(place) as disk:
            Child(lambda: prepare(self, disk)).answer()
            _fill(disk, free)
            found = self._ended(what, lambda: act(self, disk))
            (disk / "filler").unlink()
            try:
                fault = Child(lambda: kept(self, disk)).answer()
            except Exception as error:
                fault = f"{type(error).__name__}: {error}"
        return Outcome(LOST, f"{what}: {fault} ({found.said})") if fault else found

    def _ended(self, what: str, act: Callable[[], Any]) -> Outcome:
        try:
            said = Child(act).answer()
        except Died as error:
            return Outcome(CRASH, f"{what}: {error}")
        except Exception as error:
            kind = REFUSED if is_own(error) else FOREIGN
            return Outcome(kind, f"{what}: {type(error).__name__}: {error}")
        return said if isinstance(said, Outcome) else Outcome(RIGHT, f"{what}: there was room enough")


def _nothing(disks: FullDisks, disk: Path) -> None:
    pass


def _none_lost(disks: FullDisks, disk: Path) -> str | None:
    return None


def _a_model(disks: FullDisks, disk: Path) -> None:
    shutil.copytree(disks.saved / "one", disk / "model")


def _model_kept(disks: FullDisks, disk: Path) -> str | None:
    whole = models.facts(models.load(disk / "model"), disks.adata) == disks.one
    return None if whole else "the model of before is another"


def _save(disks: FullDisks, disk: Path) -> None:
    models.load(disks.saved / "other").save(disk / "model")


def _save_again(disks: FullDisks, disk: Path) -> str | None:
    """The one of before, or the new one where there was room."""
    found = models.load(disk / "model")
    return None if found.random_state or models.facts(found, disks.adata) == disks.one else "the model is another"


def _train(disks: FullDisks, disk: Path) -> Outcome | None:
    """The model may not be written; it is not lost, and the error says where it is.

    The disk was filled by others while it trained: before, there was room.
    """
    folder.refuse_without_room = _as_if_there_were  # type: ignore[assignment]
    model = scrae.SCRAE(**models.SETTINGS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of checkpoints
        try:
            model.fit(disks.adata, model_dir=disk / "new", checkpoint_seconds=0)
        except OSError as error:
            said = str(error)
            place = re.search(r"the trained model was put into '([^']+)'", said)
            if place is None:
                raise
            elsewhere = Path(place[1])
            same = np.array_equal(models.load(elsewhere).embed(disks.adata), disks.embedding)
            if not elsewhere.is_relative_to(disk):
                shutil.rmtree(elsewhere)
            return Outcome(REFUSED if same else WRONG, said)
    return None


def _cells(suffix: str) -> Callable[[FullDisks, Path], None]:
    def prepare(disks: FullDisks, disk: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            getattr(disks.adata, f"write_{suffix}")(disk / f"cells.{suffix}")

    return prepare


def _cells_kept(suffix: str) -> Callable[[FullDisks, Path], str | None]:
    def kept(disks: FullDisks, disk: Path) -> str | None:
        same = np.array_equal(cells_on_disk(disk / f"cells.{suffix}").X.toarray(), disks.adata.X.toarray())
        return None if same else "the input is another"

    return kept


def _write(suffix: str, beside: bool) -> Callable[[FullDisks, Path], None]:
    def act(disks: FullDisks, disk: Path) -> None:
        path = disk / f"cells.{suffix}"
        adata = cells_on_disk(path) if beside else disks.adata.copy()
        adata.obsm["X_scrae"] = np.zeros((adata.n_obs, 1000), dtype=np.float32)
        if beside:
            write_beside(path, adata, path)
        else:
            write_whole(adata, path)

    return act


def _temporary(disks: FullDisks, disk: Path) -> None:
    """Counts on disk are copied to where temporary files are."""
    import tempfile

    tempfile.tempdir = str(disk)
    large = disk.parent / "large.h5ad"
    adata = models.cells()[np.repeat(np.arange(60), 2000)].copy()
    adata.obs_names_make_unique()
    adata.write_h5ad(large)
    cells_on_disk(large)


def _as_if_there_were(*_: Any) -> None:
    pass


MEANWHILE = """
import sys
from scrae import cli
from scrae.data import written_files
written_files.refuse_without_room = lambda *_: None
sys.exit(cli.main())
"""


def _run_and_others_write(disks: FullDisks, disk: Path) -> Outcome:
    return _run(disks, disk, ["-c", MEANWHILE])


def _run(disks: FullDisks, disk: Path, scrae: Sequence[str] = ("-m", "scrae")) -> Outcome:
    """``scrae run`` in a process of its own, whose end is part of the try: the embedding is not lost."""
    source = disk.parent / "source.h5ad"
    disks.adata.write_h5ad(source)
    out = disk / "cells.h5ad"
    asked = [sys.executable, *scrae, "run", source, "--out", out, "--genes", "all", "--n-latent", "3"]
    asked += ["--max-epochs", "1", "--quiet"]
    environment = os.environ | {"TMPDIR": str(disk.parent)}
    done = subprocess.run(list(map(str, asked)), capture_output=True, text=True, check=False, env=environment)
    if done.returncode < 0:
        return Outcome(CRASH, f"it ended by signal {-done.returncode}: {done.stderr[-300:]}")
    if "Traceback" in done.stderr or done.returncode not in (0, 2):
        return Outcome(FOREIGN, done.stderr[-300:])
    if done.returncode == 0:
        return Outcome(RIGHT, "there was room enough")
    elsewhere = re.search(r"was put into '([^']+)'", done.stderr)
    if elsewhere is None and "there is no room" not in done.stderr and "could not write" not in done.stderr:
        return Outcome(LOST, done.stderr[-300:])
    return Outcome(REFUSED, done.stderr[-300:])


# What is there before, what is done when the disk is full, and what is wrong with what is left; None: nothing.
PLACES: dict[str, tuple[Callable[..., None], Callable[..., Any], Callable[..., str | None]]] = {
    "a model is saved": (_nothing, _save, _none_lost),
    "a model is saved over another": (_a_model, _save, _save_again),
    "a training saves its model": (_nothing, _train, _none_lost),
    "a training with a model of before": (_a_model, _train, _model_kept),
    "h5ad is written over its input": (_cells("h5ad"), _write("h5ad", False), _cells_kept("h5ad")),
    "zarr is written over its input": (_cells("zarr"), _write("zarr", False), _cells_kept("zarr")),
    "h5ad is written beside its counts": (_cells("h5ad"), _write("h5ad", True), _cells_kept("h5ad")),
    "zarr is written beside its counts": (_cells("zarr"), _write("zarr", True), _cells_kept("zarr")),
    "counts are copied to temporary files": (_nothing, _temporary, _none_lost),
    "scrae run writes its result": (_cells("h5ad"), _run, _cells_kept("h5ad")),
    "others fill the disk while scrae runs": (_cells("h5ad"), _run_and_others_write, _cells_kept("h5ad")),
}
