"""The programs that fill the tables of the README: what is measured again, and what the tables say."""

from __future__ import annotations

import signal
import sys

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy import stats

import scrae


def test_rows_that_are_there_are_not_measured_again(program, tmp_path):
    resumed = program("experiment").resumed
    out, measured = tmp_path / "results" / "scores.csv", []

    def measure(name: str, seed: int) -> dict[str, object]:
        measured.append((name, seed))
        return {"NMI": seed / 4}

    first = resumed(out, ["dataset", "seed"], [("a", 0), ("a", 1)], measure)
    assert list(first["NMI"]) == [0.0, 0.25]
    second = resumed(out, ["dataset", "seed"], [("a", 1), ("b", 2)], measure)
    assert measured == [("a", 0), ("a", 1), ("b", 2)]
    assert list(second.itertuples(index=False, name=None)) == [("a", 1, 0.25), ("b", 2, 0.5)]
    assert len(pd.read_csv(out)) == 3
    with pytest.raises(SystemExit, match="other columns"):
        resumed(out, ["dataset", "seed"], [("c", 0)], lambda *_: {"ARI": 0.0})


def test_a_training_that_was_interrupted_leaves_no_row_and_no_embedding(program, tmp_path, small, quick):
    resumed, kept = program("experiment").resumed, program("accuracy").kept
    out, stop_reasons = tmp_path / "scores.csv", []

    def measure(name: str, seed: int) -> dict[str, object]:
        def press(epoch, *_):
            if (seed, epoch) == (1, 2):
                signal.raise_signal(signal.SIGINT)

        def embedded():
            model = scrae.SCRAE(**quick).fit(small, on_epoch=press)
            stop_reasons.append(model.summary["stop_reason"])
            return model.embed(), {}

        return {"cells": len(kept(tmp_path / f"{seed}.npz", embedded)[0])}

    with pytest.raises(SystemExit, match=r"interrupted: the runs so far are in .*scores\.csv"):
        resumed(out, ["dataset", "seed"], [("a", 0), ("a", 1), ("a", 2)], measure)
    assert stop_reasons == ["max_epochs", "interrupted"]
    assert list(pd.read_csv(out).itertuples(index=False, name=None)) == [("a", 0, 60)]
    assert [path.name for path in tmp_path.glob("*.npz")] == ["0.npz"]


def test_latent_sizes_are_those_of_presets_alone(program):
    with_latent = program("accuracy").with_latent
    assert with_latent(["default", "pca10", "scvi", "default:mask_rate=0.5"], [2, 20]) == [
        "default:n_latent=2", "default:n_latent=20", "pca10", "scvi",
        "default:mask_rate=0.5,n_latent=2", "default:mask_rate=0.5,n_latent=20",
    ]  # fmt: skip
    assert with_latent(["ae", "pca30"], []) == ["ae", "pca30"]


def test_embeddings_that_were_kept_are_scored_again_without_another_training(program, tmp_path, monkeypatch):
    adata = scrae.datasets.pbmc()[::4].copy()
    accuracy, path = program("accuracy"), tmp_path / "embeddings" / "pbmc-default-0.npz"
    first = accuracy.measure(adata, "default:max_epochs=2", 0, None, path)
    with np.load(path) as stored:
        expected = scrae.SCRAE(random_state=0, verbose=False).fit(adata, max_epochs=2).embed()
        np.testing.assert_array_equal(stored["embedding"], expected)
    monkeypatch.setattr(accuracy, "embed", lambda *_: pytest.fail("trained again"))
    assert accuracy.measure(adata, "default:max_epochs=2", 0, None, path) == first
    assert first["epochs"] == 2
    assert first["seconds"] > 0


def test_table_of_genes_shows_honest_beside_oracle_and_means_of_choices_that_all_data_have(program):
    rows = [
        ("klein_1000", "hvg", 0.5, 0.6), ("klein_1000", "hvg", 0.7, 0.8), ("klein_1000", "m3drop", 0.4, 0.4),
        ("klein_1000", "all", 0.3, 0.3), ("pbmc3k_2638", "hvg", 0.9, 1.0), ("pbmc3k_2638", "m3drop", 0.5, 0.7),
        ("zeisel_1799", "hvg", 0.1, 0.1), ("zeisel_1799", "m3drop", np.nan, np.nan),
    ]  # fmt: skip
    results = pd.DataFrame(rows, columns=["dataset", "selection", "honest", "oracle"])
    lines = program("genes_accuracy").table(results, "selection", ["hvg", "danb", "m3drop", "all"]).splitlines()
    assert lines[0] == "| honest / *oracle* | hvg | m3drop | all |"
    assert lines[2] == "| klein_1000 | 0.600 ± 0.141 / *0.700 ± 0.141* | 0.400 / *0.400* | 0.300 / *0.300* |"
    assert lines[3] == "| zeisel_1799 | 0.100 / *0.100* | - | - |"
    assert lines[4] == "| pbmc3k_2638 | 0.900 / *1.000* | 0.500 / *0.700* | - |"
    assert lines[5] == "| **mean** | 0.533 / *0.600* | - | - |"


