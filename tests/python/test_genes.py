"""Gene selection by M3Drop, DANB and SCMarker: the R packages' results, invariances, and what is refused."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from scipy import stats

import scrae
from scrae.cli import main
from scrae.pp.density import densities, peaks
from scrae.pp.findings import Findings, combined
from scrae.pp.genes import COLUMNS, METHODS, MODELLED
from scrae.pp.m3drop import excess_of_dropouts, michaelis_menten

FIXTURES = Path(__file__).parents[1] / "fixtures" / "genes"
DATASETS = ["klein_1000", "baron_human2_4", "zeisel_1799", "pbmc3k_2638", "cellbench_3cl"]
TOLERANCE = {"rtol": 1e-6, "atol": 1e-300}  # the fixtures have 8 digits, and 0 for p values too small for them

every_dataset = pytest.mark.parametrize("name", DATASETS)
every_method = pytest.mark.parametrize("method", METHODS)
every_modelled = pytest.mark.parametrize("method", list(MODELLED))


@pytest.fixture
def packages(shared):
    """Counts of a data set, and what the R packages said of its genes and of its fit."""

    def read(name: str) -> tuple[anndata.AnnData, pd.DataFrame, pd.Series]:
        adata = shared(name)
        genes = pd.read_csv(FIXTURES / f"{name}.csv.gz", index_col="gene", keep_default_na=False, na_values=["NA"])
        fit = pd.read_csv(FIXTURES / "fits.csv", index_col="dataset").loc[name]
        detected = adata.var_names[np.asarray((adata.X > 0).sum(0)).ravel() > 0]
        assert list(detected) == list(genes.index.astype(str))
        return adata[:, detected].copy(), genes, fit

    return read


@pytest.fixture
def made():
    """Made UMI counts with depths that differ: 300 cells of two kinds, 400 genes, of which 20 mark the second kind."""
    rng = np.random.default_rng(5)
    depth = rng.lognormal(0.0, 0.4, 300)
    expression = rng.lognormal(-0.5, 1.2, 400)
    kind = np.arange(300) % 2
    fold = np.ones((300, 400))
    fold[np.ix_(kind == 1, range(20))] = 15.0
    expression[:20] = 0.3
    mean = depth[:, None] * expression * fold
    counts = rng.negative_binomial(4.0, 4.0 / (4.0 + mean)).astype(np.float32)
    counts[:, -1] += 1
    obs = pd.DataFrame(
        {"kind": kind.astype(str), "batch": np.repeat(["a", "b"], 150)}, index=[f"c{i}" for i in range(300)]
    )
    return anndata.AnnData(sp.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(400)]))


def select(adata, method, n_top=50, **arguments):
    """The columns of ``adata.var`` after a selection, and the fit; SCMarker with thresholds that suit small data."""
    options = {"k": 20, "n": 5} if method == "scmarker" and "k" not in arguments else {}
    work = adata.copy()
    scrae.pp.select_genes(work, method, n_top, **options | arguments)
    return work.var, work.uns["scrae_genes"]["fit"]


# The R packages


@every_dataset
def test_m3drop_finds_the_minimum_of_the_package_s_objective_and_its_p_values_there(packages, name):
    adata, theirs, fit = packages(name)
    ours, fitted = select(adata, "m3drop", min_cells=1)
    assert fitted["K"] == pytest.approx(fit["m3drop_K_at_minimum"], rel=1e-9)
    np.testing.assert_allclose(ours["scrae_p"], theirs["m3drop_p_at_minimum"], **TOLERANCE)
    assert fitted["sigma"] == pytest.approx(fit["m3drop_sigma"], rel=3e-3)


@every_dataset
def test_m3drop_as_the_package_runs_it_differs_by_where_its_optimiser_stops(packages, name):
    """Its K is up to 6e-6 off the minimum; with that K in the place of ours every p value is the package's."""
    adata, theirs, fit = packages(name)
    ours, fitted = select(adata, "m3drop", min_cells=1)
    assert fitted["K"] == pytest.approx(fit["m3drop_K"], rel=1e-5)
    significant = ours["scrae_p"] * len(ours) < 0.05
    assert set(ours.index[significant]) == set(theirs.index[theirs["m3drop_passes"] == 1])

    counts = adata.X.toarray().astype(float)
    totals = counts.sum(1)
    scaled = counts / totals[:, None] * np.median(totals)
    error = scaled.std(axis=0) / np.sqrt(len(counts))
    z, effect = excess_of_dropouts((counts == 0).mean(0), scaled.mean(0), error, len(counts), fit["m3drop_K"])
    np.testing.assert_allclose(stats.norm.sf(z), theirs["m3drop_p"], **TOLERANCE)
    np.testing.assert_allclose(effect, theirs["m3drop_effect"], **TOLERANCE)


