"""The worker that R starts, as a real process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import scrae
from scrae.model.folder import STATE
from scrae.r import from_sce
from scrae.r.answers import plain
from scrae.r.conversion import from_r
from scrae.r.handed import take_cells
from scrae.r.job import JOB, MODEL, OTHER_GENES, RESULT
from scrae.r.jobs import run
from scrae.r.models import KeptModels
from scrae.r.worker import GIVEN, IN_A_MOMENT, MOST_OWN_MB, OUTPUT

pytestmark = pytest.mark.slow  # R and Bioconductor are loaded


def job(folder: Path, action: str = "train", **arguments: Any) -> Path:
    """A job folder with 40 cells in it, written by R."""
    folder.mkdir(exist_ok=True)
    settings = {"n_latent": 2, "n_hidden": [8], "batch_size": 16} | arguments.pop("settings", {})
    content = {"action": action, "threads": 1, "arguments": {"random_state": 0, "settings": settings} | arguments}
    (folder / JOB).write_text(json.dumps(content))
    return folder


R_FILES = Path(__file__).parents[3] / "rpkg" / "R"


@pytest.fixture(scope="session")
def hand_over(ro: Any) -> Callable[[str, Path], None]:
    """Has R hand over a list of counts and columns, ``cells`` by its name in R, with a job in a folder."""
    ro.r("of_package <- new.env()")
    for name in ("conditions.R", "training.R", "job.R", "handed.R"):
        ro.r(f'sys.source("{R_FILES / name}", of_package)')
    ro.r("""
    set.seed(2)
    m <- matrix(rpois(600, 2), 15, 40, dimnames = list(paste0("g", 1:15), paste0("c", 1:40)))
    cells <- list(counts = Matrix(m, sparse = TRUE), columns = list(donor = rep(c("a", "b"), 20)))
    """)
    return lambda name, folder: ro.r(f'of_package$save_cells({name}, "{folder}")')


@pytest.fixture
def cells(hand_over: Callable[[str, Path], None]) -> Callable[[Path], None]:
    """Hands 40 cells x 15 genes over."""
    return lambda folder: hand_over("cells", folder)


@dataclass
class Standing:
    """A worker, as R has it."""

    process: subprocess.Popen[str]

    @classmethod
    def started(cls, *arguments: str, program: Sequence[str] = ("-m", "scrae.r")) -> Standing:
        return cls(
            subprocess.Popen(
                [sys.executable, *program, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        )

    def give(self, folder: Path) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"folder": str(folder)}) + "\n")
        self.process.stdin.flush()

    def events(self, last: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Events up to one, or to the end of the worker."""
        assert self.process.stdout is not None
        events: list[dict[str, Any]] = []
        for line in self.process.stdout:
            if line.strip():
                events.append(json.loads(line))
                if last(events[-1]):
                    break
        return events

    def done(self, folder: Path) -> list[dict[str, Any]]:
        """What is told of a job that is given, from its beginning to its end."""
        self.give(folder)
        return self.events(is_end)

    def close(self) -> int:
        """As R does at its end; the worker's exit status."""
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return self.process.wait(60)


@pytest.fixture(scope="module")
def shared_worker() -> Iterator[Standing]:
    """One that many tests give jobs to."""
    standing = Standing.started()
    yield standing
    assert standing.close() == 0


@pytest.fixture
def worker() -> Iterator[Standing]:
    """One that a test may do anything to."""
    standing = Standing.started()
    yield standing
    standing.close()


def is_end(event: dict[str, Any]) -> bool:
    return event["event"] == "ended"


def is_epoch(event: dict[str, Any]) -> bool:
    return event["event"] == "epoch"


ENDED_WELL = {"event": "ended", "status": 0, "stays": True}


