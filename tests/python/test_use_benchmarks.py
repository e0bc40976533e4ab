"""The programs that measure what an embedding is good for: batches, labels, denoising, synthetic cells, outliers."""

from __future__ import annotations

import sys

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy import stats

import scrae


def test_mixing_scores_are_one_and_zero_where_batches_are_one_and_apart(program):
    mixing, rng = program("mixing"), np.random.default_rng(2)
    batch, types = np.repeat(["x", "y"], 300), np.tile(["a", "b", "c"], 200)
    corner = 20 * np.stack([types == "a", types == "b"], 1)
    together = rng.normal(size=(600, 2)) + corner
    apart = together + 200 * (batch == "y")[:, None]
    assert mixing.ilisi(together, batch) > 0.9
    assert mixing.ilisi(apart, batch) == pytest.approx(0, abs=1e-9)
    assert mixing.batch_asw(together, batch, types) > 0.95
    assert mixing.batch_asw(apart, batch, types) < 0.1
    assert scrae.metrics.connectivity(together, types) > 0.99
    assert scrae.metrics.connectivity(apart, types) == pytest.approx(0.5)
    good, bad = mixing.mixing_scores(together, batch, types), mixing.mixing_scores(apart, batch, types)
    assert good["types"] > 0.9
    assert good["overall"] > bad["overall"] + 0.3
    assert good["overall"] == pytest.approx(0.4 * good["batches"] + 0.6 * good["types"])
    assert np.isnan(mixing.batch_asw(together, types, types))  # confounded: no type has two batches


def test_kbet_is_the_acceptance_rate_of_scipy_s_chi_square_test_within_types(monkeypatch):
    rng = np.random.default_rng(5)
    # Three places of four cells, each cell's four neighbours those of its place: xxxx, xyxy, yyyy, batches of equal
    # size. Four of one batch have a statistic of 4 > 3.84 and are rejected, two of each have 0.
    monkeypatch.setattr("scrae.metrics.batches.KBET_NEIGHBOURS", (4, 4))
    place = np.array([0, 1, 2, 3, 100, 101, 102, 103, 200, 201, 202, 203])[:, None] + rng.uniform(0, 0.1, (12, 1))
    batch = np.array(list("xxxxxyxyyyyy"))
    assert scrae.metrics.kbet(place, batch, np.repeat("a", 12)) == pytest.approx(4 / 12)
    monkeypatch.undo()
    embedding, types = rng.normal(size=(300, 3)), np.repeat(["a", "b"], [200, 100])
    batch = np.where(rng.uniform(size=300) < 0.3 + 0.4 * (embedding[:, 0] > 0), "x", "y")
    shares = []
    for name in ("a", "b"):
        cells, of = embedding[types == name], batch[types == name]
        n = len(of) // 8
        near = np.argsort(((cells[:, None] - cells) ** 2).sum(2), axis=1)[:, :n]
        expected = n * np.array([(of == "x").mean(), (of == "y").mean()])
        observed = np.stack([(of[near] == "x").sum(1), (of[near] == "y").sum(1)], 1)
        shares.append(np.mean([stats.chisquare(o, expected).pvalue >= 0.05 for o in observed]))
    assert scrae.metrics.kbet(embedding, batch, types) == pytest.approx(np.mean(shares))
    assert np.isnan(scrae.metrics.kbet(embedding, types, types))


@pytest.fixture
def sorted_cells():
    """900 cells of three types with 60 genes of their own each; type "a" is the largest."""
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1, 2], [400, 300, 200])
    mean = np.full((900, 200), 2.0)
    for k in range(3):
        mean[kind == k, 60 * k : 60 * k + 60] = 6.0
    adata = anndata.AnnData(sp.csr_matrix(rng.poisson(mean).astype(np.float32)))
    adata.obs["cell_type"] = np.array(list("abc"))[kind]
    return adata