@every_dataset
def test_danb_fits_the_package_s_sizes_and_regression_and_finds_its_p_values(packages, name):
    adata, theirs, fit = packages(name)
    ours, fitted = select(adata, "danb", min_cells=1)
    np.testing.assert_allclose(ours["scrae_size"], theirs["danb_size"], **TOLERANCE)
    assert fitted["intercept"] == pytest.approx(fit["danb_intercept"], rel=1e-6)
    assert fitted["slope"] == pytest.approx(fit["danb_slope"], rel=1e-6)
    np.testing.assert_allclose(ours["scrae_p"], theirs["danb_p"], **TOLERANCE)
    np.testing.assert_allclose(ours["scrae_effect"], theirs["danb_effect"], rtol=1e-6, atol=1e-12)
    package_p = theirs["danb_p"].to_numpy()[np.argsort(theirs["danb_rank"].to_numpy())]
    our_order = theirs["danb_p"].to_numpy()[np.argsort(ours["scrae_rank"].to_numpy())]
    np.testing.assert_allclose(our_order, package_p, **TOLERANCE)  # the same ranking, but for equal p values


@every_dataset
def test_danb_by_dispersion_and_by_variance_are_the_package_s(packages, name):
    adata, theirs, _ = packages(name)
    by_dispersion, _ = select(adata, "danb_dispersion", min_cells=1)
    np.testing.assert_array_equal(by_dispersion["scrae_rank"], theirs["danb_dispersion_rank"])
    by_variance, _ = select(adata, "danb_variance", min_cells=1)
    np.testing.assert_allclose(by_variance["scrae_p"], theirs["danb_variance_p"], **TOLERANCE)


@every_dataset
@pytest.mark.filterwarnings("ignore:scmarker. .* genes are markers")
def test_scmarker_keeps_the_package_s_genes_at_every_step(packages, name):
    adata, theirs, fit = packages(name)
    excluded = list(theirs.index[theirs["scmarker_excluded"] == 1])
    ours, fitted = select(adata, "scmarker", 2000, min_cells=1, k=300, exclude=excluded)
    assert fitted["cells"] == fit["scmarker_cells"]
    kept = [
        ours["scrae_peaks"].notna(), ours["scrae_multimodal"] == 1, ours["scrae_compared"] == 1,
        ours["scrae_rank"].notna(), ours["scrae_selected"],
    ]  # fmt: skip
    for genes, step in zip(kept, (1, 2, 3, 4, 4), strict=True):
        assert set(ours.index[genes]) == set(theirs.index[theirs["scmarker_step"] >= step])


@every_dataset
@pytest.mark.filterwarnings("ignore:scmarker. .* genes are markers")
def test_peaks_are_the_package_s_where_no_gap_makes_it_count_rounding_errors(packages, name):
    adata, theirs, _ = packages(name)
    ours, _ = select(adata, "scmarker", 2000, min_cells=1, k=300)
    searched = ours["scrae_peaks"].notna()
    assert (ours["scrae_peaks"] <= theirs["scmarker_peaks"])[searched].all()
    by_gene = sp.csc_matrix(adata.X)
    gap = [np.diff(np.unique(by_gene[:, j].data), prepend=0).max() for j in range(adata.n_vars)]
    without_gap = searched & (np.array(gap) <= 3)
    assert without_gap.sum() > 100 or name == "klein_1000"
    np.testing.assert_array_equal(ours["scrae_peaks"][without_gap], theirs["scmarker_peaks"][without_gap])


def test_density_is_that_of_base_r():
    curves = pd.read_csv(FIXTURES / "density.csv.gz")
    samples = pd.read_csv(FIXTURES / "density_samples.csv")
    for number, sample in samples.groupby("sample"):
        values, often = sample["value"].to_numpy(dtype=float), sample["number"].to_numpy(dtype=float)
        points, density = densities(np.zeros(len(sample), dtype=int), values, often, 1, sample["width"].iloc[0] / 4)
        theirs = curves[curves["sample"] == number]
        np.testing.assert_allclose(points[0], theirs["x"], rtol=1e-13)
        np.testing.assert_allclose(density[0], theirs["y"], atol=1e-13 * theirs["y"].max())
        if number < 5:
            assert peaks(density)[0] == sample["peaks"].iloc[0]
    # The last sample is 1, 2 and 5, seen on points 1.4 apart, and far away 700; R counts 103 peaks, mostly rounding.
    assert peaks(density)[0] == 2


