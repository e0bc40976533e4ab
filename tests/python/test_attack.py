"""The program that attacks files, folders and matrices: it finds what is there, and names what it finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def attack(*options):
    command = [sys.executable, BENCHMARKS / "attack.py", *options]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_few_tries_of_each_kind_find_no_fault(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- attack: begin -->\nold\n<!-- attack: end -->\nafter\n")
    few = ("--matrices", "60", "--folders", "60", "--kills", "4", "--loads", "20", "--full-disks", "3")
    done = attack(*few, "--markdown", page)
    assert done.returncode == 0, done.stdout + done.stderr
    text = page.read_text()
    assert text.startswith("before\n<!-- attack: begin -->\n| attack | tries |")
    assert text.endswith("|\n<!-- attack: end -->\nafter\n")
    rows = {row.split(" | ")[0].strip("| "): row.split(" | ")[1:] for row in text.splitlines() if row.startswith("| ")}
    assert rows["matrices of counts, damaged in memory and in files"][0] == "60"
    assert rows["processes, killed while they train or write"][0] == "4"
    assert int(rows["matrices of counts, damaged in memory and in files"][1]) > 20, "most of it is refused"


def test_what_is_silently_wrong_foreign_or_fatal_is_found(program, monkeypatch):
    outcome = program("attacks.outcome")

    def foreign():
        raise KeyError("x")

    def wrapped():
        int("x")

    assert outcome.outcome("x", foreign, bool).kind == outcome.FOREIGN
    assert outcome.outcome("x", wrapped, bool).kind == outcome.FOREIGN
    assert outcome.outcome("x", lambda: 0, bool).kind == outcome.WRONG
    assert outcome.outcome("x", lambda: 1, bool).kind == outcome.RIGHT


def test_a_child_that_dies_is_counted_and_the_next_goes_on(program, tmp_path, monkeypatch):
    attack = program("attack")
    child = tmp_path / "child.py"
    child.write_text(
        "import json, os, sys\n"
        "first, end = (int(sys.argv[sys.argv.index(name) + 1]) for name in ('--from', '--until'))\n"
        "for at in range(first, end):\n"
        "    print(json.dumps({'begin': at}), flush=True)\n"
        "    if at == 2: os.kill(os.getpid(), 11)\n"
        "    print(json.dumps({'kind': 'right', 'try': at, 'said': '', 'next': at + 1}), flush=True)\n"
        "print(json.dumps({'end': True}), flush=True)\n"
    )
    monkeypatch.setattr(attack, "__file__", str(child))
    tally = attack.attacked("matrices", tmp_path / "saved", 0, 5, 0)
    assert tally.outcomes == {"right": 4, "crashed": 1}
    assert tally.faults[0].startswith("matrices 2: crashed: exit status -11")


def test_the_faults_are_those_of_the_tries(program):
    assert program("attack").FAULTS == program("attacks.outcome").FAULTS
