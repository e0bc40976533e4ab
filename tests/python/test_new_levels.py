"""Cells of batches that the model was not trained on: what the decoder is told for them, and what users are told."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import scrae
from scrae.cli import main

SAID = (
    r"1 level\(s\) that the model was not trained on \('new'\). Their cells are decoded as if from the average of the 2"
)


@pytest.fixture(scope="module")
def batches():
    """Made cells of two kinds in two batches of 200 and 100; a fifth of the genes is ten times as high in "strong"."""
    import anndata
    import pandas as pd

    rng = np.random.default_rng(2)
    kind, strong = np.arange(300) % 2, np.arange(300) % 3 == 0
    mean = rng.gamma(1.0, 1.0, 100) * np.ones((300, 1))
    mean[kind == 1, :15] += 8
    mean[np.ix_(strong, np.arange(15, 35))] *= 10
    obs = pd.DataFrame({"batch": np.where(strong, "strong", "plain"), "sex": np.where(rng.random(300) < 0.7, "f", "m")})
    obs.index = [f"cell{i}" for i in range(300)]
    counts = sp.csr_matrix(rng.poisson(mean).astype(np.float32))
    return anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=[f"gene{i}" for i in range(100)]))


@pytest.fixture(scope="module")
def model(batches):
    model = scrae.SCRAE(n_latent=2, n_hidden=(32,), max_epochs=60, verbose=False)
    return model.fit(batches, batch_key="batch", categorical_covariate_keys=["sex"])


def renamed(adata, column, old, new):
    query = adata.copy()
    query.obs[column] = query.obs[column].replace({old: new})
    return query


def without_column(adata):
    query = adata.copy()
    del query.obs["batch"]
    return query


def decoded(model, adata, batch, sex):
    """Means of the decoder at the library size of the training cells, told these covariates, (n_cells, n_genes)."""
    module = model.fitted.module
    codes = torch.as_tensor(model.codes(adata))
    told = torch.tensor([*batch, *sex], dtype=torch.float32).repeat(len(codes), 1)
    library = torch.full((len(codes),), float(np.median(model.fitted.population.log_library_quantiles)))
    with torch.inference_mode():
        parameters = module.decode(codes, told, library, torch.zeros(len(codes), dtype=torch.int64))
        return module.likelihood.mean(parameters).numpy()


def test_cells_of_a_new_batch_are_decoded_as_from_all_batches_with_their_shares(batches, model):
    women = batches[(batches.obs["batch"] == "strong") & (batches.obs["sex"] == "f")].copy()
    with pytest.warns(UserWarning, match=SAID):
        found = model.denoise(renamed(women, "batch", "strong", "new"))
    np.testing.assert_allclose(found, decoded(model, women, (2 / 3, 1 / 3), (1, 0)), rtol=1e-5)  # plain, strong; f, m
    np.testing.assert_allclose(model.denoise(women), decoded(model, women, (0, 1), (1, 0)), rtol=1e-5)
    assert np.abs(found / model.denoise(women) - 1).max() > 0.3  # it makes a difference


def test_a_new_batch_is_neither_the_best_nor_the_worst_that_the_decoder_knows(batches, model):
    strong = batches[batches.obs["batch"] == "strong"].copy()
    with pytest.warns(UserWarning, match=SAID):
        new = model.negative_log_likelihood(renamed(strong, "batch", "strong", "new")).mean()
    plain = model.negative_log_likelihood(renamed(strong, "batch", "strong", "plain")).mean()
    assert model.negative_log_likelihood(strong).mean() < new < plain


def test_cells_of_known_batches_keep_their_bits_beside_those_of_new_ones(batches, model):
    new = renamed(batches, "batch", "strong", "new")
    known = (batches.obs["batch"] == "plain").to_numpy()
    with pytest.warns(UserWarning, match=SAID):
        np.testing.assert_array_equal(model.denoise(new)[known], model.denoise()[known])


def test_new_levels_of_several_columns_are_each_said(batches, model):
    new = renamed(renamed(batches, "batch", "strong", "new"), "sex", "m", "x")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = model.denoise(new)
    assert [warning.message.fields["column"] for warning in told] == ["batch", "sex"]
    both = ((new.obs["batch"] == "new") & (new.obs["sex"] == "x")).to_numpy()
    women = float((batches.obs["sex"] == "f").mean())
    expected = decoded(model, batches[both].copy(), (2 / 3, 1 / 3), (women, 1 - women))
    np.testing.assert_allclose(found[both], expected, rtol=1e-5)


def test_a_dispersion_for_each_batch_is_that_of_the_most_frequent_one(batches):
    settings = {"dispersion": "gene-batch", "n_latent": 2, "n_hidden": (16,), "max_epochs": 3, "verbose": False}
    model = scrae.SCRAE(**settings).fit(batches, batch_key="batch")
    strong = batches[batches.obs["batch"] == "strong"].copy()
    with pytest.warns(UserWarning, match=SAID):
        before = model.negative_log_likelihood(renamed(strong, "batch", "strong", "new"))
    with torch.no_grad():
        model.fitted.module.likelihood.log_r[1] += 1  # of "strong"
    with pytest.warns(UserWarning, match=SAID):
        after = model.negative_log_likelihood(renamed(strong, "batch", "strong", "new"))
    np.testing.assert_array_equal(after, before)


def test_a_batch_that_is_asked_for_needs_no_stand_in(batches, model):
    new = renamed(batches, "batch", "strong", "new")
    np.testing.assert_array_equal(model.denoise(new, batch="plain"), model.denoise(batch="plain"))


def test_new_cells_are_mapped_without_their_batch_and_it_is_said_which_ones_are_new(batches, model):
    new = renamed(batches, "batch", "strong", "new")
    said = r"1 batch\(es\) that the model was not trained on \('new'\). Their 100 cell\(s\) are placed"
    with pytest.warns(UserWarning, match=said):
        mapped = model.map(new)
    np.testing.assert_array_equal(mapped, model.map(batches))
    np.testing.assert_array_equal(mapped, model.map(without_column(batches)))
    new.obs["batch"] = np.nan
    np.testing.assert_array_equal(model.map(new), mapped)


def test_outliers_of_a_new_batch_are_scored(batches, model):
    new = renamed(batches[batches.obs["batch"] == "strong"].copy(), "batch", "strong", "new")
    with pytest.warns(UserWarning, match=SAID):
        alone = scrae.tl.outliers(new, model)
    assert abs(alone["score"].median()) < 0.5
    with pytest.warns(UserWarning, match=SAID):
        beside = scrae.tl.outliers(new, model, reference=batches)
    np.testing.assert_array_equal(alone["negative_log_likelihood"], beside["negative_log_likelihood"])
    assert beside["score"].median() > alone["score"].median()  # the batch as a whole is unlike the known ones


def test_groups_are_compared_with_one_warning_for_all_parts(batches, model, monkeypatch):
    from scrae.tl import differential

    new = renamed(batches, "batch", "strong", "new")
    monkeypatch.setattr(differential, "CELLS", 16)
    with pytest.warns(UserWarning, match=SAID) as told:
        scrae.tl.differential_expression(new, model, "sex", groups=["f"])
    assert len(told) == 1


def test_the_command_line_says_it_as_well(batches, model, tmp_path, capsys):
    model.save(tmp_path / "model")
    renamed(batches, "batch", "strong", "new").write_h5ad(tmp_path / "new.h5ad")
    for command, said in (
        ("denoise", "average of the 2 known levels"),
        ("map", "the model was not trained on ('new')"),
    ):
        files = [
            str(tmp_path / "new.h5ad"),
            "--out",
            str(tmp_path / "out.h5ad"),
            "--model-dir",
            str(tmp_path / "model"),
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            assert main([command, *files]) == 0
        assert said in capsys.readouterr().err
