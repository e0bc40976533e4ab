"""The files of a model's folder, one at a time: packed with a description and a digest, read once, checked, refused.

Whatever a file holds, reading it ends with its content or with a :class:`ModelFolderError` that names it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from scrae._errors import Refusal

DESCRIPTION = "scrae.json"
WEIGHTS = "weights.safetensors"
STATE = "training_state.safetensors"
READOUT, FINISHED = "readout.", "finished."  # of names of tensors: the read-out's, and in a state the finished model's
FORMAT_VERSION = 3
READ_VERSIONS = (2, 3)
MOST_TEXT = 2**28  # bytes of a description; that of a million genes takes a tenth
LENGTH = 8  # bytes at the start of safetensors that say how long its header is

# What a description has to hold, and of which kind; the second part came later.
KINDS: dict[str, tuple[type, ...]] = {
    "preset": (str,),
    "settings": (dict,),
    "random_state": (int,),
    "n_genes": (int,),
    "genes": (list, type(None)),
    "covariate_levels": (dict,),
    "batch_key": (str, type(None)),
    "fingerprint": (str,),
    "population": (dict,),
    "summary": (dict,),
    "history": (list,),
}
LATER_KINDS: dict[str, tuple[type, ...]] = {
    "covariate_scales": (dict,),
    "keep": (list,),
    "kept_groups": (list,),
    "cell_types": (dict, type(None)),
    "save_id": (str,),
    "training_id": (str,),
    "supersedes": (str,),
    "files": (dict,),
    "digest": (str,),
}
SUMMARY_KINDS: dict[str, tuple[type, ...]] = {
    "n_cells": (int,),
    "n_genes": (int,),
    "epochs": (int,),
    "best_epoch": (int,),
    "stop_reason": (str,),
    "seconds": (int, float),
    "threads": (int,),
    "device": (str,),
    "versions": (dict,),
}


class ModelFolderError(Refusal):
    """The folder does not hold a model that this version of scrae can read, or a file in it is damaged.

    Examples
    --------
    >>> import tempfile
    >>> import scrae
    >>> folder = tempfile.mkdtemp()
    >>> with open(f"{folder}/scrae.json", "w") as file:
    ...     _ = file.write("this is no model")
    >>> scrae.SCRAE.load(folder)
    Traceback (most recent call last):
    scrae.model.stored.ModelFolderError: ...
    """


@dataclass(frozen=True)
class Stored:
    """One file of tensors: what it holds, how it describes itself, and its digest; None in format 2."""

    description: dict[str, Any]
    tensors: dict[str, Tensor]
    digest: str | None


def packed(tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> tuple[bytes, str]:
    """A file of tensors that describes itself and can tell when it is damaged; and the digest by which it does."""
    text = json.dumps(description)
    digest = _digest(tensors, text)
    return safetensors.torch.save(dict(tensors), {"scrae": text, "digest": digest}), digest


def packed_description(description: Mapping[str, Any]) -> bytes:
    """The same for a description alone, as text that people can read."""
    return json.dumps(dict(description) | {"digest": _digest({}, _sorted(description))}, indent=1).encode()


def unpacked(path: Path) -> Stored:
    """Read what :func:`packed` has written.

    Raises
    ------
    ModelFolderError
        It is no such file, or a damaged one.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        header = _header(path, file, size)
        file.seek(0)
        content = file.read(size)
    try:
        tensors = safetensors.torch.load(content)
    except Exception as error:  # also of a kind that torch does not have
        raise damaged(path, error) from error
    about = header.get("__metadata__")
    about = about if isinstance(about, dict) else {}
    text, digest = about.get("scrae"), about.get("digest")
    text = text if isinstance(text, str) else "{}"
    description = _described(path, text)
    if digest is None and description["format_version"] > 2:
        raise damaged(path, "its digest is missing")
    if digest is not None and digest != _digest(tensors, text):
        raise damaged(path, "its digest is of another content")
    return Stored(description, tensors, digest)


def read_text(path: Path) -> bytes:
    """The bytes of a description, unchecked."""
    with opened(path) as file:
        text = file.read(MOST_TEXT + 1)
    if len(text) > MOST_TEXT:
        raise damaged(path, f"it is larger than {MOST_TEXT:,} bytes")
    return text


def unpacked_description(path: Path, text: bytes) -> dict[str, Any]:
    """A description of the kind that :func:`packed_description` writes; its digest is :func:`check_digest`'s to check.

    Raises
    ------
    ModelFolderError
        It is none, or of another version.
    """
    return _described(path, text)


