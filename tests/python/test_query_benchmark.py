"""The program that measures cells of a batch that a model has not seen, and the packages that integration is beside."""

from __future__ import annotations

import shutil
import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import scrae


def needs_of_r(package):
    """Skips where R has no such package."""
    asked = ["Rscript", "-e", f"stopifnot(nzchar(system.file(package = '{package}')))"]
    if shutil.which("Rscript") is None or subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip(f"no {package}")


@pytest.fixture
def seurat():
    needs_of_r("Seurat")


@pytest.fixture
def blood():
    """B cells and monocytes of the packaged cells, in two batches that differ by nothing."""
    adata = scrae.datasets.pbmc()
    adata = adata[adata.obs["cell_type"].isin(["CD19+ B", "CD14+ Monocyte"])].copy()
    adata.obs["cell_type"] = adata.obs["cell_type"].astype(str)
    adata.obs["batch"] = np.where(np.arange(adata.n_obs) % 2, "x", "y")
    return adata


@pytest.fixture
def placed():
    """Two types of 60 cells each far apart, a third that the query alone has, and which cells are of the query."""
    rng = np.random.default_rng(0)
    types = np.repeat(["a", "b", "c"], [60, 60, 10])
    query = np.arange(130) % 2 == 1
    query[120:] = True
    return 20 * np.eye(3, 4)[np.unique(types, return_inverse=True)[1]] + rng.normal(size=(130, 4)), query, types


def test_genes_are_chosen_without_the_query_whose_types_are_hidden(program, made):
    query = program("query")
    made.obs["cell_type"] = made.obs["kind"]
    cells = query.queried(made, "b", 50)
    assert cells.n_vars == 50
    assert list(cells.obs["known"][cells.obs["query"]].unique()) == ["Unknown"]
    known = cells[~cells.obs["query"].to_numpy()].obs
    assert (known["known"] == known["cell_type"]).all()
    assert set(known["batch"]) == {"a"}
    # Other genes vary most in the query: they would be chosen if it counted.
    counts = made.X.toarray()
    others = ~made.var_names.isin(cells.var_names)
    counts[np.ix_(np.flatnonzero(made.obs["batch"] == "b")[::3], np.flatnonzero(others))] += 200
    changed = made.copy()
    changed.X = sp.csr_matrix(counts)
    assert list(query.queried(changed, "b", 50).var_names) == list(cells.var_names)
    assert list(query.queried(changed, "a", 50).var_names) != list(query.queried(made, "a", 50).var_names)


def test_a_query_is_projected_on_the_components_of_the_reference_as_scanpy_has_them(program, made):
    made.obs["cell_type"] = made.obs["kind"]
    cells = program("query").queried(made, "b", 100)
    query = cells.obs["query"].to_numpy()
    counts = cells.X.toarray()
    counts[~query] = counts[query]  # the same cells on both sides
    cells.X = sp.csr_matrix(counts)
    found = program("query").projected(cells, 0)
    np.testing.assert_allclose(found[query], found[~query], atol=1e-4)
    expected = scrae.metrics.scaled_pca(cells[~query].copy(), 10)
    correlation = np.abs((found[~query, :10] * expected).sum(0))
    correlation /= np.linalg.norm(found[~query, :10], axis=0) * np.linalg.norm(expected, axis=0)
    assert correlation[:3].min() > 0.99


