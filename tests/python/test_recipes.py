"""The recipes that others build scRAE with, the container and conda-forge's, agree with the rest of the project."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import scrae

ROOT = Path(__file__).resolve().parents[2]
CONDA_NAMES = {"torch": "pytorch", "igraph": "python-igraph", "matplotlib": "matplotlib-base"}
INSTRUCTIONS = {"FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "CMD"}


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def recipe() -> dict[str, Any]:
    """The recipe with its variables written out, as the build tool does."""
    text = (ROOT / "recipe" / "recipe.yaml").read_text()
    for name, value in yaml.safe_load(text)["context"].items():
        text = text.replace("${{ " + name + " }}", value)
    assert "${{" not in text
    return yaml.safe_load(text)


def bounds(lines: list[str]) -> dict[str, SpecifierSet]:
    pairs = (line.partition(" ")[::2] for line in lines)
    return {name: SpecifierSet(bound) for name, bound in pairs}


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile with what follows it, on one line."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = [line for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines() if line]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def apt_packages() -> set[str]:
    installs = [re.search(r"apt-get install ([^&]*)", rest) for name, rest in instructions() if name == "RUN"]
    words = [word for found in installs if found for word in found[1].split()]
    return {word for word in words if not word.startswith("-")}


def test_conda_recipe_needs_what_pyproject_needs_with_the_same_bounds() -> None:
    wanted = {}
    for line in project()["dependencies"]:
        one = Requirement(line)
        name = canonicalize_name(one.name)
        wanted[CONDA_NAMES.get(name, name)] = one.specifier
    run = bounds(recipe()["requirements"]["run"])
    assert run.pop("python") == SpecifierSet(project()["requires-python"])
    assert run == wanted


def test_conda_recipe_is_built_by_what_builds_the_package() -> None:
    host = bounds([line for line in recipe()["requirements"]["host"] if not line.startswith("python ")])
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert host == {"pip": SpecifierSet()} | {Requirement(line).name: Requirement(line).specifier for line in tools}
    assert recipe()["build"]["python"]["entry_points"] == [
        f"{name} = {where}" for name, where in project()["scripts"].items()
    ]


def test_conda_recipe_is_of_this_version_and_says_what_the_package_says() -> None:
    made = recipe()
    assert set(made) == {
        *("schema_version", "context", "package", "source", "build", "requirements", "tests", "about", "extra"),
    }
    assert made["package"] == {"name": "scrae", "version": scrae.__version__}
    assert made["source"]["url"].endswith(f"/scrae-{scrae.__version__}.tar.gz")
    assert re.fullmatch(r"[0-9a-f]{64}", made["source"]["sha256"])
    assert (made["about"]["license"], made["about"]["summary"]) == (project()["license"], project()["description"])
    assert (ROOT / made["about"]["license_file"]).is_file()


def test_container_begins_with_debian_13_and_has_known_instructions() -> None:
    parsed = instructions()
    assert parsed[0] == ("FROM", "debian:trixie-slim")
    assert {name for name, _ in parsed} <= INSTRUCTIONS
    assert [name for name, _ in parsed].count("FROM") == 1
    users = [rest for name, rest in parsed if name == "USER"]
    assert users == ["scrae"], "nobody works as root in there"


def test_container_has_the_debian_packages_that_are_tested_with_the_newest_versions() -> None:
    script = (ROOT / "scripts" / "test-newest.sh").read_text()
    tested = set(re.search(r'^packages="([^"]*)"', script, flags=re.MULTILINE)[1].split())
    for_tests = {"git", "make", "r-cran-testthat"}
    assert tested - apt_packages() == for_tests
    assert apt_packages() - tested == {"ca-certificates", "r-bioc-scater"}


def test_container_takes_the_locked_python_packages_and_names_no_host() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "://" not in text
    assert "--constraint /tmp/scrae/requirements-newest.lock" in text
    extras = re.search(r'"/tmp/scrae\[([a-z,]+)\]"', text)[1].split(",")
    assert set(extras) <= set(project()["optional-dependencies"])


def test_container_is_given_all_that_is_installed_and_no_more_than_that() -> None:
    left_out = (ROOT / ".dockerignore").read_text().split()
    needed = ["python", "rpkg", "vignettes", "pyproject.toml", "README.md", "LICENSE", "requirements-newest.lock"]
    assert all((ROOT / name).exists() for name in needed)
    assert set(needed) & set(left_out) == set()
    assert {".git", ".venv*"} <= set(left_out)
