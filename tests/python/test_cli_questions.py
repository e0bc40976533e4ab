"""Commands that ask a trained model, and settings on the command line: the same as in Python."""

from __future__ import annotations

import anndata
import numpy as np
import pytest

import scrae
from scrae.cli import main
from scrae.cli.settings import settings_of, value_of

QUICK = ["--max-epochs", "2", "--genes", "all", "--n-latent", "4", "--quiet"]


@pytest.fixture
def files(small, tmp_path):
    """A file of cells with a layer, a trained model, and the file with its embedding."""
    small.layers["counts"] = small.X.copy()
    small.obs["type"] = ["x", "y", "Unknown"] * 20
    small.write_h5ad(tmp_path / "in.h5ad")
    trained = ["run", tmp_path / "in.h5ad", "--out", tmp_path / "trained.h5ad", "--model-dir", tmp_path / "model"]
    assert main([*map(str, trained), "--batch-key", "batch", *QUICK]) == 0
    return tmp_path


def done(folder, *arguments):
    """Run a command that reads in.h5ad and writes out.h5ad; what it has written."""
    command, *further = map(str, arguments)
    typed = [command, str(folder / "in.h5ad"), "--out", str(folder / "out.h5ad"), *further]
    assert main(typed) == 0
    return anndata.read_h5ad(folder / "out.h5ad")


def test_map_writes_the_embedding_that_the_model_gives(files, small, capsys):
    model = scrae.SCRAE.load(files / "model")
    mapped = done(files, "map", "--model-dir", files / "model", "--layer", "counts", "--key-added", "ref")
    np.testing.assert_array_equal(mapped.obsm["X_ref"], model.map(small))
    assert "60 cells: obsm['X_ref'] in" in capsys.readouterr().out


def test_predict_learns_from_a_reference_or_takes_what_the_model_knows(files, small, capsys):
    model = scrae.SCRAE.load(files / "model").fit_labels(small, "type")
    reference = ["--reference", files / "in.h5ad", "--labels-key", "type"]
    predicted = done(files, "predict", "--model-dir", files / "model", *reference, "--unknown-rate", "0.2")
    expected = model.predict(small, unknown_rate=0.2)
    assert list(predicted.obs["scrae_label"]) == list(expected)
    probabilities = model.predict(small, return_probabilities=True)
    np.testing.assert_allclose(predicted.obs["scrae_label_probability"], probabilities.iloc[:, :-1].max(axis=1))
    np.testing.assert_allclose(predicted.obs["scrae_conformal_p_value"], probabilities["conformal_p_value"])
    assert f"{(expected == 'Unknown').sum()} of them Unknown" in capsys.readouterr().out
    model.save(files / "labelled")
    again = done(files, "predict", "--model-dir", files / "labelled", "--unknown-rate", "0.2", "--quiet")
    assert list(again.obs["scrae_label"]) == list(expected)
    assert capsys.readouterr().out == ""


def test_denoise_writes_a_layer(files, small):
    model = scrae.SCRAE.load(files / "model")
    denoised = done(files, "denoise", "--model-dir", files / "model", "--library-size", "500", "--batch", "a")
    np.testing.assert_array_equal(denoised.layers["denoised"], model.denoise(small, library_size=500, batch="a"))


def test_cluster_finds_the_clusters_that_python_finds(files, capsys):
    (files / "trained.h5ad").rename(files / "in.h5ad")
    written = done(files, "cluster", "--level", "2", "--key-added", "mine")
    scrae.tl.cluster(written, level=2, key_added="again")
    assert list(written.obs["mine"]) == list(written.obs["again"])
    assert "2 clusters: obs['mine'] in" in capsys.readouterr().out


def test_any_setting_can_be_set(files, small):
    chosen = [
        "--set",
        "mask_rate=0.5",
        "--set",
        "n_hidden=(16, 8)",
        "--set",
        "early-stopping=false",
        "--set",
        "pull=1e-2",
    ]
    written = done(files, "run", *QUICK, *chosen)
    scrae.tl.scrae(
        small, genes="all", n_latent=4, max_epochs=2, mask_rate=0.5, n_hidden=(16, 8), early_stopping=False, pull=1e-2,
        verbose=False,
    )  # fmt: skip
    np.testing.assert_array_equal(written.obsm["X_scrae"], small.obsm["X_scrae"])
    for argument in ("mask_rate=0.5", "n_hidden=(16, 8)", "early_stopping=False", "pull=0.01"):
        assert argument in written.uns["scrae"]["call"]


@pytest.mark.parametrize(
    ("typed", "value"),
    [("3", 3), ("1e-3", 1e-3), ("(64, 32)", (64, 32)), ("[64]", [64]), ("TRUE", True), ("none", None), ("nb", "nb")],
)
def test_values_are_what_python_would_read_or_text(typed, value):
    assert value_of(typed) == value
    assert type(value_of(typed)) is type(value)
    assert settings_of([f"x = {typed}"]) == {"x": value}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "{h5ad}", "--set", "mask_rate"], "--set mask_rate: write it as name=value"),
        (["run", "{h5ad}", "--set", "n_latent=3"], "--set n_latent=3: use --n-latent"),
        (["run", "{h5ad}", "--set", "mask_rate=1", "--set", "mask_rate=0"], "mask_rate is set twice"),
        (["run", "{h5ad}", "--set", "mask_rat=0.5"], "did you mean 'mask_rate'"),
        (["run", "{h5ad}", "--set", "mask_rate=high"], "mask_rate must be a number"),
        (["map", "{h5ad}", "--model-dir", "nowhere"], "there is no model folder 'nowhere'"),
        (["predict", "{h5ad}", "--model-dir", "{model}"], "knows no types: name labelled cells with --reference"),
        (["predict", "{h5ad}", "--model-dir", "{model}", "--labels-key", "type"], "belong together"),
        (
            ["denoise", "{h5ad}", "--model-dir", "{model}", "--library-size", "big"],
            "it is common, observed, or a number",
        ),
        (["denoise", "{h5ad}", "--model-dir", "{model}", "--batch", "c"], "no batch 'c'"),
        (["cluster", "{h5ad}"], "call scrae.tl.scrae(adata) first"),
        (["report", "{h5ad}"], "call scrae.tl.scrae(adata) first"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(files, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    before = sorted(path.name for path in files.iterdir())
    places = {"h5ad": files / "in.h5ad", "model": files / "model"}
    typed = [argument.format(**places) for argument in arguments]
    out = "new.html" if arguments[0] == "report" else "new.h5ad"
    assert main([*typed, "--out", out]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("scrae: ")
    assert sorted(path.name for path in files.iterdir()) == before


def test_an_input_of_any_kind_that_run_takes_can_be_asked_about_and_no_folder_is_written_into(files, capsys):
    with pytest.raises(SystemExit):
        main(["map", str(files / "in.h5ad"), "--model-dir", str(files / "model")])
    assert "--out" in capsys.readouterr().err
    assert main(["map", str(files / "in.h5ad"), "--model-dir", str(files / "model"), "--out", "x.csv"]) == 2
    assert "written as h5ad or zarr" in capsys.readouterr().err
