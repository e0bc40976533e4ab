"""Every example of the Python reference runs and prints what it says. `make docs-check` runs this."""

from __future__ import annotations

import doctest
import importlib
import warnings
from typing import Any

import matplotlib
import pytest

import scrae
from scrae.data.files import cells_on_disk

matplotlib.use("Agg")
ERRORS = (scrae.CountsError, scrae.ModelFolderError, scrae.NotFittedError, scrae.TrainingDiverged)


def public() -> dict[str, Any]:
    found: dict[str, Any] = {"cells_on_disk": cells_on_disk, "datasets.pbmc": scrae.datasets.pbmc}
    found |= {error.__name__: error for error in ERRORS}
    for module in ("metrics", "pl", "pp", "tl"):
        loaded = importlib.import_module(f"scrae.{module}")
        found |= {f"{module}.{name}": getattr(loaded, name) for name in loaded.__all__ if name.islower()}
    return found


def examples(name: str, thing: Any, names: dict[str, Any]) -> list[doctest.DocTest]:
    return [test for test in doctest.DocTestFinder(recurse=True).find(thing, name, globs=names) if test.examples]


FUNCTIONS = public()
METHODS = {test.name: test for test in examples("SCRAE", scrae.SCRAE, {})}


def run(test: doctest.DocTest) -> None:
    said: list[str] = []
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = runner.run(test, out=said.append)
    assert result.failed == 0, "".join(said)
    assert result.attempted > 0


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the example of the class leaves for those of its methods."""
    adata = scrae.datasets.pbmc()
    return {"scrae": scrae, "adata": adata, "model": scrae.SCRAE(max_epochs=3, verbose=False).fit(adata)}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_example_of_a_function_runs(name):
    tests = examples(name, FUNCTIONS[name], {})
    assert tests
    for test in tests:
        run(test)


@pytest.mark.parametrize("name", METHODS)
def test_an_example_of_the_estimator_runs(name, names):
    test = METHODS[name]
    test.globs = dict(names) if name != "SCRAE" else {}
    run(test)
