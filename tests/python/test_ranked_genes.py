"""Compared groups in the layout of scanpy, read and drawn by scanpy; groups that are too small are left out."""

from __future__ import annotations

import anndata
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scanpy as sc

import scrae
from scrae._errors import Notice


@pytest.fixture(scope="module")
def fitted(_pbmc):
    return scrae.SCRAE(n_hidden=(16,), max_epochs=5, verbose=False).fit(_pbmc)


@pytest.fixture
def compared(fitted, pbmc):
    """Cells in three groups, and the table of these."""
    pbmc.obs["group"] = np.where(
        pbmc.obs["cell_type"].isin(["CD19+ B", "Dendritic"]), pbmc.obs["cell_type"], "rest of all"
    )
    pbmc.obs["group"] = pbmc.obs["group"].astype("category")
    table = scrae.tl.differential_expression(pbmc, fitted, "group", key_added="rank_genes_groups")
    return pbmc, table


def test_scanpy_reads_the_table_that_is_returned(compared):
    adata, table = compared
    read = sc.get.rank_genes_groups_df(adata, None)
    assert set(read["group"]) == set(adata.obs["group"])
    both = read.merge(table, left_on=["group", "names"], right_on=["group", "gene"], validate="one_to_one")
    assert len(both) == len(table) == len(read)
    for theirs, ours in (
        ("pvals", "p"),
        ("pvals_adj", "q"),
        ("logfoldchanges", "log2fc"),
        ("pct_nz_group", "detected"),
    ):
        np.testing.assert_allclose(both[theirs], both[ours], rtol=1e-5)
    np.testing.assert_allclose(both["pct_nz_reference"], both["reference_detected"])
    assert (np.sign(both["scores"]) == np.sign(both["log2fc"].astype("f4")))[both["scores"] != 0].all()
    assert (read.groupby("group", observed=True)["scores"].diff().dropna() <= 0).all(), (
        "the highest first, as in scanpy"
    )
    few = sc.get.rank_genes_groups_df(adata, "CD19+ B", pval_cutoff=0.01, log2fc_min=0)
    assert "CD79B" in list(few["names"])


def test_shares_of_cells_with_a_count_are_those_of_scanpy(compared):
    adata, table = compared
    sc.pp.log1p(adata)
    sc.tl.rank_genes_groups(adata, "group", method="t-test", pts=True, key_added="theirs")
    theirs = sc.get.rank_genes_groups_df(adata, "Dendritic", key="theirs").set_index("names")
    ours = table[table["group"] == "Dendritic"].set_index("gene").loc[theirs.index]
    np.testing.assert_allclose(ours["detected"], theirs["pct_nz_group"])
    np.testing.assert_allclose(ours["reference_detected"], theirs["pct_nz_reference"])


def test_scanpy_draws_it_and_a_file_keeps_it(compared, tmp_path):
    adata, _ = compared
    adata.write_h5ad(tmp_path / "cells.h5ad")
    again = anndata.read_h5ad(tmp_path / "cells.h5ad")
    for cells in (adata, again):
        drawn = sc.pl.rank_genes_groups_dotplot(cells, n_genes=3, dendrogram=False, show=False)
        first = [name for group in drawn for name in [group] if "mainplot" in group]
        labels = [label.get_text() for label in drawn[first[0]].get_xticklabels()]
        assert labels[:3] == list(cells.uns["rank_genes_groups"]["names"]["CD19+ B"][:3])
        plt.close("all")


def test_what_no_earlier_call_has_written_is_not_replaced(compared, fitted):
    adata, _ = compared
    scrae.tl.differential_expression(adata, fitted, "group", groups=["Dendritic"], key_added="rank_genes_groups")
    assert adata.uns["rank_genes_groups"]["names"].dtype.names == ("Dendritic",)
    adata.uns["mine"] = {"params": {"method": "t-test"}}
    with pytest.raises(ValueError, match=r"adata.uns\['mine'\] exists and is not the work of an earlier call"):
        scrae.tl.differential_expression(adata, fitted, "group", key_added="mine")
    assert adata.uns["mine"] == {"params": {"method": "t-test"}}


def test_groups_that_are_too_small_are_left_out_with_a_warning(fitted, pbmc):
    pbmc.obs["group"] = ["one"] * 4 + ["two"] * 9 + ["three"] * 300 + ["four"] * 387
    with pytest.warns(
        Notice, match=r"2 of 4 groups cannot be compared and are left out \('one', 'two'\); the first: group 'one': 4"
    ) as said:
        found = scrae.tl.differential_expression(pbmc, fitted, "group")
    assert [one.message.code for one in said if isinstance(one.message, Notice)] == ["groups_left_out"]
    assert set(found["group"]) == {"three", "four"}
    pbmc.obs["batch"] = ["a"] * 300 + ["b"] * 200 + ["c"] * 200
    pbmc.obs["group"] = ["x"] * 150 + ["y"] * 150 + ["x"] * 100 + ["y"] * 100 + ["alone"] * 200
    with pytest.warns(Notice, match="1 of 3 groups .*'alone' and the other cells share no batch"):
        found = scrae.tl.differential_expression(pbmc, fitted, "group", batch_key="batch")
    assert set(found["group"]) == {"x", "y"}


def test_nothing_is_compared_where_no_group_is_left(fitted, pbmc):
    pbmc.obs["group"] = ["one"] * 4 + ["two"] * 696
    with pytest.raises(ValueError, match=r"group 'one': 4 cell\(s\); 10 or more"):
        scrae.tl.differential_expression(pbmc, fitted, "group")
    with pytest.raises(ValueError, match="cells are compared by a trained model"):
        scrae.tl.differential_expression(pbmc, None, "group")
