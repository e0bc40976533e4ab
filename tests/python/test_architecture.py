"""The shape of the package: imports go one way, as ARCHITECTURE.md says, and importing it is light."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import scrae

PACKAGE = Path(scrae.__file__).parent
PROJECT = Path(__file__).parents[2]
CONTRACTS = PROJECT / "pyproject.toml"


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """The contracts of pyproject.toml, checked on the package ``scrae`` in a folder."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(
        [*command, "--config", str(CONTRACTS), "--no-cache"],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_imports_go_down_and_nowhere_in_circles():
    done = lint_imports(PACKAGE.parent)
    assert done.returncode == 0, done.stdout
    assert "2 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("compute/threads.py", "import scrae.data.counts"),  # upwards
        ("networks/layers.py", "import scrae.likelihoods"),  # sideways
        ("data/sparse.py", "import scrae.data.minibatches"),  # in a circle
        ("stray.py", "import scrae.compute"),  # a file that no layer knows
    ],
)
def test_an_import_in_another_direction_is_found(tmp_path, file, line):
    shutil.copytree(PACKAGE, tmp_path / "scrae", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "scrae" / file
    path.write_text((path.read_text() if path.exists() else "") + f"\n{line}\n")
    assert lint_imports(tmp_path).returncode == 1


def test_architecture_lists_the_folders_in_the_order_of_the_contract():
    contract = tomllib.loads(CONTRACTS.read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    folders = [name for layer in contract for name in layer.split(" | ") if (PACKAGE / name).is_dir()]
    assert set(folders) == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    section = (PROJECT / "ARCHITECTURE.md").read_text().split("## The core")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)/` \|", section, flags=re.M)
    assert listed == folders


@pytest.mark.parametrize("folder", sorted(path.parent for path in PACKAGE.glob("*/__init__.py")), ids=lambda p: p.name)
def test_a_folder_says_what_its_idea_is(folder):
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    assert said
    assert said.endswith(".")


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
