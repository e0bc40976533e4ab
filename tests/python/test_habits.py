"""What people who work on the project rely on: one version, one place for addresses, limits, forms, named commands."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
METADATA = ROOT / "scripts" / "metadata.py"
STATED = (
    *("python/scrae/_version.py", "release.toml", "pyproject.toml", "CITATION.cff", "NEWS.md"),
    *("rpkg/DESCRIPTION", "rpkg/NEWS.md", "rpkg/man/scRAE-package.Rd", "recipe/recipe.yaml"),
)
"""The files that state the version, the maintainer or an address."""
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def metadata(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(METADATA), "--root", str(root), *command], capture_output=True, text=True, check=False
    )


def git(folder: Path, *command: str) -> None:
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    subprocess.run(["git", *who, *command], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that state something, in a folder of their own."""
    for name in STATED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def fill_in(root: Path) -> None:
    """What a release does by hand, and roxygen for the manual page."""
    for name in ("release.toml", "rpkg/man/scRAE-package.Rd"):
        text = (root / name).read_text()
        for old, new in (("example.org", "lab.example.com"), ("Placeholder", "Curie"), ("Maintainer P", "Marie P")):
            text = text.replace(old, new)
        (root / name).write_text(text)


def test_every_file_states_the_version_and_the_addresses_of_their_one_place() -> None:
    done = metadata(ROOT, "check")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_new_version_is_set_in_every_file_that_states_one(copy: Path) -> None:
    assert metadata(copy, "version", "9.8.7").returncode == 0
    assert '__version__ = "9.8.7"' in (copy / "python/scrae/_version.py").read_text()
    assert "\nVersion: 9.8.7\n" in (copy / "rpkg/DESCRIPTION").read_text()
    assert (copy / "rpkg/NEWS.md").read_text().startswith("# scRAE 9.8.7\n")
    assert yaml.safe_load((copy / "CITATION.cff").read_text())["version"] == "9.8.7"
    assert yaml.safe_load((copy / "recipe/recipe.yaml").read_text())["context"]["version"] == "9.8.7"
    assert metadata(copy, "check").returncode == 0


@pytest.mark.parametrize("number", ["1.0", "1.0.0rc1", "v1.0.0", "1.0.0.9000"])
def test_a_version_that_r_or_python_would_read_differently_is_refused(copy: Path, number: str) -> None:
    done = metadata(copy, "version", number)
    assert done.returncode == 1
    assert f"'{number}' is not a version" in done.stderr
    assert metadata(copy, "check").returncode == 0, "nothing was changed"


@pytest.mark.parametrize("name", ["rpkg/DESCRIPTION", "rpkg/NEWS.md", "CITATION.cff", "recipe/recipe.yaml"])
def test_a_file_with_another_version_is_found(copy: Path, name: str) -> None:
    version = runpy.run_path(str(ROOT / "python/scrae/_version.py"))["__version__"]
    replace(copy / name, version, "0.0.99")
    done = metadata(copy, "check")
    assert done.returncode == 1
    assert re.findall(r"metadata: (\S+)", done.stderr) == [name]


def test_addresses_that_are_filled_in_reach_both_packages_and_the_citation(copy: Path) -> None:
    fill_in(copy)
    assert metadata(copy, "check").returncode == 1
    assert metadata(copy, "write").returncode == 0
    assert metadata(copy, "check").returncode == 0
    description = (copy / "rpkg/DESCRIPTION").read_text()
    assert 'person("Maintainer", "Curie", email = "maintainer@lab.example.com",' in description
    assert "\nBugReports: https://lab.example.com/scrae/issues\n" in description
    project = tomllib.loads((copy / "pyproject.toml").read_text())["project"]
    assert project["maintainers"] == [{"name": "Maintainer Curie", "email": "maintainer@lab.example.com"}]
    assert project["urls"]["Issues"] == "https://lab.example.com/scrae/issues"
    citation = yaml.safe_load((copy / "CITATION.cff").read_text())
    assert citation["repository-code"] == "https://lab.example.com/scrae/code"
    assert citation["contact"][0]["family-names"] == "Curie"


def test_a_name_that_would_break_a_file_is_refused(copy: Path) -> None:
    replace(copy / "release.toml", '"Placeholder"', "'O\"Neill'")
    done = metadata(copy, "write")
    assert done.returncode == 1
    assert "quotation mark" in done.stderr


