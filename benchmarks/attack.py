"""An attack on files, folders and matrices: damage, kills, loads beside saves, full disks; what comes of each try.

    python benchmarks/attack.py [--only matrices folders kills beside full-disk] [--matrices 2400] [--folders 2400]
                                [--kills 120] [--loads 1000] [--full-disks 33] [--seed 0] [--markdown RELIABILITY.md]
    python benchmarks/attack.py --only folders --from 1234 --folders 1    # one try again

Tries run in child processes, since a damaged file may end one: then another goes on with the next try. A try that takes
longer than a minute counts as one that ended its process. What HDF5 does where HDF5 itself reads damaged bytes stands
in a column of its own. With ``--markdown`` the table takes the place of the one in that file, between the two marks.
The exit status is 1 if there was a fault of scRAE.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from tables import markdown

KINDS = {
    "matrices": "matrices of counts, damaged in memory and in files",
    "folders": "model folders, damaged",
    "kills": "processes, killed while they train or write",
    "beside": "loads while another process saves",
    "full-disk": "writes on a full disk",
}
MEMORY = 8 * 2**30  # bytes that a child may take: who allocates what a damaged file asks for is found out
PATIENCE = 60.0  # seconds a try may take
SHOWN = 5  # faults of each kind that are printed
MARKS = "<!-- attack: begin -->", "<!-- attack: end -->"
HDF5 = "in HDF5"


@dataclass
class Tally:
    """What came of the tries of one kind."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--matrices", type=int, default=2400)
    parser.add_argument("--folders", type=int, default=2400)
    parser.add_argument("--kills", type=int, default=120)
    parser.add_argument("--loads", type=int, default=1000)
    parser.add_argument("--full-disks", type=int, default=33)
    parser.add_argument("--from", dest="first", type=int, default=0, help="number of the first try")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--markdown", type=Path, help="file whose table is written anew")
    parser.add_argument("--child", choices=[*KINDS, "train"], help=argparse.SUPPRESS)
    parser.add_argument("--until", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--saved", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.saved, range(options.first, options.until or 0), options.seed)
        return
    numbers = options.matrices, options.folders, options.kills, options.loads, options.full_disks
    number = dict(zip(KINDS, numbers, strict=True))
    tallies = {}
    with tempfile.TemporaryDirectory(prefix="scrae-attack-") as folder:
        saved = Path(folder) / "saved"
        _ = list(_answers("train", saved, 0, 1, options.seed))
        for kind in options.only:
            tallies[kind] = attacked(kind, saved, options.first, number[kind], options.seed)
            report(kind, tallies[kind])
    text = table(tallies)
    print(f"\n{text}")
    if options.markdown is not None:
        write_between_marks(options.markdown, text)
    faults = sum(len(tally.faults) for tally in tallies.values())
    sys.exit(f"{faults} fault(s)" if faults else 0)


# -- the parent -----------------------------------------------------------------------------------------------------


def attacked(kind: str, saved: Path, first: int, number: int, seed: int) -> Tally:
    """All tries of one kind, by one child after the other."""
    tally, started, at, end = Tally(), time.monotonic(), first, first + number
    while at < end:
        for answer in _answers(kind, saved, at, end, seed):
            at = answer["next"]
            tally.outcomes[answer["kind"]] += 1
            if answer["kind"] in FAULTS:
                tally.faults.append(f"{kind} {answer['try']}: {answer['kind']}: {answer['said']}")
    tally.seconds = time.monotonic() - started
    return tally


# As in attacks.outcome, which loads scrae; the parent does not.
FAULTS = ("silently wrong", "refused though sound", "crashed", "foreign exception", "lost")


def _answers(kind: str, saved: Path, first: int, end: int, seed: int) -> Iterator[dict[str, object]]:
    """What one child says of its tries; a child that dies or does not go on says so by that."""
    asked = [sys.executable, __file__, "--child", kind, "--saved", saved, "--from", first, "--until", end]
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [*map(str, asked), "--seed", str(seed)],
            stdout=subprocess.PIPE,
            stderr=said,
            env=environment | {"MPLBACKEND": "Agg", "TMPDIR": str(saved.parent)},
            start_new_session=True,  # with whatever it starts
        )
        assert process.stdout is not None
        begun, ended, silent = None, False, False
        try:
            for line in _lines(process.stdout.fileno()):
                answer = json.loads(line)
                begun, ended = answer.get("begin"), "end" in answer
                if "kind" in answer:
                    yield answer
        except TimeoutError:
            silent = True
            os.killpg(process.pid, signal.SIGABRT)  # its stack is written
        process.wait()
        process.stdout.close()
        if not ended:
            said.seek(0)
            stack = said.read().decode(errors="replace")
            if begun is None:
                raise SystemExit(f"the attack itself failed ({kind}):\n{stack[-3000:]}")
            how = f"no end within {PATIENCE:.0f} s" if silent else f"exit status {process.returncode}"
            stack = stack[max(0, stack.find("Current thread")) :]
            place = re.search(r'File "(.*)", line', stack)  # the innermost
            found = HDF5 if place is not None and "h5py" in place[1] else "crashed"
            yield {"kind": found, "try": begun, "said": f"{how}\n{stack[:700]}", "next": begun + 1}


