"""Whatever is public is documented: a page of the reference, a text for each parameter, an example."""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import scrae
from scrae.data.files import cells_on_disk

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
MODULES = ("datasets", "metrics", "pl", "pp", "tl")
ERRORS = ("CountsError", "ModelFolderError", "NotFittedError", "TrainingDiverged")
CONSTANTS = ("metrics.RESOLUTIONS", "metrics.SCORES", "metrics.SILHOUETTE_CELLS")
FORMER = ("surprise",)  # the old name of a method, which warns
PYTHON = {"SCRAE": scrae.SCRAE, "data.files.cells_on_disk": cells_on_disk} | {
    name: getattr(scrae, name) for name in ERRORS
}
for module in MODULES:
    loaded = importlib.import_module(f"scrae.{module}")
    for name in getattr(loaded, "__all__", ["pbmc"]):
        if f"{module}.{name}" not in CONSTANTS:
            PYTHON[f"{module}.{name}"] = getattr(loaded, name)
METHODS = {
    f"SCRAE.{name}": inspect.getattr_static(scrae.SCRAE, name)
    for name in vars(scrae.SCRAE)
    if not name.startswith("_") and name not in FORMER
}
R_EXPORTS = re.findall(r"^export\((\w+)\)", (ROOT / "rpkg" / "NAMESPACE").read_text(encoding="utf-8"), flags=re.M)


def documentation(thing: object) -> str:
    if isinstance(thing, property):
        return inspect.getdoc(thing.fget) or ""
    return inspect.getdoc(getattr(thing, "__func__", thing)) or ""


def parameters(thing: object) -> list[str]:
    if isinstance(thing, property) or (inspect.isclass(thing) and issubclass(thing, Exception)):
        return []
    called = thing.__init__ if inspect.isclass(thing) else getattr(thing, "__func__", thing)
    return [name for name in inspect.signature(called).parameters if name not in ("self", "cls")]


def explained(text: str) -> set[str]:
    """The names that the section "Parameters" explains."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w+\n---|\Z)", text, flags=re.M | re.S)
    heads = re.findall(r"^(\S.*)$", section[1], flags=re.M) if section else []
    return {name.strip().lstrip("*") for head in heads for name in head.split(",")}


def test_the_reference_lists_every_public_name_of_python() -> None:
    listed = set(re.findall(r"^   ([A-Za-z_.]+)$", REFERENCE, flags=re.M))
    assert listed == set(PYTHON)
    assert set(scrae.__all__) == {"SCRAE", "__version__", *ERRORS, *MODULES}


def test_a_public_constant_has_a_sentence_in_the_reference() -> None:
    # A page made from it would have the text of its type.
    described = dict(re.findall(r"^\.\. py:data:: (\S+)\n\n   (\S.*)$", REFERENCE, flags=re.M))
    assert set(described) == set(CONSTANTS)
    assert all(text.endswith(".") for text in described.values())


@pytest.mark.parametrize("name", [*PYTHON, *METHODS])
def test_a_public_object_explains_its_parameters_and_has_an_example(name: str) -> None:
    thing = (PYTHON | METHODS)[name]
    text = documentation(thing)
    assert text
    if len(parameters(thing)) > 1:
        assert set(parameters(thing)) - explained(text) - {"n", "random_state"} == set()
    assert "Examples\n--------\n" in text
    assert ">>> " in text


@pytest.mark.parametrize("name", R_EXPORTS)
def test_a_function_of_r_has_a_page_with_an_example(name: str) -> None:
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "rpkg" / "man").glob("*.Rd")]
    of_it = [page for page in pages if f"\\alias{{{name}}}" in page]
    assert len(of_it) == 1
    assert "\\examples{" in of_it[0]
    assert "\\value{" in of_it[0]


def figures(root: Path, what: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(root / "scripts" / "figures.py"), what], capture_output=True, text=True, check=False
    )


def test_tables_of_the_documents_are_those_of_the_results() -> None:
    assert figures(ROOT, "check").stdout == ""


def test_a_table_with_another_figure_is_found_and_mended(tmp_path: Path) -> None:
    for name in ("README.md", "docs", "scripts/figures.py", "benchmarks/results"):
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.png"))
        else:
            shutil.copy(source, target)
    text = (tmp_path / "README.md").read_text()
    start = text.index("<!-- table: readme -->")
    (tmp_path / "README.md").write_text(text[:start] + text[start:].replace("0.", "0.9", 1))
    found = figures(tmp_path, "check")
    assert (found.returncode, "README.md" in found.stdout) == (1, True)
    assert figures(tmp_path, "write").returncode == 0
    assert (tmp_path / "README.md").read_text() == text


def test_the_readme_fits_on_two_screens() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 90