def test_only_a_dated_version_without_placeholders_may_be_published(copy: Path) -> None:
    # A section of its own, so that this holds before and after a release.
    assert metadata(copy, "version", "9.8.7").returncode == 0
    fill_in(copy)
    assert metadata(copy, "write").returncode == 0
    undated = metadata(copy, "publishable")
    assert (undated.returncode, "no section 9.8.7" in undated.stderr) == (1, True)
    assert metadata(copy, "date", "2030-01-31").returncode == 0
    assert metadata(copy, "publishable").returncode == 0
    assert "\n## [Unreleased]\n\n## [9.8.7] - 2030-01-31\n" in (copy / "NEWS.md").read_text()
    assert str(yaml.safe_load((copy / "CITATION.cff").read_text())["date-released"]) == "2030-01-31"
    again = metadata(copy, "date", "2030-02-01")
    assert (again.returncode, "section 9.8.7 already" in again.stderr) == (1, True)
    replace(copy / "release.toml", "lab.example.com", "example.org")
    assert "placeholders" in metadata(copy, "publishable").stderr


def test_the_version_after_a_release_begins_a_section_of_the_r_news(copy: Path) -> None:
    assert metadata(copy, "version", "9.8.7").returncode == 0
    assert metadata(copy, "date", "2030-01-31").returncode == 0
    assert metadata(copy, "version", "9.9.0").returncode == 0
    headings = re.findall(r"^# (.*)$", (copy / "rpkg/NEWS.md").read_text(), flags=re.MULTILINE)
    assert headings[:2] == ["scRAE 9.9.0", "scRAE 9.8.7"]


def test_the_notes_of_a_release_are_its_section_of_the_news(copy: Path) -> None:
    (copy / "NEWS.md").write_text("# News\n\n## [Unreleased]\n\nNew.\n\n## [0.0.1] - 2020-01-01\n\nOld.\n")
    assert metadata(copy, "version", "9.8.7").returncode == 0
    assert metadata(copy, "notes").stdout == "# scRAE 9.8.7\n\nNew.\n"
    assert metadata(copy, "date", "2030-01-31").returncode == 0
    assert metadata(copy, "notes").stdout == "# scRAE 9.8.7\n\nNew.\n"
    (copy / "NEWS.md").write_text("# News\n\n## [Unreleased]\n\n## [0.0.1] - 2020-01-01\n\nOld.\n")
    assert "says nothing about 9.8.7" in metadata(copy, "notes").stderr


