"""Cells of batches that the model was not trained on, placed beside the training cells (``batch_key``)."""

from __future__ import annotations

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.neighbors import KNeighborsClassifier

import scrae
from scrae.cli import main
from scrae.data.covariates import Covariates
from scrae.metrics import mixing
from scrae.model import labelling
from scrae.model.new_batches import training_cells
from scrae.model.query import Query
from scrae.posthoc.new_batch import NewBatch

N_GENES = 200
RARE = "lymph"  # a type that is left out of some trainings


def made_cells(seed: int, n_cells: int = 400, types: tuple[str, ...] = ("blood", "bone", RARE)) -> anndata.AnnData:
    """Made counts of types that differ in a tenth of the genes each, and of what varies within all types."""
    rng = np.random.default_rng(5)
    mean = rng.gamma(1.0, 2.0, N_GENES)
    markers = {name: rng.choice(N_GENES, 20, replace=False) for name in ("blood", "bone", RARE)}
    programme = rng.normal(0, 0.3, N_GENES)
    rng = np.random.default_rng(seed)
    of_cell = rng.choice(types, n_cells)
    rate = mean * np.exp(rng.normal(size=(n_cells, 1)) * programme) * rng.lognormal(0, 0.2, (n_cells, 1))
    for name in types:
        rate[np.ix_(of_cell == name, markers[name])] *= 2
    counts = sp.csr_matrix(rng.poisson(rate).astype(np.float32))
    obs = pd.DataFrame({"cell_type": of_cell, "donor": "known"}, index=[f"{seed}_{i}" for i in range(n_cells)])
    return anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=[f"gene{i}" for i in range(N_GENES)]))


def distorted(adata: anndata.AnnData, sd: float = 1.5) -> tuple[anndata.AnnData, np.ndarray]:
    """The same cells as another chemistry would count them, and the log factor of each gene."""
    rng = np.random.default_rng(8)
    logs = rng.normal(0, sd, N_GENES)
    changed = adata.copy()
    changed.X = sp.csr_matrix(rng.poisson(adata.X.toarray() * np.exp(logs)).astype(np.float32))
    changed.obs["donor"] = "new"
    return changed, logs


@pytest.fixture(scope="module")
def reference():
    return made_cells(1)


@pytest.fixture(scope="module")
def model(reference):
    return scrae.SCRAE(max_epochs=250, n_hidden=(32,), verbose=False).fit(reference)


@pytest.fixture(scope="module")
def query():
    return distorted(made_cells(2))[0]


def new_batch(model, counts):
    fitted = model.fitted

    def coordinates(rows):
        none = Covariates.none(rows.shape[0])
        return torch.as_tensor(fitted.row_of_each(rows, none, fitted.coordinates))

    return NewBatch.fit(sp.csr_array(counts), training_cells(fitted), coordinates)


def with_types(model, reference):
    labelled = model.clone()
    labelled._fitted = model.fitted
    return labelled.fit_labels(reference, "cell_type")


def test_the_factors_of_a_new_batch_are_those_that_it_was_made_with(model):
    changed, logs = distorted(made_cells(2))
    found = new_batch(model, changed.X).logs.numpy()
    expressed = made_cells(2).X.mean(axis=0).A1 > 0.5
    assert np.corrcoef(found[expressed], logs[expressed])[0, 1] > 0.95
    assert np.abs(found - found[expressed].mean() - logs + logs[expressed].mean())[expressed].mean() < 0.15


def test_cells_of_no_other_batch_have_factors_near_one(model):
    cells = made_cells(2)
    found = new_batch(model, cells.X).logs.numpy()
    assert np.abs(found[cells.X.mean(axis=0).A1 > 0.5]).mean() < 0.1


def test_a_new_batch_comes_to_lie_among_the_training_cells_of_its_types(reference, model, query):
    known = model.embed()
    types = np.concatenate([reference.obs["cell_type"], query.obs["cell_type"]])
    batch = np.repeat(["known", "new"], [len(reference), len(query)])

    def scores(embedding):
        mixed = np.nanmean(mixing(np.vstack([known, embedding]), batch, types))
        named = KNeighborsClassifier(15).fit(known, reference.obs["cell_type"]).predict(embedding)
        return mixed, (named == query.obs["cell_type"].to_numpy()).mean()

    before, right_before = scores(model.map(query))
    after, right_after = scores(model.map(query, batch_key="donor"))
    assert after > 0.8 > before + 0.2
    assert right_after > 0.9 > right_before


def test_types_of_a_new_batch_are_predicted_from_counts_without_its_factors(reference, model, query):
    labelled = with_types(model, reference)
    truth = query.obs["cell_type"].to_numpy()

    def right(**batch):
        return (labelled.predict(query, unknown_rate=0, **batch) == truth).mean()

    assert right(batch_key="donor") > 0.9 > right()
    table = labelled.predict(query, batch_key="donor", return_probabilities=True)
    assert list(table.index) == list(query.obs_names)
    np.testing.assert_allclose(table[["blood", "bone", RARE]].sum(axis=1), 1)


def test_a_new_batch_is_looked_at_once_for_its_embedding_and_its_types(reference, model, query, monkeypatch):
    model.fit_labels(reference, "cell_type")
    place, types = model.map(query, batch_key="donor"), model.predict(query, batch_key="donor")
    looked, fit = [], NewBatch.fit.__func__
    monkeypatch.setattr(NewBatch, "fit", classmethod(lambda cls, *given: (looked.append(1), fit(cls, *given))[1]))
    asked = Query(model.fitted, query, batch_key="donor")
    np.testing.assert_array_equal(asked.embedding(), place)
    np.testing.assert_array_equal(labelling.predict(model.fitted, asked).names, types)
    assert len(looked) == 1


