"""The command line, run as users run it."""

from __future__ import annotations

import subprocess
import sys

import anndata
import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
import zarr

import scrae
from scrae.cli import main

QUICK = ["--max-epochs", "2", "--genes", "all", "--n-latent", "4"]


@pytest.fixture
def h5ad(small, tmp_path):
    small.write_h5ad(tmp_path / "in.h5ad")
    return tmp_path / "in.h5ad"


def test_run_writes_the_embedding_that_python_gives(h5ad, small, tmp_path, capsys):
    out = tmp_path / "out.h5ad"
    assert main(["run", str(h5ad), "--out", str(out), "--seed", "3", "--batch-key", "batch", *QUICK]) == 0
    scrae.tl.scrae(small, genes="all", batch_key="batch", n_latent=4, max_epochs=2, random_state=3, verbose=False)
    np.testing.assert_array_equal(anndata.read_h5ad(out).obsm["X_scrae"], small.obsm["X_scrae"])
    assert "60 cells x 30 genes, 2 epochs (max_epochs)" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.h5ad", "out.h5ad"]


def test_run_takes_further_covariates(small, tmp_path):
    small.obs["sex"], small.obs["score"] = ["f", "m", "m"] * 20, np.linspace(0, 1, 60)
    small.write_h5ad(tmp_path / "in.h5ad")
    keys = {"categorical_covariate_keys": ["sex"], "continuous_covariate_keys": ["score"]}
    typed = [part for name, columns in keys.items() for part in (f"--{name.replace('_', '-')}", *columns)]
    out = tmp_path / "out.h5ad"
    assert main(["run", str(tmp_path / "in.h5ad"), "--out", str(out), "--batch-key", "batch", *typed, *QUICK]) == 0
    scrae.tl.scrae(small, genes="all", batch_key="batch", **keys, n_latent=4, max_epochs=2, verbose=False)
    np.testing.assert_array_equal(anndata.read_h5ad(out).obsm["X_scrae"], small.obsm["X_scrae"])


def test_run_takes_pairs_of_cells_and_types_of_some(small, tmp_path):
    small.obs["type"] = ["x", "y", "Unknown"] * 20
    small.write_h5ad(tmp_path / "in.h5ad")
    (tmp_path / "must.csv").write_text("cell0,cell3\ncell6, cell9\n", encoding="utf-8")
    (tmp_path / "cannot.csv").write_text("cell0,cell1\n", encoding="utf-8")
    out = tmp_path / "out.h5ad"
    pairs = ["--must-link", str(tmp_path / "must.csv"), "--cannot-link", str(tmp_path / "cannot.csv")]
    run = ["run", str(tmp_path / "in.h5ad"), "--out", str(out)]
    assert main([*run, *pairs, "--labels-key", "type", *QUICK]) == 0
    known = {"must_link": [("cell0", "cell3"), ("cell6", "cell9")], "cannot_link": [("cell0", "cell1")]}
    scrae.tl.scrae(small, genes="all", **known, labels_key="type", n_latent=4, max_epochs=2, verbose=False)
    np.testing.assert_array_equal(anndata.read_h5ad(out).obsm["X_scrae"], small.obsm["X_scrae"])


def test_a_file_of_pairs_that_names_no_pairs_is_refused_before_work_begins(h5ad, tmp_path, capsys):
    (tmp_path / "must.csv").write_text("cell0,cell3\ncell6\n", encoding="utf-8")
    run = ["run", str(h5ad), "--out", str(tmp_path / "out.h5ad"), *QUICK]
    assert main([*run, "--must-link", str(tmp_path / "must.csv")]) == 2
    assert "each line names two cells, with a comma between them, and one has 1" in capsys.readouterr().err
    assert main([*run, "--must-link", str(tmp_path / "none.csv")]) == 2
    assert "none.csv" in capsys.readouterr().err
    assert not (tmp_path / "out.h5ad").exists()


