"""The program that measures clusters of other packages, with stand-ins for them that are quick and known."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import scrae

pytestmark = pytest.mark.slow

BUSY = "while True: pass"
ONE_CLUSTER = """
import json, sys
from scipy.io import mmread
print("words of the package")
print(json.dumps({"before": 0.0, "clusters": ["a"] * mmread(sys.argv[1]).shape[1]}))
"""


def test_a_command_is_ended_at_its_limit_with_all_that_it_started(program, tmp_path):
    limited = program("limited")
    mark = tmp_path / "mark"
    child = f"import time, pathlib; time.sleep(3); pathlib.Path({str(mark)!r}).touch()"
    starting = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]); {BUSY}"
    started = time.perf_counter()
    with pytest.raises(limited.OverLimit, match="over 0.3 s"):
        limited.limited([sys.executable, "-c", starting.replace("; while", "\nwhile")], 0.3)
    time.sleep(max(0, 5 - (time.perf_counter() - started)))
    assert not mark.exists()


def test_time_of_the_processor_is_that_of_the_command_and_of_its_children_but_not_of_waiting(program):
    limited = program("limited").limited
    burn = "import time\nwhile time.process_time() < 0.8: pass"
    printed, alone = limited([sys.executable, "-c", f"{burn}\nprint('done')"], 60)
    assert printed == "done\n"
    assert alone == pytest.approx(0.8, abs=0.35)
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])"
    assert limited([sys.executable, "-c", code], 60)[1] == pytest.approx(0.8, abs=0.45)
    assert limited([sys.executable, "-c", "import time; time.sleep(1)"], 60)[1] < 0.5


def test_a_command_that_fails_says_why(program):
    with pytest.raises(subprocess.CalledProcessError) as failed:
        program("limited").limited([sys.executable, "-c", "raise SystemExit('no such package')"], 60)
    assert "no such package" in failed.value.stderr


def made(name: str, types: list[str]) -> anndata.AnnData:
    rng = np.random.default_rng(0)
    adata = anndata.AnnData(sp.csr_matrix(1 + rng.poisson(1.0, (len(types), 5)).astype(np.float32)))
    adata.obs["cell_type"] = types
    adata.obs_names = [f"{name}{i}" for i in range(len(types))]
    return adata


def measured(path: Path, rows: list[dict[str, object]]) -> str:
    pd.DataFrame(rows).to_csv(path, index=False)
    return str(path)


@pytest.fixture
def files(tmp_path):
    """Three data sets of two types, and what scRAE and the others have there: arguments of the program."""
    data = tmp_path / "data"
    data.mkdir()
    for name, n in (("small", 10), ("middle", 20), ("large", 30)):
        made(name, ["x", "y"] * (n // 2)).write_h5ad(data / f"{name}.h5ad")
    ours, embedded = [], []
    for name in ("small", "middle", "large"):
        for method, score in (("scrae", 0.75), ("pca30", 0.5)):
            routes = {
                f"{route}_{score_}": score for route in ("cluster", "leiden", "silhouette") for score_ in ("NMI", "ARI")
            }
            numbers = {f"{route}_n": 3 for route in ("cluster", "leiden", "silhouette")}
            ours.append({"dataset": name, "method": method, "seed": 0, "n_types": 2} | routes | numbers)
        for method, score in (("scvi", 0.25), ("concord_alone", 0.125), ("default", 1.0)):
            embedded.append({"dataset": name, "method": method, "seed": 0, "leiden_NMI": score, "leiden_ARI": score})
    return [
        "--data", str(data), "--out", str(tmp_path / "rows.csv"), "--markdown", str(tmp_path / "table.md"),
        "--clusters", measured(tmp_path / "clusters.csv", ours),
        "--accuracy", measured(tmp_path / "accuracy.csv", embedded),
    ]  # fmt: skip


def test_a_package_that_takes_too_long_or_fails_has_no_scores_and_is_not_asked_about_larger_data(
    program, files, tmp_path, monkeypatch
):
    peers, asked = program("cluster_peers"), []

    def stand_in(peer, counts, seed, python):
        asked.append(peer)
        code = {"seurat": ONE_CLUSTER, "sc3": "raise SystemExit('no such package')"}
        code |= {"choir": ONE_CLUSTER if asked.count("choir") == 1 else BUSY}
        return [sys.executable, "-c", code[peer], str(counts)]

    monkeypatch.setattr(peers, "words", stand_in)
    monkeypatch.setattr(sys, "argv", ["cluster_peers", *files, "--methods", "seurat", "sc3", "choir", "--limit", "5"])
    peers.main()
    rows = pd.read_csv(tmp_path / "rows.csv").set_index(["peer", "dataset"])
    assert list(rows.loc["seurat"].index) == ["small", "middle", "large"]
    assert (rows.loc["seurat", "NMI"] == 0).all()  # one cluster knows nothing of two types
    assert (rows.loc["seurat", "clusters"] == 1).all()
    assert rows.loc["sc3", "outcome"].str.contains("no such package").all()
    outcomes = ["clustered", "over 5 s of the processor", "not asked, after middle"]
    assert list(rows.loc["choir", "outcome"]) == outcomes
    assert asked == 3 * ["seurat"] + 3 * ["sc3"] + 2 * ["choir"]
    peers.main()
    assert len(asked) == 8
    text = (tmp_path / "table.md").read_text()
    assert "| Seurat, 10 components | 3 | 0.000 | 0.000 | 0.50 | 0% |" in text
    assert "| CHOIR | 1 |" in text
    assert "| SCVI, Leiden at 1 | 3 | 0.250 | 0.250 | - |" in text
    assert "| CONCORD, Leiden at 1 | 3 | 0.125 | 0.125 | - |" in text
    assert "LDVAE" not in text  # nobody has measured it here
    assert "- SC3, middle: failed: no such package" in text


def test_the_lead_is_over_the_data_sets_that_both_have_and_an_interval_needs_five(program):
    peers = program("cluster_peers")
    rows = [(peers.OURS, name, 0.5) for name in "abcdefg"]
    rows += [("SC3", "a", 0.2), ("SC3", "b", 0.6)]
    rows += [("scran", name, score) for name, score in zip("cdefg", (0.4, 0.4, 0.4, 0.4, 0.5), strict=True)]
    results = pd.DataFrame(rows, columns=["peer", "dataset", "NMI"]).assign(ARI=0.5)
    few, enough = (line.split(" | ") for line in peers.leads(results).splitlines()[-2:])
    assert few[:5] == ["| SC3", "2", "+0.100", "-", "1 / 0 / 1"]
    assert few[5:7] == ["+0.000", "-"]
    assert enough[:3] == ["| scran", "5", "+0.080"]
    low, high = map(float, enough[3].split(" to "))
    assert 0 <= low < 0.08 < high <= 0.1 + 1e-9


def test_clusters_over_types_is_a_geometric_mean_and_shares_are_of_data_sets(program):
    rows = [("P", "a", 0, 2, 4.0), ("P", "b", 0, 8, 4.0), ("P", "c", 0, 5, 7.0), ("P", "c", 1, 5, 7.0)]
    results = pd.DataFrame(rows, columns=["peer", "dataset", "seed", "n_types", "clusters"])
    results = results.assign(NMI=0.5, ARI=[0.0, 0.0, 0.3, 0.9], seconds=np.nan)
    row = program("cluster_peers").table(results, "all").splitlines()[-1]
    ratio = (2 * 0.5 * 1.4) ** (1 / 3)
    assert row == f"| P | 3 | 0.500 | 0.200 | {ratio:.2f} | 33% | - |"


def test_scranpy_asks_for_a_python_that_has_it_and_unknown_packages_are_named(program, tmp_path):
    words = program("cluster_peers").words
    with pytest.raises(SystemExit, match=r"--peer .*make peers"):
        words("scranpy", tmp_path, 0, None)
    with pytest.raises(SystemExit, match="unknown package 'serat'; known: seurat"):
        words("serat", tmp_path, 0, None)


@pytest.mark.parametrize("package", ["scanpy", "scanpy_pearson", "seurat", "sctransform"])
def test_packages_find_types_of_blood_cells(program, package):
    if not package.startswith("scanpy"):
        asked = ["Rscript", "-e", "stopifnot(nzchar(system.file(package = 'Seurat')))"]
        if shutil.which("Rscript") is None or subprocess.run(asked, capture_output=True, check=False).returncode:
            pytest.skip("no Seurat")
    found = program("cluster_peers").measure(scrae.datasets.pbmc(), package, 0, None, 120)
    assert found["outcome"] == "clustered"
    assert found["NMI"] > 0.5
    assert found["n_types"] == 10


def test_scranpy_finds_types_of_blood_cells(program, peer):
    if subprocess.run([peer, "-c", "import scranpy"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no scranpy")
    found = program("cluster_peers").measure(scrae.datasets.pbmc(), "scranpy", 0, peer, 120)
    assert found["outcome"] == "clustered"
    assert found["NMI"] > 0.5
