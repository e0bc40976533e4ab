"""Files of a model: a folder of safetensors and JSON, no pickle, each file whole or absent.

``weights.safetensors`` and ``scrae.json`` are a finished model; ``training_state.safetensors`` is all that a resume
needs. Each is written aside and moved into place. The weights carry a copy of the JSON in their header, so that a
save that was cut off between the two files still loads as one consistent model.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import scipy.sparse as sp
from torch import Tensor

from scrae.compute.atomic import write_bytes
from scrae.data.covariates import Covariates
from scrae.data.on_disk import blocks

FORMAT_VERSION = 2
DESCRIPTION = "scrae.json"
WEIGHTS = "weights.safetensors"
STATE = "training_state.safetensors"


class ModelFolderError(ValueError):
    """The folder is not a model that this version of scrae can read."""


def write_model(folder: str | os.PathLike[str], description: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Write description and weights into ``folder``, made where it is missing."""
    path = _folder(folder)
    text = _json(description | {"format_version": FORMAT_VERSION, "save_id": uuid.uuid4().hex})
    write_bytes(path / WEIGHTS, safetensors.torch.save(weights, {"scrae": text}))
    write_bytes(path / DESCRIPTION, text.encode())


def write_state(folder: str | os.PathLike[str], description: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Write a training state and the description of its model into ``folder``, as one file."""
    text = _json(description | {"format_version": FORMAT_VERSION})
    write_bytes(_folder(folder) / STATE, safetensors.torch.save(state, {"scrae": text}))


def read_model(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Description and weights of the model in ``folder``.

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
    if not (path / WEIGHTS).exists():
        if (path / STATE).exists():
            return _finished_of_state(path)
        raise FileNotFoundError(f"{str(path)!r} holds no scRAE model: {WEIGHTS} is missing")
    description = read_description(path)
    header, weights = _read(path / WEIGHTS)
    if header["save_id"] != description.get("save_id"):
        description = header
    return description, weights


def read_description(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The description of a model alone: ``scrae.json``, or the copy in the weights or the training state."""
    path = Path(folder)
    if (path / DESCRIPTION).exists():
        try:
            description = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ModelFolderError(f"{path / DESCRIPTION} is damaged: {error}") from error
        return _checked(description, path / DESCRIPTION)
    for name in (WEIGHTS, STATE):
        if (path / name).exists():
            return _read(path / name)[0]
    raise FileNotFoundError(f"{str(path)!r} holds no scRAE model")


def read_state(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Description and training state in ``folder``, or None where there is no state to resume from."""
    path = Path(folder) / STATE
    return _read(path) if path.exists() else None


def _finished_of_state(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The model in a training state, as it would be if training had ended there: it was killed before it could save."""
    description, state = _read(path / STATE)
    kinds = ("finished.", "best.", "model.")  # the first is only of checkpoints, the second where cells are held out
    prefix = next(kind for kind in kinds if any(key.startswith(kind) for key in state))
    return description, {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("scrae", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (safetensors.SafetensorError, json.JSONDecodeError) as error:
        raise ModelFolderError(
            f"{path} is damaged or cut short ({error}); save the model again or train it anew"
        ) from error
    return _checked(header, path), tensors


def _checked(description: dict[str, Any], path: Path) -> dict[str, Any]:
    version = description.get("format_version")
    if version != FORMAT_VERSION:
        raise ModelFolderError(
            f"{path} has format version {version!r}; this version of scrae reads version {FORMAT_VERSION}. "
            "Read it with the version of scrae that wrote it, or train the model anew."
        )
    return description


def _json(description: dict[str, Any]) -> str:
    return json.dumps(description, indent=1)


def _folder(folder: str | os.PathLike[str]) -> Path:
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{str(path)!r} is a file; a model is saved as a folder")
    path.mkdir(parents=True, exist_ok=True)
    return path


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
