"""The programs that measure speed and scale: made cells, parts by size, whole calls, goals."""

from __future__ import annotations

import re
import sys
from functools import partial

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

import scrae
from pictures import assert_file_shows, legend_of, ticks_of
from scrae.data.files import cells_on_disk


@pytest.fixture
def source(tmp_path):
    """A folder from which semi-synthetic cells are drawn: PBMC under the name that is looked for."""
    scrae.datasets.pbmc().write_h5ad(tmp_path / "zheng_sorted_3874.h5ad")
    sizes = pd.DataFrame({"dataset": "Zheng-68k", "class_code": range(10), "cells": [4000, *range(100, 1000, 100)]})
    sizes.to_csv(tmp_path / "class_sizes_large.csv", index=False)
    return tmp_path


def test_semi_synthetic_cells_are_like_no_other_and_as_full_as_wanted(program, source):
    made = program("semisynthetic").cells_in_memory(source, 2500, 1500, 0.1)
    assert made.shape == (2500, 1500)
    assert made.nnz / np.prod(made.shape) == pytest.approx(0.1, rel=0.01)
    assert (made.data == np.rint(made.data)).all()
    assert made.data.min() >= 1
    assert len({row.tobytes() for row in made.toarray()}) == 2500


def test_the_share_of_the_nearest_cells_that_are_found_is_known(program):
    points = torch.as_tensor(np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32))
    order = torch.cdist(points, points).argsort(1)
    share_found = program("many_cells").share_found
    assert share_found(points, order[:, :20]) == 1
    assert share_found(points, order[:, 5:25]) == pytest.approx(15 / 20)
    assert share_found(points, order[:, -20:]) == 0


def test_neighbours_graph_and_clusters_of_made_cells_are_measured_once(program, source, tmp_path, monkeypatch):
    (source / "zeisel_1799.h5ad").symlink_to(source / "zheng_sorted_3874.h5ad")
    out, text = tmp_path / "rows.csv", tmp_path / "table.md"
    arguments = ["--data", str(source), "--cells", "1500", "--epochs", "3", "--out", str(out), "--markdown", str(text)]
    monkeypatch.setattr(sys, "argv", ["many_cells", *arguments])
    program("many_cells").main()
    rows = pd.read_csv(out)
    assert list(rows["task"]) == ["neighbours", "exact", "graph", "clusters"]
    assert (rows["seconds"] > 0).all()
    assert rows["found"].dropna().tolist() == [1, 1]
    assert text.read_text().startswith("| cells | neighbours, s | by comparing all that may be near, s |")
    written = out.stat().st_mtime_ns
    program("many_cells").main()
    assert out.stat().st_mtime_ns == written


def test_semi_synthetic_cells_on_disk_are_those_in_memory(program, source):
    pytest.importorskip("zarr", "3", reason="the benchmark writes by zarr 3")
    semisynthetic = program("semisynthetic")
    made = semisynthetic.cells_in_memory(source, 2100, 900, 0.05)
    for kind, read in (("h5ad", anndata.read_h5ad), ("zarr", anndata.read_zarr)):
        semisynthetic.write_cells(source / f"cells.{kind}", source, 2100, 900, 0.05)
        adata = read(source / f"cells.{kind}")
        assert adata.shape == (2100, 900)
        assert abs(adata.X - made).max() == 0


def test_semi_synthetic_cells_are_written_with_the_types_that_they_were_drawn_from(program, source):
    real = scrae.datasets.pbmc()
    program("semisynthetic").write_cells(source / "cells.h5ad", source, 2100, real.n_vars, 0.3)
    made = anndata.read_h5ad(source / "cells.h5ad")

    def means(adata):
        logs = np.log1p(adata.X.toarray())
        return pd.DataFrame(logs, index=adata.obs_names).groupby(adata.obs["cell_type"].astype(str)).mean()

    alike = np.corrcoef(means(made), means(real))
    names = means(made).index
    of_both = alike[: len(names), len(names) :]
    assert len(names) == 10
    assert [means(real).index[column] for column in of_both.argmax(axis=1)] == list(names)


def test_a_file_of_many_entries_has_its_drawn_cells_again_and_again(program, tmp_path):
    path = tmp_path / "cells.h5ad"
    program("many_entries").write_cells(path, 2000, n_cells=30, n_genes=40)
    adata = anndata.read_h5ad(path)
    assert adata.X.nnz >= 2000
    assert adata.X.has_canonical_format
    assert adata.n_obs % 30 == 0
    for start in range(30, adata.n_obs, 30):
        assert abs(adata.X[:30] - adata.X[start : start + 30]).max() == 0
    assert abs(cells_on_disk(path).X - adata.X).max() == 0