def _lines(descriptor: int) -> Iterator[str]:
    """Lines as they come, until the other end closes.

    Raises
    ------
    TimeoutError
        It is silent for too long.
    """
    text, limit = b"", 5 * PATIENCE  # the first takes the time that torch takes to load
    while select.select([descriptor], [], [], limit)[0]:
        part = os.read(descriptor, 2**16)
        if not part:
            return
        *whole, text = (text + part).split(b"\n")
        yield from (line.decode() for line in whole)
        limit = PATIENCE
    raise TimeoutError


def report(kind: str, tally: Tally) -> None:
    """Counts and the first faults of one kind."""
    counted = ", ".join(f"{outcome} {n:,}" for outcome, n in tally.outcomes.most_common())
    print(f"{KINDS[kind]}: {counted or 'left out'} ({tally.seconds:.0f} s)", flush=True)
    for fault in tally.faults[:SHOWN]:
        print(f"    {fault}", flush=True)


def table(tallies: dict[str, Tally]) -> str:
    """Kinds by outcomes, as Markdown."""
    columns = ["refused", "right", *FAULTS, HDF5]
    rows = {KINDS[kind]: tally.outcomes for kind, tally in tallies.items() if tally.outcomes}
    counts = pd.DataFrame({name: [n[column] for column in columns] for name, n in rows.items()}, index=columns).T
    counts.insert(0, "tries", counts.sum(axis=1))
    counts.loc["all"] = counts.sum()
    return markdown(counts.map("{:,}".format), "attack")


def write_between_marks(path: Path, text: str) -> None:
    """Put the table into a page that says what it means."""
    before, _, rest = path.read_text().partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    path.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}")


# -- the child ------------------------------------------------------------------------------------------------------


def child(kind: str, saved: Path, tries: range, seed: int) -> None:
    """Make tries, and say of each that it begins and what came of it."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")

    def say(**answer: object) -> None:
        answers.write(json.dumps(answer) + "\n")

    if kind == "train":
        from attacks import models

        models.train(saved)
        say(end=True)
        return
    import numpy as np

    attempts = _attempts(kind, saved)
    if attempts is None:
        say(end=True)
        return
    place = saved.parent / f"tries of {os.getpid()}"
    at = tries.start
    while at < tries.stop:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        say(begin=at)
        rng = np.random.default_rng([seed, list(KINDS).index(kind), at])
        for outcome in attempts(rng, place, at):
            at += 1
            say(kind=outcome.kind, said=outcome.said, next=at, **{"try": at - 1})
            say(begin=at)
    shutil.rmtree(place, ignore_errors=True)
    say(end=True)


def _attempts(kind: str, saved: Path):  # type: ignore[no-untyped-def]
    """What makes a try, or some; None: not possible here."""
    if kind == "matrices":
        from attacks import matrix_files

        return lambda rng, place, _: [matrix_files.attempt(rng, place)]
    if kind == "folders":
        from attacks.folders import Folders

        folders = Folders(saved)
        return lambda rng, place, _: [folders.attempt(rng, place)]
    if kind == "kills":
        from attacks.kills import Kills

        kills = Kills(saved)
        return lambda rng, place, _: [kills.attempt(rng, place)]
    if kind == "beside":
        from attacks.beside import Beside

        beside = Beside(saved)
        return lambda rng, place, _: beside.attempts(rng, place)
    from attacks import full_disk

    if not full_disk.can_mount(saved.parent):
        return None
    disks = full_disk.FullDisks(saved)
    return lambda _, place, number: [disks.attempt(number, place)]


if __name__ == "__main__":
    main()