# Equations


def test_density_of_many_samples_is_that_of_each_and_integrates_to_one():
    rng = np.random.default_rng(1)
    tables = [np.unique(rng.poisson(mean, 200) + 1, return_counts=True) for mean in (0.5, 3.0, 20.0)]
    sample = np.repeat(np.arange(3), [len(values) for values, _ in tables])
    values, numbers = (np.concatenate([table[i] for table in tables]).astype(float) for i in (0, 1))
    points, together = densities(sample, values, numbers, 3, 0.5)
    for i, (value, number) in enumerate(tables):
        alone = densities(np.zeros(len(value), dtype=int), value.astype(float), number.astype(float), 1, 0.5)[1]
        np.testing.assert_allclose(together[i], alone[0], rtol=1e-12, atol=1e-14)
        exact = (stats.norm.pdf(points[i][:, None], value, 0.5) * number).sum(1) / number.sum()
        np.testing.assert_allclose(together[i], exact, atol=0.02 * exact.max())
        assert np.trapezoid(together[i], points[i]) == pytest.approx(1.0, abs=0.01)


def test_michaelis_menten_finds_the_k_that_made_the_curve_and_the_error_s_size():
    mean = np.geomspace(1e-3, 1e3, 500)
    k, sigma = michaelis_menten(2.5 / (2.5 + mean), mean)
    assert k == pytest.approx(2.5, rel=1e-12)
    assert sigma == pytest.approx(0.0, abs=1e-12)
    noise = np.random.default_rng(0).normal(scale=0.05, size=500)
    k, sigma = michaelis_menten(2.5 / (2.5 + mean) + noise, mean)
    assert k == pytest.approx(2.5, rel=0.1)
    assert sigma == pytest.approx(noise.std(), rel=0.02)


def test_danb_expects_the_dropouts_of_scipy_s_negative_binomial(made):
    ours, fit = select(made, "danb", min_cells=1)
    counts = made.X.toarray()
    seen = counts.sum(0) > 0
    totals, gene_totals = counts.sum(1), counts[:, seen].sum(0)
    mu = np.outer(totals, gene_totals) / totals.sum()
    size = np.exp(fit["intercept"] + fit["slope"] * np.log(gene_totals / 300))
    zero = stats.nbinom.pmf(0, size, size / (size + mu))
    np.testing.assert_allclose(ours["scrae_expected_dropout"][seen], np.maximum(zero.mean(0), 1 / 300), rtol=1e-5)
    residual = (counts[:, seen] - mu).var(axis=0, ddof=1) * 299 - gene_totals
    by_moments = gene_totals**2 * (totals**2).sum() / totals.sum() ** 2 / residual
    np.testing.assert_allclose(ours["scrae_size"][seen][residual > 0], by_moments[residual > 0], rtol=1e-3)


def test_danb_regresses_over_the_high_genes_where_there_are_more_than_2000():
    rng = np.random.default_rng(0)
    mean = np.concatenate([rng.uniform(0.5, 15.0, 300), rng.uniform(20.0, 90.0, 2050)])
    counts = rng.negative_binomial(2.0, 2.0 / (2.0 + np.outer(rng.uniform(0.8, 1.2, 60), mean)))
    ours, fit = select(anndata.AnnData(sp.csr_matrix(counts.astype(np.float32))), "danb", min_cells=1)
    high = (ours["scrae_mean"] > 16) & (ours["scrae_size"] < ours["scrae_size"].max())
    slope, intercept = np.polyfit(np.log(ours["scrae_mean"][high]), np.log(ours["scrae_size"][high]), 1)
    assert (fit["slope"], fit["intercept"]) == pytest.approx((slope, intercept), rel=1e-9)


@pytest.mark.parametrize(
    ("method", "least"), [("m3drop", 17), ("danb", 17), ("danb_dispersion", 10), ("danb_variance", 17)]
)
def test_genes_that_differ_between_kinds_of_cells_come_first(made, method, least):
    ours, _ = select(made, method, 20)
    assert ours["scrae_selected"].iloc[:20].sum() >= least