def test_news_has_only_the_headings_of_keep_a_changelog() -> None:
    text = (ROOT / "NEWS.md").read_text()
    versions = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    assert [one for one in versions[1:] if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", one)] == []
    kinds = set(re.findall(r"^### (.*)$", text, flags=re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    r_kinds = set(re.findall(r"^## (.*)$", (ROOT / "rpkg/NEWS.md").read_text(), flags=re.MULTILINE))
    assert r_kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_a_large_binary_is_found_among_small_ones_and_texts(tmp_path: Path) -> None:
    made = {"small.png": bytes(300_000), "large.png": bytes(300_001), "large.csv": b"a,b\n" * 100_000}
    for name, content in made.items():
        (tmp_path / name).write_bytes(content)
    script = [sys.executable, str(ROOT / "scripts" / "size_limit.py")]
    done = subprocess.run([*script, *made], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "large.png has 300 kB, the limit for a binary file is 300 kB\n")
    assert subprocess.run([*script, "small.png", "large.csv"], cwd=tmp_path, check=False).returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
@needs_git
def test_a_release_refuses_a_dirty_tree_and_versions_that_disagree(copy: Path) -> None:
    for name in ("release.sh", "metadata.py"):
        (copy / "scripts").mkdir(exist_ok=True)
        shutil.copy(ROOT / "scripts" / name, copy / "scripts" / name)
    (copy / ".gitignore").write_text(".venv\n__pycache__\n")
    (copy / ".venv").symlink_to(sys.prefix)
    git(copy, "init", "--quiet")

    def release() -> str:
        done = subprocess.run(["sh", str(copy / "scripts" / "release.sh")], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        return done.stderr

    assert "the tree is dirty" in release()
    replace(copy / "rpkg/DESCRIPTION", "\nVersion: ", "\nVersion: 9")
    git(copy, "add", "--all")
    git(copy, "commit", "--quiet", "--message", "another version in DESCRIPTION")
    assert "rpkg/DESCRIPTION disagrees" in release()
    assert not (copy / "dist").exists()


def test_the_oldest_versions_are_the_lower_bounds_of_pyproject() -> None:
    script = [sys.executable, str(ROOT / "scripts" / "oldest.py")]
    printed = subprocess.run(script, capture_output=True, text=True, check=True).stdout.split()
    oldest = dict(line.split("==") for line in printed)
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    bounded = [one for one in map(Requirement, wanted) if any(bound.operator == ">=" for bound in one.specifier)]
    assert list(oldest) == [one.name for one in bounded]
    for one in bounded:
        assert one.specifier.contains(oldest[one.name])
        lower = [Version(bound.version) for bound in one.specifier if bound.operator == ">="]
        assert lower == [Version(oldest[one.name])]


def jobs(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())["jobs"]


def expanded(command: str, job: dict[str, Any]) -> list[str]:
    """The command for each value of the matrix that it names."""
    name = re.search(r"\$\{\{ matrix\.(\w+) \}\}", command)
    if name is None:
        return [command]
    matrix = job["strategy"]["matrix"]
    values = {*matrix.get(name[1], []), *(one[name[1]] for one in matrix.get("include", []) if name[1] in one)}
    return [command.replace(name[0], value) for value in sorted(values)]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_targets_that_the_makefile_has(path: Path) -> None:
    called = []
    for job in jobs(path).values():
        commands = [line for step in job["steps"] for line in str(step.get("run", "")).splitlines()]
        called += [one for line in commands for one in expanded(line, job) if one.startswith("make ")]
    assert called
    assert {line.split()[1] for line in called} - targets() == set()


def test_workflows_test_every_python_and_r_that_we_promise() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    matrix = jobs(ROOT / ".github/workflows/test.yml")["python"]["strategy"]["matrix"]
    assert all(SpecifierSet(project["requires-python"]).contains(f"{version}.0") for version in matrix["python"])
    promised = {line.split(" :: ")[-1] for line in project["classifiers"] if " :: Python :: 3." in line}
    assert promised <= set(matrix["python"])
    depends = re.search(r"R \(>= ([0-9]+\.[0-9]+)", (ROOT / "rpkg/DESCRIPTION").read_text())
    linux = jobs(ROOT / ".github/workflows/test.yml")["r-linux"]["strategy"]["matrix"]["include"]
    assert depends is not None
    assert depends[1] == min((one["r"] for one in linux), key=Version)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_issue_forms_are_complete(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= set(form)
    questions = [part for part in form["body"] if part["type"] != "markdown"]
    ids = [part["id"] for part in questions]
    assert len(set(ids)) == len(ids)
    assert all(part["attributes"]["label"].strip() for part in questions)
    assert any(part.get("validations", {}).get("required") for part in questions)


def test_a_bug_report_asks_what_the_installation_says_of_itself() -> None:
    text = (ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text()
    assert "`scrae doctor`" in text
    assert "`SCRAEStatus()`" in text


def test_checks_before_a_commit_fetch_nothing_and_call_what_is_there() -> None:
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [one["repo"] for one in repositories] == ["local"]
    for hook in repositories[0]["hooks"]:
        assert hook["language"] == "system"
        for script in re.findall(r"scripts/\S+", hook["entry"]):
            assert (ROOT / script).exists()


def test_contributing_names_files_and_targets_that_there_are() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:python|rpkg|tests|docs|scripts|\.github|\.ci)/[^`\s]*)`", text)
    assert len(named) > 20
    new = {"python/scrae/likelihoods/NAME.py", "python/scrae/regularisers/NAME.py", "rpkg/R/QuestionSCRAE.R"}
    assert [name for name in named if name not in new and not (ROOT / name).exists()] == []
    drawing = [line[:39] for line in text.splitlines() if line.startswith("    ")]
    layers = [name for line in drawing for name in re.findall(r"[a-z]+(?:/|\.py)", line)]
    assert len(layers) > 10
    assert [name for name in layers if not (ROOT / "python/scrae" / name).exists()] == []
    commands = set(re.findall(r"\bmake ([a-z][a-z0-9-]*[a-z0-9])(?![a-z0-9.-])", text))
    assert commands - targets() == set()
