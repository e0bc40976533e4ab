"""The shape of the package: imports go one way, and importing it is light."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import scrae

ROOT = Path(scrae.__file__).parent

LAYERS = [
    {
        "_version",
        "adam",
        "compilation",
        "contrast",
        "counts",
        "data",
        "density",
        "distributed",
        "integration",
        "machine",
        "mapped",
        "masking",
        "neighbours",
        "phases",
        "products",
        "threads",
    },
    {"networks", "transforms"},
    {"labels", "library", "likelihoods", "population", "readout", "regularisers"},
    {"settings"},
    {"presets", "autoencoder", "stored", "checkpoint"},
    {"inputs"},
    {"dispersion", "finishing", "training"},
    {"trained"},
    {"model"},
    {"metrics", "datasets", "pp", "pl"},
    {"tl"},
    {"doctor", "cli", "r"},
    {"__main__"},
]
"""From bottom to top, as in ARCHITECTURE.md."""


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> set[str]:
    parts = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "scrae":
            names = node.module.split(".")[1:2] or [alias.name for alias in node.names]
            parts |= set(names)
    return parts


def test_every_file_has_its_layer_and_imports_go_down_only():
    level = {part: i for i, layer in enumerate(LAYERS) for part in layer}
    for path in ROOT.rglob("*.py"):
        part = part_of(path)
        if part == "__init__":
            continue
        assert part in level, f"{path} has no layer"
        for other in imported_parts(path) - {part, "__version__"}:
            assert level[other] < level[part] or (level[other] == level[part] and other != part), (
                f"{part} imports {other}, which lies above it"
            )


def test_importing_scrae_loads_nothing_heavy():
    heavy = ("torch", "scanpy", "anndata", "pandas", "matplotlib")
    code = f"import sys, scrae; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("of_user", "expected"),
    [({}, "20000"), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_threads_wait_for_each_other_without_much_spinning_unless_the_user_says_so(of_user, expected):
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    code = "import os, scrae; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | of_user, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected


@pytest.mark.slow
def test_the_core_needs_no_scanpy_anndata_or_scikit_learn():
    code = (
        "import sys\n"
        "for name in ('scanpy', 'anndata', 'sklearn', 'matplotlib'): sys.modules[name] = None\n"
        "import numpy as np, scrae\n"
        "counts = np.random.default_rng(0).poisson(2.0, (40, 12))\n"
        "print(scrae.SCRAE(n_latent=2, n_hidden=8, max_epochs=2, verbose=False).fit(counts).embed().shape)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "(40, 2)\n"
    )


def test_everything_public_is_there_and_nothing_else_is():
    modules = {"datasets", "metrics", "pl", "pp", "tl"}
    assert {name: getattr(scrae, name).__name__ for name in modules} == {name: f"scrae.{name}" for name in modules}
    classes = set(scrae.__all__) - modules - {"__version__"}
    assert {getattr(scrae, name) for name in classes} >= {scrae.SCRAE, scrae.CountsError}
    assert {name: getattr(scrae, name).__name__ for name in classes} == {name: name for name in classes}
    assert set(dir(scrae)) == set(scrae.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = scrae.nonsense
