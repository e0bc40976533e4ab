"""The report on batches: are they there, were they taken out, and did types go with them?"""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import scrae
from scrae.metrics import connectivity, mixing, purity, variance_explained


def counts_of_donors(level):
    """Counts of three types from three donors, whose own 15 genes of 200 have this mean in place of 1; 720 cells."""
    rng = np.random.default_rng(1)
    cell_type, donor = np.repeat(np.arange(3), 240), np.tile(np.arange(3), 240)
    mean = np.full((720, 200), 1.0)
    for kind in range(3):
        mean[cell_type == kind, 20 * kind : 20 * kind + 20] = 6.0
        mean[donor == kind, 100 + 15 * kind : 115 + 15 * kind] = level
    obs = pd.DataFrame({"type": [f"type{i}" for i in cell_type], "donor": [f"donor{i}" for i in donor]})
    obs["shuffled"] = rng.permutation(obs["donor"])
    obs["condition"] = np.where(donor < 2, "control", "treated")
    obs.index = [f"cell{i}" for i in range(720)]
    return anndata.AnnData(sp.csr_matrix(rng.poisson(mean).astype(np.float32)), obs=obs)


@pytest.fixture
def donors():
    return counts_of_donors(level=2.5)


def with_embedding(adata, told=True, merged=False):
    """Types apart and donors mixed, or types as one."""
    centres = 10.0 * np.eye(3)[np.unique(adata.obs["type"], return_inverse=True)[1]]
    noise = np.random.default_rng(2).normal(size=centres.shape)
    adata.obsm["X_scrae"] = noise if merged else centres + noise
    adata.uns["scrae"] = {"params": {"batch_key": "donor" if told else "None"}}
    return adata


def findings(adata):
    return adata.uns["scrae_batches"]["findings"]["finding"].tolist()


def test_batches_that_part_types_are_found_before_a_training(donors):
    report = scrae.tl.batch_report(donors, "donor")
    assert findings(donors) == ["batches"]
    assert report.loc["mixing", "before"] < 0.3
    assert report["after"].isna().all()
    groups = donors.uns["scrae_batches"]["groups"]
    assert groups["n_cells"].tolist() == [240, 240, 240]
    assert (groups["alone"] == "").all()


def test_batches_without_a_group_in_common_are_said_to_be_so():
    """Whether they hold the same types is then known by who names the types."""
    apart = counts_of_donors(level=30.0)
    scrae.tl.batch_report(apart, "donor")
    assert findings(apart) == ["batches_apart"]
    scrae.tl.batch_report(apart, "donor", groupby="type")
    assert findings(apart) == ["batches"]


def test_batches_that_were_dealt_out_at_random_need_no_correction(donors):
    report = scrae.tl.batch_report(donors, "shuffled")
    assert findings(donors) == ["no_batches"]
    assert report.loc["mixing", "before"] == pytest.approx(1, abs=0.05)
    assert report.loc["variance_within", "before"] < 0.005


def test_an_embedding_is_put_beside_the_components(donors):
    report = scrae.tl.batch_report(with_embedding(donors), "donor", keep="type")
    assert findings(donors) == ["batches_gone"]
    assert report.loc["mixing", "after"] == pytest.approx(1, abs=0.05)
    assert report.loc["variance_within", "after"] < 0.005 < 0.1 < report.loc["variance_within", "before"]
    assert report.loc["groups_kept", "after"] > 0.95
    assert "type_within" in report.index


def test_a_training_that_was_not_told_of_the_batches_is_said_to_be_so(donors):
    with_embedding(donors, told=False)
    donors.obsm["X_scrae"] += 20.0 * np.eye(3)[np.unique(donors.obs["donor"], return_inverse=True)[1]]
    scrae.tl.batch_report(donors, "donor")
    assert findings(donors) == ["batches_not_named"]
    donors.uns["scrae"]["params"]["batch_key"] = "donor"
    scrae.tl.batch_report(donors, "donor")
    assert findings(donors) == ["batches_left"]


def test_types_that_went_with_the_batches_are_told(donors):
    report = scrae.tl.batch_report(with_embedding(donors, merged=True), "donor")
    assert findings(donors) == ["batches_gone", "too_much_taken"]
    assert report.loc["groups_kept", "after"] < 0.6 < 0.95 < report.loc["groups_kept", "before"]


def test_batches_that_are_the_types_are_not_to_be_corrected(donors):
    scrae.tl.batch_report(donors, "type", groupby="type")
    assert findings(donors) == ["batches_are_groups"]


def test_a_type_of_one_batch_alone_is_named(donors):
    some = donors[(donors.obs["type"] != "type2") | (donors.obs["donor"] == "donor1")].copy()
    scrae.tl.batch_report(some, "donor", groupby="type")
    assert findings(some) == ["batches", "groups_of_one_batch"]
    assert some.uns["scrae_batches"]["groups"]["alone"].tolist() == ["", "", "donor1"]