def test_one_command_scores_choices_of_genes_honestly_and_by_the_oracle(program, tmp_path, monkeypatch, capsys):
    adata = scrae.datasets.pbmc()[::4].copy()
    adata.write_h5ad(tmp_path / "klein_1000.h5ad")
    arguments = [
        "genes_accuracy", "--data", str(tmp_path), "--datasets", "klein_1000", "--selections", "m3drop", "all",
        "--n-top", "100", "--numbers", "100", "5000", "--seeds", "1", "--max-epochs", "3", "--out",
        str(tmp_path / "scores.csv"), "--markdown", str(tmp_path / "tables.md"),
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", arguments)
    program("genes_accuracy").main()
    rows = pd.read_csv(tmp_path / "scores.csv").set_index(["selection", "n_top"])
    assert list(rows.index) == [("m3drop", 100), ("hvg", 100), ("all", 765)]
    assert list(rows["genes"]) == [100, 100, 765]
    assert (rows["oracle"] >= rows["honest"]).all()

    model = scrae.SCRAE(random_state=0, verbose=False)
    scrae.pp.select_genes(adata, "m3drop", 100)
    model.fit(adata, genes=adata.var["scrae_selected"].to_numpy(), max_epochs=3)
    clusters = scrae.metrics.kmeans(model.embed(), adata.obs["cell_type"].nunique(), 0)
    nmi = scrae.metrics.scores(adata.obs["cell_type"], clusters)["NMI"]
    assert rows.loc[("m3drop", 100), "honest"] == pytest.approx(nmi, abs=1e-5)  # looking on changed nothing
    assert (tmp_path / "tables.md").read_text() in capsys.readouterr().out


def test_one_command_compares_presets_and_goes_on_where_it_was_ended(program, tmp_path, monkeypatch, capsys):
    scrae.datasets.pbmc()[::4].write_h5ad(tmp_path / "pbmc.h5ad")

    def run(*presets, more=()):
        arguments = [
            "family", "--data", str(tmp_path), "--presets", *presets, "--latent", "2", "--seeds", "1",
            "--n-genes", "100", "--max-epochs", "2", "--out", str(tmp_path / "family.csv"),
            "--markdown", str(tmp_path / "family.md"), "--figures", str(tmp_path), *more,
        ]  # fmt: skip
        monkeypatch.setattr(sys, "argv", arguments)
        program("family").main()

    run("scvi")
    first = (tmp_path / "family.csv").read_text()
    run("scvi", "scdeepcluster")
    assert (tmp_path / "family.csv").read_text().startswith(first)
    rows = pd.read_csv(tmp_path / "family.csv")
    assert list(rows["preset"]) == ["scvi", "scdeepcluster"]
    assert (rows["oracle_NMI"] >= rows["NMI"]).all()
    assert set(scrae.metrics.SCORES) <= set(rows)
    tables = (tmp_path / "family.md").read_text()
    assert "| scvi | " in tables
    assert "Data sets: pbmc. Seeds: 1." in tables
    assert "0.616 |" in tables  # what the paper has for it at latent size 2
    assert tables in capsys.readouterr().out
    assert (tmp_path / "family_scores.png").stat().st_size > 10_000
    assert (tmp_path / "family_latent2_pbmc.png").stat().st_size > 10_000
    (tmp_path / "family.md").unlink()
    run("scvi", "scdeepcluster", "ae", more=["--seeds", "2", "--tables-only"])
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "family.csv"), rows)  # nothing more was trained
    assert (tmp_path / "family.md").read_text() == tables


