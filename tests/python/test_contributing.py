"""CONTRIBUTING.md lists what an addition touches, and those files are enough."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import scrae

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]

LIKELIHOOD = """
from __future__ import annotations

import torch
from torch import Tensor

from scrae.compute.bfloat16 import WideLinear
from scrae.data.sparse import SparseRows
from scrae.likelihoods.base import Likelihood


class Laplace(Likelihood):
    name = "laplace"
    target = "log1p"

    def __init__(self, n_hidden: int, n_genes: int, n_groups: int = 1) -> None:
        super().__init__(n_hidden, n_genes, n_groups)
        self.centre = WideLinear(n_hidden, n_genes)

    def forward(self, hidden: Tensor, log_library: Tensor, group: Tensor) -> tuple[Tensor, ...]:
        return (self.centre(hidden),)

    def log_likelihood(self, parameters: tuple[Tensor, ...], target: SparseRows) -> Tensor:
        return -(target.dense() - parameters[0]).abs().sum(1)

    def mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return parameters[0]

    def sample(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return torch.distributions.Laplace(parameters[0], 1.0).sample()
"""

REGULARISER = """
from __future__ import annotations

from torch import Tensor

from scrae.regularisers.base import ForwardPass, Regulariser


class ShrunkCodes(Regulariser):
    name = "shrunk"

    def __init__(self, n_latent: int, *, shrinkage: float = 1.0) -> None:
        super().__init__(n_latent)
        self.shrinkage = shrinkage

    def penalties(self, passed: ForwardPass) -> dict[str, Tensor]:
        return {"shrunk_codes": self.shrinkage * passed.codes.square().sum(1).mean() / 2}
"""

USED = """
import sys
import numpy as np, scrae
counts = np.random.default_rng(0).poisson(2.0, (60, 20)) + 1
small = {{"n_latent": 2, "n_hidden": 6, "batch_size": 20, "max_epochs": 3, "verbose": False}}
model = scrae.SCRAE({preset!r}, **small, {setting}).fit(counts)
model.save({folder!r})
loaded = scrae.SCRAE.load({folder!r})
assert np.array_equal(loaded.embed(counts), model.embed())
assert getattr(loaded.settings, {family!r}) == {name!r}
print(*model.history.columns)
"""


def listed(what: str) -> list[str]:
    """The files of the package that CONTRIBUTING.md lists for an addition."""
    text = (PROJECT / "CONTRIBUTING.md").read_text()
    section = text.split(f"### {what}\n")[1].split("\n### ")[0]
    return re.findall(r"`python/scrae/(\S+?)`", section)


@pytest.fixture
def package(tmp_path):
    """A copy of the package, to add to."""
    shutil.copytree(
        Path(scrae.__file__).parent, tmp_path / "scrae", ignore=shutil.ignore_patterns("__pycache__", "*.nb[ci]")
    )
    return tmp_path / "scrae"


@pytest.mark.parametrize(
    ("what", "family", "name", "source", "class_name", "setting", "shown"),
    [
        ("a likelihood", "likelihood", "laplace", LIKELIHOOD, "Laplace", "", "reconstruction"),
        ("a regulariser", "regulariser", "shrunk", REGULARISER, "ShrunkCodes", "shrinkage=2.0", "shrunk_codes"),
    ],
)
def test_an_addition_touches_the_files_that_are_listed_and_no_others(
    package, tmp_path, what, family, name, source, class_name, setting, shown
):
    new, door = listed(what)
    assert (package / door).exists()
    (package / new.replace("NAME", name)).write_text(source)
    module = f"scrae.{new.replace('NAME.py', name).replace('/', '.')}"
    (package / door).write_text(
        (package / door).read_text() + f"\nfrom {module} import {class_name}\n__all__ += [{class_name!r}]\n"
    )
    (presets,) = listed("a preset")
    given = f'Settings({family}="{name}", standardise_codes=False)'
    (package / presets).write_text((package / presets).read_text() + f'\nPRESETS["added"] = {given}\n')
    code = USED.format(preset="added", setting=setting, folder=str(tmp_path / "model"), family=family, name=name)
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout.split()


def test_every_file_that_is_listed_is_there():
    text = (PROJECT / "CONTRIBUTING.md").read_text().split("## How to add")[1].split("\n## ")[0]
    for path in re.findall(r"^\| `([^`]+)`", text, flags=re.M):
        if "NAME" not in path and "Question" not in path:
            assert (PROJECT / path).exists(), path
