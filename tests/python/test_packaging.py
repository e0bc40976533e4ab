"""What sets the project up agrees with itself: pyproject.toml, the lock files, environment.yml, Makefile, scripts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import scrae

ROOT = Path(__file__).resolve().parents[2]
CONDA_NAMES = {"torch": "pytorch", "igraph": "python-igraph", "matplotlib": "matplotlib-base"}
ONLY_IN_CONDA = {"python", "umap-learn", "pip"}  # umap-learn comes with scanpy on PyPI
TARGETS = (
    *("help", "setup", "setup-r", "demo", "test", "test-quick", "test-r", "test-r45", "check", "lint", "format"),
    *("bench-speed", "bench-accuracy", "bench-family", "bench-family-maps", "bench-r", "lock", "clean"),
    *("document", "docs", "docs-check", "figures", "metadata", "release", "test-oldest", "test-latest", "test-newest"),
)
WITHOUT_SET_UP = ("help", "setup", "setup-r", "clean", "test-oldest", "test-latest", "test-newest", "test-r45")
SCRIPTS = [*sorted(str(path.relative_to(ROOT)) for path in (ROOT / "scripts").glob("*.sh")), ".ci/run"]
LOCKS = ("requirements.lock", "requirements-r.lock")
DOCS_LOCK = "requirements-docs.lock"
NEWEST_LOCK = "requirements-newest.lock"


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def requirements(*extras: str) -> dict[str, Requirement]:
    """The requirements of the core and of some extras, by canonical name, where their markers hold here."""
    project = pyproject()["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(one.name): one for one in parsed if one.marker is None or one.marker.evaluate()}


def locked(name: str) -> dict[str, str]:
    """Version by canonical name."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(package): version for package, version in (line.split("==") for line in lines)}


def conda() -> dict[str, SpecifierSet]:
    """Bounds by conda name; conda's ``=3.11`` means any 3.11."""
    lines = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pairs = (line.partition(" ")[::2] for line in lines if isinstance(line, str))
    return {name: SpecifierSet(re.sub(r"^=(?!=)(.+)", r"==\1.*", bounds)) for name, bounds in pairs}


def description() -> dict[str, str]:
    """Fields of the R package's DESCRIPTION, each on one line."""
    fields = re.split(r"\n(?=\S)", (ROOT / "DESCRIPTION").read_text().strip())
    pairs = (field.partition(":")[::2] for field in fields)
    return {name: " ".join(value.split()) for name, value in pairs}


