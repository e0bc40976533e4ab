"""Damaged folders of models: bits, ends, files of two trainings, JSON, and what is no regular file.

A folder that was not signed anew gives the model that was saved, or is refused. One that was changed and signed as if
that were what had been saved has to be refused or to be a model.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import scrae
from attacks import models
from attacks.outcome import Lost, Outcome, outcome
from scrae import cli
from scrae.model.lock import LOCK
from scrae.model.stored import packed, packed_description, unpacked

DESCRIPTION, WEIGHTS, STATE = models.FILES
VALUES: list[Any] = [None, True, 0, -1, 1, 3, 2**31, 2**63, 1e308, 0.5, "", "x", "../../x", [], [1], {}, {"x": 1}]
VALUES += [float("nan"), float("inf"), 10**40, "\ud800", [[]] * 3, 10**9]
Damage = Callable[[np.random.Generator, Path, Path], str]


class Folders:
    """Tries on copies of the models below ``saved``."""

    def __init__(self, saved: Path) -> None:
        self.saved = saved
        self.adata = models.cells()
        self.known = {name: models.facts(models.load(saved / name), self.adata) for name in models.NAMES}
        self.resumed = {}
        for name in models.RESUMABLE:
            model = models.load(saved / name).fit(self.adata, max_epochs=models.MORE_EPOCHS, resume=True)
            self.resumed[name] = model.embed()

    def attempt(self, rng: np.random.Generator, place: Path) -> Outcome:
        """One damaged folder, made at ``place``, and one thing that is asked of it."""
        name = str(rng.choice(models.NAMES, p=[0.35, 0.15, 0.1, 0.2, 0.1, 0.1]))
        folder = place / "model"
        shutil.copytree(self.saved / name, folder)
        kind = str(rng.choice(list(DAMAGE), p=SHARES))
        how = DAMAGE[kind](rng, folder, self.saved)
        asked = str(rng.choice(["load", "resume", "info", "save"], p=[0.7, 0.15, 0.1, 0.05]))
        if kind == "signed" and asked == "resume":
            asked = "load"
        what = f"{name}, {how} ({asked})"
        signed = kind == "signed"
        if asked == "resume" and name in models.RESUMABLE:
            return outcome(what, lambda: self._resumed(name, folder), lambda e: np.array_equal(e, self.resumed[name]))
        if asked == "info":
            return outcome(what, lambda: self._kept(folder, lambda: _info(folder)), lambda found: "epochs" in found)
        if asked == "save":
            return outcome(what, lambda: self._saved_over(folder), lambda facts: facts == self.known["other"])
        return outcome(
            what,
            lambda: self._kept(folder, lambda: models.facts(models.load(folder), self.adata)),
            lambda facts: signed or facts in self._right(kind, name),
        )

    def _right(self, kind: str, name: str) -> list[Any]:
        """What may come of it: where files of several models are mixed, any of the models, but whole."""
        return list(self.known.values()) if kind == "swap" else [self.known[name]]

    def _kept(self, folder: Path, act: Callable[[], Any]) -> Any:
        before = _contents(folder)
        try:
            return act()
        finally:
            if _contents(folder) != before:
                raise Lost("to read a folder changed it")

    def _resumed(self, name: str, folder: Path) -> np.ndarray:
        model = scrae.SCRAE(**models.SETTINGS, random_state=models.RESUMABLE.index(name))
        return model.fit(self.adata, model_dir=folder, max_epochs=models.MORE_EPOCHS, resume=True).embed()

    def _saved_over(self, folder: Path) -> list[Any]:
        models.load(self.saved / "other").save(folder)
        return models.facts(models.load(folder), self.adata)


def _info(folder: Path) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        options = cli.parser().parse_args(["info", str(folder)])
        options.command(options)
    return said.getvalue()


def _contents(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in sorted(folder.iterdir()):
        status = entry.lstat()
        small = entry.is_file() and not entry.is_symlink() and status.st_size < 2**24
        found[entry.name] = entry.read_bytes() if small else (status.st_mode, status.st_size)
    return found


# -- damage ---------------------------------------------------------------------------------------------------------


def _some(rng: np.random.Generator, folder: Path) -> Path:
    return folder / str(rng.choice(sorted(os.listdir(folder))))


def bits(rng: np.random.Generator, folder: Path, saved: Path) -> str:
    """Flip bits, now and then in the header of tensors alone."""
    path = _some(rng, folder)
    content = bytearray(path.read_bytes())
    length = int(rng.choice([len(content), min(len(content), 9000)]))
    for place in rng.integers(length, size=int(rng.choice([1, 1, 1, 8]))):
        content[place] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)
    return f"{path.name} with flipped bits"


def ends(rng: np.random.Generator, folder: Path, saved: Path) -> str:
    """Cut, lengthen, or leave zeros, as a machine that lost its power does."""
    path = _some(rng, folder)
    content = bytearray(path.read_bytes())
    how, at = str(rng.choice(["cut", "longer", "zeros", "empty"])), int(rng.integers(len(content)))
    if how == "cut":
        del content[at:]
    elif how == "longer":
        content += rng.bytes(int(rng.integers(1, 100)))
    elif how == "zeros":
        content[at:] = bytes(len(content) - at)
    else:
        content.clear()
    path.write_bytes(content)
    return f"{path.name} {how}"


def swap(rng: np.random.Generator, folder: Path, saved: Path) -> str:
    """Files of another training, or of another save of the same one."""
    other = saved / str(rng.choice(models.NAMES))
    names = [name for name in models.FILES if rng.random() < 0.5]
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(other / name, folder / name)
    return f"{', '.join(names) or 'nothing'} of {other.name}"


def without(rng: np.random.Generator, folder: Path, saved: Path) -> str:
    """Delete a file, or give it another's name."""
    path = _some(rng, folder)
    if rng.random() < 0.6:
        path.unlink()
        return f"without {path.name}"
    target = folder / str(rng.choice([*models.FILES, ".weights.safetensors." + "0" * 32, LOCK]))
    path.replace(target)
    return f"{path.name} as {target.name}"


