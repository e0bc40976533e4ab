"""Gene selection by all methods: invariances, batches, what is written, and what is refused."""

from __future__ import annotations

import tracemalloc

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy import stats

import scrae
from gene_selection import every_method, every_modelled, select
from pictures import assert_file_shows
from scrae.cli import main
from scrae.data.files import cells_on_disk
from scrae.pp.findings import Findings, combined
from scrae.pp.genes import COLUMNS, METHODS

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


@pytest.mark.parametrize("from_disk", [False, True])
def test_genes_that_were_selected_before_are_the_ones_trained_on(pbmc, tmp_path, quick, from_disk):
    scrae.pp.select_genes(pbmc, "danb", n_top=60)
    pbmc.write_h5ad(tmp_path / "selected.h5ad")
    adata = cells_on_disk(tmp_path / "selected.h5ad") if from_disk else anndata.read_h5ad(tmp_path / "selected.h5ad")
    scrae.tl.scrae(adata, **quick)
    assert list(adata.uns["scrae"]["genes"]) == list(pbmc.var_names[pbmc.var["scrae_selected"]])
    assert adata.uns["scrae"]["params"]["genes"] == 'adata.var["scrae_selected"]'
    assert adata.uns["scrae_genes"]["method"] == "danb"


def test_genes_that_a_training_selected_are_selected_anew_by_the_next(pbmc, quick):
    scrae.tl.scrae(pbmc, genes="danb", n_genes=60, **quick)
    scrae.tl.scrae(pbmc, n_genes=50, **quick)
    assert pbmc.uns["scrae"]["params"]["genes"] == pbmc.uns["scrae_genes"]["method"] == "hvg"
    assert len(pbmc.uns["scrae"]["genes"]) == 50


def test_highly_variable_genes_are_taken_before_selected_ones(pbmc, quick):
    pbmc.var["highly_variable"] = np.arange(pbmc.n_vars) % 3 == 0
    scrae.pp.select_genes(pbmc, "danb", n_top=60)
    scrae.tl.scrae(pbmc, **quick)
    assert list(pbmc.uns["scrae"]["genes"]) == list(pbmc.var_names[::3])


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
    selected = pbmc.var[pbmc.var["scrae_selected"]].sort_values("scrae_mean", kind="stable")
    np.testing.assert_allclose(panel.collections[-1].get_offsets(), selected[["scrae_mean", "scrae_dropout"]])
    assert panel.get_xlabel() == f"mean expression ({'scaled counts' if method == 'm3drop' else 'counts'} per cell)"
    assert panel.get_ylabel() == "share of cells without the gene"
    figure.savefig(tmp_path / "genes.png", dpi=100)
    colours = [dots.get_facecolor()[0] for dots in panel.collections] + [line.get_color() for line in panel.lines]
    assert_file_shows(tmp_path / "genes.png", figure, dpi=100, colours=colours)


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
    with pytest.raises(ValueError, match="min_cells must be a whole number of at least 1"):
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


@every_method
def test_batches_of_few_cells_are_taken_together(made, method):
    """As if they had been one batch from the beginning, and a single cell goes with the smallest of the others."""
    made.obs["plate"] = [f"plate{i % 30}" if i < 150 else "large" for i in range(300)]
    made.obs["as_one"] = ["plates" if i < 150 else "large" for i in range(300)]
    many, fit = select(made, method, batch_key="plate")
    two, _ = select(made, method, batch_key="as_one")
    np.testing.assert_array_equal(many["scrae_selected"], two["scrae_selected"])
    if "batch" in fit:
        assert sorted(fit["batch"]) == ["30 small batches", "large"]

    made.obs["with_one"] = ["only", *["small"] * 40, *["large"] * 259]
    made.obs["without"] = [*["small"] * 41, *["large"] * 259]
    one, other = (select(made, method, batch_key=key)[0] for key in ("with_one", "without"))
    np.testing.assert_array_equal(one["scrae_selected"], other["scrae_selected"])


def test_a_batch_in_which_no_gene_is_seen_is_named(made):
    made.obs["batch"] = ["dim"] * 30 + ["bright"] * 270
    counts = made.X.toarray() * (np.arange(300) >= 30)[:, None]
    counts[:30, counts.sum(0).argmax()] = 1
    made.X = sp.csr_matrix(counts)
    with pytest.raises(ValueError, match=r"batch 'dim' of adata.obs\['batch'\]: 30 cell\(s\) and 1 gene"):
        scrae.pp.select_genes(made, "danb", batch_key="batch")


def test_read_counts_are_told_from_umis_by_scmarker(made):
    made.X = made.X * 60
    words = (
        r"half of the counts other than zero are \d+ or more, so these look like read counts, not UMIs: with width=1"
    )
    with pytest.warns(UserWarning, match=f"{words}.*Pass width=2 or more"):
        select(made, "scmarker", 10)
    select(made, "scmarker", 10, width=2)  # without a word


# Memory


@pytest.mark.slow
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
