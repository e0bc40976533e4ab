"""The folder of a model: safetensors and JSON, no pickle, one consistent set of files at any time.

``weights.safetensors`` and ``scrae.json`` are a finished model; ``training_state.safetensors`` is all that a resume
needs, with the model that training had come to. ``scrae.json`` lists the digests of the files that belong to it. What
a save writes waits under other names, with the number of the save, until that list is in place, and is looked for
there, too: so a save that is cut off leaves the set of before or the new one. A checkpoint is one file, and a set of
its own: it says which finished model it comes in place of, where that is of another training.

Format 2, of development versions before 0.1.0, had no digests and kept the read-out among the weights in training; it
is still read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from scrae._errors import Coded, Refusal, UnknownName
from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.autoencoder.settings import Settings
from scrae.compute.atomic import NotWritten, refuse_unwritable, refuse_without_room, sweep, write_bytes
from scrae.data.covariates import CovariateCoding, Covariates
from scrae.data.links import Links
from scrae.data.on_disk import blocks
from scrae.model.fitted import FittedModel
from scrae.model.lock import LOCK, one_writer
from scrae.model.stored import (
    FORMAT_VERSION,
    ModelFolderError,
    Stored,
    check_digest,
    damaged,
    packed,
    packed_description,
    read_text,
    unpacked,
    unpacked_description,
)
from scrae.posthoc.cell_types import CellTypes
from scrae.posthoc.population import Population
from scrae.posthoc.readout import Readout
from scrae.training.loop import below

DESCRIPTION = "scrae.json"
WEIGHTS = "weights.safetensors"
STATE = "training_state.safetensors"
READOUT, FINISHED = "readout.", "finished."  # of names of tensors: the read-out's, and in a state the finished model's
WAITING = re.compile(rf"\.({re.escape(WEIGHTS)}|{re.escape(STATE)})\.[0-9a-f]{{32}}|{re.escape(LOCK)}\.[0-9a-f]{{32}}")
MOVES = 4  # as often a reader can be passed by what one save moves into place
TRIES = 50  # to read a folder that is written into all the time
UNUSABLE = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError, RuntimeError)
"""What descriptions and tensors of the right kind, but without sense, come to where a model is made of them."""


class NotAFolder(Coded, NotADirectoryError):
    """A file stands where the model's folder should be."""

    reason = "it is a file"  # as NotWritten has one


# -- writing --------------------------------------------------------------------------------------------------------


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
    if _identity_of(read_description(path)) != training:
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
                write_bytes(_waiting(path, name, description), content, path / name)
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
        waiting = {name: _waiting(path, name, description) for name in description["files"]}
    except (ModelFolderError, ValueError, TypeError, KeyError, RecursionError):
        waiting = {}
    for name in (WEIGHTS, STATE):
        if name in waiting and waiting[name].is_file():
            waiting[name].replace(path / name)
    for entry in path.iterdir():
        if WAITING.fullmatch(entry.name) and not entry.is_dir():  # a folder is nothing that a save has left
            entry.unlink(missing_ok=True)


def _waiting(path: Path, name: str, description: Mapping[str, Any]) -> Path:
    """Where a file of a save is until the list of files is in place; in the folder, whatever the list says."""
    return path / f".{name}.{re.sub('[^0-9a-f]', '', str(description.get('save_id')))}"


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
        "fingerprint": model.fingerprint,
        "population": model.population.description(),
        "summary": dict(model.summary),
        "history": [dict(row) for row in model.history],
        "cell_types": None if model.cell_types is None else model.cell_types.description(),
    }


def training_id(description: Mapping[str, Any]) -> str:
    """What tells trainings apart: their data, settings and seed. To go on for more epochs is the same training."""
    if "training_id" in description:
        return str(description["training_id"])
    return _identity_of(description)  # of format 2


def _identity_of(description: Mapping[str, Any]) -> str:
    """The same as it is today: settings that have come since have their defaults."""
    return identity(description["fingerprint"], Settings(**description["settings"]), description["random_state"])


def identity(fingerprint: str, settings: Settings, random_state: int) -> str:
    """What tells trainings apart, of its parts."""
    parts = [fingerprint, asdict(settings) | {"max_epochs": None}, random_state]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def _folder(folder: str | os.PathLike[str]) -> Path:
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise NotAFolder(f"{str(path)!r} is a file; a model is saved as a folder", "no_folder", path=str(path))
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotWritten(path, error) from error
    return path