def test_table_of_presets_says_by_how_much_and_where_the_default_is_ahead(program):
    family = program("family")
    nmi = {"default": (0.50, 0.60, 0.70), "scvi": (0.40, 0.63, 0.70)}
    rows = [(name, preset, value) for preset, values in nmi.items() for name, value in zip("abc", values, strict=True)]
    results = pd.DataFrame(rows, columns=["dataset", "preset", "NMI"]).assign(seed=0, training_seconds=2.0)
    results[["ARI", "AMI", "homogeneity", "completeness", "oracle_NMI"]] = 0.5
    default, scvi = family.table(results, 2).splitlines()[2:]
    assert scvi.startswith("| scvi | 0.577 | 0.500 |")
    assert scvi.endswith("| 0.616 | 2 | +0.023 | -0.030 to +0.100 | 1 / 1 / 1 |")
    assert default.endswith("| - | 2 |  |  |  |")
    assert "ahead" not in family.table(results[results["preset"] == "scvi"], 2)


def test_of_large_data_sets_the_same_random_cells_are_drawn_each_time(program, tmp_path):
    whole = scrae.datasets.pbmc()
    whole.write_h5ad(tmp_path / "pbmc.h5ad")
    drawn, again, all_of_them = (
        program("experiment").loader(tmp_path, 100, n_cells=n_cells)("pbmc") for n_cells in (200, 200, 5000)
    )
    assert drawn.n_obs == 200
    assert list(drawn.obs_names) == list(again.obs_names)
    assert set(drawn.obs_names) < set(whole.obs_names)
    assert list(drawn.obs_names) != list(whole.obs_names[:200])
    assert all_of_them.n_obs == whole.n_obs


def test_presets_are_compared_on_data_sets_and_seeds_that_all_of_them_have(program):
    rows = pd.MultiIndex.from_product([["a", "b", "c"], ["x", "y"], [2, 10], [0, 1]]).to_frame(index=False)
    rows.columns = ["dataset", "preset", "n_latent", "seed"]
    without = (rows["dataset"] == "b") & (rows["preset"] == "y")  # a preset that was not trained there
    without |= (rows["dataset"] == "c") & (rows["n_latent"] == 10) & (rows["seed"] == 1)  # and a seed that was not
    kept = program("family").common(rows[~without])
    assert set(kept["dataset"]) == {"a", "c"}
    assert set(kept["seed"]) == {0}
    assert len(kept) == 8


