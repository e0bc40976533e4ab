"""SIGKILL at any time: while training with checkpoints, while saving, while results are written as h5ad and zarr.

What was there before is there still, or what was to come in its place, whole; and what comes next goes on from there.
"""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np

import scrae
from attacks import models
from attacks.outcome import FOREIGN, LOST, RIGHT, WRONG, Outcome, is_own
from attacks.processes import Child, Died
from scrae.data.files import cells_on_disk
from scrae.data.written_files import write_beside, write_whole

FORMATS = ("h5ad", "zarr")


class Kills:
    """Tries on copies of the models below ``saved``; nothing but children touches zarr, whose threads do not fork."""

    def __init__(self, saved: Path) -> None:
        self.saved = saved
        self.adata = models.cells()
        names = (*models.RESUMABLE, "batches")
        self.known = {name: models.facts(models.load(saved / name), self.adata) for name in names}
        # In a child, since a process that has trained cannot fork others that train (torch 2.6).
        self.whole = Child(
            lambda: scrae.SCRAE(**models.SETTINGS).fit(self.adata, max_epochs=models.MORE_EPOCHS).embed()
        ).answer()
        self.other = models.load(saved / "other").embed(self.adata)
        self.seconds: dict[str, float] = {}

    def attempt(self, rng: np.random.Generator, place: Path) -> Outcome:
        """One child, killed at one time, and what it leaves."""
        what = str(rng.choice(list(VICTIMS)))
        prepare, act, check = VICTIMS[what]
        prepare(self, place)
        if what not in self.seconds:  # how long it takes when nobody kills it
            shutil.copytree(place, place.with_name("unharmed"))
            started = time.monotonic()
            Child(lambda: act(self, place.with_name("unharmed"))).answer()
            self.seconds[what] = time.monotonic() - started
            shutil.rmtree(place.with_name("unharmed"))
        at = int(rng.integers(1, 25)) if rng.random() < 0.5 else None
        wait = float(rng.random() * self.seconds[what])
        while not self._killed(act, place, at, wait):  # it had ended before: sooner
            at, wait = None if at is None else at // 2, wait / 2
            shutil.rmtree(place)
            place.mkdir()
            prepare(self, place)
        said = f"{what}, killed {f'after {wait:.3f} s' if at is None else f'at its change number {at}'}"
        try:
            fault = Child(lambda: check(self, place)).answer()
        except Died as error:
            return Outcome(LOST, f"{said}: afterwards {error}")
        except Exception as error:
            return Outcome(LOST if is_own(error) else FOREIGN, f"{said}: {type(error).__name__}: {error}")
        return Outcome(RIGHT, said) if fault is None else Outcome(fault[0], f"{said}: {fault[1]}")

    def _killed(self, act: Callable[[Kills, Path], Any], place: Path, at: int | None, wait: float) -> bool:
        child = Child(lambda: act(self, place), at)
        if at is None:
            time.sleep(wait)
        else:
            os.waitid(os.P_PID, child.process, os.WEXITED | os.WNOWAIT)
        return child.kill()


Fault = tuple[str, str] | None


def _nothing(kills: Kills, place: Path) -> None:
    pass


def _train(kills: Kills, place: Path, **asked: Any) -> np.ndarray:
    model = scrae.SCRAE(**models.SETTINGS)
    fitted = model.fit(
        kills.adata, model_dir=place / "model", checkpoint_seconds=0, max_epochs=models.MORE_EPOCHS, **asked
    )
    return fitted.embed()


def _resumed(kills: Kills, place: Path) -> Fault:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the lock of a dead process is taken over
        embedding = _train(kills, place, resume=True)
    if not np.array_equal(embedding, kills.whole):
        return WRONG, "the resumed training ends elsewhere"
    if not np.array_equal(models.load(place / "model").embed(kills.adata), kills.whole):
        return WRONG, "the saved model is another"
    return _left_over(place / "model")