def check_digest(path: Path, description: Mapping[str, Any]) -> None:
    """Refuse a description that is not what was written."""
    digest = description.get("digest")
    if digest is None and description["format_version"] == 2:
        return
    if digest != _digest({}, _sorted({name: value for name, value in description.items() if name != "digest"})):
        raise damaged(path, "its digest is of another content")


def damaged(path: Path, reason: object) -> ModelFolderError:
    """The error for a file that is not what was written."""
    return ModelFolderError(
        f"{path} is damaged or cut short ({reason}); save the model again or train it anew",
        "damaged_file",
        file=path.name,
    )


def opened(path: Path) -> BinaryIO:
    """A regular file, open: what is read from it is of one file, whatever takes its name in the meantime."""
    try:
        # Without O_NONBLOCK to open a FIFO would wait for somebody to write.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise damaged(path, error.strerror) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise damaged(path, "it is no regular file")
    return open(descriptor, "rb")


def _missing(path: Path) -> ModelFolderError:
    return ModelFolderError(
        f"{path} is missing: the model is not complete. Copy the whole folder, save the model again, or train it anew.",
        "missing_file",
        file=path.name,
    )


def _header(path: Path, file: BinaryIO, size: int) -> dict[str, Any]:
    """What a file of tensors says of itself; refused if the file is shorter or longer than it says."""
    length = int.from_bytes(file.read(LENGTH), "little")
    if size < LENGTH or length > min(size - LENGTH, MOST_TEXT):
        raise damaged(path, f"it has {size:,} bytes")
    try:
        header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        expected = LENGTH + length + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise damaged(path, f"its header cannot be read: {error}") from error
    if expected != size:
        raise damaged(path, f"it has {size:,} bytes, not {expected:,}")
    return dict(header)


def _described(path: Path, text: str | bytes) -> dict[str, Any]:
    try:
        description = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from error
    if not isinstance(description, dict):
        raise damaged(path, f"it holds {_kind_of(description)}, not a description")
    _check_version(path, description)
    for name, kinds in (KINDS | {name: kinds for name, kinds in LATER_KINDS.items() if name in description}).items():
        _check_kind(path, description, name, kinds)
    for name, kinds in SUMMARY_KINDS.items():
        _check_kind(path, description["summary"], name, kinds)
    genes, levels = description["genes"], description["covariate_levels"]
    if genes is not None and (len(genes) != description["n_genes"] or not _all_text(genes)):
        raise damaged(path, f"it does not name {description['n_genes']:,} genes")
    if not all(isinstance(names, list) and _all_text(names) for names in levels.values()):
        raise damaged(path, "levels of covariates are not names")
    if description["batch_key"] is not None and description["batch_key"] not in levels:
        raise damaged(path, "the batch is none of the covariates")
    if not _all_text([*description.get("keep", []), *description.get("kept_groups", [])]):
        raise damaged(path, "columns to keep are not names")
    if not all(isinstance(row, dict) and _is_epoch(row) for row in description["history"]):
        raise damaged(path, "the history is not a list of epochs")
    return description


def _check_version(path: Path, description: Mapping[str, Any]) -> None:
    version = description.get("format_version")
    if type(version) is not int or version not in READ_VERSIONS:
        raise ModelFolderError(
            f"{path} has format version {version!r}; this version of scrae reads versions "
            f"{' and '.join(map(str, READ_VERSIONS))}. Read it with the version of scrae that wrote it, or train the "
            "model anew.",
            "format_version",
            file=path.name,
            version=version,
            known=list(READ_VERSIONS),
        )


def _check_kind(path: Path, description: Mapping[str, Any], name: str, kinds: tuple[type, ...]) -> None:
    if name not in description:
        raise damaged(path, f"it says nothing of {name!r}")
    if type(description[name]) not in kinds:
        raise damaged(path, f"{name!r} is {_kind_of(description[name])}")


def _kind_of(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _is_epoch(row: Mapping[str, Any]) -> bool:
    """Whether a row of the history has the number of its epoch and numbers beside it."""
    numbers = all(type(value) in (int, float) for value in row.values())
    return numbers and math.isfinite(row.get("epoch", math.nan))


def _all_text(names: list[Any]) -> bool:
    return all(isinstance(name, str) for name in names)


def _sorted(description: Mapping[str, Any]) -> str:
    return json.dumps(description, sort_keys=True)


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def waiting_place(path: Path, name: str, description: Mapping[str, Any]) -> Path:
    """Where a file of a save is until the list of files is in place; in the folder, whatever the list says."""
    return path / f".{name}.{re.sub('[^0-9a-f]', '', str(description.get('save_id')))}"