def test_exponents_of_a_power_law_are_found(program):
    scaling = program("scaling")
    size = np.array([10.0, 100.0, 1000.0])
    wanted = dict(zip(scaling.PARTS, (0.0, 0.5, 1.0, 1.5, 2.0, 1.2), strict=True))
    rows = pd.DataFrame({"cells": size} | {part: 3 * size**b for part, b in wanted.items()})
    assert scaling.exponents(rows, "cells") == pytest.approx(wanted, abs=1e-9)


@pytest.mark.slow
def test_one_command_measures_parts_by_size_and_whole_calls_from_disk(program, source, monkeypatch, capsys, saved):
    scaling = program("scaling")
    arguments = ["scaling", "--data", str(source), "--out", str(source / "parts.csv"), "--chosen", "--shares"]
    figure = ["--figure", str(source / "parts.png"), "--markdown", str(source / "parts.md")]
    monkeypatch.setattr(sys, "argv", [*arguments, *figure, "--cells", "300", "600"])
    scaling.main()
    rows = pd.read_csv(source / "parts.csv")
    assert list(rows["cells"]) == [300, 600]
    assert (rows[list(scaling.PARTS)] > 0).all(axis=None)
    assert "| **exponent** |" in (source / "parts.md").read_text()
    panel, *without_rows = saved["parts.png"].axes
    for line, part in zip(panel.lines, scaling.PARTS, strict=True):
        np.testing.assert_array_equal(line.get_data(), [[300, 600], rows[part]])
    exponents = scaling.exponents(rows, "cells")
    assert legend_of(panel) == [f"{name}: {exponents[part]:.2f}" for part, name in scaling.PARTS.items()]
    assert (panel.get_xlabel(), panel.get_ylabel(), ticks_of(panel.xaxis)) == ("cells", "seconds", ["300", "600"])
    assert (panel.get_xscale(), panel.get_yscale()) == ("log", "log")
    assert [len(other.lines) for other in without_rows] == [0, 0]
    colours = [line.get_color() for line in panel.lines]
    assert_file_shows(source / "parts.png", saved["parts.png"], dpi=110, colours=colours)
    out = ["--out", str(source / "whole.csv")]
    whole = ["--whole", "300", "--from", "zarr", "--epochs", "1"]
    monkeypatch.setattr(sys, "argv", ["scaling", "--data", str(source), *out, *whole])
    scaling.main()
    rows = pd.read_csv(source / "whole.csv")
    assert list(rows["source"]) == ["zarr"]
    assert (rows["training"] < rows["seconds"]).all()
    assert "| 300 cells, zarr |" in capsys.readouterr().out


@pytest.mark.slow
def test_what_a_user_waits_for_is_timed_beside_scanpy(program, source, monkeypatch):
    waiting = program("waiting")
    monkeypatch.setattr(waiting, "GENES", 700)
    monkeypatch.setattr(scrae.tl, "scrae", partial(scrae.tl.scrae, max_epochs=2))
    rows = [
        {"cells": 600, "route": route, "run": 0} | waiting.measure(source, 600, route)
        for route in ("quick", "scanpy", "first")
    ]
    for row in rows:
        assert min(row[part] for part in waiting.PARTS) > 0
        assert row["whole"] == pytest.approx(sum(row[part] for part in waiting.PARTS))
    again = [row | {"run": run, "whole": row["whole"] * factor} for row in rows for run, factor in ((1, 3), (2, 2))]
    shown = waiting.table(pd.DataFrame(rows + again))
    whole = rows[1]["whole"]
    assert f"| {2 * whole:.1f} ({whole:.1f} to {3 * whole:.1f}) |" in shown
    assert "| 600, scanpy |" in shown


def test_goals_are_reached_on_their_side_of_what_is_asked(program):
    goals = program("goals")
    rows = [
        goals.Goal("slow", 30.0, 40.0, "by a clock"),
        goals.Goal("small", 4096.0, 100.0, "by a scale"),
        goals.Goal("fast", 3.0, 3.0, "on a road", at_most=False),
        goals.Goal("far", 3.0, 2.5, "on foot", at_most=False),
        goals.Goal("beside", None, 0.5, "by the way"),
        goals.Goal("elsewhere", 200_000, None, "no GPU", at_most=False),
    ]
    assert [goal.reached for goal in rows] == ["no", "yes", "yes", "no", "-", "not measured"]
    text = goals.table(rows).splitlines()
    assert text[2] == "| slow | at most 30.00 | 40.00 | - | no | by a clock |"
    assert text[-1] == "| elsewhere | at least 200,000 | - | - | not measured | no GPU |"