def text(rng: np.random.Generator, folder: Path, saved: Path) -> str:
    """Change the description, without a new digest."""
    path = folder / DESCRIPTION
    if not path.exists():
        return "nothing"
    description = json.loads(path.read_text())
    how = _changed(rng, description)
    path.write_text(json.dumps(description))
    return how


def signed(rng: np.random.Generator, folder: Path, saved: Path) -> str:
    """Change description or tensors and sign the result, as only somebody who means to can."""
    if (folder / DESCRIPTION).exists() and rng.random() < 0.6:
        description = json.loads((folder / DESCRIPTION).read_text())
        del description["digest"]
        how = _changed(rng, description)
        (folder / DESCRIPTION).write_bytes(packed_description(description))
        return f"signed {how}"
    name = str(rng.choice([name for name in models.FILES[1:] if (folder / name).exists()]))
    stored = unpacked(folder / name)
    tensors, description = dict(stored.tensors), dict(stored.description)
    how = _changed_tensors(rng, tensors) if rng.random() < 0.7 else _changed(rng, description)
    for other in models.FILES:
        (folder / other).unlink(missing_ok=True)
    with contextlib.suppress(Exception):  # what cannot be packed is not there
        (folder / name).write_bytes(packed(tensors, description)[0])
    return f"signed {name}, {how}"


def _changed(rng: np.random.Generator, description: dict[str, Any]) -> str:
    """Replace, delete or add something at a random depth."""
    at: Any = description
    said = []
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return "nothing"
        key = keys[rng.integers(len(keys))]
        said.append(str(key))
        if isinstance(at[key], dict | list) and at[key] and rng.random() < 0.7:
            at = at[key]
            continue
        how = str(rng.choice(["replace", "replace", "replace", "delete", "add"]))
        value = VALUES[rng.integers(len(VALUES))]
        if how == "replace":
            at[key] = value
        elif how == "delete":
            del at[key]
        elif isinstance(at, dict):
            at["x"] = value
        else:
            at.append(value)
        return f"{how} {'.'.join(said)} ({str(value)[:30]!r})"


def _changed_tensors(rng: np.random.Generator, tensors: dict[str, Any]) -> str:
    name = sorted(tensors)[rng.integers(len(tensors))]
    value = tensors[name]
    how = str(rng.choice(["without", "flat", "wider", "not a number", "type", "empty", "another", "whole"]))
    if how == "without":
        del tensors[name]
    elif how == "flat":
        tensors[name] = value.reshape(-1)
    elif how == "wider":
        tensors[name] = torch.cat([value.reshape(-1), value.reshape(-1)])
    elif how == "not a number" and value.is_floating_point():
        tensors[name] = torch.full_like(value, float(rng.choice([np.nan, np.inf])))
    elif how == "type":
        tensors[name] = value.to([torch.float64, torch.float16, torch.int64, torch.bool][rng.integers(4)])
    elif how == "empty":
        tensors[name] = value.reshape(-1)[:0].clone()
    elif how == "another":
        tensors["x." + name] = value.clone()
    elif how == "whole" and not value.is_floating_point():
        tensors[name] = torch.randint(-(2**31), 2**31, value.shape).to(value.dtype)
    return f"{name} {how}"


def special(rng: np.random.Generator, folder: Path, saved: Path) -> str:
    """What is no regular file, or a file that nobody asked for."""
    name = str(rng.choice([*models.FILES, LOCK, ".weights.safetensors." + "a" * 32]))
    path = folder / name
    path.unlink(missing_ok=True)
    how = str(rng.choice(["FIFO", "zero", "null", "itself", "nothing", "folder", "sparse", "noise"]))
    if how == "FIFO":
        os.mkfifo(path)
    elif how in ("zero", "null", "itself", "nothing"):
        path.symlink_to({"zero": "/dev/zero", "null": "/dev/null", "itself": name, "nothing": "nothing"}[how])
    elif how == "folder":
        path.mkdir()
    elif how == "sparse":
        with open(path, "wb") as file:
            file.write((100).to_bytes(8, "little"))
            file.truncate(2**40)
    else:
        path.write_bytes(rng.bytes(300))
    return f"{name} is {how}"


DAMAGE: dict[str, Damage] = {
    "bits": bits,
    "ends": ends,
    "swap": swap,
    "without": without,
    "text": text,
    "signed": signed,
    "special": special,
}
SHARES = [0.25, 0.15, 0.15, 0.05, 0.15, 0.15, 0.1]