def test_a_type_that_the_training_cells_lack_stays_apart():
    reference = made_cells(1, types=("blood", "bone"))
    model = scrae.SCRAE(max_epochs=250, n_hidden=(32,), verbose=False).fit(reference)
    query, _ = distorted(made_cells(2), sd=0.5)
    own = (query.obs["cell_type"] == RARE).to_numpy()
    rare = np.concatenate([np.zeros(len(reference), dtype=bool), own])

    def together(placed):
        embedding = np.vstack([model.embed(), placed])
        return KNeighborsClassifier(15).fit(embedding, rare).predict_proba(embedding[rare])[:, 1].mean()

    by_chance = rare.mean()
    assert together(model.map(query, batch_key="donor")) > 2 * by_chance


def test_the_model_and_the_cells_it_knows_stay_as_they_are_to_the_bit(reference, model, query):
    before = model.embed(), model.codes(reference)
    model.map(query, batch_key="donor")
    np.testing.assert_array_equal(model.embed(), before[0])
    np.testing.assert_array_equal(model.codes(reference), before[1])


def test_batches_of_the_training_keep_their_place_beside_new_ones(query):
    both = anndata.concat([made_cells(1), made_cells(3, 200)])
    both.obs["donor"] = np.repeat(["a", "b"], [400, 200])
    model = scrae.SCRAE(max_epochs=5, n_hidden=(32,), verbose=False).fit(both, batch_key="donor")
    mixed = anndata.concat([query, both])[np.random.default_rng(0).permutation(1000)].copy()
    known = (mixed.obs["donor"] != "new").to_numpy()
    mixed.obs["run"] = mixed.obs["donor"].astype(str)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the training was short
        found = model.map(mixed, batch_key="donor")
        np.testing.assert_allclose(found[known], model.embed(mixed[known].copy()), atol=1e-5)
        np.testing.assert_allclose(found[~known], model.map(mixed[~known].copy(), batch_key="donor"), atol=1e-5)
        of_no_known_batch = model.map(mixed, batch_key="run")
    assert not np.allclose(of_no_known_batch[known], found[known], atol=1e-3)


def test_the_same_query_gives_the_same_bits(model, query):
    np.testing.assert_array_equal(model.map(query, batch_key="donor"), model.map(query, batch_key="donor"))


def test_a_batch_of_few_cells_is_left_as_it_is_and_named(model, query):
    few = query[:29].copy()
    said = r"1 batch\(es\) of adata.obs\['donor'\] have fewer than 30 cells, or hardly any .* \('new'\)"
    with pytest.warns(UserWarning, match=said):
        found = model.map(few, batch_key="donor")
    np.testing.assert_array_equal(found, model.map(few))


def test_cells_that_are_not_those_of_the_training_are_named(model):
    """Three types that differ in all genes, none of them in the way that those of the training do."""
    foreign = made_cells(2)
    rng = np.random.default_rng(0)
    types = rng.gamma(0.5, 4.0, (3, N_GENES))
    foreign.X = sp.csr_matrix(rng.poisson(types[rng.integers(3, size=400)]).astype(np.float32))
    foreign.obs["donor"] = "foreign"
    with pytest.warns(UserWarning, match=r"unlike the training cells \('foreign'\)"):
        model.map(foreign, batch_key="donor")


def test_a_batch_of_one_type_is_not_unlike_the_training_cells(model):
    """Warnings are errors: none is given, though no training cell describes one type better than its own mean does."""
    alone, _ = distorted(made_cells(2, types=("bone",)), sd=0.5)
    assert np.isfinite(model.map(alone, batch_key="donor")).all()


def test_genes_that_a_new_batch_lacks_count_as_zero(model, query):
    fewer = query[:, 20:].copy()
    with pytest.warns(UserWarning, match="20 of the model's 200 genes are not in"):
        found = model.map(fewer, batch_key="donor")
    assert np.isfinite(found).all()


def test_a_column_that_is_not_there_or_not_whole_is_refused(model, query):
    with pytest.raises(ValueError, match="plate"):
        model.map(query, batch_key="plate")
    holes = query.copy()
    holes.obs["donor"] = np.where(np.arange(len(query)) < 3, None, "new")
    with pytest.raises(ValueError, match="donor"):
        model.map(holes, batch_key="donor")
    with pytest.raises(ValueError, match="obs|AnnData"):
        model.map(query.X, batch_key="donor")
    labelled = with_types(model, made_cells(1))
    with pytest.raises(ValueError, match="training cells were asked for"):
        labelled.predict(batch_key="donor")


def test_an_embedding_without_training_cells_is_refused(reference, query):
    bare = scrae.SCRAE("reference", max_epochs=1, verbose=False).fit(reference)
    with pytest.raises(ValueError, match="keeps no training cells to compare a new batch with"):
        bare.map(query, batch_key="donor")


def test_a_loaded_model_and_the_command_line_give_the_same(reference, model, query, tmp_path, capsys):
    labelled = with_types(model, reference)
    labelled.save(tmp_path / "model")
    query.write_h5ad(tmp_path / "query.h5ad")
    files = [str(tmp_path / "query.h5ad"), "--out", str(tmp_path / "out.h5ad"), "--model-dir", str(tmp_path / "model")]
    assert main(["map", *files, "--batch-key", "donor"]) == 0
    written = anndata.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(written.obsm["X_scrae"], model.map(query, batch_key="donor"))
    assert main(["predict", *files, "--batch-key", "donor"]) == 0
    written = anndata.read_h5ad(tmp_path / "out.h5ad")
    expected = labelled.predict(query, batch_key="donor")
    assert written.obs["scrae_label"].astype(str).tolist() == expected.tolist()
