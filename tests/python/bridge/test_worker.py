"""The worker that R starts, as a real process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import scrae
from scrae.r import from_sce
from scrae.r.answers import plain
from scrae.r.conversion import from_r
from scrae.r.jobs import CELLS, JOB, MODEL, OTHER_GENES, RESULT, run

pytestmark = pytest.mark.slow  # R and Bioconductor are loaded


def job(folder: Path, action: str = "train", **arguments: Any) -> Path:
    """A job folder with 40 cells in it, written by R."""
    folder.mkdir(exist_ok=True)
    settings = {"n_latent": 2, "n_hidden": [8], "batch_size": 16} | arguments.pop("settings", {})
    content = {"action": action, "threads": 1, "arguments": {"random_state": 0, "settings": settings} | arguments}
    (folder / JOB).write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="session")
def cells(ro: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("cells") / CELLS
    ro.r(f"""
    set.seed(2)
    m <- matrix(rpois(600, 2), 15, 40, dimnames = list(paste0("g", 1:15), paste0("c", 1:40)))
    saveRDS(list(counts = Matrix(m, sparse = TRUE), columns = list(donor = rep(c("a", "b"), 20))), "{path}",
        compress = FALSE)
    """)
    return path.read_bytes()


def start(folder: Path, cells: bytes | None) -> subprocess.Popen[str]:
    """The worker on its way; without ``cells`` it has to wait for them."""
    if cells is not None:
        (folder / CELLS).write_bytes(cells)
    return subprocess.Popen(
        [sys.executable, "-m", "scrae.r", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def events_until(worker: subprocess.Popen[str], last: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    assert worker.stdout is not None
    events: list[dict[str, Any]] = []
    for line in worker.stdout:
        events.append(json.loads(line))
        if last(events[-1]):
            return events
    return events


def finish(worker: subprocess.Popen[str]) -> list[dict[str, Any]]:
    events = events_until(worker, lambda event: False)
    worker.wait(60)
    for stream in (worker.stdin, worker.stdout, worker.stderr):
        assert stream is not None
        stream.close()
    return events


def is_epoch(event: dict[str, Any]) -> bool:
    return event["event"] == "epoch"


def test_the_worker_trains_tells_and_leaves_the_result(cells: bytes, tmp_path: Path) -> None:
    worker = start(job(tmp_path / "job", max_epochs=3, batch_key="donor"), cells)
    events = finish(worker)
    assert worker.returncode == 0
    assert [event["event"] for event in events] == ["stage", "start", "epoch", "epoch", "epoch", "done"]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert events[1] == {"event": "start", "n_cells": 40, "n_genes": 15, "device": device}
    assert [event["epoch"] for event in events[2:5]] == [1, 2, 3]
    result = json.loads((tmp_path / "job" / RESULT).read_text())
    assert result["embedding"]["shape"] == [40, 2]
    embedding = np.fromfile(tmp_path / "job" / result["embedding"]["file"], "<f4").reshape(40, 2)
    assert np.isfinite(embedding).all()
    assert result["history"]["epoch"] == [1, 2, 3]
    model = scrae.SCRAE.load(tmp_path / "job" / MODEL, verbose=False)
    assert list(model.gene_names) == result["genes"] == [f"g{i}" for i in range(1, 16)]
    assert not (tmp_path / "job" / CELLS).exists(), "the copy of the counts is deleted once it is read"


def test_the_worker_waits_for_its_cells(cells: bytes, tmp_path: Path) -> None:
    folder = job(tmp_path / "job", max_epochs=1)
    worker = start(folder, None)
    events_until(worker, lambda event: event["event"] == "stage")
    # While it loads R it computes or reads; when it sleeps for a second there is nothing more to load.
    until, asleep = time.monotonic() + 300, 0
    while asleep < 40:
        assert time.monotonic() < until
        assert worker.poll() is None
        state = Path("/proc", str(worker.pid), "stat").read_text().rsplit(")", 1)[1].split()[0]
        asleep = asleep + 1 if state == "S" else 0
        time.sleep(0.025)
    (folder / "aside").write_bytes(cells)
    (folder / "aside").rename(folder / CELLS)
    assert finish(worker)[-1] == {"event": "done"}


def test_mapping_denoising_and_sampling_use_the_model_that_was_left(cells: bytes, tmp_path: Path) -> None:
    finish(start(job(tmp_path / "train", max_epochs=2), cells))
    model = str(tmp_path / "train" / MODEL)
    loaded = scrae.SCRAE.load(model, verbose=False, device="cpu")

    def do(action: str, **arguments: Any) -> tuple[Path, dict[str, Any]]:
        folder = job(tmp_path / action, action, model=model, **arguments)
        assert finish(start(folder, cells))[-1] == {"event": "done"}
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
        run(folder, lambda: ro.r("typed"), lambda *_, **__: None)
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
    folder = job(tmp_path / "cluster", "cluster", level="fine", resolution=1.5, batch_key="donor", genes=genes)
    run(folder, lambda: ro.r("parts"), lambda *_, **__: None)
    result = json.loads((folder / RESULT).read_text())
    adata.uns["scrae"] = {"genes": genes}
    scrae.tl.cluster(adata, level="fine", resolution=1.5, batch_key="donor")
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


def test_genes_are_selected_by_the_core(cells: bytes, tmp_path: Path) -> None:
    folder = job(tmp_path / "select", "select", method="hvg", n_top=6)
    finish(start(folder, cells))
    assert len(json.loads((folder / RESULT).read_text())["genes"]) == 6
    folder = job(tmp_path / "train", max_epochs=1, select={"method": "hvg", "n_top": 6})
    finish(start(folder, cells))
    assert len(json.loads((folder / RESULT).read_text())["genes"]) == 6


def test_interrupts_end_training_with_the_best_model(cells: bytes, tmp_path: Path) -> None:
    folder = job(tmp_path / "job", max_epochs=10**6, settings={"early_stopping": False})
    worker = start(folder, cells)
    events_until(worker, is_epoch)
    for _ in range(3):  # R sends it until training ends, so that one before its beginning is not lost
        worker.send_signal(signal.SIGINT)
        time.sleep(0.05)
    events = finish(worker)
    assert worker.returncode == 0
    assert events[-1] == {"event": "done"}
    summary = json.loads((folder / RESULT).read_text())["summary"]
    assert summary["stop_reason"] == "interrupted"
    assert 1 <= summary["epochs"] < 10**6


def test_the_worker_ends_when_r_is_gone_and_leaves_no_counts(cells: bytes, tmp_path: Path) -> None:
    folder = job(tmp_path / "job", max_epochs=10**6, settings={"early_stopping": False})
    worker = start(folder, cells)
    events_until(worker, is_epoch)
    assert worker.stdin is not None
    worker.stdin.close()  # what the kernel does when the R session dies
    assert worker.stdout is not None
    worker.stdout.close()
    assert worker.wait(20) != 0
    assert worker.stderr is not None
    worker.stderr.close()
    assert not folder.exists()


def test_an_error_is_an_event_and_leaves_no_result(cells: bytes, tmp_path: Path) -> None:
    folder = job(tmp_path / "job", settings={"n_laten": 3})
    worker = start(folder, cells)
    events = finish(worker)
    assert worker.returncode == 1
    (event,) = events
    assert (event["event"], event["kinds"], event["code"]) == ("error", ["UnknownName", "TypeError"], "unknown_setting")
    assert "did you mean 'n_latent'" in event["text"]
    assert event["fields"]["name"] == "n_laten"
    assert not (folder / RESULT).exists()


def test_warnings_of_the_core_are_events(cells: bytes, ro: Any, tmp_path: Path) -> None:
    # Genes that stay behind in R are one row of the object, which is not modelled.
    path = tmp_path / "rest.rds"
    ro.r(f"""
    m <- matrix(c(rep(0, 45), rpois(15 * 37, 3)), 15, 40, dimnames = list(paste0("g", 1:15), paste0("c", 1:40)))
    m <- rbind(m, as.numeric(colSums(m) == 0)); rownames(m)[16] <- "{OTHER_GENES}"
    saveRDS(SingleCellExperiment(list(counts = Matrix(m, sparse = TRUE))), "{path}")
    """)
    folder = job(tmp_path / "job", max_epochs=1)
    events = finish(start(folder, path.read_bytes()))
    (told,) = [event for event in events if event["event"] == "warning"]
    assert told["text"].startswith("3 of 40 cells have no count")
    assert (told["kinds"][:2], told["code"]) == (["Notice", "UserWarning"], "cells_without_modelled_genes")
    assert told["fields"] == {"n": 3, "n_cells": 40, "n_genes": 15}
    assert len(json.loads((folder / RESULT).read_text())["genes"]) == 15


def test_an_action_of_another_version_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="'dance', which this version of scrae does not know"):
        run(job(tmp_path, "dance"), lambda: None, lambda *_, **__: None)


def test_check_tells_versions_and_problems_as_json() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "scrae.r", "--check"],
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
