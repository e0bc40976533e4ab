"""What state the environment is in that this file is run with. Called by setup.sh: `environment.py QUESTION R_VERSION`.

belongs   it was made in this folder (a moved environment has old paths in its scripts)
complete  every package of the lock is there in the right version, and scrae is this folder's
check     all of this, and nothing that decides what is installed has changed since `record`
record    remember what it was made from

The exit status is the answer; the reason for a "no" is printed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAMP = Path(sys.prefix) / ".made-from"
SOURCES = (
    "requirements.lock",
    "requirements-r.lock",
    "pyproject.toml",
    "python/scrae/_version.py",
    "scripts/setup.sh",
    "scripts/environment.py",
)
# Looked for by their files too: the metadata of a package outlives the deletion of its folder.
MODULES = (
    *("numpy", "scipy", "pandas", "torch", "safetensors", "tqdm", "anndata", "scanpy", "sklearn", "skmisc"),
    *("matplotlib", "igraph", "leidenalg", "umap", "h5py", "numba"),
    *("pytest", "pytest_cov", "xdist", "hypothesis", "packaging", "yaml", "mypy", "ruff", "setuptools", "pip"),
)


def stamp(r_version: str) -> str:
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes() + b"\0")
    return f"{sys.prefix}\n{digest.hexdigest()}\nPython {sys.version}\n{r_version or 'no R'}\n"


def belongs() -> list[str]:
    if STAMP.exists():
        here = STAMP.read_text().splitlines()[:1] == [sys.prefix]
    else:  # made by hand, or by another tool
        activate = Path(sys.prefix) / "bin" / "activate"
        here = activate.exists() and sys.prefix in activate.read_text()
    return [] if here else [f"the environment was made elsewhere, not in {sys.prefix}"]


def complete() -> list[str]:
    wrong = [f"{module} has no files" for module in MODULES if not _has_files(module)]
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        name, separator, wanted = line.partition("==")
        if separator and _installed(name) != wanted:
            wrong.append(f"{name} is {_installed(name)}, not {wanted}")
    found = importlib.util.find_spec("scrae")
    if found is None or found.origin is None or Path(found.origin).resolve() != ROOT / "python/scrae/__init__.py":
        wrong.append("scrae is not installed from this folder")
    return wrong


def changed(r_version: str) -> list[str]:
    same = STAMP.exists() and STAMP.read_text() == stamp(r_version)
    return [] if same else ["the environment was made from other versions of " + ", ".join(SOURCES)]


def _installed(name: str) -> str:
    try:
        return version(name).split("+")[0]  # 2.13.0+cpu is one build of 2.13.0
    except PackageNotFoundError:
        return "missing"


def _has_files(module: str) -> bool:
    found = importlib.util.find_spec(module)
    return found is not None and found.origin is not None  # without an origin it is a folder without its files


def main(question: str, r_version: str) -> int:
    if question == "record":
        STAMP.write_text(stamp(r_version))
        return 0
    answers = {
        "belongs": belongs,
        "complete": complete,
        "check": lambda: changed(r_version) + belongs() + complete(),
    }
    wrong = answers[question]()
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