def test_the_worker_trains_tells_and_leaves_the_result(
    cells: Callable[[Path], None], shared_worker: Standing, tmp_path: Path
) -> None:
    folder = job(tmp_path / "job", max_epochs=3, batch_key="donor")
    cells(folder)
    events = shared_worker.done(folder)
    told = ["begun", "stage", "start", "epoch", "epoch", "epoch", "done", "ended"]
    assert [event["event"] for event in events] == told
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert events[2] == {"event": "start", "n_cells": 40, "n_genes": 15, "device": device}
    assert [event["epoch"] for event in events[3:6]] == [1, 2, 3]
    assert events[-1] == ENDED_WELL
    result = json.loads((tmp_path / "job" / RESULT).read_text())
    assert result["embedding"]["shape"] == [40, 2]
    embedding = np.fromfile(tmp_path / "job" / result["embedding"]["file"], "<f4").reshape(40, 2)
    assert np.isfinite(embedding).all()
    assert result["history"]["epoch"] == [1, 2, 3]
    model = scrae.SCRAE.load(tmp_path / "job" / MODEL, verbose=False)
    assert list(model.gene_names) == result["genes"] == [f"g{i}" for i in range(1, 16)]
    assert list(folder.glob("cells.*")) == [], "the copy of the counts is deleted once it is read"


def test_what_r_hands_over_is_what_python_has(ro: Any, hand_over: Callable[[str, Path], None], tmp_path: Path) -> None:
    ro.r(r"""
    special <- list(
        counts = Matrix(rbind(c(0, 2^24, 3), c(70000, 0, 1)), sparse = TRUE,
            dimnames = list(c("\u03b1", "b \"quoted\""), c("c1", "c\n2", "c3"))),
        columns = list(donor = c("\u00e9", NA, "b"), score = c(1 / 3, -0, 1e300)),
        embedding = matrix(1:6 / 7, 3)
    )
    fractions <- list(counts = special$counts / 3, columns = list())
    """)
    hand_over("special", tmp_path)
    adata = take_cells(tmp_path)
    np.testing.assert_array_equal(adata.X.toarray(), [[0, 70000], [2**24, 0], [3, 1]])
    assert adata.X.dtype == np.float32
    assert list(adata.var_names) == ["\u03b1", 'b "quoted"']
    assert list(adata.obs_names) == ["c1", "c\n2", "c3"]
    assert list(adata.obs["donor"].isna()) == [False, True, False]
    assert list(adata.obs["donor"].dropna()) == ["\u00e9", "b"]
    assert list(adata.obs["score"]) == [1 / 3, -0.0, 1e300]
    np.testing.assert_array_equal(adata.obsm["X_scrae"], np.array([[1, 4], [2, 5], [3, 6]]) / 7)
    assert list(tmp_path.iterdir()) == []
    hand_over("fractions", tmp_path)
    adata = take_cells(tmp_path)
    assert adata.X.dtype == np.float64
    np.testing.assert_array_equal(adata.X.toarray(), np.array([[0, 70000], [2**24, 0], [3, 1]]) / 3)


def test_mapping_denoising_and_sampling_use_the_model_that_was_left(
    cells: Callable[[Path], None], shared_worker: Standing, tmp_path: Path
) -> None:
    folder = job(tmp_path / "train", max_epochs=2)
    cells(folder)
    shared_worker.done(folder)
    model = tmp_path / "train" / MODEL
    loaded = scrae.SCRAE.load(model, verbose=False, device="cpu")

    def do(action: str, **arguments: Any) -> tuple[Path, dict[str, Any]]:
        given = tmp_path / action / GIVEN
        folder = job(given.parent, action, model=str(given), **arguments)
        shutil.copytree(model, given)
        cells(folder)
        assert shared_worker.done(folder)[-1] == ENDED_WELL
        return folder, json.loads((folder / RESULT).read_text())

    folder, result = do("map")
    trained = np.fromfile(tmp_path / "train" / "embedding.f4", "<f4")
    np.testing.assert_allclose(np.fromfile(folder / result["embedding"]["file"], "<f4"), trained, rtol=1e-5, atol=1e-6)
    folder, result = do("denoise", library_size="common", cutoff=0.5)
    assert result["matrix"]["shape"] == [40, 15]
    values = np.fromfile(folder / result["matrix"]["sparse"]["data"]["file"], "<f4")
    assert values.min() >= 0.5
    folder, result = do("sample", n=30)
    values = np.fromfile(folder / result["matrix"]["sparse"]["data"]["file"], "<f4")
    expected = loaded.sample(30, random_state=0)
    np.testing.assert_array_equal(values, expected[expected > 0])