def test_scmarker_finds_partners_as_a_plain_count_does(made):
    ours, fit = select(made, "scmarker", 20, min_cells=1)
    counts = made.X.toarray()
    chosen = np.flatnonzero(ours["scrae_compared"] == 1)
    expressed = (counts[:, chosen] >= 2).astype(float)
    partners = np.zeros(len(chosen))
    for scores in (expressed.T @ expressed, (1 - expressed).T @ expressed):
        np.fill_diagonal(scores, 0)
        near = (stats.rankdata(-scores, axis=1) <= 20) & (scores > 5)
        partners += (near & near.T).sum(1)
    np.testing.assert_array_equal(ours["scrae_statistic"].iloc[chosen], partners)
    assert fit["markers"] == (partners > 0).sum()
    ranked = ours["scrae_statistic"].iloc[np.argsort(ours["scrae_rank"].to_numpy())][: fit["markers"]]
    assert (np.diff(ranked) <= 0).all()


def test_blocks_and_both_products_of_scmarker_give_the_same(made, monkeypatch):
    whole, _ = select(made, "scmarker", 20)
    monkeypatch.setattr("scrae.pp.scmarker.PAIRS", 3_000)
    for sparse_pair in (0.0, 1.0):
        monkeypatch.setattr("scrae.pp.scmarker.SPARSE_PAIR", sparse_pair)
        monkeypatch.setattr("scrae.pp.scmarker.SAMPLES", 7)
        pd.testing.assert_frame_equal(select(made, "scmarker", 20)[0], whole)


def test_p_values_of_genes_of_one_kind_of_cells_are_no_smaller_than_chance(made):
    one_kind = made[made.obs["kind"] == "0"].copy()
    for method in ("m3drop", "danb"):
        ours, _ = select(one_kind, method)
        assert (ours["scrae_p"].dropna() < 0.01).mean() < 0.05
        np.testing.assert_allclose(
            ours["scrae_q"].dropna(), stats.false_discovery_control(ours["scrae_p"].dropna()), rtol=1e-12
        )


@pytest.mark.parametrize("batch_key", [None, "batch"])
@pytest.mark.parametrize("method", ["hvg", "seurat_v3"])
def test_highly_variable_genes_have_scanpy_s_statistics_and_ranks(shared, method, batch_key):
    adata = shared("kang_ifnb_2800")
    scrae.pp.select_genes(adata, method, 1000, batch_key=batch_key)
    ranked = adata[:, adata.var["scrae_rank"].notna()].copy()
    if method == "hvg":
        sc.pp.normalize_total(ranked)
        sc.pp.log1p(ranked)
    flavor = {"hvg": "seurat", "seurat_v3": "seurat_v3"}[method]
    sc.pp.highly_variable_genes(ranked, n_top_genes=1000, flavor=flavor, batch_key=batch_key)
    theirs = ranked.var["dispersions_norm" if method == "hvg" else "variances_norm"]
    np.testing.assert_allclose(ranked.var["scrae_statistic"], theirs, rtol=2e-4, atol=1e-5)  # scanpy works in float32
    np.testing.assert_array_equal(ranked.var["scrae_selected"], ranked.var["highly_variable"])


def test_seurat_v3_of_too_shallow_counts_says_what_to_do():
    counts = np.zeros((40, 12))
    counts[np.arange(40), np.arange(40) % 12] = 1
    with pytest.raises(ValueError, match='trend of variance on mean could not be fitted .* Use method="hvg"'):
        scrae.pp.select_genes(anndata.AnnData(counts), "seurat_v3", 5)


# Invariance


@every_method
def test_order_of_cells_and_genes_does_not_matter(made, method):
    ours, _ = select(made, method)
    rng = np.random.default_rng(2)
    shuffled, _ = select(made[rng.permutation(made.n_obs), rng.permutation(made.n_vars)], method)
    shuffled = shuffled.loc[ours.index]
    np.testing.assert_allclose(shuffled["scrae_statistic"], ours["scrae_statistic"], rtol=1e-9)
    if method != "scmarker":  # its numbers of partners have ties
        assert set(shuffled.index[shuffled["scrae_selected"]]) == set(ours.index[ours["scrae_selected"]])


@every_method
@pytest.mark.parametrize("convert", [sp.csc_matrix, lambda x: x.toarray(), lambda x: x.astype(np.int64), sp.csr_array])
def test_storage_of_the_counts_does_not_matter(made, method, convert):
    ours, _ = select(made, method)
    other = anndata.AnnData(convert(made.X), obs=made.obs, var=made.var)
    pd.testing.assert_frame_equal(select(other, method)[0], ours)
    other.layers["umis"] = other.X
    other.X = np.log1p(made.X.toarray())
    pd.testing.assert_frame_equal(select(other, method, layer="umis")[0], ours)


