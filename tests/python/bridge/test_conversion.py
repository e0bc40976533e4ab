"""What crosses from R to Python, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest

import scrae
from scrae.r import from_sce
from scrae.r.conversion import from_r

pytestmark = pytest.mark.slow  # R and Bioconductor are loaded


def counts_of(ro: Any) -> np.ndarray:
    return np.array(ro.r("as.matrix(counts)")).T


def test_counts_names_and_plain_columns_cross(ro: Any) -> None:
    adata = from_sce(
        ro.r("""
    x <- sce
    x$batch <- rep(c("a", "b", "c"), 5); x$score <- as.numeric(1:15); x$n <- 1:15; x
    """)
    )
    np.testing.assert_array_equal(adata.X.toarray(), counts_of(ro))
    assert adata.X.format == "csr"
    assert list(adata.var_names) == [f"g{i}" for i in range(1, 21)]
    assert list(adata.obs_names) == [f"c{i}" for i in range(1, 16)]
    assert list(adata.obs["batch"]) == ["a", "b", "c"] * 5
    assert list(adata.obs["score"]) == list(map(float, range(1, 16)))


def test_missing_values_of_factors_stay_missing(ro: Any) -> None:
    adata = from_sce(
        ro.r("""
    x <- sce
    x$f <- factor(rep(c("u", NA, "v"), 5)); x$i <- rep(c(1L, NA, 3L), 5); x$l <- rep(c(TRUE, NA, FALSE), 5); x
    """)
    )
    assert list(adata.obs["f"].isna()) == [False, True, False] * 5
    assert set(adata.obs["f"].dropna()) == {"u", "v"}
    # Text, not -2147483648: anndata2ri alone would give that.
    assert set(adata.obs["i"].dropna().astype(str)) == {"1", "3"}
    assert set(adata.obs["l"].dropna().astype(str)) == {"TRUE", "FALSE"}


def test_what_no_table_can_hold_is_left_behind(ro: Any) -> None:
    adata = from_sce(
        ro.r("""
    x <- sce
    x$list <- as.list(1:15); x$nested <- DataFrame(a = 1:15); x$rle <- Rle(rep(1:3, 5))
    x$day <- as.Date("2020-01-01") + 1:15
    metadata(x)$model <- function() 1; altExp(x, "ADT") <- x; x
    """)
    )
    assert "list" not in adata.obs
    assert "nested" not in adata.obs
    assert list(adata.obs["rle"].astype(int)) == [1, 2, 3] * 5
    assert str(adata.obs["day"].iloc[0]) == "2020-01-02"


@pytest.mark.parametrize(
    "form",
    [
        'as(counts, "TsparseMatrix")',
        "as.matrix(counts)",
        "as.data.frame(as.matrix(counts))",
        'as(counts, "RsparseMatrix")',
    ],
)
def test_every_form_of_matrix_crosses(ro: Any, form: str) -> None:
    adata = from_sce(ro.r(f"SingleCellExperiment(list(counts = {form}))"))
    np.testing.assert_array_equal(adata.X.toarray(), counts_of(ro))


def test_names_are_made_where_there_are_none(ro: Any) -> None:
    adata = from_sce(ro.r("SingleCellExperiment(list(counts = unname(as.matrix(counts))))"))
    assert list(adata.var_names[:2]) == ["gene1", "gene2"]
    assert list(adata.obs_names[:2]) == ["cell1", "cell2"]


def test_an_unnamed_or_absent_assay_is_refused(ro: Any) -> None:
    with pytest.raises(ValueError, match="no assay 'counts'; it has none with a name"):
        from_sce(ro.r("SingleCellExperiment(list(counts))"))
    with pytest.raises(ValueError, match="no assay 'umi'; it has 'counts', 'logcounts'"):
        from_sce(ro.r("sce"), "umi")


def test_what_is_no_single_cell_experiment_is_refused(ro: Any) -> None:
    with pytest.raises(TypeError, match="not 'dgCMatrix'"):
        from_sce(ro.r("counts"))
    with pytest.raises(TypeError, match="not 'str'"):
        from_sce("sce")


def test_the_result_can_be_written_and_outlives_the_object(ro: Any, tmp_path: Path) -> None:
    ro.r("short_lived <- sce; short_lived$f <- factor(rep(c('u', 'v', NA), 5))")
    adata = from_sce(ro.r("short_lived"))
    ro.r("rm(short_lived); invisible(gc())")
    adata.write_h5ad(tmp_path / "cells.h5ad")
    np.testing.assert_array_equal(anndata.read_h5ad(tmp_path / "cells.h5ad").X.toarray(), counts_of(ro))


def test_an_object_from_r_can_be_trained_on(ro: Any) -> None:
    adata = from_sce(ro.r("sce[, colSums(counts) > 0]"))
    scrae.tl.scrae(adata, genes="all", n_latent=2, n_hidden=(8,), max_epochs=2, verbose=False)
    assert adata.obsm["X_scrae"].shape == (adata.n_obs, 2)


def test_what_the_r_package_hands_over_is_what_an_object_of_bioconductor_would_give(ro: Any) -> None:
    expected = from_sce(ro.r('x <- sce; x$batch <- rep(c("a", "b", "c"), 5); x$score <- as.numeric(1:15) / 7; x'))
    parts = ro.r("list(counts = counts, columns = list(batch = x$batch, score = x$score))")
    given = from_r(parts)
    np.testing.assert_array_equal(given.X.toarray(), expected.X.toarray())
    assert given.X.format == "csr"
    pd.testing.assert_index_equal(given.obs_names, expected.obs_names)
    pd.testing.assert_index_equal(given.var_names, expected.var_names)
    assert list(given.obs["batch"]) == list(expected.obs["batch"])
    np.testing.assert_array_equal(given.obs["score"], expected.obs["score"])
    assert from_r(ro.r("list(counts = counts, columns = structure(list(), names = character()))")).obs.shape == (15, 0)


def test_counts_that_were_handed_over_outlive_those_in_r(ro: Any, tmp_path: Path) -> None:
    ro.r('short_lived <- list(counts = counts * 3, columns = list(type = rep(c("u", "v", "w"), 5)))')
    adata = from_r(ro.r("short_lived"))
    ro.r("rm(short_lived); invisible(gc()); churn <- lapply(1:50, function(i) rnorm(1e5)); rm(churn); invisible(gc())")
    adata.write_h5ad(tmp_path / "cells.h5ad")
    np.testing.assert_array_equal(anndata.read_h5ad(tmp_path / "cells.h5ad").X.toarray(), 3 * counts_of(ro))
