"""Errors and warnings carry a code and fields, and R has words for each (tests/python/bridge provokes them)."""

from __future__ import annotations

import ast
import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import scrae
from scrae._errors import Coded, Refusal
from scrae._messages import shown, some, unknown

PACKAGE = Path(scrae.__file__).parent
WORDS = Path(__file__).parents[2] / "rpkg" / "R"
OF_OTHERS = {"interrupted", "memory", "missing_package"}  # what scrae.r.events makes of errors of others
# What no job of the R package can meet: other doors, files that are read in Python, places that R has checked or filled
# in, and mistakes of who writes a term.
ONLY_IN_PYTHON = {
    "__init__.py": {"__getattr__"},
    "cli/models.py": {"_denoise", "_predict"},
    "cli/report.py": {"_report"},
    "cli/run.py": {"level", "refuse_output", "_pairs", "_run", "_train", "_write"},
    "cli/settings.py": {"settings_of"},
    "compute/distributed.py": {"on_terminate", "_together", "said", "require_same"},
    "compute/one_machine.py": {"made_once"},
    "compute/rows.py": {"rows_of"},
    "data/cells.py": {"positions", "_positions_by_name", "_column", "read_cells", "_read_anndata"},
    "data/count_folders.py": {"find_counts"},
    "data/files.py": {"with_counts", "tables_on_disk", "_checked", "read_counts"},
    "data/links.py": {"_of_names"},  # R gives positions
    "data/on_disk.py": {"append"},
    "data/opened_files.py": {"opened", "readable"},
    "data/several_files.py": {"names_of_files", "_shared_genes", "_obs"},
    "data/transforms.py": {"__init__"},
    "datasets.py": {"unscaled_counts"},
    "metrics/scores.py": {"scores"},
    "model/estimator.py": {"fitted", "_train", "predict"},
    "model/fitted.py": {"known_cells", "match_genes"},
    "model/loading.py": {"load_model", "_belonging"},
    "model/labelling.py": {"known_types"},
    "pl/batches.py": {"batches"},
    "pl/clusters.py": {"clusters"},
    "pl/embedding.py": {"embedding", "basis_of", "_panels"},
    "pl/genes.py": {"gene_selection"},
    "pl/history.py": {"_history"},
    "pl/report.py": {"refuse_no_page"},
    "pl/report_run.py": {"run_of"},
    # A folder of a model says of these that it is damaged.
    "posthoc/cell_types.py": {"from_description"},
    "posthoc/population.py": {"from_description"},
    "posthoc/principal_components.py": {"from_tensors"},
    "posthoc/readout.py": {"from_tensors"},
    "pp/genes.py": {"_check"},
    "r/__init__.py": {"__getattr__"},
    "r/conversion.py": {"from_sce"},
    "tl/differential.py": {"_by_cells"},  # without a model; R looks for that itself
    "tl/pseudobulk.py": {"needed"},  # that a package is missing has words of its own
    "tl/ranked_genes.py": {"refuse_foreign"},
    "tl/synthetic.py": {"compare_cells"},
}


@dataclass(frozen=True)
class Site:
    """A place where an error or warning with a code is made; ``fields`` is None where not all are written out there."""

    place: str
    code: ast.expr
    fields: frozenset[str] | None


@cache
def trees() -> dict[str, ast.Module]:
    return {
        str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")
    }