@pytest.mark.slow
def test_run_as_a_program_is_quiet_when_asked(h5ad, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "scrae.cli", "run", h5ad, "--out", tmp_path / "out.h5ad", "--quiet", *QUICK],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_run_reads_layers_and_selects_genes(small, tmp_path):
    small.layers["counts"] = small.X.copy()
    small.X = small.X * 0.5
    small.write_h5ad(tmp_path / "in.h5ad")
    arguments = ["run", str(tmp_path / "in.h5ad"), "--out", str(tmp_path / "out.h5ad"), "--max-epochs", "1"]
    assert main(arguments) == 2
    assert main([*arguments, "--layer", "counts", "--n-genes", "12", "--n-latent", "2"]) == 0
    assert anndata.read_h5ad(tmp_path / "out.h5ad").var["scrae_selected"].sum() == 12


def test_a_run_can_be_resumed_and_its_model_described(h5ad, small, tmp_path, capsys):
    out, folder = str(tmp_path / "out.h5ad"), str(tmp_path / "model")
    assert main(["run", str(h5ad), "--out", out, "--model-dir", folder, *QUICK]) == 0
    longer = ["--max-epochs", "5", *QUICK[2:]]
    assert main(["run", str(h5ad), "--out", out, "--model-dir", folder, "--resume", *longer]) == 0
    whole = scrae.SCRAE(n_latent=4, max_epochs=5, verbose=False).fit(small)
    np.testing.assert_array_equal(anndata.read_h5ad(out).obsm["X_scrae"], whole.embed())
    capsys.readouterr()
    assert main(["info", folder]) == 0
    printed = capsys.readouterr().out
    for fact in ("60 cells x 30 genes", "gene0, gene1", "5 (best: 5), stopped by max_epochs", "zinb", "learned_prior"):
        assert fact in printed


@pytest.mark.parametrize("from_disk", [[], ["--from-disk"]], ids=["in memory", "from disk"])
def test_clusters_are_found_where_asked_for(h5ad, tmp_path, capsys, from_disk):
    out = tmp_path / "out.h5ad"
    assert main(["run", str(h5ad), "--out", str(out), "--cluster", "2", *from_disk, *QUICK]) == 0
    assert "2 clusters: obs['scrae_clusters'] in" in capsys.readouterr().out
    written = anndata.read_h5ad(out)
    assert written.obs["scrae_clusters"].nunique() == 2
    scrae.tl.cluster(written, level=2, key_added="again")
    assert list(written.obs["again"]) == list(written.obs["scrae_clusters"])
    assert main(["run", str(h5ad), "--out", str(out), *QUICK, "--cluster", "--rare"]) == 0
    told = anndata.read_h5ad(out).uns["scrae_clusters"]
    assert told["params"]["level"] == "default"
    assert "found_by" in told["clusters"]


def test_rare_types_are_not_looked_for_without_clusters(h5ad, tmp_path, capsys):
    out = tmp_path / "out.h5ad"
    assert main(["run", str(h5ad), "--out", str(out), "--rare", *QUICK]) == 2
    assert "--rare needs --cluster" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(("source", "kind"), [("h5ad", "h5ad"), ("h5ad", "zarr"), ("disk", "h5ad")])
def test_names_of_cells_and_genes_are_written_so_that_older_readers_and_r_know_them(h5ad, tmp_path, source, kind):
    out = tmp_path / f"out.{kind}"
    assert main(["run", str(h5ad), "--out", str(out), "--quiet", *QUICK, *(["--from-disk"] * (source == "disk"))]) == 0
    file = h5py.File(out) if kind == "h5ad" else zarr.open(out, mode="r")
    for table in ("obs", "var"):
        assert file[table]["_index"].attrs["encoding-type"] == "string-array"
    settings = dict(file["uns/scrae/params"])
    assert "random_state" in settings
    assert "None" not in {str(value[()]) for value in settings.values() if getattr(value, "shape", None) == ()}


def test_the_embedding_is_written_also_where_so_many_clusters_cannot_be_had(h5ad, tmp_path, capsys):
    out = tmp_path / "out.h5ad"
    assert main(["run", str(h5ad), "--out", str(out), "--cluster", "5000", *QUICK]) == 2
    assert "fall into" in capsys.readouterr().err
    assert "X_scrae" in anndata.read_h5ad(out).obsm


def test_a_level_that_is_none_is_refused_at_once(h5ad, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["run", str(h5ad), "--out", str(tmp_path / "out.h5ad"), "--cluster", "coarse"])
    assert "'coarse' is none of" in capsys.readouterr().err


