"""Write requirements*.lock: the newest versions that pyproject.toml allows.

Run by `make lock`. requirements.lock has all that the project and its tests need, requirements-docs.lock what the
documentation site needs beside it. requirements-newest.lock is made by a newer Python, for which there are newer
versions, and `make test-newest` installs it.

Nothing is installed: pip works out what it would install into an empty environment and reports that. torch is the one
package held back by hand, because each of its versions brings its own set of CUDA libraries.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
DOCS_LOCK = ROOT / "requirements-docs.lock"
NEWEST_LOCK = ROOT / "requirements-newest.lock"
HELD = ["torch==2.13.0"]
EXTRAS = "test,dev"
HEADER = f"""\
# What `make setup` installs: every package with its exact version. Made by `make lock`; do not edit.
# Resolved with Python {sys.version_info.major}.{sys.version_info.minor} from pyproject.toml and its extras {EXTRAS}.
"""
DOCS_HEADER = f"""\
# What `make docs` installs into .venv-docs beside requirements.lock. Made by `make lock`; do not edit.
# Resolved with Python {sys.version_info.major}.{sys.version_info.minor} from pyproject.toml and its extra docs.
"""
NEWEST_EXTRAS = ("r", "test", "dev")
NEWEST_HEADER = f"""\
# What `make test-newest` installs: every package with its exact version. Made by `make lock`; do not edit.
# Resolved with Python {sys.version_info.major}.{sys.version_info.minor} from pyproject.toml and its extras
# {",".join(NEWEST_EXTRAS)}. torch is that of the system.
"""


def normalised(name: str) -> str:
    """The one spelling of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def resolve(requirements: list[str]) -> dict[str, str]:
    """Version by name of everything that an empty environment would need, the project itself left out."""
    build_tools = ["setuptools"]  # the editable install builds without a network, with what is in the environment
    command = [sys.executable, "-m", "pip", "install", "-qq", "--dry-run", "--ignore-installed", "--report", "-"]
    answer = subprocess.run([*command, *build_tools, *requirements], stdout=subprocess.PIPE, text=True, check=True)
    found = {}
    for package in json.loads(answer.stdout)["install"]:
        metadata = package["metadata"]
        if normalised(metadata["name"]) != "scrae":
            found[normalised(metadata["name"])] = metadata["version"].split("+")[0]  # 2.13.0+cpu is one build of 2.13.0
    return found


def write(path: Path, header: str, versions: dict[str, str]) -> None:
    lines = [f"{name}=={version}\n" for name, version in sorted(versions.items())]
    path.write_text(header + "".join(lines))
    print(f"{path.name}: {len(lines)} packages")


def write_newest() -> None:
    """All but torch, whose wheels for newer Pythons bring CUDA libraries: the system's own is taken."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [
        *project["dependencies"],
        *(name for extra in NEWEST_EXTRAS for name in project["optional-dependencies"][extra]),
    ]
    write(NEWEST_LOCK, NEWEST_HEADER, resolve([name for name in named if not name.startswith("torch")]))


def main(only_docs: bool) -> None:
    if only_docs:
        lines = LOCK.read_text().splitlines()
        main_versions = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    else:
        main_versions = resolve([*HELD, f"{ROOT}[{EXTRAS}]"])
        write(LOCK, HEADER, main_versions)
    held = [f"{name}=={version}" for name, version in main_versions.items()]
    docs = resolve([*held, f"{ROOT}[{EXTRAS},docs]"])
    write(DOCS_LOCK, DOCS_HEADER, {name: docs[name] for name in docs if name not in main_versions})


if __name__ == "__main__":
    if "--newest" in sys.argv[1:]:
        write_newest()
    else:
        main(only_docs="--docs" in sys.argv[1:])
