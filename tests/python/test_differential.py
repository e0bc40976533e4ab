"""Differential expression: the permutation null, false discoveries, power, and comparisons that cannot be made."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp
from scipy import stats

import scrae
from scrae.tl.differential import _Sums

SETTINGS = {"n_hidden": (64,), "max_epochs": 40, "verbose": False}


@pytest.fixture(scope="module")
def fitted(_pbmc):
    return scrae.SCRAE(**SETTINGS).fit(_pbmc)


@pytest.mark.parametrize("n_batches", [1, 3])
def test_error_is_the_spread_over_permutations_of_the_labels_within_batches(n_batches):
    rng = np.random.default_rng(0)
    batch, group = rng.integers(n_batches, size=90), rng.integers(2, size=90)
    values = rng.gamma(1.0, size=(90, 4)) * (1 + batch[:, None])

    def difference(group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sums = _Sums.none(n_batches, 2, 4)
        for part in (np.arange(50), np.arange(50, 90)):
            sums.add(batch[part], group[part], values[part], values[part])
        return sums.difference(1, [0])

    permuted = []
    for _ in range(2000):
        other = group.copy()
        for b in range(n_batches):
            other[batch == b] = rng.permutation(group[batch == b])
        permuted.append(difference(other)[0])
    change, error = difference(group)
    np.testing.assert_allclose(np.std(permuted, axis=0), error, rtol=0.06)
    np.testing.assert_array_less(np.abs(np.mean(permuted, axis=0)), 4 * error / np.sqrt(2000))
    if n_batches == 1:
        np.testing.assert_allclose(change, values[group == 1].mean(0) - values[group == 0].mean(0))
        t_test = stats.ttest_ind(values[group == 1], values[group == 0]).statistic
        np.testing.assert_allclose(change / error, t_test, rtol=0.1)


@pytest.mark.slow
def test_permuted_groups_give_false_discoveries_at_the_nominal_level_and_no_more(fitted, pbmc):
    rng = np.random.default_rng(1)
    with_discoveries, small_p = 0, []
    for _ in range(40):
        pbmc.obs["group"] = rng.permutation(["a"] * 300 + ["b"] * 400)
        found = scrae.tl.differential_expression(pbmc, fitted, "group", groups=["a"])
        with_discoveries += (found["q"] <= 0.1).any()
        small_p += [(found[column] <= 0.05).mean() for column in ("counts_p", "model_p", "p")]
    assert with_discoveries <= stats.binom.ppf(0.999, 40, 0.1)
    counts_p, model_p, p = np.reshape(small_p, (40, 3)).mean(0)
    assert 0.03 < counts_p < 0.07
    assert 0.02 < model_p < 0.1  # genes move together: few independent chances in forty permutations
    assert p <= min(counts_p, model_p)


@pytest.mark.slow
def test_genes_whose_counts_are_shuffled_are_not_found_where_denoised_means_alone_would_find_them(pbmc):
    rng = np.random.default_rng(2)
    counts = pbmc.X.toarray()
    null = np.zeros(pbmc.n_vars, dtype=bool)
    null[rng.choice(pbmc.n_vars, 150, replace=False)] = True
    for gene in np.flatnonzero(null):
        counts[:, gene] = rng.permutation(counts[:, gene])
    adata = anndata.AnnData(sp.csr_matrix(counts), obs=pbmc.obs, var=pbmc.var)
    model = scrae.SCRAE(**SETTINGS).fit(adata)
    found = scrae.tl.differential_expression(adata, model, "cell_type", groups=["CD19+ B"]).set_index("gene")
    is_null = null[adata.var_names.get_indexer(found.index)]
    passing = (found["q"] <= 0.1).to_numpy()
    assert (found["model_p"][is_null] <= 0.05).mean() > 0.2  # the reason for the second test
    assert (found["p"][is_null] <= 0.05).mean() <= 0.1
    assert passing[is_null].sum() <= max(3, 0.15 * passing.sum())
    assert passing[~is_null].sum() > 30


def test_markers_of_b_cells_come_first_and_most_genes_that_wilcoxon_finds_are_found(fitted, pbmc):
    found = scrae.tl.differential_expression(pbmc, fitted, "cell_type", groups=["CD19+ B"]).set_index("gene")
    best = found[found["log2fc"] > 0].index[:15]
    assert {"CD79A", "CD79B"} <= set(best)
    sc.pp.normalize_total(pbmc)
    sc.pp.log1p(pbmc)
    sc.tl.rank_genes_groups(pbmc, "cell_type", groups=["CD19+ B"], method="wilcoxon")
    theirs = sc.get.rank_genes_groups_df(pbmc, "CD19+ B").set_index("names")["pvals_adj"] <= 0.05
    ours = (found["q"] <= 0.05)[theirs.index]
    assert (ours & theirs).sum() >= 0.7 * theirs.sum()
    assert (np.sign(found["log2fc"]) == np.sign(found["counts_log2fc"]))[found["q"] <= 0.01].mean() > 0.95


def test_one_group_against_another_uses_the_cells_of_both_alone(fitted, pbmc):
    both = ["CD19+ B", "Dendritic"]
    pair = scrae.tl.differential_expression(pbmc, fitted, "cell_type", groups=both[:1], reference=both[1])
    few = pbmc[pbmc.obs["cell_type"].isin(both)].copy()
    alone = scrae.tl.differential_expression(few, fitted, "cell_type", groups=both[:1])
    columns = ["log2fc", "model_p", "mean", "reference_mean"]
    np.testing.assert_allclose(
        pair.set_index("gene").sort_index()[columns],
        alone.set_index("gene").sort_index()[columns],
        rtol=1e-4,
        atol=1e-12,
    )


def test_all_groups_are_compared_and_the_object_is_left_alone(fitted, pbmc):
    pbmc.obs["group"] = ["x", "y"] * 350
    before = pbmc.copy()
    found = scrae.tl.differential_expression(pbmc, fitted, "group", batch_key="cell_type")
    assert found.groupby("group").size().to_dict() == {"x": 765, "y": 765}
    assert found["p"].between(0, 1).all()
    assert (found.groupby("group")["p"].diff().dropna() >= 0).all()
    assert not set(pbmc.uns) ^ set(before.uns)
    assert list(pbmc.var) == list(before.var)
    one = found[found["group"] == "x"].set_index("gene")["log2fc"]
    other = found[found["group"] == "y"].set_index("gene")["log2fc"]
    np.testing.assert_allclose(one, -other[one.index], atol=1e-9)


def test_comparisons_that_cannot_be_made_are_refused_with_the_reason(fitted, pbmc):
    pbmc.obs["group"] = ["few"] * 4 + ["many"] * 696
    compare = scrae.tl.differential_expression
    with pytest.raises(ValueError, match=r"group 'few': 4 cell\(s\); 10 or more"):
        compare(pbmc, fitted, "group", groups=["few"])
    with pytest.raises(ValueError, match=r"the other cells: 4 cell\(s\)"):
        compare(pbmc, fitted, "group", groups=["many"])
    pbmc.obs["group"] = pbmc.obs["batch"] = ["a"] * 350 + ["b"] * 350
    with pytest.raises(ValueError, match="'a' and the other cells share no batch of .*batch"):
        compare(pbmc, fitted, "group", batch_key="batch")
    with pytest.raises(ValueError, match="no group 'c'"):
        compare(pbmc, fitted, "group", groups=["c"])
    with pytest.raises(ValueError, match="no column 'grup'; did you mean 'group'"):
        compare(pbmc, fitted, "grup")