@cache
def coded() -> frozenset[str]:
    """Names of the classes whose instances carry a code."""
    names = {"Coded"}
    classes = [node for tree in trees().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    while new := {c.name for c in classes if names & {b.id for b in c.bases if isinstance(b, ast.Name)}} - names:
        names |= new
    return frozenset(names)


@cache
def makers() -> frozenset[str]:
    """Names of the functions that return such an instance."""
    functions = [node for tree in trees().values() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return frozenset(f.name for f in functions if isinstance(f.returns, ast.Name) and f.returns.id in coded())


def called(node: ast.AST) -> str | None:
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None


def sites() -> Iterator[Site]:
    for file, tree in trees().items():
        for node in ast.walk(tree):
            # NotWritten gives text, code and fields to what it inherits from.
            of_parent = (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "__init__"
                and file == "compute/atomic.py"
            )
            if isinstance(node, ast.Call) and (of_parent or called(node) in coded() - {"NotWritten"}):
                place = f"{file}:{node.lineno}"
                assert len(node.args) == 2, f"{place}: a text and a code"
                names = {keyword.arg for keyword in node.keywords}
                fields = None if None in names else frozenset(name for name in names if name)
                yield Site(place, node.args[1], fields)


def codes() -> dict[str, list[Site]]:
    found: dict[str, list[Site]] = {}
    for site in sites():
        if isinstance(site.code, ast.Constant):
            found.setdefault(site.code.value, []).append(site)
    return found


def words() -> dict[str, set[str]]:
    """The fields that R's words for each code speak of."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(WORDS.glob("words_of_*.R")))
    parts = re.split(r"^    (\w+) = function\(f, where\)", text, flags=re.M)[1:]
    return {code: set(re.findall(r"\bf\$(\w+)", body)) for code, body in zip(parts[::2], parts[1::2], strict=True)}


def test_every_code_is_written_out_or_that_of_another_error() -> None:
    for site in sites():
        if isinstance(site.code, ast.Constant):
            assert re.fullmatch(r"[a-z]+(_[a-z]+)*", site.code.value), site.place
        else:
            assert isinstance(site.code, ast.Attribute), site.place
            assert site.code.attr == "code", site.place


def test_r_has_words_for_every_code_and_for_no_other() -> None:
    assert set(words()) == set(codes()) | OF_OTHERS


def test_a_code_has_the_same_fields_everywhere_and_r_speaks_of_no_others() -> None:
    spoken_of = words()
    for code, found in codes().items():
        written_out = {site.fields for site in found if site.fields is not None}
        assert len(written_out) <= 1, f"{code}: {[(site.place, site.fields) for site in found]}"
        for fields in written_out:
            assert spoken_of[code] <= fields, f"{code}: R speaks of {spoken_of[code] - fields}"


def test_what_a_job_of_r_may_meet_has_a_code() -> None:
    def raised(node: ast.AST, function: str) -> Iterator[tuple[str, str | None, int]]:
        for child in ast.iter_child_nodes(node):
            name = child.name if isinstance(child, ast.FunctionDef) else function
            if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call):
                yield name, called(child.exc), child.lineno
            yield from raised(child, name)

    uncoded: dict[str, set[str]] = {}
    for file, tree in trees().items():
        for function, kind, _ in raised(tree, ""):
            if kind not in coded() | makers():
                uncoded.setdefault(file, set()).add(function)
    assert uncoded == ONLY_IN_PYTHON


def test_warnings_that_reach_r_have_a_code() -> None:
    """Those of old names go to programmers alone (DeprecationWarning)."""
    for file, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn" and file != "_deprecation.py":
                assert called(node.args[0]) in coded(), f"{file}:{node.lineno}"


def test_code_and_fields_stand_beside_the_text() -> None:
    with pytest.raises(ValueError, match="has no setting|n_latent must be") as refused:
        scrae.SCRAE(n_latent=0)
    assert isinstance(refused.value, Refusal)
    assert refused.value.code == "no_whole_number"
    assert refused.value.fields == {"name": "n_latent", "least": 1, "value": 0}
    assert issubclass(scrae.CountsError, ValueError)
    assert issubclass(scrae.ModelFolderError, ValueError)
    assert issubclass(scrae.TrainingDiverged, RuntimeError)
    with pytest.raises(TypeError, match="has no setting 'n_latnt'"):
        scrae.SCRAE(n_latnt=3)


def test_an_error_survives_the_way_to_another_process() -> None:
    sent = scrae.CountsError("no counts", "all_zero", n_cells=3)
    got = pickle.loads(pickle.dumps(sent))
    assert (type(got), str(got), got.code, got.fields) == (scrae.CountsError, "no counts", "all_zero", {"n_cells": 3})
    assert isinstance(got, Coded)


def test_names_and_numbers_of_numpy_are_shown_as_users_type_them() -> None:
    assert some(np.array(["B cell", "T cell"])) == "'B cell', 'T cell'"
    assert "np.str_" not in unknown("batch", np.str_("c"), np.array(["a", "b"]), "the model")
    assert [shown(value) for value in (np.float64(0.5), np.str_("a"), 3, "b", [1], None)] == [
        "0.5",
        "'a'",
        "3",
        "'b'",
        "[1]",
        "None",
    ]