def _left_over(folder: Path) -> Fault:
    others = sorted(set(os.listdir(folder)) - set(models.FILES))
    return (WRONG, f"left over: {', '.join(others)}") if others else None


def _copy_one(kills: Kills, place: Path) -> None:
    shutil.copytree(kills.saved / "one", place / "model")


def _save(name: str) -> Callable[[Kills, Path], None]:
    def act(kills: Kills, place: Path) -> None:
        models.load(kills.saved / name).save(place / "model")

    return act


def _one_of(*names: str) -> Callable[[Kills, Path], Fault]:
    def check(kills: Kills, place: Path) -> Fault:
        if models.facts(models.load(place / "model"), kills.adata) not in [kills.known[name] for name in names]:
            return WRONG, "the model is none of the two"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            models.load(kills.saved / "one").save(place / "model")
        return _left_over(place / "model")

    return check


def _train_over(kills: Kills, place: Path) -> None:
    model = scrae.SCRAE(**models.SETTINGS, random_state=1)
    model.fit(kills.adata, model_dir=place / "model", overwrite=True, checkpoint_seconds=0)


def _trained_over(kills: Kills, place: Path) -> Fault:
    model = models.load(place / "model")  # the old one, a checkpoint of the new one, or the new one
    if model.random_state == 0:
        return None if models.facts(model, kills.adata) == kills.known["one"] else (WRONG, "the old model is another")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = scrae.SCRAE(**models.SETTINGS, random_state=1).fit(kills.adata, model_dir=place / "model", resume=True)
    same = np.array_equal(model.embed(), kills.other)
    return None if same else (WRONG, "the resumed training ends elsewhere")


def _cells_at(kills: Kills, place: Path, suffix: str) -> Path:
    path = place / f"cells.{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(kills.adata, f"write_{suffix}")(path)
    return path


def _write_first(suffix: str) -> Callable[[Kills, Path], None]:
    return lambda kills, place: Child(lambda: _cells_at(kills, place, suffix) and None).answer()


def _write(suffix: str, beside: bool) -> Callable[[Kills, Path], None]:
    """The result takes the place of its own input."""

    def act(kills: Kills, place: Path) -> None:
        path = place / f"cells.{suffix}"
        adata = cells_on_disk(path) if beside else kills.adata.copy()
        adata.obsm["X_scrae"] = kills.whole
        if beside:
            write_beside(path, adata, path)
        else:
            write_whole(adata, path)

    return act


def _written(suffix: str) -> Callable[[Kills, Path], Fault]:
    def check(kills: Kills, place: Path) -> Fault:
        path = place / f"cells.{suffix}"
        write = _write(suffix, True)
        found = getattr(anndata, f"read_{suffix}")(path)
        if not np.array_equal(found.X.toarray(), kills.adata.X.toarray()):
            return LOST, "the counts of the input are gone"
        if "X_scrae" in found.obsm and not np.array_equal(found.obsm["X_scrae"], kills.whole):
            return WRONG, "the embedding is another"
        write(kills, place)  # sweeps
        if not np.array_equal(getattr(anndata, f"read_{suffix}")(path).obsm["X_scrae"], kills.whole):
            return WRONG, "the next result is another"
        others = sorted(set(os.listdir(place)) - {path.name})
        return (WRONG, f"left over: {', '.join(others)}") if others else None

    return check


VICTIMS: dict[str, tuple[Callable[[Kills, Path], None], Callable[[Kills, Path], Any], Callable[[Kills, Path], Fault]]]
VICTIMS = {
    "training with checkpoints": (_nothing, _train, _resumed),
    "training over another model": (_copy_one, _train_over, _trained_over),
    "saving over another model": (_copy_one, _save("other"), _one_of("one", "other")),
    "saving a model without a state of training": (_copy_one, _save("batches"), _one_of("one", "batches")),
} | {
    f"writing {suffix}{' beside its counts' if beside else ''}": (
        _write_first(suffix),
        _write(suffix, beside),
        _written(suffix),
    )
    for suffix in FORMATS
    for beside in (False, True)
}
