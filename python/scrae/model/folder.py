"""The folder of a model: safetensors and JSON, no pickle, each file whole or absent.

``weights.safetensors`` and ``scrae.json`` are a finished model; ``training_state.safetensors`` is all that a resume
needs, with the model that training had come to. Each is written aside and moved into place. The weights carry a copy of
the JSON in their header, so that a save that was cut off between the two files still loads as one consistent model.

Format 2, of development versions before 0.1.0, kept the read-out among the weights in training; it is still read.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import scipy.sparse as sp
import torch
from torch import Tensor

from scrae._errors import Coded, Refusal
from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.autoencoder.settings import Settings
from scrae.compute.atomic import NotWritten, write_bytes
from scrae.data.covariates import CovariateCoding, Covariates
from scrae.data.on_disk import blocks
from scrae.model.fitted import FittedModel
from scrae.posthoc.cell_types import CellTypes
from scrae.posthoc.population import Population
from scrae.posthoc.readout import Readout
from scrae.training.loop import below

FORMAT_VERSION = 3
READ_VERSIONS = (2, 3)
DESCRIPTION = "scrae.json"
WEIGHTS = "weights.safetensors"
STATE = "training_state.safetensors"
READOUT, FINISHED = "readout.", "finished."  # of names of tensors: the read-out's, and in a state the finished model's


class ModelFolderError(Refusal):
    """The folder is not a model that this version of scrae can read."""


class NotAFolder(Coded, NotADirectoryError):
    """A file stands where the model's folder should be."""

    reason = "it is a file"  # as NotWritten has one


# -- writing --------------------------------------------------------------------------------------------------------


def save_model(folder: str | os.PathLike[str], model: FittedModel) -> None:
    """Write a model into ``folder``, made where it is missing; with its training state, where it has one.

    Raises
    ------
    OSError
        A file could not be written (a full disk, say); what was in the folder before is still whole.
    """
    if model.training_state is not None:
        save_checkpoint(folder, model)
    text = _json(_description(model) | {"save_id": uuid.uuid4().hex})
    path = _folder(folder)
    write_bytes(path / WEIGHTS, safetensors.torch.save(_tensors(model), {"scrae": text}))
    write_bytes(path / DESCRIPTION, text.encode())


def save_checkpoint(folder: str | os.PathLike[str], model: FittedModel) -> None:
    """Write the training state of a model and what training has come to into ``folder``, as one file."""
    finished = {FINISHED + name: value for name, value in _tensors(model).items()}
    tensors = {name: value.clone() for name, value in finished.items()} | dict(model.training_state or {})
    write_bytes(_folder(folder) / STATE, safetensors.torch.save(tensors, {"scrae": _json(_description(model))}))


def _tensors(model: FittedModel) -> dict[str, Tensor]:
    readout = {} if model.readout is None else model.readout.tensors()
    return model.module.state_dict() | {READOUT + name: value for name, value in readout.items()}


def _description(model: FittedModel) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
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


def _json(description: dict[str, Any]) -> str:
    return json.dumps(description, indent=1)


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


def load_model(folder: str | os.PathLike[str], device: torch.device) -> FittedModel:
    """The model in ``folder``; one that can be resumed where there is a training state.

    Raises
    ------
    FileNotFoundError
        No such folder, or no model in it.
    ModelFolderError
        Another format version, or a damaged file.
    """
    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"there is no model folder {str(path)!r}")
    resumable = load_state(path)
    if (path / WEIGHTS).exists():
        description = read_description(path)
        header, tensors = _read(path / WEIGHTS)
        if header["save_id"] != description.get("save_id"):
            description = header
    elif resumable is not None:  # it was killed before it could save
        description, tensors = resumable[0], below(FINISHED, resumable[1])
    else:
        raise FileNotFoundError(f"{str(path)!r} holds no scRAE model: {WEIGHTS} is missing")
    state = None
    if resumable is not None:
        state = {name: value for name, value in resumable[1].items() if not name.startswith(FINISHED)}
    return _model(description, tensors, state, path, device)


