"""Cells of batches that the model was not trained on: what stands in for their batch, and what is said of it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp

import scrae
from scrae.cli import main

STANDS_IN = r"1 level\(s\) that the model was not trained on.* stands in for each: 'strong' for 'new'"


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


def test_the_known_batch_under_which_new_cells_are_likeliest_stands_in(batches, model):
    strong = batches[batches.obs["batch"] == "strong"].copy()
    new = renamed(strong, "batch", "strong", "new")
    for ask in (model.denoise, model.negative_log_likelihood):
        with pytest.warns(UserWarning, match=STANDS_IN):
            answer = ask(new)
        np.testing.assert_array_equal(answer, ask(strong))
    assert np.abs(model.denoise(strong) / model.denoise(strong, batch="plain") - 1).max() > 1  # it makes a difference


def test_cells_of_known_batches_keep_their_bits_beside_those_of_new_ones(batches, model):
    new = renamed(batches, "batch", "strong", "new")
    known = (batches.obs["batch"] == "plain").to_numpy()
    with pytest.warns(UserWarning, match=STANDS_IN):
        np.testing.assert_array_equal(model.denoise(new)[known], model.denoise()[known])


def test_new_levels_of_several_columns_are_each_said(batches, model):
    new = renamed(renamed(batches, "batch", "strong", "new"), "sex", "m", "x")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        denoised = model.denoise(new)
    assert [warning.message.fields["column"] for warning in told] == ["batch", "sex"]
    assert told[0].message.fields["taken"] == ["strong"]
    taken = told[1].message.fields["taken"][0]
    np.testing.assert_array_equal(denoised, model.denoise(renamed(batches, "sex", "m", taken)))


def test_more_cells_than_are_tried_find_the_same_stand_in(batches, model, monkeypatch):
    from scrae.model import new_levels

    monkeypatch.setattr(new_levels, "COMPARED", 7)
    with pytest.warns(UserWarning, match=STANDS_IN):
        model.denoise(renamed(batches, "batch", "strong", "new"))


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


def test_outliers_of_a_new_batch_are_scored_beside_the_reference(batches, model):
    new = renamed(batches[batches.obs["batch"] == "strong"].copy(), "batch", "strong", "new")
    with pytest.warns(UserWarning, match=STANDS_IN):
        table = scrae.tl.outliers(new, model, reference=batches)
    known = scrae.tl.outliers(batches, model)["score"]
    np.testing.assert_array_equal(table["score"], known[new.obs_names])
    assert abs(table["score"].median()) < 1


def test_groups_are_compared_with_one_stand_in_for_all_cells_of_a_batch(batches, model, monkeypatch):
    from scrae.tl import differential

    new = renamed(batches, "batch", "strong", "new")
    with pytest.warns(UserWarning, match=STANDS_IN) as told:
        whole = scrae.tl.differential_expression(new, model, "sex", groups=["f"])
    assert len(told) == 1
    monkeypatch.setattr(differential, "CELLS", 16)
    with pytest.warns(UserWarning, match=STANDS_IN) as told:
        in_parts = scrae.tl.differential_expression(new, model, "sex", groups=["f"])
    assert len(told) == 1
    np.testing.assert_allclose(in_parts["log2fc"], whole["log2fc"], rtol=1e-4, atol=1e-6)


def test_the_command_line_says_it_as_well(batches, model, tmp_path, capsys):
    model.save(tmp_path / "model")
    renamed(batches, "batch", "strong", "new").write_h5ad(tmp_path / "new.h5ad")
    for command, said in (("denoise", "'strong' for 'new'"), ("map", "the model was not trained on ('new')")):
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