def test_made_batches_differ_by_the_factors_that_are_told_and_by_depth(program, sorted_cells):
    made_batches = program("made_batches")
    design = made_batches.Design("sorted", 2, 0.5, 0.0, 0.0, 0.6, None, 0, 1)
    made = made_batches.in_batches(sorted_cells, design)
    assert (made.X.data == np.round(made.X.data)).all()
    assert (made.X > sorted_cells.X).nnz == 0  # molecules are lost, none is made
    shares = pd.crosstab(made.obs["cell_type"], made.obs["batch"], normalize="index").to_numpy()
    np.testing.assert_allclose(shares, 0.5, atol=0.08)
    first, second = (np.asarray(made[made.obs["batch"] == f"batch{b}"].X.mean(0)).ravel() for b in (1, 2))
    assert min(first.sum(), second.sum()) < 0.75 * max(first.sum(), second.sum())
    kept = np.minimum(made.varm["log_factors"] - made.varm["log_factors"].std(), 0)
    assert np.corrcoef(np.log(first / second), kept[:, 0] - kept[:, 1])[0, 1] > 0.95
    again = made_batches.in_batches(sorted_cells, design)
    assert (again.X != made.X).nnz == 0


def test_made_batches_hold_types_unequally_and_some_alone_and_get_ambient_molecules(program, sorted_cells):
    made_batches = program("made_batches")
    none = made_batches.Design("sorted", 3, 0.0, 0.0, 0.0, 1.0, 1.0, 1, 3)
    made = made_batches.in_batches(sorted_cells, none)
    table = pd.crosstab(made.obs["cell_type"], made.obs["batch"])
    assert ((table.loc["c"] > 0).sum(), table.loc["c"].sum()) == (1, 200)  # the only one that is not among the largest
    assert (table.loc[["a", "b"]] > 0).all(axis=None)
    assert (made.X != sorted_cells.X).nnz == 0
    ambient = made_batches.in_batches(sorted_cells, made_batches.Design("sorted", 3, 0.0, 0.0, 0.2, 1.0, 1.0, 1, 3))
    more = ambient.X - made.X
    assert more.min() >= 0
    assert more.sum() / made.X.sum() == pytest.approx(0.2, rel=0.1)
    of_a = (made.obs["cell_type"] == "a").to_numpy()
    assert more[of_a][:, 120:180].sum() > 0  # molecules of the others come to it


def test_f1_is_one_for_a_type_on_its_own_and_less_where_it_is_merged(program):
    mixing, rng = program("mixing"), np.random.default_rng(0)
    types, batch = np.repeat(["a", "b", "c"], [120, 60, 60]), np.tile(["x", "y"], 120)
    batch[types == "c"] = "x"
    apart = 20 * np.eye(3, 5)[np.unique(types, return_inverse=True)[1]] + rng.normal(size=(240, 5))
    merged = apart - 20 * np.eye(3, 5)[2] * (types == "c")[:, None] + 20 * np.eye(3, 5)[1] * (types == "c")[:, None]
    assert mixing.isolated_f1(apart, batch, types) == pytest.approx(1)
    assert mixing.isolated_f1(merged, batch, types) < 0.8  # 60 of 120 cells: 2/3 by chance
    assert np.isnan(mixing.isolated_f1(apart, np.tile(["x", "y"], 120), types))


def test_drawing_types_together_does_not_raise_the_score_of_distances(program):
    mixing, rng = program("mixing"), np.random.default_rng(0)
    kind, batch = np.repeat(np.arange(5), 80), np.tile(["x", "y"], 200)
    centre = np.array([0.0, 2.0, 5.0, 9.0, 14.0])[kind][:, None] * np.eye(1, 30) + 3.0
    cells = centre + 0.2 * rng.normal(size=(400, 30)) + (batch == "y")[:, None] * np.eye(30)[7]
    types = np.array(list("abcde"))[kind]
    expected = mixing.distances_within_batches(sp.csr_matrix(cells), batch, types)
    np.testing.assert_allclose(expected / expected[0, 1], np.abs(np.subtract.outer(*2 * [np.unique(centre[:, 0])])) / 2,
                               rtol=0.05, atol=0.05)  # fmt: skip
    faithful = mixing.distances_kept(cells, types, expected)
    means = np.stack([cells[kind == k].mean(0) for k in range(5)])[kind]
    crushed = mixing.distances_kept(means + 0.01 * (cells - means), types, expected)
    moved = 10 * np.eye(5, 30)[kind] + 0.01 * cells  # as tight, but all types as far from each other
    assert faithful > 0.99
    assert crushed == pytest.approx(faithful, abs=0.001)
    assert mixing.distances_kept(moved, types, expected) < 0.5