def test_models_are_kept_by_what_they_are_and_the_last_few_alone(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(2.0, (40, 12))
    for seed in (0, 1, 2):
        model = scrae.SCRAE(n_latent=2, n_hidden=8, max_epochs=1, verbose=False, random_state=seed, device="cpu")
        model.fit(counts).save(tmp_path / str(seed))
        (tmp_path / str(seed) / STATE).unlink()
    kept = KeptModels(most=2)
    for folder in ("0", "1"):
        kept.keep(tmp_path / folder)
    shutil.copytree(tmp_path / "0", tmp_path / "copy")
    first, again = kept.find(tmp_path / "0", "cpu"), kept.find(tmp_path / "copy", "cpu")
    assert first.fitted is again.fitted
    assert first is not again, "labels that are learned are those of one object"
    np.testing.assert_array_equal(first.embed(counts), scrae.SCRAE.load(tmp_path / "0", verbose=False).embed(counts))
    kept.keep(tmp_path / "copy")
    kept.keep(tmp_path / "2")
    assert len(kept) == 2
    assert kept.find(tmp_path / "1", "cpu") is None, "it was asked longest ago"
    assert kept.find(tmp_path / "0", "cpu") is not None
    for damaged in (tmp_path / "nowhere", tmp_path):
        kept.keep(damaged)
    (tmp_path / "1" / "weights.safetensors").write_bytes(b"nonsense")
    kept.keep(tmp_path / "1")
    assert kept.find(tmp_path / "1", "cpu") is None
    assert len(kept) == 2
    small = KeptModels(most_bytes=10)
    small.keep(tmp_path / "0")
    assert len(small) == 0


def read_table(folder: Path, columns: dict[str, Any]) -> pd.DataFrame:
    """A table as R reads it."""
    table = {}
    for name, column in columns.items():
        values = np.fromfile(folder / column["file"], "<" + Path(column["file"]).suffix[1:])
        if "levels" in column:
            text = pd.Categorical.from_codes(values, column["levels"])
            table[name] = text if column["factor"] else text.astype(object)
        else:
            table[name] = values
    return pd.DataFrame(table)


def test_what_is_asked_of_a_model_is_answered_as_in_python(ro: Any, tmp_path: Path) -> None:
    ro.r("""
    typed <- sce[, rep(1:15, 5)]; colnames(typed) <- paste0("c", 1:75)
    counts(typed)[1, ] <- counts(typed)[1, ] + 1
    typed$type <- rep(c("t", "b", "Unknown"), each = 25); typed$donor <- rep(c("x", "y", "y"), 25)
    """)
    adata = from_sce(ro.r("typed"))
    settings = {"n_latent": 2, "n_hidden": (8,), "batch_size": 16}

    def do(action: str, **arguments: Any) -> tuple[Path, dict[str, Any]]:
        folder = job(tmp_path / action, action, device="cpu", **arguments)
        run(folder, lambda: from_r(ro.r("typed")), lambda *_, **__: None)
        return folder, json.loads((folder / RESULT).read_text())

    folder, result = do("train", max_epochs=2)
    assert "table" not in result
    asked = {"unlabeled_category": "Unknown", "unknown_rate": 0.05}
    folder, result = do("label", model=str(folder / MODEL), labels_key="type", **asked)
    model = scrae.SCRAE.load(folder / MODEL, verbose=False, device="cpu")
    labels = read_table(folder, result["table"])
    assert list(labels["label"].cat.categories) == ["b", "t", "Unknown"]
    assert list(labels["label"]) == list(model.predict(adata, unknown_rate=0.05))
    probabilities = model.predict(adata, return_probabilities=True)
    np.testing.assert_allclose(labels["label_probability"], probabilities[["b", "t"]].max(axis=1))
    np.testing.assert_allclose(labels["familiarity"], probabilities["conformal_p_value"])
    given = str(folder / MODEL)
    pd.testing.assert_frame_equal(read_table(*told(do("map", model=given, **asked))), labels)

    expected = scrae.tl.outliers(adata, model).reset_index(drop=True)
    expected = expected.rename(columns={"negative_log_likelihood": "surprise"})  # as R's columns are called
    pd.testing.assert_frame_equal(read_table(*told(do("outliers", model=given))), expected)
    answer = do("differential", model=given, groupby="type", groups=["t"], reference="b", batch_key="donor")
    expected = scrae.tl.differential_expression(adata, model, "type", groups=["t"], reference="b", batch_key="donor")
    pd.testing.assert_frame_equal(read_table(*told(answer)), expected)
    report = read_table(*told(do("sample_report", model=given, n=40)))
    expected = scrae.tl.sample_report(adata, model, n=40)
    assert dict(zip(report["measure"], report["value"], strict=True)) == expected.to_dict()

    folder, answer = do("batch_report", batch_key="donor", keep=["type"], random_state=0, genes=[])
    expected = scrae.tl.batch_report(adata, "donor", keep="type")
    measures = read_table(folder, answer["measures"]).set_index("measure")
    pd.testing.assert_frame_equal(measures, expected, check_names=False, check_index_type=False, check_dtype=False)

    scores = read_table(*told(do("cross_validate", share=0.6, max_epochs=2)))
    expected = scrae.tl.molecular_cross_validation(adata, share=0.6, max_epochs=2, device="cpu", **settings)
    pd.testing.assert_frame_equal(scores.set_index("predictor"), expected, check_names=False)
    assert np.isinf(scores["poisson"][1])
    folder, result = do("stability", n_runs=2, resolution=1, max_epochs=2, select={"method": "hvg", "n_top": 10})
    agreement = np.fromfile(folder / result["matrix"]["file"], "<f8").reshape(2, 2)
    expected = scrae.tl.stability(
        adata, 2, max_epochs=2, genes="hvg", n_genes=10, device="cpu", verbose=False, **settings
    )
    np.testing.assert_array_equal(agreement, expected)
    assert result["seeds"] == [0, 1]
    clustering = {"n_clusters": 3, "pretraining_epochs": 0}
    folder, result = do("train", preset="scdeepcluster", max_epochs=1, settings=clustering)
    assert set(read_table(folder, result["table"])["clusters"]) <= {"0", "1", "2"}


def test_clusters_and_their_tables_are_those_of_python(ro: Any, tmp_path: Path) -> None:
    ro.r("""
    set.seed(6)
    means <- matrix(1, 20, 90); means[1:6, 1:40] <- 9; means[7:12, 41:70] <- 9
    parts <- list(
        counts = Matrix(matrix(rpois(1800, means), 20, dimnames = list(paste0("g", 1:20), paste0("c", 1:90))),
            sparse = TRUE),
        columns = list(donor = rep(c("x", "y"), 45)),
        embedding = unname(prcomp(t(log1p(means + rnorm(1800, sd = .2))))$x[, 1:3])
    )
    """)
    adata = from_r(ro.r("parts"))
    embedding = adata.obsm["X_scrae"]
    assert embedding.dtype == np.float64
    np.testing.assert_array_equal(embedding, np.reshape(list(ro.r("parts$embedding")), (90, 3), order="F"))
    genes = [f"g{i}" for i in range(1, 13)]
    folder = job(
        tmp_path / "cluster", "cluster", level="fine", resolution=1.5, rare=True, batch_key="donor", genes=genes
    )
    run(folder, lambda: from_r(ro.r("parts")), lambda *_, **__: None)
    result = json.loads((folder / RESULT).read_text())
    adata.uns["scrae"] = {"genes": genes}
    scrae.tl.cluster(adata, level="fine", resolution=1.5, rare=True, batch_key="donor")
    told = adata.uns["scrae_clusters"]
    of_cells = read_table(folder, result["table"])
    assert list(of_cells["clusters"].cat.categories) == list(adata.obs["scrae_clusters"].cat.categories)
    assert list(of_cells["clusters"]) == list(adata.obs["scrae_clusters"])
    np.testing.assert_array_equal(of_cells["confidence"], adata.obs["scrae_cluster_confidence"])
    pd.testing.assert_frame_equal(
        read_table(folder, result["clusters"]), told["clusters"].reset_index(), check_dtype=False
    )
    pd.testing.assert_frame_equal(read_table(folder, result["tree"]), told["tree"], check_dtype=False)
    assert result["separation"] == told["params"]["separation"]


def told(answer: tuple[Path, dict[str, Any]]) -> tuple[Path, dict[str, Any]]:
    """The table of an answer, and where its columns are."""
    folder, result = answer
    return folder, result["table"]


def test_genes_are_selected_by_the_core(cells: Callable[[Path], None], shared_worker: Standing, tmp_path: Path) -> None:
    for folder in (
        job(tmp_path / "select", "select", method="hvg", n_top=6),
        job(tmp_path / "train", max_epochs=1, select={"method": "hvg", "n_top": 6}),
    ):
        cells(folder)
        shared_worker.done(folder)
        assert len(json.loads((folder / RESULT).read_text())["genes"]) == 6


ENDLESS = {"max_epochs": 10**6, "settings": {"early_stopping": False}}


def endless_job(tmp_path: Path, cells: Callable[[Path], None], worker: Standing) -> Path:
    """Folder of a job that trains, and would for ever."""
    folder = job(tmp_path / "job", **ENDLESS)
    cells(folder)
    worker.give(folder)
    worker.events(is_epoch)
    return folder


def test_interrupts_end_training_with_the_best_model(
    cells: Callable[[Path], None], worker: Standing, tmp_path: Path
) -> None:
    folder = endless_job(tmp_path, cells, worker)
    for _ in range(3):  # R sends it until training ends, so that one before its beginning is not lost
        worker.process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    *_, done, ended = worker.events(is_end)
    assert (done, ended) == ({"event": "done"}, ENDED_WELL)
    summary = json.loads((folder / RESULT).read_text())["summary"]
    assert summary["stop_reason"] == "interrupted"
    assert 1 <= summary["epochs"] < 10**6
    # It goes on waiting, and an interrupt that comes late is nobody's.
    worker.process.send_signal(signal.SIGINT)
    next_one = job(tmp_path / "next", max_epochs=1)
    cells(next_one)
    assert worker.done(next_one)[-1] == ENDED_WELL


def copies_of(worker: Standing) -> list[int]:
    return [
        int(status.parent.name)
        for status in Path("/proc").glob("[0-9]*/status")
        if f"PPid:\t{worker.process.pid}\n" in status.read_text()
    ]


@pytest.mark.parametrize("killed", ["closed", "worker"])
def test_the_job_ends_with_r_or_the_worker_and_leaves_no_counts(
    killed: str, cells: Callable[[Path], None], worker: Standing, tmp_path: Path
) -> None:
    folder = endless_job(tmp_path, cells, worker)
    (copy,) = copies_of(worker)
    assert worker.process.stdin is not None
    if killed == "worker":
        worker.process.kill()
    else:
        worker.process.stdin.close()  # what the kernel does when the R session dies
    assert worker.process.wait(20) != 0
    until = time.monotonic() + 20
    while Path("/proc", str(copy)).exists() or folder.exists():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_copy_that_is_killed_is_told_of_and_the_worker_goes_on(
    cells: Callable[[Path], None], worker: Standing, tmp_path: Path
) -> None:
    folder = endless_job(tmp_path, cells, worker)
    (copy,) = copies_of(worker)
    os.kill(copy, signal.SIGKILL)
    assert worker.events(is_end)[-1] == {"event": "ended", "status": -signal.SIGKILL, "stays": True}
    assert not (folder / RESULT).exists()
    folder = job(tmp_path / "next", max_epochs=1)
    cells(folder)
    assert worker.done(folder)[-1] == ENDED_WELL


def test_what_was_done_before_changes_no_bit_and_leaves_no_memory(
    ro: Any, cells: Callable[[Path], None], hand_over: Callable[[str, Path], None], worker: Standing, tmp_path: Path
) -> None:
    def own_mb() -> float:
        status = Path("/proc", str(worker.process.pid), "status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("RssAnon")]
        return int(line.split()[1]) / 1024

    def trained(name: str) -> tuple[bytes, dict[str, bytes]]:
        folder = job(tmp_path / name, max_epochs=2)
        cells(folder)
        worker.done(folder)
        weights = load_file(folder / MODEL / "weights.safetensors")
        of_model = {name: tensor.numpy().tobytes() for name, tensor in weights.items()}
        return (folder / "embedding.f4").read_bytes(), of_model

    def waits() -> None:
        """Until it does nothing: what a job has imported, it imports afterwards."""
        until, asleep = time.monotonic() + 60, 0
        while asleep < 20:
            assert time.monotonic() < until
            state = Path("/proc", str(worker.process.pid), "stat").read_text().rsplit(")", 1)[1].split()[0]
            asleep = asleep + 1 if state == "S" else 0
            time.sleep(0.05)

    fresh = trained("fresh")
    ro.r("""
    set.seed(5)
    large <- list(counts = as(as(matrix(rpois(4e6, 1), 1000, dimnames = list(paste0("g", 1:1000), paste0("c", 1:4000))),
        "dMatrix"), "CsparseMatrix"), columns = list())
    """)
    for seed in (1, 2):
        folder = job(tmp_path / f"large{seed}", max_epochs=1, select={"method": "hvg", "n_top": 500})
        hand_over("large", folder)
        assert worker.done(folder)[-1] == ENDED_WELL
        if seed == 1:
            waits()
            before = own_mb()
    folder = job(tmp_path / "refused", settings={"n_laten": 3})
    assert worker.done(folder)[-1]["status"] == 1
    assert trained("after") == fresh
    waits()
    assert before < MOST_OWN_MB
    assert abs(own_mb() - before) < 10, "what jobs import stays, and what they hold goes"
    time.sleep(2 * IN_A_MOMENT)
    status = Path("/proc", str(worker.process.pid), "status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    assert int(line.split()[1]) / 1024 < MOST_OWN_MB
    assert trained("later") == fresh


def test_each_job_has_the_threads_and_the_folder_for_files_that_it_is_given(
    cells: Callable[[Path], None], shared_worker: Standing, tmp_path: Path
) -> None:
    for threads, expected in ((2, 2), (None, 1), (1, 1)):
        folder = job(tmp_path / f"job{threads}", max_epochs=1)
        content = json.loads((folder / JOB).read_text()) | {"threads": threads}
        (folder / JOB).write_text(json.dumps(content))
        cells(folder)
        assert shared_worker.done(folder)[-1] == ENDED_WELL
        assert json.loads((folder / RESULT).read_text())["summary"]["threads"] == expected
        assert (folder / OUTPUT).exists()


def test_a_worker_that_nobody_needs_ends() -> None:
    worker = Standing.started("0.5")
    assert worker.events(is_end) == []
    assert worker.close() == 0


def test_a_worker_that_cannot_be_copied_does_one_job_and_ends(cells: Callable[[Path], None], tmp_path: Path) -> None:
    program = "import scrae.r.worker; scrae.r.worker.CAN_FORK = False; from scrae.r.__main__ import main; main([])"
    folder = job(tmp_path / "job", max_epochs=1)
    cells(folder)
    worker = Standing.started(program=["-c", program])
    assert worker.done(folder)[-1] == {"event": "ended", "status": 0, "stays": False}
    assert worker.close() == 0
    assert (folder / RESULT).exists()


def test_the_answer_of_a_worker_that_cannot_be_copied_stays_when_r_closes_at_once(
    cells: Callable[[Path], None], tmp_path: Path
) -> None:
    """It is slow to end here, as on a busy machine, so that its watch sees R's end first."""
    program = (
        "import atexit, time, scrae.r.worker as w; w.CAN_FORK = False; atexit.register(time.sleep, 2); "
        "from scrae.r.__main__ import main; raise SystemExit(main([]))"
    )
    folder = job(tmp_path / "job", max_epochs=1)
    cells(folder)
    worker = Standing.started(program=["-c", program])
    worker.done(folder)
    assert worker.close() == 0
    assert (folder / RESULT).exists()


def test_an_error_is_an_event_and_leaves_no_result(shared_worker: Standing, tmp_path: Path) -> None:
    folder = job(tmp_path / "job", settings={"n_laten": 3})
    _, event, ended = shared_worker.done(folder)
    assert ended == {"event": "ended", "status": 1, "stays": True}
    assert (event["event"], event["kinds"], event["code"]) == ("error", ["UnknownName", "TypeError"], "unknown_setting")
    assert "did you mean 'n_latent'" in event["text"]
    assert event["fields"]["name"] == "n_laten"
    assert not (folder / RESULT).exists()


def test_warnings_of_the_core_are_events(
    ro: Any, hand_over: Callable[[str, Path], None], shared_worker: Standing, tmp_path: Path
) -> None:
    # Genes that stay behind in R are one row of the object, which is not modelled.
    ro.r(f"""
    m <- matrix(c(rep(0, 45), rpois(15 * 37, 3)), 15, 40, dimnames = list(paste0("g", 1:15), paste0("c", 1:40)))
    m <- rbind(m, as.numeric(colSums(m) == 0)); rownames(m)[16] <- "{OTHER_GENES}"
    with_others <- list(counts = Matrix(m, sparse = TRUE), columns = list())
    """)
    folder = job(tmp_path / "job", max_epochs=1)
    hand_over("with_others", folder)
    (told,) = [event for event in shared_worker.done(folder) if event["event"] == "warning"]
    assert told["text"].startswith("3 of 40 cells have no count")
    assert (told["kinds"][:2], told["code"]) == (["Notice", "UserWarning"], "cells_without_modelled_genes")
    assert told["fields"] == {"n": 3, "n_cells": 40, "n_genes": 15}
    assert len(json.loads((folder / RESULT).read_text())["genes"]) == 15


def test_an_action_of_another_version_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="'dance', which this version of scrae does not know"):
        run(job(tmp_path, "dance"), lambda: None, lambda *_, **__: None)


@pytest.mark.parametrize("how", ["--check", "--look"])
def test_check_tells_versions_and_problems_as_json(how: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "scrae.r", how],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    status = json.loads(answer.stdout)
    assert status["problems"] == []
    assert status["findings"]["scrae"] == scrae.__version__


def test_numbers_that_json_does_not_know_become_null() -> None:
    told = plain({"a": float("nan"), "b": np.float32(1.5), "c": (np.int64(2), None), "d": np.inf, "e": {3: True}})
    assert told == {"a": None, "b": 1.5, "c": [2, None], "d": None, "e": {"3": True}}