# -- reading --------------------------------------------------------------------------------------------------------


class _Set(NamedTuple):
    """What belongs together in a folder, and the file that says so."""

    description: dict[str, Any]
    place: Path
    tensors: dict[str, Tensor]
    state: dict[str, Tensor] | None


def load_model(folder: str | os.PathLike[str], device: torch.device) -> FittedModel:
    """The model in ``folder``; one that can be resumed where there is a training state.

    Raises
    ------
    FileNotFoundError
        No such folder, or no model in it.
    ModelFolderError
        Another format version, a damaged file, or files that do not belong together.
    """
    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"there is no model folder {str(path)!r}")
    return _model(_read(path), device)


def load_state(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Description and training state in ``folder``; None where there is none."""
    path = Path(folder)
    if not any(os.path.lexists(path / name) for name in (DESCRIPTION, WEIGHTS, STATE)):
        return None
    found = _read(path)
    _model(found, torch.device("cpu"))  # refuses what does not fit
    return None if found.state is None else (found.description, found.state)


def read_description(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The description of a model alone: ``scrae.json``, or the copy in the weights or the training state."""
    found = _read(Path(folder))
    _check_digest(found)
    return found.description


def _read(path: Path) -> _Set:
    """One consistent set of files, also while somebody saves: then it is read again."""
    failures = 0  # since the list of files was another one
    for _ in range(TRIES):
        listed = _list_of_files(path)
        try:
            return _belonging(path, listed)
        except (ModelFolderError, FileNotFoundError):
            failures = failures + 1 if _list_of_files(path) == listed else 0
            if failures > MOVES:
                raise
    raise damaged(path / DESCRIPTION, "it is written all the time")


def _list_of_files(path: Path) -> bytes | None:
    return read_text(path / DESCRIPTION) if os.path.lexists(path / DESCRIPTION) else None


def _belonging(path: Path, listed: bytes | None) -> _Set:
    """The files that belong together; ``listed`` is the text of ``scrae.json``."""
    state = unpacked(path / STATE) if os.path.lexists(path / STATE) else None
    place = path / DESCRIPTION
    if listed is not None:
        description = unpacked_description(place, listed)
        superseded = description.get("save_id")
    elif os.path.lexists(path / WEIGHTS):
        place = path / WEIGHTS
        description = unpacked(place).description
        superseded = description.get("save_id")
    elif state is not None:
        return _of_state(state, path)
    else:
        raise FileNotFoundError(f"{str(path)!r} holds no scRAE model: {WEIGHTS} is missing")
    if state is not None and superseded is not None and state.description.get("supersedes") == superseded:
        return _of_state(state, path)
    if description["format_version"] > 2 and listed is not None:
        weights = _listed(path, WEIGHTS, description)
        if STATE in description.get("files", {}) and os.path.lexists(_waiting(path, STATE, description)):
            state = _listed(path, STATE, description)
    else:
        weights = unpacked(path / WEIGHTS)
        if weights.description.get("save_id") != description.get("save_id"):  # format 2, cut off between the two
            description, place = weights.description, path / WEIGHTS
    if state is not None and _training(path / STATE, state.description) != _training(place, description):
        raise _of_another(path / STATE)
    return _Set(description, place, weights.tensors, None if state is None else _of_training(state))


def _listed(path: Path, name: str, description: dict[str, Any]) -> Stored:
    """The file that the list means: in its place, or waiting for it."""
    expected = description.get("files", {}).get(name)
    waiting = _waiting(path, name, description)
    if os.path.lexists(waiting):
        found = unpacked(waiting)
        if found.digest == expected:
            return found
    found = unpacked(path / name)
    if found.digest != expected or expected is None:
        raise _of_another(path / name)
    return found


def _of_state(state: Stored, path: Path) -> _Set:
    """A checkpoint alone: training was killed before it could save."""
    tensors = _of_format_3(state)
    return _Set(state.description, path / STATE, below(FINISHED, tensors), _of_training(state))


def _of_format_3(state: Stored) -> dict[str, Tensor]:
    return state.tensors if state.description["format_version"] > 2 else _without_readout(state.tensors)


def _of_training(state: Stored) -> dict[str, Tensor]:
    return {name: value for name, value in _of_format_3(state).items() if not name.startswith(FINISHED)}


def _training(place: Path, description: dict[str, Any]) -> str:
    try:
        return training_id(description)
    except (Refusal, UnknownName, *UNUSABLE) as error:
        raise damaged(place, error) from error


def _of_another(path: Path) -> ModelFolderError:
    return ModelFolderError(
        f"{path} does not belong to the other files of its folder: it is of another training or another save. Copy the "
        "whole folder again, save the model again, or train it anew.",
        "file_of_another_model",
        file=path.name,
    )


def _without_readout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state of format 2, where the read-out was a part of the network, as one of format 3."""
    kinds = (FINISHED, "best.", "model.")  # the first is only of checkpoints, the second where cells are held out
    kind = next((kind for kind in kinds if any(name.startswith(kind) for name in state)), FINISHED)
    finished = {FINISHED + name: value for name, value in below(kind, state).items()}
    of_readout = ("model." + READOUT, "best." + READOUT)
    return {name: value for name, value in state.items() if not name.startswith(of_readout)} | finished


def _model(found: _Set, device: torch.device) -> FittedModel:
    """The model that a set of files is; refused before anything as large as it says is made."""
    description, place = found.description, found.place
    readout = below(READOUT, found.tensors)
    weights = {name: value for name, value in found.tensors.items() if not name.startswith(READOUT)}
    try:
        settings = Settings(**description["settings"])
        scales = description.get("covariate_scales", {})  # absent before 0.1.0 had them
        coding = CovariateCoding(description["covariate_levels"], description["batch_key"], scales)
        sizes = settings, description["n_genes"], coding.width, coding.n_batches
        with torch.device("meta"):  # takes no memory
            shapes = RegularisedAutoencoder(*sizes)
        population = Population.from_description(description["population"])
        types = description.get("cell_types")  # absent before 0.1.0 had them
        cell_types = CellTypes.from_description(types) if types else None
    except (Refusal, UnknownName, *UNUSABLE) as error:
        raise damaged(place, error) from error
    try:
        shapes.load_state_dict({name: value.to("meta") for name, value in weights.items()})
        module = RegularisedAutoencoder(*sizes)
        module.load_state_dict(weights)
        fitted_readout = Readout.from_tensors(readout).to(device) if readout else None
    except UNUSABLE as error:
        raise ModelFolderError(
            f"the weights in {str(place.parent)!r} do not fit the settings in its {DESCRIPTION}: {error}",
            "weights_do_not_fit",
        ) from error
    _check_digest(found)
    for name, value in found.tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise damaged(place.with_name(WEIGHTS), f"{name} holds numbers that are not finite")
    if found.state is not None:
        _check_state(found.state, shapes, place.with_name(STATE))
    return FittedModel(
        description["preset"],
        description["random_state"],
        module.to(device).eval(),
        None if description["genes"] is None else np.array(description["genes"], dtype=object),
        coding,
        population,
        fitted_readout,
        description["summary"],
        description["history"],
        description["fingerprint"],
        cell_types,
        training_state=found.state,
    )


def _check_digest(found: _Set) -> None:
    """Of ``scrae.json``; files of tensors are never read without."""
    if found.place.name == DESCRIPTION:
        check_digest(found.place, found.description)


def _check_state(state: Mapping[str, Tensor], shapes: RegularisedAutoencoder, place: Path) -> None:
    """Refuse a training state that training could not go on from."""
    if "random_state" not in state or "progress" not in state:
        raise damaged(place, "the random state or the progress is missing")
    try:
        shapes.load_state_dict({name: value.to("meta") for name, value in below("model.", state).items()})
        json.loads(bytes(state["progress"].tolist()))
    except UNUSABLE as error:
        raise damaged(place, error) from error


def fingerprint(counts: sp.csr_array, covariates: Covariates, links: Links) -> str:
    """A digest of the training data, to resume on the same and nothing else."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((counts.shape, covariates.levels)).encode())
    digest.update(counts.indptr.astype(np.int64).data)
    for block in blocks(counts):
        digest.update(block.indices.astype(np.int64).data)
    for part in (counts.data, covariates.codes, covariates.values, *((links.must, links.cannot) if links else ())):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()
