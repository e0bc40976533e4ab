"""Conditions that stay in the embedding while the batches within them are taken out."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.neighbors import NearestNeighbors

import scrae
from scrae._errors import Notice
from scrae.data.covariates import Covariates
from scrae.metrics import mixing
from scrae.posthoc.finish import some_cells, with_small_groups
from scrae.posthoc.gene_factors import GeneFactors
from scrae.posthoc.integration import without_covariates


def experiment(crossed=False):
    """Counts of two types, 200 genes, from four donors, two of each condition (or each of both); 720 cells."""
    rng = np.random.default_rng(5)
    kind, donor = np.repeat(np.arange(2), 360), np.tile(np.arange(4), 180)
    condition = rng.integers(0, 2, 720) if crossed else donor // 2
    mean = np.full((720, 200), 1.0)
    for i in range(2):
        mean[kind == i, 20 * i : 20 * i + 20] = 6.0
    for i in range(4):
        mean[donor == i, 60 + 15 * i : 75 + 15 * i] = 3.0
    mean[condition == 1, 140:160] = 4.0
    obs = pd.DataFrame({"type": kind.astype(str), "donor": [f"d{i}" for i in donor]})
    obs["condition"] = np.where(condition == 1, "treated", "control")
    obs["sex"], obs["score"] = "f", rng.normal(size=720)
    obs.index = [f"cell{i}" for i in range(720)]
    return anndata.AnnData(sp.csr_matrix(rng.poisson(mean).astype(np.float32)), obs=obs)


@pytest.fixture(params=[False, True], ids=["donors of one condition", "donors of both"])
def donors(request):
    return experiment(request.param)


def same_condition(embedding, obs):
    """Share of the 15 neighbours of a cell among those of its type that have its condition."""
    shares = []
    for name in np.unique(obs["type"]):
        cells = np.flatnonzero(obs["type"] == name)
        near = NearestNeighbors(n_neighbors=15).fit(embedding[cells]).kneighbors(return_distance=False)
        condition = obs["condition"].to_numpy()[cells]
        shares.append((condition[near] == condition[:, None]).mean())
    return np.mean(shares)


def donors_mix(embedding, obs):
    """How well the donors of a type and condition mix, 1 at random."""
    return np.nanmean(mixing(embedding, obs["donor"].to_numpy(), (obs["type"] + obs["condition"]).to_numpy()))


def test_a_condition_stays_while_its_donors_are_taken_out(donors):
    fit = {"max_epochs": 20, "verbose": False}
    plain = scrae.SCRAE(**fit).fit(donors).embed()
    kept = scrae.SCRAE(**fit).fit(donors, batch_key="donor", keep="condition").embed()
    assert donors_mix(plain, donors.obs) < 0.6
    assert donors_mix(kept, donors.obs) > 0.85
    assert same_condition(kept, donors.obs) > same_condition(plain, donors.obs) - 0.03


def test_without_keep_the_condition_of_donors_goes_with_them():
    adata = experiment()
    gone = scrae.SCRAE(max_epochs=20, verbose=False).fit(adata, batch_key="donor").embed()
    kept = scrae.SCRAE(max_epochs=20, verbose=False).fit(adata, batch_key="donor", keep="condition").embed()
    assert same_condition(gone, adata.obs) < 0.75 < 0.9 < same_condition(kept, adata.obs)


def test_groups_are_corrected_as_if_each_were_alone():
    rng = np.random.default_rng(0)
    batch, group = rng.integers(0, 3, 300), rng.integers(0, 2, 300)
    coordinates = rng.normal(size=(300, 5)) + batch[:, None] + 3 * group[:, None]
    values = rng.normal(size=(300, 1)).astype(np.float32)
    found = without_covariates(coordinates, Covariates(batch[:, None], (3,), values, kept=group), 1)
    for number in range(2):
        cells = group == number
        alone = without_covariates(coordinates[cells], Covariates(batch[cells, None], (3,), values[cells]), 1)
        np.testing.assert_array_equal(found[cells], alone)


def test_factors_of_genes_say_what_sets_the_donors_of_a_condition_apart():
    adata = experiment()
    donor, condition = (np.unique(adata.obs[name], return_inverse=True)[1] for name in ("donor", "condition"))
    logs = GeneFactors.fit(sp.csr_array(adata.X), donor, 4, condition).logs.numpy()
    of_condition, of_first = logs[:, 140:160], logs[:, 60:75]
    assert np.abs(of_condition).mean() < 0.1  # 4 in place of 1 in two of the donors: none of their factors
    np.testing.assert_allclose((of_first[0] - of_first[1]).mean(), np.log(3), atol=0.25)
    np.testing.assert_allclose(logs[:2].sum(0), 0, atol=1e-5)
    np.testing.assert_allclose(logs[2:].sum(0), 0, atol=1e-5)


def test_factors_of_one_group_are_those_of_none():
    adata = experiment()
    donor = np.unique(adata.obs["donor"], return_inverse=True)[1]
    counts = sp.csr_array(adata.X)
    one, none = GeneFactors.fit(counts, donor, 4, np.full(720, 7)), GeneFactors.fit(counts, donor, 4)
    np.testing.assert_array_equal(one.logs, none.logs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": "condition"}, "nothing is corrected: name the batches"),
        ({"batch_key": "donor", "keep": ["condition", "donor"]}, "'donor' named in keep and as a batch"),
        ({"batch_key": "donor", "continuous_covariate_keys": "score", "keep": "score"}, "'score' named in keep and as"),
        ({"batch_key": "donor", "keep": "sex"}, "'sex'.* has the same value in all cells: there is no difference"),
        ({"batch_key": "donor", "keep": "group"}, "adata.obs has no column 'group'"),
        ({"batch_key": "donor", "keep": "gaps"}, "'gaps'.* has 1 missing value"),
        ({"batch_key": "condition", "keep": "donor"}, "each level of 'donor' has one level of 'condition' alone"),
    ],
)
def test_columns_that_cannot_be_kept_are_refused_before_training(quick, arguments, message):
    adata = experiment()
    adata.obs["gaps"] = pd.Categorical([None, *adata.obs["condition"][1:]])
    with pytest.raises(ValueError, match=message):
        scrae.tl.scrae(adata, genes="all", **arguments, **quick)
    assert "scrae" not in adata.uns


def test_numbers_are_corrected_within_what_is_kept(quick):
    adata = experiment()
    settings = quick | {"max_epochs": 2}
    plain, kept = (
        scrae.SCRAE(**settings).fit(adata, continuous_covariate_keys="score", **told).embed()
        for told in ({}, {"keep": "condition"})
    )
    assert np.isfinite(kept).all()
    assert not np.array_equal(plain, kept)


@pytest.mark.parametrize(("preset", "settings"), [("scvi", {}), ("default", {"regulariser": "information_dimension"})])
def test_models_that_do_not_correct_afterwards_refuse_to_keep(preset, settings):
    with pytest.raises(ValueError, match="cannot keep a difference"):
        scrae.SCRAE(preset, verbose=False, **settings).fit(experiment(), batch_key="donor", keep="condition")


def test_a_condition_of_one_donor_is_told(quick):
    adata = experiment()
    adata.obs["condition"] = np.where(adata.obs["donor"] == "d3", "alone", "others")
    with pytest.warns(
        Notice, match=r"1 of 2 level\(s\) of 'condition' have one level of .*'donor'.* alone \('alone'\)"
    ):
        scrae.SCRAE(**quick).fit(adata, batch_key="donor", keep="condition")


def test_a_condition_of_few_cells_is_told_and_left_as_it_is(quick):
    adata = experiment()
    adata.obs["condition"] = np.where(np.arange(720) < 20, "few", "others")
    with pytest.warns(Notice, match=r"1 of 2 level\(s\) of 'condition' have fewer than 30 cells \('few'\)"):
        scrae.SCRAE(**quick).fit(adata, batch_key="donor", keep="condition")


def test_a_small_condition_among_many_cells_has_landmarks_enough_to_be_corrected():
    group = np.zeros(50_000, dtype=np.int64)
    group[:300], group[300:340] = 1, 2
    chosen = some_cells(len(group), 0)
    landmarks = with_small_groups(chosen, group, 0)
    assert np.bincount(group[landmarks])[1:].tolist() == [100, 40]
    assert set(chosen) <= set(landmarks)
    assert (np.diff(landmarks) > 0).all()
    np.testing.assert_array_equal(landmarks, with_small_groups(chosen, group, 0))
    np.testing.assert_array_equal(with_small_groups(chosen, np.arange(50_000) % 2, 0), chosen)


def test_what_was_kept_is_known_afterwards_and_another_is_no_resume(quick, tmp_path, capsys):
    adata = experiment()
    adata.obs["half"] = np.where(np.arange(720) % 3, "a", "b")
    scrae.tl.scrae(adata, genes="all", batch_key="donor", keep="condition", model_dir=tmp_path / "model", **quick)
    assert adata.uns["scrae"]["params"]["keep"].tolist() == ["condition"]
    assert 'keep=("condition",)' in adata.uns["scrae"]["call"]
    loaded = scrae.SCRAE.load(tmp_path / "model", verbose=False)
    assert loaded.fitted.coding.keep == ("condition",)
    np.testing.assert_array_equal(loaded.embed(adata), adata.obsm["X_scrae"])
    with pytest.raises(ValueError, match="not the cells, genes, covariates and pairs"):
        loaded.fit(adata, batch_key="donor", keep="half", max_epochs=6, resume=True)
    resumed = loaded.fit(adata, batch_key="donor", keep="condition", max_epochs=6, resume=True).embed()
    whole = scrae.SCRAE(**quick | {"max_epochs": 6}).fit(adata, batch_key="donor", keep="condition").embed()
    np.testing.assert_array_equal(resumed, whole)
    from scrae.cli import main

    assert main(["info", str(tmp_path / "model")]) == 0
    assert "kept                 condition" in capsys.readouterr().out


def test_several_columns_are_kept_together(quick):
    adata = experiment(crossed=True)
    adata.obs["half"] = np.where(np.arange(720) % 3, "a", "b")
    adata.obs["both"] = adata.obs["condition"] + adata.obs["half"]
    together, joined = (
        scrae.SCRAE(**quick).fit(adata, batch_key="donor", keep=keep).embed()
        for keep in (np.array(["condition", "half"]), "both")
    )
    np.testing.assert_array_equal(together, joined)


def test_levels_that_read_alike_when_joined_are_not_one_group(quick):
    adata = experiment(crossed=True)
    adata.obs["first"] = np.where(np.arange(720) % 2, "a, b", "a")
    adata.obs["second"] = np.where(np.arange(720) % 2, "c", "b, c")
    model = scrae.SCRAE(**quick).fit(adata, batch_key="donor", keep=["first", "second"])
    assert len(model.fitted.coding.kept_groups) == 2


def test_the_report_compares_batches_within_what_the_training_kept():
    adata = experiment()
    scrae.tl.scrae(adata, genes="all", batch_key="donor", keep="condition", max_epochs=20, verbose=False)
    scrae.tl.batch_report(adata, "donor", keep="condition", groupby="type")
    report = adata.uns["scrae_batches"]
    assert report["findings"]["finding"].tolist() == ["batches_gone"]
    assert report["measures"].loc["mixing", "after"] > 0.85
    assert report["measures"].loc["condition_within", "after"] > 0.05
    del adata.uns["scrae"]["params"]["keep"]
    scrae.tl.batch_report(adata, "donor", keep="condition", groupby="type")
    assert "nested" in adata.uns["scrae_batches"]["findings"]["finding"].tolist()


def test_the_command_line_takes_it(tmp_path):
    from scrae.cli import main

    adata = experiment()
    adata.write_h5ad(tmp_path / "counts.h5ad")
    settings = ["--genes", "all", "--max-epochs", "2", "--quiet"]
    place = [str(tmp_path / "counts.h5ad"), "--out", str(tmp_path / "out.h5ad")]
    assert main(["run", *place, "--batch-key", "donor", "--keep", "condition", *settings]) == 0
    written = anndata.read_h5ad(tmp_path / "out.h5ad")
    scrae.tl.scrae(adata, genes="all", batch_key="donor", keep="condition", max_epochs=2, verbose=False)
    np.testing.assert_array_equal(written.obsm["X_scrae"], adata.obsm["X_scrae"])


def test_a_new_donor_is_compared_with_the_cells_of_its_condition(tmp_path):
    adata = experiment()
    known, late = (adata[adata.obs["donor"].isin(names)].copy() for names in (["d0", "d1", "d2"], ["d3"]))
    with pytest.warns(Notice, match=r"\('treated'\)"):
        model = scrae.SCRAE(max_epochs=20, verbose=False).fit(known, batch_key="donor", keep="condition")
    near = NearestNeighbors(n_neighbors=15).fit(model.embed())

    def treated(query):
        placed = model.map(query, batch_key="donor")
        return (known.obs["condition"].to_numpy()[near.kneighbors(placed, return_distance=False)] == "treated").mean()

    assert treated(late) > 0.9
    model.save(tmp_path / "model")
    loaded = scrae.SCRAE.load(tmp_path / "model", verbose=False)
    np.testing.assert_array_equal(loaded.map(late, batch_key="donor"), model.map(late, batch_key="donor"))
    without = late.copy()
    del without.obs["condition"]
    assert treated(without) < treated(late)


def test_a_new_donor_of_both_conditions_is_placed_condition_by_condition():
    adata = experiment(crossed=True)
    known, late = (adata[adata.obs["donor"].isin(names)].copy() for names in (["d0", "d1", "d2"], ["d3"]))
    model = scrae.SCRAE(max_epochs=20, verbose=False).fit(known, batch_key="donor", keep="condition")
    placed = model.map(late, batch_key="donor")
    near = NearestNeighbors(n_neighbors=15).fit(model.embed()).kneighbors(placed, return_distance=False)
    conditions = known.obs["condition"].to_numpy()[near]
    assert (conditions == late.obs["condition"].to_numpy()[:, None]).mean() > 0.85
    late.obs["condition"] = "of no cell of the training"
    assert np.isfinite(model.map(late, batch_key="donor")).all()