def test_a_type_is_left_to_the_batch_with_most_of_it(program):
    alone = program("alone")
    types = np.repeat(["big", "small", "one"], [200, 70, 50])
    batch = np.concatenate([np.repeat(["x", "y"], [120, 80]), np.repeat(["x", "y"], [30, 40]), np.repeat("x", 50)])
    assert alone.shared_types(batch, types) == ["big", "small"]
    stay = alone.alone_in_one(batch, types, "small")
    assert (stay.sum(), set(batch[stay & (types == "small")])) == (290, {"y"})


def test_scib_metrics_scores_go_to_the_embedding_that_has_them(program, peer):
    rng = np.random.default_rng(0)
    types, batch = np.repeat(["a", "b", "c"], 60), np.tile(["x", "y"], 90)
    adata = anndata.AnnData(sp.csr_matrix(rng.poisson(1.0, (180, 30)).astype(np.float32)))
    adata.obs["cell_type"], adata.obs["batch"] = types, batch
    apart = 10 * np.eye(3, 5)[np.repeat(np.arange(3), 60)] + rng.normal(size=(180, 5))
    by_batch = apart + 30 * np.eye(5)[4] * (batch == "x")[:, None]
    # A file hands embeddings back in the order of their names, which is not that of the methods.
    embeddings = {"types": apart, "batches": by_batch, "noise": rng.normal(size=(180, 5))}
    found = program("batch").judged_by_scib(adata, embeddings, peer)
    assert sorted(found.index) == ["batches", "noise", "types"]
    assert found.loc["types", "KMeans NMI"] == pytest.approx(1.0)
    assert found.loc["noise", "KMeans NMI"] < 0.2
    assert found["iLISI"].idxmin() == "batches"
    assert found["Total"].idxmax() == "types"


def test_calibration_error_is_none_for_honest_and_all_of_it_for_false_confidence(program):
    labels, rng = program("labels"), np.random.default_rng(3)
    confidence = rng.uniform(0.3, 1, 200_000)
    assert labels.calibration_error(confidence, rng.uniform(size=200_000) < confidence) < 0.01
    assert labels.calibration_error(np.ones(10), np.zeros(10, dtype=bool)) == 1
    assert labels.calibration_error(np.full(10, 0.75), np.arange(10) < 5) == pytest.approx(0.25)


