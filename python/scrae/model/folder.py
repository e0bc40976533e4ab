"""The folder of a model, written: safetensors and JSON, no pickle, one consistent set of files at any time.

``weights.safetensors`` and ``scrae.json`` are a finished model; ``training_state.safetensors`` is all that a resume
needs, with the model that training had come to. ``scrae.json`` lists the digests of the files that belong to it. What
a save writes waits under other names, with the number of the save, until that list is in place, and is looked for
there, too: so a save that is cut off leaves the set of before or the new one. A checkpoint is one file, and a set of
its own: it says which finished model it comes in place of, where that is of another training.

Format 2, of development versions before 0.1.0, had no digests and kept the read-out among the weights in training; it
is still read (:mod:`scrae.model.loading`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from scrae._errors import Coded, Refusal
from scrae.compute.atomic import NotWritten, refuse_unwritable, refuse_without_room, sweep, write_bytes
from scrae.model.fitted import FittedModel
from scrae.model.identity import identity, identity_of, training_id
from scrae.model.loading import read_description
from scrae.model.lock import LOCK, one_writer
from scrae.model.stored import (
    DESCRIPTION,
    FINISHED,
    FORMAT_VERSION,
    READOUT,
    STATE,
    WEIGHTS,
    ModelFolderError,
    packed,
    packed_description,
    read_text,
    unpacked,
    unpacked_description,
    waiting_place,
)

WAITING = re.compile(rf"\.({re.escape(WEIGHTS)}|{re.escape(STATE)})\.[0-9a-f]{{32}}|{re.escape(LOCK)}\.[0-9a-f]{{32}}")


class NotAFolder(Coded, NotADirectoryError):
    """A file stands where the model's folder should be."""

    reason = "it is a file"  # as NotWritten has one


@contextmanager
def kept_for_training(folder: str | os.PathLike[str] | None) -> Iterator[None]:
    """Keep a folder for one training, so that one that cannot be written shows before it starts; None: nothing to do.

    Raises
    ------
    scrae.ModelFolderError
        Another process writes there.
    OSError
        Nothing can be written there.
    """
    if folder is None:
        yield
        return
    is_new = not os.path.lexists(folder)
    path = _folder(folder)
    try:
        with one_writer(path):
            refuse_unwritable(path)
            yield
    finally:
        if is_new:
            with suppress(OSError):
                path.rmdir()  # there was nothing to keep


def refuse_another(folder: str | os.PathLike[str], training: str) -> None:
    """Refuse to replace the finished model of another training than the one with this :func:`identity`."""
    path = Path(folder)
    if not any(os.path.lexists(path / name) for name in (DESCRIPTION, WEIGHTS)):
        return
    if identity_of(read_description(path)) != training:
        raise Refusal(
            f"{str(path)!r} holds a model that was trained on other data or with other settings; choose another "
            "folder, or replace that model with overwrite=True (--overwrite on the command line)",
            "another_model",
            path=str(path),
        )


def refuse_full(folder: str | os.PathLike[str], weights: int, training_state: int, *, another: bool) -> None:
    """Refuse to train for a folder that has no room for what will be written: checkpoints, then the trained model.

    A checkpoint stays until the trained model with its own training state is whole. What is replaced sooner makes room.

    Parameters
    ----------
    folder
        Of the model; it exists.
    weights, training_state
        Bytes of the two (:meth:`scrae.model.fitting.Fitting.sizes`).
    another
        Whether the finished model in the folder may be that of another training, which goes with the first checkpoint.
    """
    path = Path(folder)
    replaced = (STATE, WEIGHTS) if another else (STATE,)
    freed = sum((path / name).stat().st_size for name in replaced if (path / name).is_file())
    checkpoint = weights + training_state  # it holds the model that training has come to
    refuse_without_room(path, max(checkpoint, weights + 2 * checkpoint - freed))


def save_model(folder: str | os.PathLike[str], model: FittedModel) -> None:
    """Write a model into ``folder``, made where it is missing; with its training state, where it has one.

    Raises
    ------
    OSError
        A file could not be written (a full disk, say); what was in the folder before is still whole.
    """
    path = _folder(folder)
    with one_writer(path):
        _tidy(path)
        description = _description(model) | {"save_id": uuid.uuid4().hex}
        tensors = {WEIGHTS: _tensors(model)} | ({} if model.training_state is None else {STATE: _state(model)})
        digests = {}
        try:
            for name in tensors:
                content, digests[name] = packed(tensors[name], description)
                write_bytes(waiting_place(path, name, description), content, path / name)
            if STATE not in tensors:
                (path / STATE).unlink(missing_ok=True)  # it would be that of another model
            write_bytes(path / DESCRIPTION, packed_description(description | {"files": digests}))
        finally:
            _tidy(path)