def test_goals_show_the_median_of_runs_their_spread_and_that_of_an_earlier_commit(program):
    goals = program("goals")
    runs = {"scrae": [9.0, 7.0, 8.0], "before": [21.0, 19.0, 35.0]}
    rows = [goals.of_runs("call", 10.0, runs, "by a clock"), goals.Goal("other", 10.0, 12.0, "once")]
    assert goals.table(rows).splitlines()[2:] == [
        "| call | at most 10.00 | 21.00 | 8.00 | 7.00 to 9.00 | yes | by a clock |",
        "| other | at most 10.00 | - | 12.00 | - | no | once |",
    ]


@pytest.mark.slow
def test_one_command_measures_every_goal(program, source, monkeypatch):
    for name in ("pbmc3k_2638", "cao_worm_neuron"):
        scrae.datasets.pbmc().write_h5ad(source / f"{name}.h5ad")
    monkeypatch.setattr(program("profile_step"), "N_GENES", 300)
    out = source / "goals.md"
    arguments = ["goals", "--data", str(source), "--rounds", "1", "--cells", "--on-disk", "600", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--markdown", str(out)])
    program("goals").main()
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in out.read_text().splitlines()[2:]}
    assert rows["training, times scvi-tools' cells/s, 1 thread"][4:] == ["not measured", "no --peer |"]
    # What is measured is the first of the two figures that it is said to come from, as a multiple of the second.
    for what in (
        *(f"a step, times its bare matrix products ({name})" for name in ("pbmc3k_2638", "cao_worm_neuron")),
        *(f"training from {kind}, share of the cells/s from memory, 600 cells" for kind in ("h5ad", "zarr")),
    ):
        said = re.match(r"([\d,.]+) and ([\d,.]+) (ms|cells/s), one", rows[what][5])
        own, other = (float(figure.replace(",", "")) for figure in said.groups()[:2])
        assert float(rows[what][2]) == pytest.approx(own / other, rel=0.05)
    assert float(rows["scrae.tl.scrae from h5ad, MB, 600 cells"][2].replace(",", "")) > 1


def test_the_table_of_a_gpu_has_medians_and_says_what_was_not_measured(program):
    run = {
        "cells": 9,
        "card": "a card",
        "seconds": np.nan,
        "training_seconds": np.nan,
        "epochs": np.nan,
        "gpu_mb": np.nan,
    }
    rows = [
        {"what": "training", "method": "scrae", "batch_size": 128, "run": i, "training_cells_per_second": speed, **run}
        for i, speed in enumerate((100.0, 300.0, 1200.0))
    ]
    rows[0]["embedding_cells_per_second"] = 7000.0
    whole = {"what": "whole", "method": "scrae", "batch_size": 64, "run": 0, "training_cells_per_second": 5.0}
    rows.append(whole | run | {"seconds": 98.0, "epochs": 10})
    training, called = program("gpu").table(pd.DataFrame(rows)).split("\n\n")
    assert training.splitlines()[0] == "| training, 9 cells, a card | training, cells/s | embedding, cells/s |"
    assert training.splitlines()[2] == "| scrae, minibatches of 128 | 300 (100 to 1,200) | 7,000 |"
    assert called.splitlines()[0] == "| whole, 9 cells, a card | training, cells/s | whole call, s | epochs |"
    assert called.splitlines()[2] == "| scrae, minibatches of 64 | 5 | 98 | 10 |"


def test_scores_from_a_gpu_stand_beside_those_of_the_same_seeds(program, tmp_path):
    def scores(name, values):
        table = pd.DataFrame(
            [("a", "default", seed, value) for seed, value in enumerate(values)],
            columns=["dataset", "method", "seed", "kmeans_NMI"],
        )
        table.to_csv(tmp_path / name, index=False)
        return tmp_path / name

    text = program("gpu").accuracy(scores("gpu.csv", [0.5, 0.7]), scores("processor.csv", [0.6, 0.6, 0.1]))
    assert "| a | 0.600 ± 0.141 | 0.600 ± 0.000 |" in text


def test_without_a_gpu_its_benchmark_says_so(program, monkeypatch, tmp_path):
    gpu = program("gpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path / "gpu.csv")])
    with pytest.raises(SystemExit, match="no GPU here"):
        gpu.main()


def test_semi_synthetic_cells_of_several_processes_are_those_of_one(program, source):
    cells_in_memory = program("semisynthetic").cells_in_memory
    one, several = (cells_in_memory(source, 4100, 800, 0.05, processes) for processes in (1, 2))
    assert abs(one - several).max() == 0