def test_labels_are_kept_by_a_share_of_each_type_and_by_two_cells_at_least(program):
    types = np.repeat(["many", "few", "one"], [100, 5, 1])
    labelled = program("labels").split(types, 0.1, seed=0)
    assert {name: labelled[types == name].sum() for name in set(types)} == {"many": 10, "few": 2, "one": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "first"),
    [
        (
            "labels",
            ["--methods", "lr", "knn", "--leave-out", "1", "--share", "0.3", "--batches", "made"],
            "| made | accuracy |",
        ),
        ("batch", ["--methods", "pca10", "scrae:max_epochs=1,n_latent=3"], "| mean of 1 data sets | first on |"),
        ("alone", ["--methods", "pca10", "pca5"], "| mean of 2 types | F1_everywhere | F1_alone | lost | lowest |"),
        ("batch_variance", ["--methods", "pca10", "pca5"], "| mean of 1 data sets | explained by batches |"),
        ("denoise", ["--methods", "counts", "mean"], "| made | poisson | floored |"),
        ("synthetic", ["--methods", "real", "independent"], "| made | mean | variance |"),
        ("outliers", ["--methods", "lof", "critic"], "| made | above_3 | doublets |"),
    ],
)
def test_one_command_scores_methods_and_goes_on_where_it_stopped(
    program, name, arguments, first, tmp_path, monkeypatch
):
    adata = scrae.datasets.pbmc()
    adata = adata[adata.obs["cell_type"].isin(["CD19+ B", "Dendritic", "CD14+ Monocyte"])][::2].copy()
    adata.obs["batch"] = np.where(np.arange(adata.n_obs) % 2, "x", "y")
    adata.write_h5ad(tmp_path / "made.h5ad")
    out, text = tmp_path / "rows.csv", tmp_path / "table.md"
    common = ["--data", str(tmp_path), "--datasets", "made", "--seeds", "1", "--n-genes", "300", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [name, *common, *arguments, "--markdown", str(text)])
    program(name).main()
    rows = pd.read_csv(out)
    assert text.read_text().startswith(first)
    if name == "labels":
        assert list(rows["design"]) == 2 * ["share", "without Dendritic", "from x", "from y"]
        assert "| made, labels from x | accuracy |" in text.read_text()
    else:
        assert list(dict.fromkeys(rows["method"])) == arguments[1:]
    written = out.stat().st_mtime_ns
    program(name).main()
    assert out.stat().st_mtime_ns == written


def test_a_share_of_all_cells_keeps_its_label_and_two_types_at_least_are_among_them(program):
    types = np.repeat(["many", "few"], [990, 10])
    known = program("constraints").known
    assert known(np.repeat(["a", "b"], 500), 0.1, seed=0).sum() == 100
    assert known(types, 0.0, seed=0).sum() == 0
    for seed in range(5):
        assert set(types[known(types, 0.002, seed)]) == {"many", "few"}


def test_data_sets_count_alike_in_the_mean_of_constraints_however_many_seeds_they_have(program):
    rows = [("a", "labels", 0, 0.2), ("a", "labels", 1, 0.4), ("a", "labels", 2, 0.6), ("b", "labels", 0, 0.8)]
    rows.append(("a", "scdcc", 0, 0.5))  # on one data set alone: it has no mean
    results = pd.DataFrame(rows, columns=["dataset", "method", "seed", "NMI"]).assign(share=0.1, ARI=1.0)
    table = program("constraints").table(results).splitlines()
    assert table[2:] == [
        "| **mean**, 10% | 0.600 / 1.000 | - |",
        "| a, 10% | 0.400 ± 0.200 / 1.000 ± 0.000 | 0.500 / 1.000 |",
        "| b, 10% | 0.800 / 1.000 | - |",
    ]


@pytest.mark.slow
def test_one_command_compares_pairs_of_labelled_cells_with_their_labels(program, tmp_path, monkeypatch):
    scrae.datasets.pbmc().write_h5ad(tmp_path / "pbmc.h5ad")
    out, text = tmp_path / "rows.csv", tmp_path / "table.md"
    three = ["default", "default_clusters", "default_codes"]
    arguments = ["--methods", *three, "labels", "--shares", "0.2", "--cells", "120"]
    common = ["--data", str(tmp_path), "--datasets", "pbmc", "--seeds", "1", "--n-genes", "100", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["constraints", *common, *arguments, "--markdown", str(text)])
    program("constraints").main()
    rows = pd.read_csv(out)
    assert list(rows["share"]) == [0, 0, 0, 0.2, 0.2, 0.2, 0.2]  # without labels there is nothing to learn from them
    assert list(rows["method"]) == [*three, *three, "labels"]
    table = text.read_text()
    assert f"| pbmc, 20% | {rows['NMI'][3]:.3f} / {rows['ARI'][3]:.3f} | " in table
    assert f"| **mean**, 0% | {rows['NMI'][0]:.3f} / {rows['ARI'][0]:.3f} | " in table
    written = out.stat().st_mtime_ns
    program("constraints").main()
    assert out.stat().st_mtime_ns == written