def write_10x_h5(path, adata):
    """The layout of Cell Ranger's filtered_feature_bc_matrix.h5."""
    csc = sp.csc_matrix(adata.X.T)
    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        for name, values in (("data", csc.data.astype("i4")), ("indices", csc.indices), ("indptr", csc.indptr)):
            matrix[name] = values
        matrix["shape"] = np.array(csc.shape, dtype="i4")
        matrix["barcodes"] = np.array(adata.obs_names, dtype="S")
        features = matrix.create_group("features")
        features["id"] = features["name"] = np.array(adata.var_names, dtype="S")
        features["feature_type"] = np.array(["Gene Expression"] * adata.n_vars, dtype="S")
        features["genome"] = np.array(["GRCh38"] * adata.n_vars, dtype="S")


def write_10x_folder(path, adata):
    """The layout of Cell Ranger's filtered_feature_bc_matrix/, with a repeated gene symbol as there usually is."""
    import gzip

    path.mkdir()
    with gzip.open(path / "matrix.mtx.gz", "wb") as file:
        scipy.io.mmwrite(file, sp.coo_matrix(adata.X.T.astype(int)))
    symbols = ["gene1", *adata.var_names[1:]]
    rows = "".join(f"ENSG{i}\t{symbol}\tGene Expression\n" for i, symbol in enumerate(symbols))
    (path / "features.tsv.gz").write_bytes(gzip.compress(rows.encode()))
    (path / "barcodes.tsv.gz").write_bytes(gzip.compress("".join(f"{b}\n" for b in adata.obs_names).encode()))


@pytest.mark.parametrize("kind", ["h5", "folder"])
def test_10x_files_are_read(small, tmp_path, kind):
    source = tmp_path / ("cells.h5" if kind == "h5" else "cells")
    (write_10x_h5 if kind == "h5" else write_10x_folder)(source, small)
    assert main(["run", str(source), "--out", str(tmp_path / "out.h5ad"), "--quiet", *QUICK]) == 0
    expected = scrae.SCRAE(n_latent=4, max_epochs=2, verbose=False).fit(small).embed()
    np.testing.assert_array_equal(anndata.read_h5ad(tmp_path / "out.h5ad").obsm["X_scrae"], expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.h5ad", "--out", "out.h5ad"], "there is no nowhere.h5ad"),
        (["run", "{table}", "--out", "out.h5ad"], "is not h5ad, zarr, 10x .h5 or a folder of counts"),
        (["run", "{broken}", "--out", "out.h5ad"], "broken.h5ad cannot be read"),
        (["run", "{h5ad}", "--out", "out.csv"], "written as h5ad or zarr"),
        (["run", "{h5ad}", "--out", "out.zarr", "--from-disk"], "so --out must end in .h5ad, too"),
        (["run", "{h5ad}", "--out", "nowhere/out.h5ad"], "there is no folder nowhere"),
        (["run", "{h5ad}", "--out", "out.h5ad", "--resume"], "--resume needs --model-dir"),
        (["run", "{h5ad}", "--out", "out.h5ad", "--preset", "x"], "preset 'x' is not known"),
        (["run", "{h5ad}", "--out", "out.h5ad", "--layer", "x"], "no layer 'x'"),
        (["info", "nowhere"], "holds no scRAE model"),
    ],
)
def test_wrong_input_ends_with_one_line_and_status_2(h5ad, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text("1,2")
    (tmp_path / "broken.h5ad").write_text("nothing")
    places = {"h5ad": h5ad, "table": tmp_path / "table.csv", "broken": tmp_path / "broken.h5ad"}
    assert main([argument.format(**places) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("scrae: ")
    assert message in error
    assert not (tmp_path / "out.h5ad").exists()


def test_doctor_names_versions_threads_device_and_r(capsys):
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    import torch

    torch_version = torch.__version__.split("+")[0]  # 2.13.0+cpu is one build of 2.13.0
    for fact in (torch_version, np.__version__, "threads", "processors", "device", "memory", "rpy2", "\nR "):
        assert fact in printed
    assert "all that scRAE needs is there" in printed


def test_doctor_finds_what_is_missing():
    from scrae import doctor

    findings = doctor.report() | {"scanpy": "not installed"}
    assert doctor.problems(findings) == ["scanpy is missing: pip install scanpy"]