@every_method
def test_counts_are_left_as_they_are(made, method):
    before = made.copy()
    select(made, method)
    scrae.pp.select_genes(made, "m3drop")
    assert (made.X != before.X).nnz == 0
    pd.testing.assert_frame_equal(made.obs, before.obs)
    assert set(made.var.columns) <= set(COLUMNS)


@every_method
def test_many_blocks_give_what_one_gives(made, method, monkeypatch):
    ours, _ = select(made, method)
    for module in ("moments.BLOCK", "danb.PAIRS"):
        monkeypatch.setattr(f"scrae.pp.{module}", 1000)
    np.testing.assert_allclose(select(made, method)[0]["scrae_statistic"], ours["scrae_statistic"], rtol=1e-10)


# Batches


@every_modelled
def test_batches_that_are_copies_give_the_ranking_of_one(made, method):
    twice = anndata.concat([made, made], index_unique="-", label="copy")
    alone, _ = select(made, method, 30, min_cells=5)
    ours, fit = select(twice, method, 30, batch_key="copy", min_cells=5)
    np.testing.assert_array_equal(ours["scrae_rank"], alone["scrae_rank"])
    np.testing.assert_array_equal(ours["scrae_selected"], alone["scrae_selected"])
    np.testing.assert_array_equal(ours["scrae_n_batches"] == 2, alone["scrae_rank"] <= 30)
    np.testing.assert_allclose(ours["scrae_statistic"], alone["scrae_statistic"])
    assert list(fit["batch"]) == ["0", "1"]
    made.obs["one"] = "all"
    single, _ = select(made, method, 30, batch_key="one", min_cells=5)
    np.testing.assert_array_equal(single["scrae_rank"], alone["scrae_rank"])


def test_a_shift_between_batches_is_not_taken_for_a_difference_between_cells(made):
    shifted = made.copy()
    counts = shifted.X.toarray()
    counts[:150, 100:130] *= 0
    counts[:150, 100:130] += 3
    shifted.X = sp.csr_matrix(counts)
    for method in ("m3drop", "danb"):
        whole, _ = select(shifted, method, 60)
        within, _ = select(shifted, method, 60, batch_key="batch")
        assert within["scrae_selected"].iloc[100:130].sum() < whole["scrae_selected"].iloc[100:130].sum()


def test_ranks_of_batches_are_combined_by_batches_then_median_rank_as_scanpy_does():
    p = np.linspace(0.1, 0.5, 5)
    orders = [[0, 1, 2, 3, 4], [3, 1, 0, 2, 4], [1, 3, 4, 0]]
    found = [(np.arange(5), 10, Findings(np.array(order), {"p": p, "q": np.ones(5)})) for order in orders]
    together = combined(found, 5, n_top=2)
    # among the first two: gene 1 three times, gene 3 twice, gene 0 once; genes 2 and 4 never, by their median ranks
    assert list(together.order) == [1, 3, 0, 2, 4]
    assert list(together.columns["n_batches"]) == [1, 3, 0, 2, 0]
    expected = [stats.combine_pvalues([one] * 3).pvalue for one in p]
    np.testing.assert_allclose(together.columns["p"], expected)
    np.testing.assert_allclose(together.columns["q"], stats.false_discovery_control(expected))


def test_a_gene_that_one_batch_lacks_is_judged_by_the_others():
    columns = {"p": np.array([0.5, 0.1]), "expected_dropout": np.array([0.2, 0.4])}
    first = (np.array([0, 1]), 30, Findings(np.array([1, 0]), columns))
    columns = {"p": np.array([0.3, 0.4]), "expected_dropout": np.array([0.5, 0.6])}
    second = (np.array([1, 2]), 10, Findings(np.array([0, 1]), columns))
    together = combined([first, second], 4, n_top=1)
    assert list(together.order) == [1, 0, 2]
    np.testing.assert_allclose(together.columns["p"], [0.5, stats.combine_pvalues([0.1, 0.3]).pvalue, 0.4, np.nan])
    np.testing.assert_allclose(together.columns["expected_dropout"], [0.4, 0.425, 0.9, 1.0])


# What is written, and where it is used