def committed_files() -> list[Path]:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    answer = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode != 0:  # a checkout that belongs to another user
        pytest.skip(answer.stderr)
    return [ROOT / name for name in answer.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_only_pynndescent_has_an_upper_bound() -> None:
    """test_scanpy_layer.py holds why; a bound for another package needs a test of its own."""
    above = {name for name, one in requirements("r").items() if any(part.operator != ">=" for part in one.specifier)}
    assert above == {"pynndescent"}


def test_conda_environment_has_the_python_names_and_bounds_of_pyproject() -> None:
    wanted = {CONDA_NAMES.get(name, name): one.specifier for name, one in requirements("r").items()}
    found = conda()
    assert {name: found.get(name) for name in wanted} == wanted


def test_conda_environment_adds_only_what_is_known_and_parts_of_r() -> None:
    known = {CONDA_NAMES.get(name, name) for name in requirements("r")} | ONLY_IN_CONDA
    assert {name for name in conda() if not name.startswith(("r-", "bioconductor-"))} == known


def test_conda_environment_has_a_python_that_pyproject_allows() -> None:
    assert conda()["python"] == SpecifierSet(pyproject()["project"]["requires-python"])


@pytest.mark.parametrize("name", [*LOCKS, DOCS_LOCK])
def test_lock_holds_one_exact_version_a_line_and_no_host(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9][a-z0-9-]*==[0-9][0-9a-z.]*", line)] == []
    assert "://" not in (ROOT / name).read_text()
    assert lines == sorted(lines, key=lambda line: line.partition("==")[0])
    assert len(locked(name)) == len(lines), "a name stands there twice"


def test_lock_satisfies_pyproject_with_its_test_and_dev_extras() -> None:
    versions = locked("requirements.lock")
    wanted = requirements("test", "dev")
    assert set(wanted) - set(versions) == set()
    assert {name for name, one in wanted.items() if not one.specifier.contains(Version(versions[name]))} == set()


def test_lock_has_what_builds_the_project() -> None:
    versions = locked("requirements.lock")  # setup.sh builds without a network
    for line in pyproject()["build-system"]["requires"]:
        one = Requirement(line)
        assert one.specifier.contains(versions[canonicalize_name(one.name)])


def test_r_lock_satisfies_the_r_extra_and_repeats_nothing() -> None:
    versions = locked("requirements-r.lock")
    extra = [Requirement(line) for line in pyproject()["project"]["optional-dependencies"]["r"]]
    assert all(one.specifier.contains(versions[canonicalize_name(one.name)]) for one in extra)
    assert set(versions) & set(locked("requirements.lock")) == set()


def test_docs_lock_satisfies_the_docs_extra_and_repeats_nothing() -> None:
    versions = locked(DOCS_LOCK)
    extra = [Requirement(line) for line in pyproject()["project"]["optional-dependencies"]["docs"]]
    assert all(one.specifier.contains(versions[canonicalize_name(one.name)]) for one in extra)
    assert set(versions) & set(locked("requirements.lock")) == set()


def test_newest_lock_has_all_but_torch_and_is_nowhere_older_than_the_lock() -> None:
    needed, newest = requirements("r", "test", "dev"), locked(NEWEST_LOCK)
    assert set(needed) - set(newest) == {"torch"}
    assert all(needed[name].specifier.contains(newest[name]) for name in set(needed) & set(newest))
    main = locked("requirements.lock")
    assert {
        name for name in set(needed) & set(main) & set(newest) if Version(newest[name]) < Version(main[name])
    } == set()


def test_r_lock_can_be_imported_with_the_r_of_debian_12() -> None:
    assert Version(locked("requirements-r.lock")["rpy2-rinterface"]) < Version("3.6.6")


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the lock was resolved for Python 3.11")
def test_lock_is_closed_under_dependencies() -> None:
    versions = locked("requirements.lock")
    here = {canonicalize_name(one.name) for one in metadata.distributions()}
    if not set(versions) <= here:
        pytest.skip("this environment is not that of the lock")
    environment = {name: str(value) for name, value in default_environment().items()} | {"extra": ""}
    missing = set()
    for name in versions:
        for line in metadata.requires(name) or []:
            one = Requirement(line)
            if one.marker is not None and not one.marker.evaluate(environment):
                continue
            # torch's own CUDA and Triton packages depend on the build that pip chooses
            if canonicalize_name(one.name) not in versions and name != "torch":
                missing.add(f"{one.name} (for {name})")
    assert missing == set()


def test_installed_package_is_this_one() -> None:
    assert Path(scrae.__file__).parent == ROOT / "python" / "scrae"
    scripts = metadata.entry_points(group="console_scripts", name="scrae")
    assert [script.value for script in scripts] == ["scrae.cli:main"]
    assert (ROOT / "python" / "scrae" / "py.typed").exists()


def test_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert scrae.__version__ == citation["version"] == metadata.version("scrae") == description()["Version"]


def test_root_description_is_that_of_the_r_package() -> None:
    assert (ROOT / "DESCRIPTION").resolve() == ROOT / "rpkg" / "DESCRIPTION"
    assert description()["Package"] == "scRAE"


def test_conda_environment_has_what_the_r_package_imports_with_its_bounds() -> None:
    # conda's names are small letters; parts of R and of what is named here need no line of their own
    part_of_another = {"grDevices", "methods", "stats", "tools", "utils", "S4Vectors", "SummarizedExperiment"}
    found = conda()
    imports = dict(re.findall(r"(\w+)(?: \((>= [0-9.]+)\))?", description()["Imports"]))
    for name, bound in imports.items():
        if name in part_of_another:
            continue
        prefix = "bioconductor" if name == "SingleCellExperiment" else "r"
        assert f"{prefix}-{name.lower()}" in found, name
        assert str(found[f"{prefix}-{name.lower()}"]).replace(" ", "") == bound.replace(" ", ""), name


def test_the_core_travels_inside_the_r_package_and_is_not_a_copy() -> None:
    core = ROOT / "rpkg" / "inst" / "core"
    names = {"python", "pyproject.toml", "README.md", "LICENSE", *LOCKS}
    assert {path.name for path in core.iterdir()} == names
    assert all((core / name).resolve() == ROOT / name for name in names)
    assert (ROOT / "rpkg" / "vignettes").resolve() == ROOT / "vignettes"


def test_licence_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert pyproject()["project"]["license"] == citation["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_the_target_and_help_explains_it(target: str) -> None:
    lines = (ROOT / "Makefile").read_text().splitlines()
    assert any(re.match(rf"{target}:.*## \S", line) for line in lines)
    assert any(line.startswith(".PHONY:") and target in line.split() for line in lines)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("target", TARGETS)
def test_make_can_plan_the_target(target: str) -> None:
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, check=True)


@pytest.mark.parametrize("target", [target for target in TARGETS if target not in WITHOUT_SET_UP])
def test_make_sets_up_before_it_runs_anything(target: str) -> None:
    assert re.search(rf"^{target}: (setup(-r)?|docs) ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize("script", SCRIPTS)
def test_shell_script_parses(script: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)
    if script.endswith(".sh"):
        subprocess.run(["sh", "-n", str(ROOT / script)], check=True)


def test_shell_scripts_are_clean() -> None:
    found = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip("shellcheck is not installed")
    subprocess.run([found, "--external-sources", *SCRIPTS], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("newest", "whole", "expected"),
    [(0, 0, 0), (69, 0, 0), (1, 0, 1), (0, 2, 2), (69, 2, 2), (1, 2, 2)],
)
def test_ci_fails_where_tests_fail_but_not_for_want_of_the_newest_versions(tmp_path, newest, whole, expected) -> None:
    for name, status in ((".ci/run", None), ("scripts/test-newest.sh", newest), ("bin/make", whole)):
        path = tmp_path / name
        path.parent.mkdir()
        text = f'#!/bin/sh\necho "$0 $*" >>"{tmp_path}/called"\nexit {status}\n'
        path.write_text((ROOT / name).read_text() if status is None else text)
        path.chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run([tmp_path / ".ci" / "run"], env=os.environ | {"PATH": path}, capture_output=True, check=False)
    assert done.returncode == expected
    called = [line.rpartition("/")[2] for line in (tmp_path / "called").read_text().splitlines()]
    assert called == ["test-newest.sh ci", "make test"]


def test_no_committed_set_up_file_names_a_package_index() -> None:
    # An index is configured on a machine, never in the project: every place that could name one is searched.
    set_up = re.compile(r"(pyproject\.toml|Makefile|environment\.yml|pip\.conf|.*\.(lock|sh|cfg|ini)|run)$")
    option = re.compile(r"index[-_]url|find[-_]links|trusted[-_]host|file:///|/simple\b", flags=re.IGNORECASE)
    found = [file for file in committed_files() if set_up.match(file.name) and option.search(file.read_text())]
    assert found == []


def test_no_committed_binary_is_large() -> None:
    files = [str(file) for file in committed_files()]
    script = [sys.executable, str(ROOT / "scripts" / "size_limit.py"), *files]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_results_of_benchmarks_are_small() -> None:
    results = [file for file in committed_files() if "results" in file.parts and "benchmarks" in file.parts]
    assert results
    assert [file for file in results if file.stat().st_size > 200_000] == []
