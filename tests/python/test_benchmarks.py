"""The programs that fill the tables of the README: what is measured again, and what the tables say."""

from __future__ import annotations

import signal
import sys
from functools import partial, partialmethod
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import scrae
from pictures import assert_file_shows, legend_of, ticks_of
from scrae.autoencoder.presets import PRESETS

pytestmark = pytest.mark.slow


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


@pytest.mark.parametrize(("number", "reason"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_training_that_was_told_to_stop_leaves_no_row_and_no_embedding(
    program, tmp_path, small, quick, number, reason
):
    resumed, kept = program("experiment").resumed, program("accuracy").kept
    out, stop_reasons = tmp_path / "scores.csv", []

    def measure(name: str, seed: int) -> dict[str, object]:
        def press(epoch, *_):
            if (seed, epoch) == (1, 2):
                signal.raise_signal(number)

        def embedded():
            model = scrae.SCRAE(**quick).fit(small, on_epoch=press)
            stop_reasons.append(model.summary["stop_reason"])
            return model.embed(), {}

        return {"cells": len(kept(tmp_path / f"{seed}.npz", embedded)[0])}

    with pytest.raises(SystemExit, match=r"interrupted: the runs so far are in .*scores\.csv"):
        resumed(out, ["dataset", "seed"], [("a", 0), ("a", 1), ("a", 2)], measure)
    assert stop_reasons == ["max_epochs", reason]
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
    clusters = scrae.metrics.kmeans(model.embed()[:, :10], adata.obs["cell_type"].nunique(), 0)
    nmi = scrae.metrics.scores(adata.obs["cell_type"], clusters)["NMI"]
    assert rows.loc[("m3drop", 100), "honest"] == pytest.approx(nmi, abs=1e-5)  # looking on changed nothing
    assert (tmp_path / "tables.md").read_text() in capsys.readouterr().out


def test_one_command_measures_clusters_as_users_get_them(program, tmp_path, monkeypatch, capsys):
    clusters, data = program("clusters"), tmp_path / "data"
    data.mkdir()
    scrae.datasets.pbmc().write_h5ad(data / "pbmc.h5ad")
    monkeypatch.setattr(clusters, "NOISE", ("drawn",))
    monkeypatch.setattr(clusters.scrae.SCRAE, "fit", partialmethod(scrae.SCRAE.fit, max_epochs=2))
    monkeypatch.setattr(clusters.scrae.tl, "scrae", partial(scrae.tl.scrae, max_epochs=2, genes="all"))
    files = ["--out", str(tmp_path / "rows.csv"), "--controls", str(tmp_path / "controls.csv")]
    monkeypatch.setattr("sys.argv", ["clusters.py", "--data", str(data), "--seeds", "1", "--n-genes", "300", *files])
    clusters.main()
    printed = capsys.readouterr().out
    for words in (
        "| scrae: scrae.tl.cluster |",
        "| pca30: Louvain at 0.8 (Seurat) |",
        "| scrae: Leiden at 1, graph of scrae.tl.neighbors |",
        "| drawn | 1 of 1 |",
        "| rare, labels",
    ):
        assert words in printed
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert list(rows["method"]) == ["scrae", "pca30"]
    assert (rows["n_types"] == 10).all()


def test_one_command_measures_what_shorter_trainings_cost(program, tmp_path, monkeypatch, capsys):
    length, data = program("length"), tmp_path / "data"
    data.mkdir()
    scrae.datasets.pbmc().write_h5ad(data / "pbmc.h5ad")
    typed = ["--data", str(data), "--seeds", "1", "--n-genes", "300", "--steps", "60", "30"]
    monkeypatch.setattr("sys.argv", ["length.py", *typed, "--out", str(tmp_path / "rows.csv")])
    length.main()
    printed = capsys.readouterr().out
    rows = pd.read_csv(tmp_path / "rows.csv").set_index("steps")
    assert list(rows["epochs"]) == [12, 6]  # 630 of the 700 cells are trained on, five minibatches in an epoch
    means = rows.loc[60, ["cluster_NMI", "cluster_ARI"]]
    assert f"| {means.iloc[0]:.3f} / {means.iloc[1]:.3f} |" in printed
    lost = rows.loc[60, "kmeans_NMI"] - rows.loc[30, "kmeans_NMI"]
    assert f"({lost:.3f})" in printed


def test_controls_are_what_they_say(program):
    control = program("clusters").control
    adata = scrae.datasets.pbmc()
    counts = adata.X[:, np.asarray(adata.X.sum(0)).ravel() > 0].toarray()
    permuted = control("permuted", adata, 0).X.toarray()
    np.testing.assert_array_equal(np.sort(permuted, axis=0), np.sort(counts, axis=0))
    assert not np.array_equal(permuted, counts)
    of_one = adata[adata.obs["cell_type"] == adata.obs["cell_type"].mode()[0]].X.toarray()
    drawn = control("drawn", adata, 0)
    assert drawn.n_obs == 1000
    assert drawn.X.sum() / 1000 == pytest.approx(of_one.sum(1).mean(), rel=0.05)
    rare = control("rare", adata, 0)
    assert rare.obs["rare"].sum() == 10
    assert 10 < rare.n_obs <= 1510


def test_one_command_compares_presets_and_goes_on_where_it_was_ended(program, tmp_path, monkeypatch, capsys, saved):
    scrae.datasets.pbmc()[::4].write_h5ad(tmp_path / "pbmc.h5ad")

    def run(*presets, more=()):
        arguments = [
            "family", "--data", str(tmp_path), "--presets", *presets, "--latent", "2", "--seeds", "1",
            "--n-genes", "100", "--max-epochs", "2", "--out", str(tmp_path / "family.csv"),
            "--markdown", str(tmp_path / "family.md"), "--figure", str(tmp_path / "family.png"), *more,
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
    assert {"NMI", "ARI"} <= set(rows)
    tables = (tmp_path / "family.md").read_text()
    assert "| scvi | " in tables
    assert "Data sets: pbmc. Seeds: 1." in tables
    assert "0.616 |" in tables  # what the paper has for it at latent size 2
    assert tables in capsys.readouterr().out
    scores, by_score = saved["family.png"], rows.set_index("preset").sort_values("NMI")
    for panel, score in zip(scores.axes, ["NMI", "ARI"], strict=True):
        assert panel.get_title() == f"{score}, latent size 2"
        assert [bar.get_width() for bar in panel.patches] == pytest.approx(list(by_score[score]))
    assert list(scores.axes[0].lines[0].get_xdata()) == pytest.approx(list(by_score["oracle_NMI"]))
    assert ticks_of(scores.axes[0].yaxis) == list(by_score.index)  # the other panel shares it
    assert legend_of(scores) == ["oracle", "honest"]
    assert_file_shows(tmp_path / "family.png", scores, dpi=110, colours=["tab:blue", "tab:red"])
    (tmp_path / "family.md").unlink()
    run("scvi", "scdeepcluster", "ae", more=["--seeds", "2", "--tables-only"])
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "family.csv"), rows)  # nothing more was trained
    assert (tmp_path / "family.md").read_text() == tables
    run("scvi", "ae", more=["--tables-only", "--maps", str(tmp_path / "maps")])
    assert not (tmp_path / "maps").exists()  # what was not kept cannot be drawn without training
    run("scvi", "scdeepcluster", more=["--maps", str(tmp_path / "maps")])
    assert pd.read_csv(tmp_path / "family.csv").equals(rows)  # trained for the map alone
    assert len(list((tmp_path / "maps" / "family" / "embeddings").glob("pbmc-*-2.npy"))) == 2
    maps, types = saved["latent2_pbmc.png"], scrae.datasets.pbmc()[::4].obs["cell_type"].astype(str)
    shown = [panel for panel in maps.axes if panel.collections]
    assert [panel.get_title() for panel in shown] == ["scvi", "scdeepcluster"]
    folder = tmp_path / "maps" / "family"
    for panel, preset in zip(shown, rows["preset"], strict=True):
        dots = panel.collections[0]
        np.testing.assert_array_equal(dots.get_offsets(), np.load(folder / "embeddings" / f"pbmc-{preset}-2.npy"))
        np.testing.assert_array_equal(dots.get_array(), pd.factorize(types, sort=True)[0])
    assert legend_of(maps) == sorted(set(types))
    ends = [dots.cmap(dots.norm(code)) for code in (0, types.nunique() - 1)]
    assert_file_shows(folder / "latent2_pbmc.png", maps, dpi=80, colours=ends)


LATER = {"scdcc", "vasc"}  # presets that came later, which have tables with some of the others


@pytest.mark.parametrize(
    ("page", "presets", "seeds"),
    [
        ("family.md", set(PRESETS) - LATER, {2: 5, 10: 5, 20: 5}),
        ("family_further.md", {"default", "scdeepcluster", "scvi", "contrastive_sc"} | LATER, {2: 5, 10: 5, 20: 5}),
    ],
)
def test_rows_of_presets_that_are_kept_make_the_tables_that_are_kept(program, page, presets, seeds):
    family = program("family")
    results = Path(family.__file__).with_name("results")
    rows = pd.read_csv((results / page).with_suffix(".csv")).query("preset in @presets")
    for n_latent, number in seeds.items():
        complete = family.common(rows[rows["n_latent"] == n_latent])
        assert set(complete["preset"]) == presets
        assert complete["seed"].nunique() == number
        assert complete["dataset"].nunique() == 14
        assert family.table(complete, n_latent) in (results / page).read_text()


def test_table_of_presets_says_by_how_much_and_where_the_default_is_ahead(program):
    family = program("family")
    nmi = {"default": (0.50, 0.60, 0.70), "scvi": (0.40, 0.63, 0.70)}
    rows = [(name, preset, value) for preset, values in nmi.items() for name, value in zip("abc", values, strict=True)]
    results = pd.DataFrame(rows, columns=["dataset", "preset", "NMI"]).assign(seed=0, training_seconds=2.0)
    results[["ARI", "oracle_NMI"]] = 0.5
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


def test_one_command_draws_scores_against_the_strength_of_either_prior(program, tmp_path, monkeypatch, capsys, saved):
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
    figure = saved["prior.png"]
    for panel, score in zip(figure.axes, ["NMI", "held_out"], strict=True):
        level, *curves = panel.get_legend_handles_labels()[0]
        of_none = rows.loc[rows["prior"] == "none", score].item()
        assert list(level.get_ydata()) == pytest.approx([of_none if score == "NMI" else 0.0] * 2)
        for curve, prior in zip(curves, ["fixed", "learned"], strict=True):
            expected = rows.loc[rows["prior"] == prior, score] - (0.0 if score == "NMI" else of_none)
            assert list(curve.lines[0].get_xdata()) == [0.001, 1]
            assert list(curve.lines[0].get_ydata()) == pytest.approx(list(expected))
    assert (figure.axes[0].get_title(), figure.axes[1].get_xlabel()) == ("pbmc", "pull")
    assert legend_of(figure.axes[0]) == ["no prior", "fixed prior", "learned prior"]
    assert_file_shows(tmp_path / "prior.png", figure, dpi=110, colours=["tab:gray", "tab:orange", "tab:blue"])


def test_one_command_repeats_the_report_on_variational_autoencoders(program, tmp_path, monkeypatch, capsys, saved):
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
    figure, scores = saved["report.png"], ["NMI", "ARI", "homogeneity", "completeness"]
    panel = figure.axes[0]
    values = rows[[f"tsne_{score}" for score in scores]].to_numpy()
    np.testing.assert_allclose(panel.images[0].get_array(), values)
    assert [text.get_text() for text in panel.texts] == [f"{value:.2f}" for value in values.ravel()]
    assert (ticks_of(panel.xaxis), ticks_of(panel.yaxis)) == (scores, ["ae", "beta_vsc"])
    assert panel.get_title() == "pbmc: k-means on the t-SNE"
    colours = [panel.images[0].cmap(value) for value in (values[0, 0], values[1, 1])]
    assert_file_shows(tmp_path / "report.png", figure, dpi=110, colours=colours)


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