@every_method
@pytest.mark.parametrize("batch_key", [None, "batch"])
def test_results_can_be_written_to_h5ad(made, method, batch_key, tmp_path):
    options = {"k": 20, "n": 5, "exclude": ["g3"]} if method == "scmarker" else {}
    scrae.pp.select_genes(made, method, 12, batch_key=batch_key, **options)
    made.write_h5ad(tmp_path / "out.h5ad")
    stored = anndata.read_h5ad(tmp_path / "out.h5ad")
    pd.testing.assert_frame_equal(stored.var, made.var)
    assert stored.uns["scrae_genes"]["method"] == method
    assert set(stored.uns["scrae_genes"]["fit"]) == set(made.uns["scrae_genes"]["fit"])
    assert made.var["scrae_selected"].sum() == made.uns["scrae_genes"]["n_selected"] == 12


def test_a_second_selection_leaves_nothing_of_the_first(made):
    scrae.pp.select_genes(made, "scmarker", 10, k=20, n=5)
    scrae.pp.select_genes(made, "hvg", 10)
    assert set(made.var) == {"scrae_selected", "scrae_rank", "scrae_mean", "scrae_dropout", "scrae_statistic"}
    np.testing.assert_allclose(made.var["scrae_dropout"], (made.X.toarray() == 0).mean(0))
    np.testing.assert_allclose(made.var["scrae_mean"], made.X.toarray().mean(0), rtol=1e-6)


def test_genes_in_few_cells_are_not_modelled(made):
    counts = made.X.toarray()
    counts[:, 50] = 0
    counts[:4, 51] = 1
    counts[4:, 51] = 0
    made.X = sp.csr_matrix(counts)
    detected = (counts > 0).sum(0)
    for least in (5, 1):
        ours, _ = select(made, "m3drop", min_cells=least)
        np.testing.assert_array_equal(ours["scrae_p"].isna(), detected < least)


def test_selection_by_q_value_is_as_large_as_the_genes_that_pass(made):
    with pytest.warns(UserWarning, match=r"genes have q <= 0.05, fewer than n_top=300; all of them are selected"):
        ours, _ = select(made, "danb", 300, max_q=0.05)
    np.testing.assert_array_equal(ours["scrae_selected"], ours["scrae_q"] <= 0.05)
    few, _ = select(made, "danb", 5, max_q=0.05)
    np.testing.assert_array_equal(few["scrae_selected"], few["scrae_rank"] <= 5)


def test_excluded_genes_are_no_markers(made):
    ours, _ = select(made, "scmarker", 10)
    marker = ours.index[ours["scrae_rank"] == 1][0]
    without, _ = select(made, "scmarker", 10, exclude=[marker])
    assert without.loc[marker, "scrae_compared"] == 0
    assert np.isnan(without.loc[marker, "scrae_rank"])
    pd.testing.assert_frame_equal(select(made, "scmarker", 10, exclude=[])[0], ours)


@pytest.mark.parametrize("method", ["m3drop", "danb", "scmarker"])
def test_progress_is_shown_when_asked_and_not_where_there_is_no_terminal(made, method, capfd):
    select(made, method)
    assert capfd.readouterr().err == ""
    select(made, method, verbose=True)
    assert {"m3drop": "M3Drop", "danb": "DANB", "scmarker": "SCMarker"}[method] in capfd.readouterr().err


@pytest.mark.parametrize("method", ["m3drop", "danb"])
def test_one_call_trains_on_the_selected_genes(pbmc, method, quick):
    scrae.tl.scrae(pbmc, genes=method, n_genes=60, **quick)
    assert list(pbmc.uns["scrae"]["genes"]) == list(pbmc.var_names[pbmc.var["scrae_selected"]])
    assert pbmc.uns["scrae"]["params"]["genes"] == method
    assert pbmc.uns["scrae_genes"]["method"] == method
    assert len(pbmc.uns["scrae"]["genes"]) == 60


def test_the_command_line_selects_genes_by_m3drop(made, tmp_path):
    made.write_h5ad(tmp_path / "in.h5ad")
    arguments = ["run", str(tmp_path / "in.h5ad"), "--out", str(tmp_path / "out.h5ad"), "--max-epochs", "2", "--quiet"]
    assert main([*arguments, "--genes", "m3drop", "--n-genes", "150", "--n-latent", "2"]) == 0
    stored = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert stored.uns["scrae_genes"]["method"] == "m3drop"
    assert stored.var["scrae_selected"].sum() == 150


