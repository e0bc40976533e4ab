"""What tells trainings apart: a digest of their data, and of data, settings and seed together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import scipy.sparse as sp

from scrae.autoencoder.settings import Settings
from scrae.data.covariates import Covariates
from scrae.data.links import Links
from scrae.data.on_disk import blocks


def fingerprint(counts: sp.csr_array, covariates: Covariates, links: Links) -> str:
    """A digest of the training data, to resume on the same and nothing else."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((counts.shape, covariates.levels)).encode())
    digest.update(counts.indptr.astype(np.int64).data)
    for block in blocks(counts):
        digest.update(block.indices.astype(np.int64).data)
    parts = [counts.data, covariates.codes, covariates.values]
    parts += [] if covariates.kept is None else [covariates.kept]
    parts += [links.must, links.cannot] if links else []
    for part in parts:
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def training_id(description: Mapping[str, Any]) -> str:
    """What tells trainings apart: their data, settings and seed. To go on for more epochs is the same training."""
    if "training_id" in description:
        return str(description["training_id"])
    return identity_of(description)  # of format 2


def identity_of(description: Mapping[str, Any]) -> str:
    """The same as it is today: settings that have come since have their defaults."""
    return identity(description["fingerprint"], Settings(**description["settings"]), description["random_state"])


def identity(fingerprint: str, settings: Settings, random_state: int) -> str:
    """What tells trainings apart, of its parts."""
    parts = [fingerprint, asdict(settings) | {"max_epochs": None}, random_state]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()