def test_independent_genes_have_the_moments_of_a_negative_binomial_with_the_real_library_sizes(program):
    rng = np.random.default_rng(0)
    library = rng.integers(500, 1500, 4000)
    shares, size = rng.dirichlet(np.full(100, 5.0)), np.repeat([2.0, 5.0], 50)
    mean = np.outer(library, shares)
    counts = rng.negative_binomial(size, size / (size + mean)).astype(float)
    made = program("synthetic").independent(counts, 1)
    np.testing.assert_allclose(made.mean(0), counts.mean(0), rtol=0.1)
    # Variance over cells: of the gene given the library size, and of its mean over library sizes.
    expected = (mean + mean**2 / size).mean(0) + mean.var(0)
    np.testing.assert_allclose(made.var(0) / expected, 1, atol=0.3)
    assert (made.var(0) / expected).mean() == pytest.approx(1, abs=0.05)
    assert stats.ks_2samp(made.sum(1), counts.sum(1)).pvalue > 1e-3


def test_strange_cells_are_what_their_names_say(program, pbmc):
    kinds = program("outliers").strange_cells(pbmc, 0)
    library = np.asarray(pbmc.X.sum(1)).ravel()
    assert {kind: len(cells) for kind, cells in kinds.items()} == dict.fromkeys(kinds, 400)
    for kind in ("ambient", "shuffled"):
        assert set(kinds[kind].sum(1)) <= set(library)
    assert stats.ks_2samp(kinds["thinned"].sum(1), library).pvalue > 1e-3
    assert np.median(kinds["doublets"].sum(1)) > 1.7 * np.median(library)
    shares = np.asarray(pbmc.X.sum(0)).ravel() / library.sum()
    expected = shares * kinds["ambient"].sum()
    deviation = (kinds["ambient"].sum(0) - expected) / np.sqrt(expected)
    assert deviation.std() == pytest.approx(1, abs=0.1)


def test_designs_of_differential_expression_have_no_change_where_they_say_so(program, pbmc):
    differential = program("differential")
    pbmc.obs["cell_type"] = np.repeat(["one", "other", "third"], [150, 150, 400])
    counts = pbmc.X.toarray()
    counts[:150, :5] += np.array([2, 4, 8, 16, 32])  # markers of type one
    pbmc.X = sp.csr_matrix(counts)
    cells, fixed = differential.designed(pbmc, "shuffled", "one", "other", 0)
    assert dict(cells.obs["group"].value_counts()) == {"a": 150, "b": 150}
    assert fixed.sum() == 153
    whole = np.flatnonzero(~fixed)
    sums = pbmc[cells.obs_names].X.sum(0), cells.X.sum(0)
    np.testing.assert_array_equal(*sums)  # shuffling deals counts of a gene to other cells
    np.testing.assert_array_equal(pbmc[cells.obs_names].X[:, whole].toarray(), cells.X[:, whole].toarray())
    found = differential.measure(pbmc, "permuted", "wilcoxon", 1, "one", "other", None)
    assert found["false"] == found["called"]
    assert found["false"] < 5
    power = differential.measure(pbmc, "power 100", "wilcoxon", 0, "one", "other", None)
    assert power["true"] >= 5
    assert power["correlation"] > 0.9


def test_differential_expression_has_one_command(program, tmp_path, monkeypatch):
    adata = scrae.datasets.pbmc()
    adata.write_h5ad(tmp_path / "pbmc.h5ad")
    out, text = tmp_path / "rows.csv", tmp_path / "table.md"
    arguments = [
        "differential", "--data", str(tmp_path), "--datasets", "pbmc", "--one", "CD19+ B", "--other", "CD14+ Monocyte",
        "--designs", "shuffled", "power 25", "--methods", "wilcoxon", "--seeds", "2", "--out", str(out),
        "--markdown", str(text),
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", arguments)
    program("differential").main()
    rows = pd.read_csv(out)
    assert list(rows["design"]) == ["shuffled", "shuffled", "power 25", "power 25"]
    assert rows["false"].dropna().max() <= 2
    assert text.read_text().startswith("| pbmc, shuffled | called | false | small_p |")