@pytest.mark.parametrize("method", METHODS)
def test_plot_shows_every_gene_the_curve_and_the_selected(pbmc, method, tmp_path):
    scrae.pp.select_genes(pbmc, method, 40, **({"n": 5} if method == "scmarker" else {}))
    figure = scrae.pl.gene_selection(pbmc)
    panel = figure.axes[0]
    shown = {scatter.get_label(): len(scatter.get_offsets()) for scatter in panel.collections}
    n_genes = int((pbmc.var["scrae_mean"] > 0).sum())
    assert shown[f"genes ({n_genes:,})"] == n_genes
    assert shown["selected (40)"] == 40
    assert len(panel.lines) == (1 if method in ("m3drop", "danb") else 0)
    if method == "m3drop":
        k = pbmc.uns["scrae_genes"]["fit"]["K"]
        mean, expected = panel.lines[0].get_data()
        np.testing.assert_allclose(expected, k / (k + mean))
    if method == "scmarker":
        multimodal = int((pbmc.var["scrae_multimodal"] == 1).sum())
        assert shown[f"two peaks or more ({multimodal:,})"] == multimodal
    figure.savefig(tmp_path / "genes.png")


def test_plot_within_batches_names_them_and_without_a_selection_says_what_to_do(made):
    with pytest.raises(ValueError, match="run scrae.pp.select_genes"):
        scrae.pl.gene_selection(made)
    scrae.pp.select_genes(made, "danb", 20, batch_key="batch")
    panel = scrae.pl.gene_selection(made).axes[0]
    assert panel.get_title() == "danb within batch: 20 genes"
    assert panel.lines[0].get_linestyle() == "None"


# What is refused


def test_names_and_numbers_that_are_wrong_are_refused(made):
    with pytest.raises(ValueError, match="'m3drop', 'danb'"):
        scrae.pp.select_genes(made, "m3dorp")
    with pytest.raises(ValueError, match="method='scmarker' has no option 'widht'; did you mean 'width'?"):
        scrae.pp.select_genes(made, "scmarker", widht=2)
    with pytest.raises(ValueError, match="method='danb' has no option 'width'"):
        scrae.pp.select_genes(made, "danb", width=2)
    with pytest.raises(ValueError, match="method='hvg' has no option 'width'"):
        scrae.pp.select_genes(made, "hvg", width=2)
    with pytest.raises(ValueError, match="needs a method with q values"):
        scrae.pp.select_genes(made, "danb_dispersion", max_q=0.1)
    with pytest.raises(ValueError, match="above 0 and at most 1, not 5"):
        scrae.pp.select_genes(made, "danb", max_q=5)
    with pytest.raises(ValueError, match="min_cells must be at least 1"):
        scrae.pp.select_genes(made, "danb", min_cells=0)
    with pytest.raises(ValueError, match="SCMarker: gene_cells must be at least 0, not -1"):
        scrae.pp.select_genes(made, "scmarker", gene_cells=-1)
    with pytest.raises(ValueError, match="'gene9x'"):
        scrae.pp.select_genes(made, "scmarker", exclude=["gene9x"])
    with pytest.raises(ValueError, match="adata.obs has no column 'donor'"):
        scrae.pp.select_genes(made, "danb", batch_key="donor")
    assert "scrae_selected" not in made.var


@every_method
def test_log_values_are_refused_by_every_method(made, method):
    made.X = np.log1p(made.X.toarray())
    with pytest.raises(scrae.CountsError, match="fractional"):
        scrae.pp.select_genes(made, method)


def test_data_without_dropouts_have_no_m3drop(made):
    made.X = made.X.toarray() + 1
    with pytest.raises(ValueError, match="0 of 400 genes have a zero in any of 300 cells"):
        scrae.pp.select_genes(made, "m3drop")


@pytest.mark.parametrize("method", ["danb", "danb_dispersion", "danb_variance"])
def test_counts_that_vary_less_than_poisson_have_no_danb(method):
    counts = np.ones((40, 12))
    with pytest.raises(ValueError, match="vary more than Poisson counts"):
        scrae.pp.select_genes(anndata.AnnData(counts), method)


def test_no_gene_that_passes_is_said_with_the_number_at_each_step(made):
    with pytest.raises(ValueError, match="SCMarker finds no marker: of 399 genes .* more than 300 of 300 cells"):
        scrae.pp.select_genes(made, "scmarker", gene_cells=300)
    with pytest.raises(ValueError, match="have q <= 1e-300, too few"):
        scrae.pp.select_genes(made, "danb", max_q=1e-300)


def test_fewer_markers_than_asked_are_all_selected_with_a_word(made):
    with pytest.warns(UserWarning, match=r"scmarker: \d+ genes are markers, fewer than n_top=400"):
        ours, _ = select(made, "scmarker", 400)
    np.testing.assert_array_equal(ours["scrae_selected"], ours["scrae_rank"].notna())