def _model(
    description: dict[str, Any], tensors: dict[str, Tensor], state: Any, path: Path, device: torch.device
) -> FittedModel:
    settings = Settings(**description["settings"])
    scales = description.get("covariate_scales", {})  # absent before 0.1.0 had them
    coding = CovariateCoding(description["covariate_levels"], description["batch_key"], scales)
    module = RegularisedAutoencoder(settings, description["n_genes"], coding.width, coding.n_batches)
    readout = below(READOUT, tensors)
    try:
        module.load_state_dict({name: value for name, value in tensors.items() if not name.startswith(READOUT)})
        fitted_readout = Readout.from_tensors(readout).to(device) if readout else None
    except (RuntimeError, KeyError) as error:
        raise ModelFolderError(
            f"the weights in {str(path)!r} do not fit the settings in its {DESCRIPTION}: {error}", "weights_do_not_fit"
        ) from error
    types = description.get("cell_types")  # absent before 0.1.0 had them
    return FittedModel(
        description["preset"],
        description["random_state"],
        module.to(device).eval(),
        None if description["genes"] is None else np.array(description["genes"], dtype=object),
        coding,
        Population.from_description(description["population"]),
        fitted_readout,
        description["summary"],
        description["history"],
        description["fingerprint"],
        CellTypes.from_description(types) if types else None,
        training_state=state,
    )


def load_state(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Description and training state in ``folder``, the finished model's tensors included; None where there is none."""
    path = Path(folder) / STATE
    if not path.exists():
        return None
    description, state = _read(path)
    return description, state if description["format_version"] > 2 else _without_readout(state)


def _without_readout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state of format 2, where the read-out was a part of the network, as one of format 3."""
    kinds = (FINISHED, "best.", "model.")  # the first is only of checkpoints, the second where cells are held out
    kind = next(kind for kind in kinds if any(name.startswith(kind) for name in state))
    finished = {FINISHED + name: value for name, value in below(kind, state).items()}
    of_readout = ("model." + READOUT, "best." + READOUT)
    return {name: value for name, value in state.items() if not name.startswith(of_readout)} | finished


def read_description(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The description of a model alone: ``scrae.json``, or the copy in the weights or the training state."""
    path = Path(folder)
    if (path / DESCRIPTION).exists():
        try:
            description = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ModelFolderError(
                f"{path / DESCRIPTION} is damaged: {error}", "damaged_file", file=DESCRIPTION
            ) from error
        return _checked(description, path / DESCRIPTION)
    for name in (WEIGHTS, STATE):
        if (path / name).exists():
            return _read(path / name)[0]
    raise FileNotFoundError(f"{str(path)!r} holds no scRAE model")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("scrae", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (safetensors.SafetensorError, json.JSONDecodeError) as error:
        raise ModelFolderError(
            f"{path} is damaged or cut short ({error}); save the model again or train it anew",
            "damaged_file",
            file=path.name,
        ) from error
    return _checked(header, path), tensors


def _checked(description: dict[str, Any], path: Path) -> dict[str, Any]:
    version = description.get("format_version")
    if version not in READ_VERSIONS:
        raise ModelFolderError(
            f"{path} has format version {version!r}; this version of scrae reads versions "
            f"{' and '.join(map(str, READ_VERSIONS))}. Read it with the version of scrae that wrote it, or train the "
            "model anew.",
            "format_version",
            file=path.name,
            version=version,
            known=list(READ_VERSIONS),
        )
    return description


def fingerprint(counts: sp.csr_array, covariates: Covariates) -> str:
    """A digest of the training data, to resume on the same and nothing else."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((counts.shape, covariates.levels)).encode())
    digest.update(counts.indptr.astype(np.int64).data)
    for block in blocks(counts):
        digest.update(block.indices.astype(np.int64).data)
    for part in (counts.data, covariates.codes, covariates.values):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()