def test_scores_of_a_query_among_its_neighbours_and_apart_and_types_of_its_own_do_not_count(program, placed):
    scores, (embedding, query, types) = program("query").scores, placed
    own = np.where(types == "a", "a", "b")[query]  # the third type is called "b"
    found = scores(embedding, own, query, types)
    assert found["cells"] == 60
    assert [found[name] for name in ("accuracy", "macro_f1", "own_accuracy", "own_macro_f1")] == [1, 1, 1, 1]
    assert found["mixing"] > 0.8
    apart = scores(embedding + 9 * query[:, None] * np.eye(4)[3], None, query, types)
    assert apart["accuracy"] == 1
    assert apart["mixing"] < 0.1
    assert apart["kBET"] < 0.1 < found["kBET"]
    assert np.isnan(apart["own_accuracy"])
    # Half of the query's "b" is called "a": 45 of 60 are right, the F1 of "a" is 0.8 and that of "b" 2/3.
    wrong = own.copy()
    wrong[np.flatnonzero(types[query] == "b")[::2]] = "a"
    half = scores(embedding, wrong, query, types)
    assert half["own_accuracy"] == pytest.approx(0.75)
    assert half["own_macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)


def test_mixing_is_at_most_one_and_of_types_that_both_sides_hold(program):
    mixed, line = program("query").mixed, np.arange(80.0)[:, None]
    query, one = np.tile([0, 1], 40), np.repeat("a", 80)  # in turn: more even than chance
    assert scrae.metrics.mixing(line, query, one).mean() > 1.02
    assert mixed(line, query, one) == 1
    few = (np.arange(80) < 3).astype(int)
    assert np.isnan(mixed(line, few, one))
    both = np.vstack([line, line + 1000]), np.concatenate([query, few]), np.repeat(["a", "b"], 80)
    assert mixed(*both) == 1
    apart = np.vstack([line, line + 1000]), np.concatenate([query, np.repeat([0, 1], 40)]), np.repeat(["a", "b"], 80)
    assert mixed(*apart) == pytest.approx(0.55, abs=0.1)  # one type mixes, of the other two ends meet


def test_a_model_of_the_reference_places_it_as_it_was_and_labels_the_query(program, blood, quick):
    query = program("query")
    cells = query.queried(blood, "x", 200)
    new = cells.obs["query"].to_numpy()
    model = scrae.SCRAE(random_state=0, **quick).fit(cells[~new].copy())
    embedding, own = query.answer_of_scrae(cells, "scrae_map", model)
    np.testing.assert_array_equal(embedding[~new], model.embed())
    np.testing.assert_array_equal(embedding[new], model.map(cells[new].copy()))
    assert (own == cells.obs["cell_type"][new]).mean() > 0.9


@pytest.mark.slow
def test_one_command_takes_two_batches_as_queries_in_turn_and_goes_on_where_it_stopped(
    program, blood, tmp_path, monkeypatch
):
    blood.write_h5ad(tmp_path / "blood.h5ad")
    out, text = tmp_path / "rows.csv", tmp_path / "table.md"
    arguments = ["--data", str(tmp_path), "--datasets", "blood", "--n-genes", "300", "--methods", "pca30"]
    monkeypatch.setattr(sys, "argv", ["query", *arguments, "--out", str(out), "--markdown", str(text)])
    program("query").main()
    rows = pd.read_csv(out)
    assert list(rows["query"]) == ["x", "y"]
    assert (rows["accuracy"] > 0.95).all()
    assert text.read_text().startswith("| mean of 2 queries | first on | accuracy | macro_f1 |")
    assert "| blood, query x | accuracy |" in text.read_text()
    written = out.stat().st_mtime_ns
    program("query").main()
    assert out.stat().st_mtime_ns == written


@pytest.mark.slow
def test_seurat_carries_types_over_and_gives_cells_in_their_order(program, blood, seurat):
    cells = program("query").queried(blood, "x", 300)
    embedding, own = program("query").answer_of_others(cells, "seurat_transfer", 0, None)
    assert embedding.shape == (cells.n_obs, 30)
    new, types = cells.obs["query"].to_numpy(), cells.obs["cell_type"].to_numpy()
    assert (own == types[new]).mean() > 0.95
    assert program("query").scores(embedding, own, new, types)["accuracy"] > 0.95


@pytest.mark.slow
def test_where_seurat_refuses_batches_as_too_small_the_row_has_no_scores_and_the_table_says_nothing_of_it(
    program, blood, seurat, tmp_path, monkeypatch, capsys
):
    blood.obs["batch"] = np.where(np.arange(blood.n_obs) < 5, "few", "many")
    blood.write_h5ad(tmp_path / "blood.h5ad")
    out = tmp_path / "rows.csv"
    arguments = ["--data", str(tmp_path), "--datasets", "blood", "--n-genes", "100", "--seeds", "2"]
    monkeypatch.setattr(sys, "argv", ["batch", *arguments, "--methods", "pca10", "seurat_rpca", "--out", str(out)])
    program("batch").main()
    printed = capsys.readouterr()
    assert "the smallest of 2 batches has 5 cells, too few for 30 dimensions" in printed.err
    rows = pd.read_csv(out).set_index("method")
    assert len(rows) == 3
    assert np.isnan(rows.loc["seurat_rpca", "overall"])
    assert printed.out.startswith("| mean of 1 data sets | first on |")
    assert "seurat_rpca" not in printed.out


def test_methods_that_tie_are_all_first(program):
    rows = [("d", "p", 1.0), ("d", "q", 1.0), ("e", "p", 0.5), ("e", "q", 0.75)]
    results = pd.DataFrame(rows, columns=["dataset", "method", "score"]).assign(seed=0)
    table = program("batch").ranked(results, ["score"]).splitlines()
    assert table[2:4] == ["| q | 2 | 0.875 |", "| p | 1 | 0.750 |"]


def shuffled(cells):
    return cells[np.random.default_rng(0).permutation(cells.n_obs)].copy()


def parts_types(program, embedding, cells):
    """Whether types lie apart, which they do not where an embedding has its cells in another order."""
    return program("mixing").type_asw(embedding, cells.obs["cell_type"].to_numpy()) > 0.55  # shuffled: 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "package", "width"),
    [
        ("scanorama", "scanorama", 100),
        ("concord", "concord", 100),
        ("concord_alone", "concord", 100),
        ("ldvae", "scvi", 10),
    ],
)
def test_packages_embed_cells_in_their_order(program, blood, peer, method, package, width):
    if subprocess.run([peer, "-c", f"import {package}"], capture_output=True, check=False).returncode:
        pytest.skip(f"no {package}")
    blood = shuffled(blood)
    found = program("batch").embed_batches(blood, method, 0, peer)[0]
    assert found.shape == (blood.n_obs, width)
    assert parts_types(program, found, blood)


@pytest.mark.slow
def test_fastmnn_embeds_cells_in_their_order_and_does_without_seurat(program, blood):
    needs_of_r("batchelor")
    blood = shuffled(blood)
    found = program("batch").embed_batches(blood, "fastmnn", 0, None)[0]
    assert found.shape == (blood.n_obs, 50)
    assert parts_types(program, found, blood)


@pytest.mark.slow
def test_surgery_gives_codes_and_probabilities_of_all_cells(program, peer, monkeypatch):
    rng = np.random.default_rng(0)
    types = np.tile(["a", "b"], 60)
    mean = np.where((types == "a")[:, None] == (np.arange(30) < 15), 6.0, 1.0)
    cells = anndata.AnnData(sp.csr_matrix(rng.poisson(mean).astype(np.float32)))
    cells.obs["batch"] = np.repeat(["x", "y"], 60)
    cells.obs["query"] = np.repeat([False, True], 60)
    cells.obs["known"] = np.where(cells.obs["query"], "Unknown", types)
    embedding, own = program("query").answer_of_others(cells, "scanvi_surgery", 0, peer)
    assert embedding.shape == (120, 10)
    assert (own == types[60:]).mean() > 0.95