def test_a_type_that_one_donor_holds_alone_stays_apart_when_donors_are_taken_out(donors):
    some = donors[(donors.obs["type"] != "type2") | (donors.obs["donor"] == "donor1")].copy()
    for cells in (donors, some):
        embedding = scrae.SCRAE(max_epochs=15, verbose=False).fit(cells, batch_key="donor").embed()
        clusters, types = scrae.metrics.kmeans(embedding[:, :10], 3), cells.obs["type"].to_numpy()
        of_type = types == "type2"
        shared = np.bincount(clusters[of_type], minlength=3)
        assert (2 * shared / (np.bincount(clusters) + of_type.sum())).max() > 0.95  # F1
        assert np.nanmean(mixing(embedding, cells.obs["donor"].to_numpy(), types)) > 0.8


def test_a_condition_that_cannot_be_kept_is_told(donors):
    scrae.tl.batch_report(donors, "donor", keep=["condition", "type"])
    table = donors.uns["scrae_batches"]["findings"]
    assert table["finding"].tolist() == ["batches", "nested"]
    assert table["column"].tolist() == ["", "condition"]


def test_same_seed_same_report_and_nothing_else_is_changed(donors, tmp_path):
    before = donors.copy()
    first, second = (scrae.tl.batch_report(donors, "donor") for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    pd.testing.assert_frame_equal(donors.obs, before.obs)
    assert (donors.X != before.X).nnz == 0
    donors.write_h5ad(tmp_path / "report.h5ad")
    read = anndata.read_h5ad(tmp_path / "report.h5ad").uns["scrae_batches"]
    pd.testing.assert_frame_equal(read["measures"], first, check_names=False, check_index_type=False)


def test_genes_are_chosen_where_there_are_many(donors, monkeypatch):
    monkeypatch.setattr("scrae.tl.batches.N_TOP", 120)
    scrae.tl.batch_report(donors, "donor")
    assert findings(donors) == ["batches"]
    assert "scrae_selected" not in donors.var


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda a: None, {"batch_key": "donr"}, "adata.obs has no column 'donr'"),
        (lambda a: None, {"batch_key": "donor", "keep": "sex"}, "adata.obs has no column 'sex'"),
        (lambda a: None, {"batch_key": "donor", "groupby": "kind"}, "adata.obs has no column 'kind'"),
        (lambda a: a.obs.__setitem__("donor", "one"), {"batch_key": "donor"}, "the same value in all cells"),
        (lambda a: a.obs.loc.__setitem__((a.obs_names[3], "donor"), None), {"batch_key": "donor"}, "1 missing value"),
        (lambda a: a._inplace_subset_obs(np.arange(12)), {"batch_key": "donor"}, "12 cells are too few"),
    ],
)
def test_what_cannot_be_reported_on_is_refused_and_nothing_is_changed(donors, change, arguments, message):
    change(donors)
    with pytest.raises(ValueError, match=message):
        scrae.tl.batch_report(donors, **arguments)
    assert not donors.uns


def test_variance_explained_is_the_adjusted_coefficient_of_determination(donors):
    x = np.random.default_rng(0).normal(size=(720, 1)) + (donors.obs["donor"] == "donor1").to_numpy()[:, None]
    levels = pd.get_dummies(donors.obs["donor"]).to_numpy(dtype=float)
    left = x - levels @ np.linalg.lstsq(levels, x, rcond=None)[0]
    r_squared = 1 - (left**2).sum() / ((x - x.mean()) ** 2).sum()
    adjusted = 1 - (1 - r_squared) * (720 - 1) / (720 - 3)
    assert variance_explained(x, donors.obs["donor"].to_numpy()) == pytest.approx(adjusted)
    # What the types add within them is no more than that, and types alone explain nothing within themselves.
    within = variance_explained(
        x + 100.0 * (donors.obs["type"] == "type1").to_numpy()[:, None],
        donors.obs["donor"].to_numpy(),
        donors.obs["type"].to_numpy(),
    )
    assert within == pytest.approx(adjusted, abs=0.01)
    assert variance_explained(x, donors.obs["type"].to_numpy(), donors.obs["type"].to_numpy()) == 0


def test_mixing_is_nothing_apart_and_one_by_chance():
    rng = np.random.default_rng(0)
    batch, groups = np.tile(["a", "b"], 200), np.repeat(["g", "h"], 200)
    x = rng.normal(size=(400, 4))
    assert np.nanmean(mixing(x, batch, groups)) == pytest.approx(1, abs=0.05)
    assert np.nanmean(mixing(x + 50.0 * (batch == "a")[:, None], batch, groups)) == 0
    assert np.isnan(mixing(x, groups, groups)).all()
    assert purity(x + 50.0 * (groups == "g")[:, None], groups).min() == 1
    assert connectivity(x + 50.0 * (batch == "a")[:, None], groups) == pytest.approx(0.5)


def test_the_picture_shows_each_measure_and_each_group(donors):
    scrae.tl.batch_report(with_embedding(donors), "donor")
    measures, groups = scrae.pl.batches(donors).axes
    report = donors.uns["scrae_batches"]
    shown = [line.get_xdata() for line in measures.lines]
    for space in ("before", "after"):
        assert any(np.array_equal(report["measures"][space], x) for x in shown)
    assert [text.get_text() for text in groups.get_yticklabels()] == ["0  (240)", "1  (240)", "2  (240)"]
    with pytest.raises(ValueError, match=r"call scrae\.tl\.batch_report\(adata, batch_key\) first"):
        scrae.pl.batches(donors, "other")
