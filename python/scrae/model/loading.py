"""The model in a folder, as one consistent set of files, also while somebody saves (:mod:`scrae.model.folder`)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from scrae._errors import Refusal, UnknownName
from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.autoencoder.settings import Settings
from scrae.data.covariates import CovariateCoding
from scrae.model.fitted import FittedModel
from scrae.model.identity import training_id
from scrae.model.stored import (
    DESCRIPTION,
    FINISHED,
    READOUT,
    STATE,
    WEIGHTS,
    ModelFolderError,
    Stored,
    check_digest,
    damaged,
    read_text,
    unpacked,
    unpacked_description,
    waiting_place,
)
from scrae.posthoc.cell_types import CellTypes
from scrae.posthoc.population import Population
from scrae.posthoc.readout import Readout
from scrae.training.loop import below

MOVES = 4  # as often a reader can be passed by what one save moves into place
TRIES = 50  # to read a folder that is written into all the time
UNUSABLE = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError, RuntimeError)
"""What descriptions and tensors of the right kind, but without sense, come to where a model is made of them."""


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
        if STATE in description.get("files", {}) and os.path.lexists(waiting_place(path, STATE, description)):
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
    waiting = waiting_place(path, name, description)
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
        kept = [tuple(description.get(name, ())) for name in ("keep", "kept_groups")]
        coding = CovariateCoding(description["covariate_levels"], description["batch_key"], scales, *kept)
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