def test_one_command_draws_scores_against_the_strength_of_either_prior(program, tmp_path, monkeypatch, capsys):
    scrae.datasets.pbmc()[::4].write_h5ad(tmp_path / "pbmc.h5ad")
    arguments = [
        "prior", "--data", str(tmp_path), "--datasets", "pbmc", "--pulls", "0.001", "1", "--seeds", "1",
        "--n-genes", "100", "--max-epochs", "2", "--out", str(tmp_path / "prior.csv"),
        "--markdown", str(tmp_path / "prior.md"), "--figure", str(tmp_path / "prior.png"),
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", arguments)
    program("prior").main()
    rows = pd.read_csv(tmp_path / "prior.csv")
    assert list(rows[["prior", "pull"]].itertuples(index=False, name=None)) == [
        ("none", 0), ("fixed", 0.001), ("fixed", 1), ("learned", 0.001), ("learned", 1),
    ]  # fmt: skip
    assert (rows["held_out"] > 0).all()
    assert rows["held_out"].nunique() == 5
    without = rows.loc[rows["prior"] == "none", "held_out"].item()
    assert list(program("prior").beside_no_prior(rows)["held_out"]) == pytest.approx(list(rows["held_out"] - without))
    tables = (tmp_path / "prior.md").read_text()
    assert "| learned, 0.001 | " in tables
    assert tables in capsys.readouterr().out
    assert (tmp_path / "prior.png").stat().st_size > 10_000


def test_one_command_repeats_the_report_on_variational_autoencoders(program, tmp_path, monkeypatch, capsys):
    scrae.datasets.pbmc()[::4].write_h5ad(tmp_path / "pbmc.h5ad")
    arguments = [
        "vae_report", "--data", str(tmp_path), "--datasets", "pbmc", "--methods", "ae", "beta_vsc", "--seeds", "1",
        "--n-genes", "100", "--max-epochs", "2", "--out", str(tmp_path / "report.csv"),
        "--markdown", str(tmp_path / "report.md"), "--figure", str(tmp_path / "report.png"),
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", arguments)
    program("vae_report").main()
    rows = pd.read_csv(tmp_path / "report.csv").set_index("method")
    assert list(rows.index) == ["ae", "beta_vsc"]
    adata = scrae.datasets.pbmc()[::4].copy()
    with_chosen_genes = program("experiment").with_chosen_genes
    adata = with_chosen_genes(adata, 100, "hvg")
    embedding = scrae.SCRAE("ae", random_state=0, verbose=False).fit(adata, max_epochs=2).embed()
    labels = adata.obs["cell_type"].astype(str)
    clusters = scrae.metrics.kmeans(embedding, labels.nunique(), 0)
    assert rows.loc["ae", "embedding_NMI"] == pytest.approx(scrae.metrics.scores(labels, clusters)["NMI"], abs=1e-5)
    assert rows.loc["ae", "tsne_NMI"] != rows.loc["ae", "embedding_NMI"]
    text = (tmp_path / "report.md").read_text()
    assert text in capsys.readouterr().out
    assert (tmp_path / "report.png").stat().st_size > 10_000


def test_methods_of_others_ask_for_a_python_that_has_them(program, pbmc):
    with pytest.raises(SystemExit, match=r"--peer .*make peers"):
        program("accuracy").embed(pbmc, "scvi", 0, None)
    with pytest.raises(SystemExit, match="unknown method 'tsne'; known: pca10.*scvi.*default"):
        program("accuracy").embed(pbmc, "tsne", 0, None)


def test_ranking_compares_methods_on_the_data_sets_that_all_of_them_have(program):
    rows = [("a", "default", 0.8), ("a", "pca10", 0.5), ("b", "default", 0.6), ("b", "pca10", 0.7), ("c", "pca10", 0.1)]
    results = pd.DataFrame(
        [(dataset, method, seed, score) for dataset, method, score in rows for seed in (0, 1)],
        columns=["dataset", "method", "seed", "kmeans_NMI"],
    )
    report = program("report")
    ranking = report.ranking(report.common(results), "kmeans_NMI", "default")
    assert list(ranking.index) == ["default", "pca10"]
    assert list(ranking["mean"]) == ["0.700", "0.600"]
    assert ranking.loc["pca10", "default ahead by"] == "+0.100"
    assert ranking.loc["pca10", "wins / draws / losses"] == "1 / 0 / 1"
    assert ranking.loc["pca10", "95 % interval"] == "-0.100 to +0.300"  # all that two data sets can say


def test_bootstrap_interval_is_that_of_the_normal_approximation_for_many_data_sets(program):
    differences = np.random.default_rng(1).normal(0.1, 0.2, size=400)
    low, high = map(float, program("report").interval(differences).split(" to "))
    half = 1.96 * differences.std() / 20
    np.testing.assert_allclose([low, high], [differences.mean() - half, differences.mean() + half], atol=0.003)


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
    assert mixing.connectivity(together, types) > 0.99
    assert mixing.connectivity(apart, types) == pytest.approx(0.5)
    good, bad = mixing.mixing_scores(together, batch, types), mixing.mixing_scores(apart, batch, types)
    assert good["types"] > 0.9
    assert good["overall"] > bad["overall"] + 0.3
    assert good["overall"] == pytest.approx(0.4 * good["batches"] + 0.6 * good["types"])
    assert np.isnan(mixing.batch_asw(together, types, types))  # confounded: no type has two batches


def test_kbet_is_the_acceptance_rate_of_scipy_s_chi_square_test_within_types(program, monkeypatch):
    mixing, rng = program("mixing"), np.random.default_rng(5)
    # Three places of four cells, each cell's four neighbours those of its place: xxxx, xyxy, yyyy, batches of equal
    # size. Four of one batch have a statistic of 4 > 3.84 and are rejected, two of each have 0.
    monkeypatch.setattr(mixing, "KBET", (4, 4))
    place = np.array([0, 1, 2, 3, 100, 101, 102, 103, 200, 201, 202, 203])[:, None] + rng.uniform(0, 0.1, (12, 1))
    batch = np.array(list("xxxxxyxyyyyy"))
    assert mixing.kbet(place, batch, np.repeat("a", 12)) == pytest.approx(4 / 12)
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
    assert mixing.kbet(embedding, batch, types) == pytest.approx(np.mean(shares))
    assert np.isnan(mixing.kbet(embedding, types, types))


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


@pytest.mark.parametrize(
    ("name", "arguments", "first"),
    [
        (
            "labels",
            ["--methods", "lr", "knn", "--leave-out", "1", "--share", "0.3", "--batches", "made"],
            "| made | accuracy |",
        ),
        ("batch", ["--methods", "pca10", "scrae:max_epochs=1,n_latent=3"], "| mean of 1 data sets | first on |"),
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
        assert list(rows["method"]) == arguments[1:]
    written = out.stat().st_mtime_ns
    program(name).main()
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