@every_method
def test_where_fewer_genes_are_there_than_asked_that_is_said_unless_it_is_the_default_that_asks(made, method):
    seen = int(((made.X > 0).sum(0) >= 3).sum())
    words = "are markers" if method == "scmarker" else f"{seen} genes are seen in 3 or more cells"
    with pytest.warns(UserWarning, match=f"{words}, fewer than n_top=1,000; all of them are selected"):
        asked, _ = select(made, method, 1000)
    assert asked["scrae_selected"].sum() == (seen if method != "scmarker" else asked["scrae_rank"].notna().sum())
    if method != "scmarker":  # whose markers are fewer than the default, too
        default, _ = select(made, method, 2000)
        pd.testing.assert_frame_equal(default, asked)


@every_method
def test_genes_without_a_count_are_neither_ranked_nor_selected_and_change_nothing(made, method):
    without, _ = select(made, method)
    empty = anndata.AnnData(
        sp.csr_matrix((300, 3), dtype=np.float32), obs=made.obs, var=pd.DataFrame(index=list("xyz"))
    )
    padded, _ = select(anndata.concat([empty, made], axis=1, merge="same"), method)
    pd.testing.assert_frame_equal(padded.iloc[3:], without, check_exact=False, rtol=1e-12)
    assert not padded["scrae_selected"].iloc[:3].any()
    assert padded["scrae_rank"].iloc[:3].isna().all()


@every_method
def test_counts_that_are_all_zero_and_genes_in_too_few_cells_are_refused_with_what_to_look_at(made, method):
    rare = np.zeros((50, 30), dtype=np.float32)
    rare[np.arange(50), np.arange(50) % 30] = 1
    words = (
        r"0 of 30 genes are seen in 10 or more of 50 cells.*lower min_cells \(now 10\), and look at whether rows are"
    )
    with pytest.raises(ValueError, match=words):
        scrae.pp.select_genes(anndata.AnnData(sp.csr_matrix(rare)), method, min_cells=10)
    made.X = sp.csr_matrix(made.shape, dtype=np.float32)
    with pytest.raises(scrae.CountsError, match="adata.X is all zero: none of its 300 cells has a count"):
        scrae.pp.select_genes(made, method)


@every_method
def test_one_batch_selects_what_no_batches_select(made, method):
    made.obs["donor"] = "one"
    without, _ = select(made, method)
    within, _ = select(made, method, batch_key="donor")
    np.testing.assert_array_equal(within["scrae_selected"], without["scrae_selected"])


def test_a_batch_too_small_to_look_at_is_named(made):
    made.obs["batch"] = ["only"] + ["rest"] * 299
    with pytest.raises(ValueError, match=r"batch 'only' of adata.obs\['batch'\]: 1 cell"):
        scrae.pp.select_genes(made, "danb", batch_key="batch")
    for method in ("hvg", "seurat_v3"):
        with pytest.raises(ValueError, match=r"batch 'only' has 1 cell\(s\)"):
            scrae.pp.select_genes(made, method, batch_key="batch")


def test_read_counts_are_told_from_umis_by_scmarker(made):
    made.X = made.X * 60
    words = (
        r"half of the counts other than zero are \d+ or more, so these look like read counts, not UMIs: with width=1"
    )
    with pytest.warns(UserWarning, match=f"{words}.*Pass width=2 or more"):
        select(made, "scmarker", 10)
    select(made, "scmarker", 10, width=2)  # without a word


# Memory


@every_method
def test_no_dense_copy_of_the_counts_is_made(method):
    rng = np.random.default_rng(0)
    n_cells, n_genes, n_counts = 20_000, 5_000, 2_000_000
    values = 1 + rng.poisson(rng.gamma(0.5, 2.0, n_counts))
    cells = np.concatenate([np.arange(n_cells), rng.integers(0, n_cells, n_counts - n_cells)])
    genes = (n_genes * rng.random(n_counts) ** 2).astype(int)
    counts = sp.csr_matrix((values.astype(np.float32), (cells, genes)), shape=(n_cells, n_genes))
    adata = anndata.AnnData(counts)
    tracemalloc.start()
    try:
        scrae.pp.select_genes(adata, method, 500, verbose=False, **({"n": 3} if method == "scmarker" else {}))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.5 * 4 * n_cells * n_genes  # half of what float32 would take