def save_trained(folder: str | os.PathLike[str], model: FittedModel) -> None:
    """:func:`save_model` of what a training has come to: where that fails, it is put elsewhere, so that it is not lost.

    Elsewhere is beside ``folder``, or where temporary files are; without its training state where that has no room.

    Raises
    ------
    OSError
        The model is not in ``folder``; the message says where it is.
    """
    try:
        save_model(folder, model)
    except OSError as error:
        path = Path(folder)
        place = _saved_elsewhere(path, model)
        if place is None:
            raise
        reason = getattr(error, "reason", None) or error.strerror or str(error)
        raise PutElsewhere(
            f"could not write {str(path)!r}: {reason}; the trained model was put into {str(place)!r} instead, which "
            "scrae.SCRAE.load reads",
            "model_put_elsewhere",
            path=str(path),
            reason=reason,
            place=str(place),
        ) from error


class PutElsewhere(Coded, OSError):
    """A trained model could not be saved where it was asked for, and is somewhere else."""


def _saved_elsewhere(path: Path, model: FittedModel) -> Path | None:
    for parent in (path.parent, Path(tempfile.gettempdir())):
        for saved in (model, replace(model, training_state=None)):
            place = None
            try:
                place = Path(tempfile.mkdtemp(prefix=f"{path.name[:100]}-", dir=parent))
                save_model(place, saved)
            except OSError:
                if place is not None:
                    shutil.rmtree(place, ignore_errors=True)
            else:
                return place
    return None


def save_checkpoint(folder: str | os.PathLike[str], model: FittedModel) -> None:
    """Write the training state of a model and what training has come to into ``folder``, as one file.

    The finished model of another training that may be there is deleted once that file is in place.
    """
    path = _folder(folder)
    with one_writer(path):
        _tidy(path)
        description = _description(model)
        before = _finished(path)
        another = before is not None and training_id(before) != description["training_id"]
        if before is not None and another and "save_id" in before:
            description["supersedes"] = before["save_id"]
        write_bytes(path / STATE, packed(_state(model), description)[0])
        if another:
            for name in (DESCRIPTION, WEIGHTS):
                (path / name).unlink(missing_ok=True)


def _finished(path: Path) -> dict[str, Any] | None:
    """How the finished model in a folder describes itself; None: there is none, or a damaged one, which is deleted."""
    try:
        if os.path.lexists(path / DESCRIPTION):
            return unpacked_description(path / DESCRIPTION, read_text(path / DESCRIPTION))
        if os.path.lexists(path / WEIGHTS):
            return unpacked(path / WEIGHTS).description
    except ModelFolderError:
        for name in (DESCRIPTION, WEIGHTS):
            (path / name).unlink(missing_ok=True)
    return None


def _tidy(path: Path) -> None:
    """Finish a save that was cut off when its list of files was in place, and delete what others have left."""
    sweep(path)
    try:
        description = json.loads(read_text(path / DESCRIPTION))
        waiting = {name: waiting_place(path, name, description) for name in description["files"]}
    except (ModelFolderError, ValueError, TypeError, KeyError, RecursionError):
        waiting = {}
    for name in (WEIGHTS, STATE):
        if name in waiting and waiting[name].is_file():
            waiting[name].replace(path / name)
    for entry in path.iterdir():
        if WAITING.fullmatch(entry.name) and not entry.is_dir():  # a folder is nothing that a save has left
            entry.unlink(missing_ok=True)


def _state(model: FittedModel) -> dict[str, Tensor]:
    finished = {FINISHED + name: value for name, value in _tensors(model).items()}
    return {name: value.clone() for name, value in finished.items()} | dict(model.training_state or {})


def _tensors(model: FittedModel) -> dict[str, Tensor]:
    readout = {} if model.readout is None else model.readout.tensors()
    return model.module.state_dict() | {READOUT + name: value for name, value in readout.items()}


def _description(model: FittedModel) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "training_id": identity(model.fingerprint, model.settings, model.random_state),
        "preset": model.preset,
        "settings": asdict(model.settings),
        "random_state": model.random_state,
        "n_genes": model.n_genes,
        "genes": None if model.genes is None else [str(name) for name in model.genes],
        "covariate_levels": dict(model.coding.levels),
        "covariate_scales": dict(model.coding.scales),
        "batch_key": model.coding.batch_key,
        "keep": list(model.coding.keep),
        "kept_groups": list(model.coding.kept_groups),
        "fingerprint": model.fingerprint,
        "population": model.population.description(),
        "summary": dict(model.summary),
        "history": [dict(row) for row in model.history],
        "cell_types": None if model.cell_types is None else model.cell_types.description(),
    }


def _folder(folder: str | os.PathLike[str]) -> Path:
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise NotAFolder(f"{str(path)!r} is a file; a model is saved as a folder", "no_folder", path=str(path))
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotWritten(path, error) from error
    return path
