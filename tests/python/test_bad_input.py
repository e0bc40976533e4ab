"""What users get wrong, what they are told, and that their object is left as it was."""

from __future__ import annotations

import re
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import scrae
from scrae.cli import main
from scrae.data.counts import as_counts


def untouched(adata):
    """The parts of an AnnData, to compare before and after."""
    return adata.copy()


def assert_same(adata, before):
    np.testing.assert_array_equal(adata.X.toarray(), before.X.toarray())
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    pd.testing.assert_frame_equal(adata.var, before.var)
    assert list(adata.obsm) == list(before.obsm)
    assert list(adata.uns) == list(before.uns)
    assert list(adata.layers) == list(before.layers)


def spoiled(small, value):
    adata = small.copy()
    adata.X = adata.X.astype(np.float64)
    dense = adata.X.toarray()
    dense[4, 2] = value
    dense[9, 5] = value
    adata.X = sp.csr_matrix(dense)
    return adata


@pytest.mark.parametrize(
    ("value", "kind"),
    [(-1.0, "negative"), (np.nan, "missing"), (np.inf, "infinite"), (0.5, "fractional"), (2.0**25, "larger than")],
)
def test_values_that_are_no_counts_are_refused_with_number_cell_and_gene(small, quick, value, kind):
    adata = spoiled(small, value)
    before = untouched(adata)
    with pytest.raises(scrae.CountsError) as error:
        scrae.tl.scrae(adata, genes="all", **quick)
    message = str(error.value)
    assert kind in message
    assert message.startswith("adata.X is not a matrix of raw counts: 2 of ")
    assert "cell 'cell4'" in message
    assert "gene 'gene2'" in message
    assert 'adata.layers["counts"]' in message
    assert_same(adata, before)


def test_normalised_data_are_refused_with_the_call_that_works(small, quick):
    import scanpy as sc

    adata = small.copy()
    adata.layers["umis"] = adata.X.copy()
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    with pytest.raises(scrae.CountsError, match='pass layer="umis"'):
        scrae.tl.scrae(adata, genes="all", **quick)
    scrae.tl.scrae(adata, genes="all", layer="umis", **quick)
    assert adata.obsm["X_scrae"].shape == (60, 3)


def test_normalised_data_with_counts_in_raw_say_so(small, quick):
    adata = small.copy()
    adata.raw = small.copy()
    adata.X = adata.X * 0.5
    with pytest.raises(scrae.CountsError, match=r"pass adata\.raw\.to_adata\(\)"):
        scrae.tl.scrae(adata, genes="all", **quick)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_an_empty_matrix_is_refused(quick, shape):
    with pytest.raises(scrae.CountsError, match=f"is empty: {shape[0]} cells x {shape[1]} genes"):
        scrae.SCRAE(**quick).fit(sp.csr_matrix(shape, dtype=np.float32))


def test_an_object_without_a_matrix_is_refused(quick):
    with pytest.raises(scrae.CountsError, match="there is no matrix"):
        scrae.SCRAE(**quick).fit(anndata.AnnData(obs=pd.DataFrame(index=list("abc"))))


def test_cells_without_counts_are_refused_with_their_number_and_the_call_that_drops_them(small, quick):
    import scanpy as sc

    small.X = sp.csr_matrix(np.vstack([small.X.toarray()[:57], np.zeros((3, 30), dtype=np.float32)]))
    with pytest.raises(scrae.CountsError, match=r"3 of 60 cells .*sc\.pp\.filter_cells\(adata, min_counts=1\)"):
        scrae.tl.scrae(small, genes="all", **quick)
    sc.pp.filter_cells(small, min_counts=1)
    scrae.tl.scrae(small, genes="all", **quick)
    assert small.obsm["X_scrae"].shape == (57, 3)


def test_cells_without_counts_in_the_chosen_genes_are_kept_with_a_warning(small, quick):
    dense = small.X.toarray()
    dense[:2, 10:] = 0
    small.X = sp.csr_matrix(dense)
    with pytest.warns(UserWarning, match="2 of 60 cells have no count in the 20 modelled genes"):
        model = scrae.SCRAE(**quick).fit(small, genes=np.arange(10, 30))
    assert np.isfinite(model.embed()).all()


def test_genes_without_counts_are_handled(small, quick):
    dense = small.X.toarray()
    dense[:, 5:9] = 0
    small.X = sp.csr_matrix(dense)
    model = scrae.SCRAE(**quick).fit(small)
    assert np.isfinite(model.embed()).all()
    assert model.denoise().shape == (60, 30)


def test_one_cell_and_one_gene_are_refused(small, quick):
    with pytest.raises(scrae.CountsError, match="one cell"):
        scrae.SCRAE(**quick).fit(small[:1])
    with pytest.raises(scrae.CountsError, match="one gene"):
        scrae.SCRAE(**quick | {"n_latent": 1}).fit(small[:, :1])


def test_two_cells_are_enough(small, quick):
    model = scrae.SCRAE(**quick).fit(small[:2])
    assert np.isfinite(model.embed()).all()


def test_repeated_gene_names_are_refused_with_the_call_that_mends_them(small, quick):
    small.var_names = ["gene0", "gene0", *small.var_names[2:]]
    with pytest.raises(ValueError, match=r"1 gene name.*'gene0'.*var_names_make_unique"):
        scrae.tl.scrae(small, genes="all", **quick)


def test_repeated_cell_names_do_no_harm(small, quick):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small.obs_names = ["cell"] * 60
    scrae.tl.scrae(small, genes="all", **quick)
    assert small.obsm["X_scrae"].shape == (60, 3)


def test_a_missing_layer_names_the_nearest(small, quick):
    small.layers["counts"] = small.X.copy()
    with pytest.raises(ValueError, match="no layer 'count'; did you mean 'counts'"):
        scrae.tl.scrae(small, layer="count", genes="all", **quick)


def test_a_missing_batch_column_names_the_nearest(small, quick):
    with pytest.raises(ValueError, match="no column 'bach'; did you mean 'batch'"):
        scrae.tl.scrae(small, batch_key="bach", genes="all", **quick)


def test_a_batch_of_one_cell_is_refused_by_name(small, quick):
    small.obs["batch"] = ["lonely", *small.obs["batch"][1:]]
    with pytest.raises(ValueError, match=r"1 level\(s\) of adata.obs\['batch'\] have a single cell \('lonely'\)"):
        scrae.tl.scrae(small, batch_key="batch", genes="all", **quick)


@pytest.mark.parametrize("values", [[None, "a"] * 30, [np.nan, 1.0] * 30])
def test_missing_values_in_a_covariate_are_counted(small, quick, values):
    small.obs["donor"] = values
    with pytest.raises(ValueError, match=r"adata.obs\['donor'\] has 30 missing value\(s\) in 60 cells"):
        scrae.tl.scrae(small, categorical_covariate_keys=["donor"], genes="all", **quick)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([np.nan, 1.0, 2.0] * 20, r"adata.obs\['score'\] has 20 missing or infinite value\(s\) in 60 cells"),
        ([np.inf, *range(59)], r"adata.obs\['score'\] has 1 missing or infinite value\(s\) in 60 cells"),
        (
            ["low", "high"] * 30,
            r"adata.obs\['score'\] does not hold numbers \(.*\): a column of names is a categorical",
        ),
        ([0.5] * 60, r"adata.obs\['score'\] is 0.5 in all 60 cells: there is nothing to correct for; leave it out"),
    ],
)
def test_numbers_that_are_none_are_refused(small, quick, values, message):
    small.obs["score"] = values
    with pytest.raises(ValueError, match=message):
        scrae.tl.scrae(small, continuous_covariate_keys=["score"], genes="all", **quick)
    assert "X_scrae" not in small.obsm


def test_a_covariate_is_of_one_kind(small, quick):
    small.obs["plate"] = [1, 2] * 30
    with pytest.raises(ValueError, match="'plate' named as a categorical and as a continuous covariate: choose one"):
        scrae.tl.scrae(small, batch_key="plate", continuous_covariate_keys=["plate"], genes="all", **quick)


def test_more_latent_dimensions_than_genes_are_refused(small, quick):
    with pytest.raises(ValueError, match=r"n_latent=31 asks for more latent dimensions than there are genes \(30\)"):
        scrae.SCRAE(**quick | {"n_latent": 31}).fit(small)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("n_latnt", 5, "did you mean 'n_latent'"),
        ("critic_hiden", (8,), "did you mean 'critic_hidden'"),
        ("likelihood", "binomial", "'binomial' is not known; choose one of 'gaussian', 'nb', 'none', 'poisson', "),
        ("n_latent", 0, "whole number of at least 1"),
        ("n_latent", 2.5, "whole number of at least 1"),
        ("batch_size", 1, "at least 2"),
        ("mask_rate", 1.0, r"in \[0, 1\)"),
        ("learning_rate", -1, "must be positive"),
        ("contrast_temperature", 0, "must be positive"),
        ("must_link_weight", -1, "must not be negative"),
        ("contrast_weight", -1, "must not be negative"),
        ("n_hidden", (), "positive widths"),
        ("max_epochs", 0, "at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused_at_once(setting, value, message):
    with pytest.raises((TypeError, ValueError), match=message):
        scrae.SCRAE(**{setting: value})


def test_an_unknown_preset_or_device_names_the_known_ones():
    with pytest.raises(ValueError, match="'default', 'reference'"):
        scrae.SCRAE("defualt")
    with pytest.raises(ValueError, match='use "auto", "cpu" or "cuda"'):
        scrae.SCRAE(device="gpu")


def test_genes_that_are_not_there_are_named(small, quick):
    with pytest.raises(ValueError, match="1 of 2 chosen genes are not in adata.var_names: 'gene99'"):
        scrae.tl.scrae(small, genes=["gene1", "gene99"], **quick)
    with pytest.raises(ValueError, match="more than once"):
        scrae.tl.scrae(small, genes=["gene1", "gene1", "gene2", "gene3"], **quick)
    with pytest.raises(ValueError, match="mask of genes has 3 entries"):
        scrae.tl.scrae(small, genes=np.array([True, False, True]), **quick)
    with pytest.raises(ValueError, match="is not a method"):
        scrae.tl.scrae(small, genes="m3dropp", **quick)


def as_form(adata, form, tmp_path):
    """The same counts in another form."""
    if form == "view":
        return anndata.concat([adata, adata], index_unique="-")[: adata.n_obs]
    if form in ("backed", "backed dense"):
        path = tmp_path / "cells.h5ad"
        stored = adata.copy()
        if form == "backed dense":
            stored.X = stored.X.toarray()
        stored.write_h5ad(path)
        return anndata.read_h5ad(path, backed="r")
    make = {
        "integer": lambda x: x.astype(np.int64),
        "float64": lambda x: x.astype(np.float64),
        "uint16": lambda x: x.astype(np.uint16),
        "csc": sp.csc_matrix,
        "csr_array": sp.csr_array,
        "dense": lambda x: x.toarray(),
        "fortran": lambda x: np.asfortranarray(x.toarray()),
        "unsorted": _unsorted,
        "stored zeros": _with_stored_zeros,
    }[form]
    result = adata.copy()
    result.X = make(adata.X)
    return result


def _unsorted(x):
    coo = x.tocoo()
    order = np.lexsort((-coo.col, coo.row))
    result = sp.csr_matrix((coo.data[order], coo.col[order], x.indptr), shape=x.shape)
    result.has_sorted_indices = False
    return result


def _with_stored_zeros(x):
    result = sp.csr_matrix(np.ones(x.shape, dtype=np.float32))
    result.data = x.toarray().ravel()
    return result


@pytest.mark.parametrize(
    "form",
    ["integer", "float64", "uint16", "csc", "csr_array", "dense", "fortran", "unsorted", "stored zeros", "view",
     "backed", "backed dense"],
)  # fmt: skip
def test_every_form_of_the_same_counts_gives_the_same_bits(small, quick, form, tmp_path):
    expected = scrae.SCRAE(**quick).fit(small).embed()
    adata = as_form(small, form, tmp_path)
    np.testing.assert_array_equal(scrae.SCRAE(**quick).fit(adata).embed(), expected)


def test_the_object_changes_by_its_new_keys_alone(small, quick):
    before = untouched(small)
    scrae.tl.scrae(small, batch_key="batch", n_genes=20, **quick)
    assert list(small.obsm) == ["X_scrae"]
    assert list(small.uns) == ["scrae_genes", "scrae"]
    assert list(small.var) == ["scrae_rank", "scrae_selected", "scrae_mean", "scrae_dropout", "scrae_statistic"]
    del small.obsm["X_scrae"], small.uns["scrae_genes"], small.uns["scrae"]
    small.var = small.var[[]]
    assert_same(small, before)


@settings(deadline=None, max_examples=60)
@given(
    cells=st.integers(1, 8),
    genes=st.integers(1, 8),
    dtype=st.sampled_from([np.int8, np.int32, np.int64, np.uint16, np.float32, np.float64]),
    form=st.sampled_from([np.asarray, sp.csr_matrix, sp.csc_matrix, sp.coo_matrix, sp.csr_array, sp.lil_matrix]),
    seed=st.integers(0, 100),
)
def test_counts_of_any_shape_type_and_form_come_through_unchanged(cells, genes, dtype, form, seed):
    dense = np.random.default_rng(seed).poisson(1.0, (cells, genes)).astype(dtype)
    given_matrix = form(dense)
    counts = as_counts(given_matrix)
    assert counts.dtype == np.float32
    assert counts.nnz == np.count_nonzero(dense)
    np.testing.assert_array_equal(counts.toarray(), dense)
    np.testing.assert_array_equal(given_matrix if form is np.asarray else given_matrix.toarray(), dense)


def test_counts_share_the_memory_of_a_matrix_only_where_that_is_allowed_and_nothing_is_to_be_mended():
    canonical = sp.csr_matrix(np.eye(4, dtype=np.float32))
    stored_zero, unsorted = canonical.copy(), _unsorted(sp.csr_matrix(np.ones((4, 4), dtype=np.float32)))
    stored_zero.data[0] = 0
    for matrix, may_share in ((canonical, True), (stored_zero, False), (unsorted, False)):
        before = [part.copy() for part in (matrix.data, matrix.indices, matrix.indptr)]
        for copy in (True, False):
            counts = as_counts(matrix, copy=copy)
            np.testing.assert_array_equal(counts.toarray(), matrix.toarray())
            for part in ("data", "indices", "indptr"):
                shared = np.shares_memory(getattr(counts, part), getattr(matrix, part))
                assert shared == (may_share and not copy)
        for part, name in zip(before, ("data", "indices", "indptr"), strict=True):
            np.testing.assert_array_equal(getattr(matrix, name), part)


@settings(deadline=None, max_examples=40)
@given(
    where=st.integers(0, 23),
    value=st.floats(allow_nan=True, allow_infinity=True).filter(lambda v: not (v >= 0 and v == round(v) <= 2**24)
    if np.isfinite(v) else True),
)  # fmt: skip
def test_a_single_wrong_value_anywhere_is_found(where, value):
    dense = np.ones((4, 6))
    dense.flat[where] = value
    with pytest.raises(scrae.CountsError, match=f"cell number {where // 6}, gene number {where % 6}"):
        as_counts(sp.csr_matrix(dense))


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones(3), r"1 dimension\(s\)"),
        (np.array([["a", "b"]]), "values of type"),
        (np.ones((2, 2), dtype=bool), "type bool"),
        (np.ones((2, 2), dtype=complex), "type complex128"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused(matrix, message):
    with pytest.raises(scrae.CountsError, match=message):
        as_counts(matrix)


@pytest.mark.parametrize("door", ["memory", "disk", "command line", "command line, from disk"])
def test_estimated_counts_are_rounded_where_that_is_asked_for(small, quick, door, tmp_path, capsys):
    adata = small.copy()
    adata.X = adata.X.astype(np.float64)
    adata.X.data[:3] += [0.25, -0.125, 0.375]
    path = tmp_path / "estimated.h5ad"
    adata.write_h5ad(path)
    moved = r"3 of [\d,]+ stored entries of .* were rounded to whole counts, by 0.375 at most"
    with pytest.raises(scrae.CountsError, match=r'CellBender.* can be rounded: counts="round" \(scrae run: --round\)'):
        scrae.SCRAE(**quick).fit(adata)
    if door.startswith("command"):
        rest = ["--genes", "all", "--max-epochs", "1", "--round", *(["--from-disk"] if "disk" in door else [])]
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # as a command line has it
            assert main(["run", str(path), "--out", str(tmp_path / "out.h5ad"), *rest]) == 0
        assert re.search(moved, capsys.readouterr().err)
        return
    model, genes = scrae.SCRAE(**quick), np.full(30, True)
    with pytest.warns(UserWarning, match=moved) as said:
        _ = model.fit(path, counts="round") if door == "disk" else scrae.tl.scrae(adata, counts="round", **quick)
    found = model.embed() if door == "disk" else adata.obsm["X_scrae"]
    genes = genes if door == "disk" else adata.var["scrae_selected"].to_numpy()
    assert len([warning for warning in said if "rounded" in str(warning.message)]) == 1
    np.testing.assert_array_equal(found, scrae.SCRAE(**quick).fit(small, genes=genes).embed())


@pytest.mark.parametrize("how", ["embed", "map"])
def test_estimated_counts_of_new_cells_are_rounded_where_that_is_asked_for(small, quick, how):
    model = scrae.SCRAE(**quick).fit(small)
    estimated = small.copy()
    estimated.X = small.X.astype(np.float64)
    estimated.X.data[:2] += 0.25
    place = getattr(model, how)
    with pytest.raises(scrae.CountsError, match='counts="round"'):
        place(estimated)
    with pytest.warns(UserWarning, match="2 of .* were rounded to whole counts, by 0.25 at most"):
        found = place(estimated, counts="round")
    np.testing.assert_array_equal(found, place(small))


def test_a_batch_of_five_cells_is_no_error(small, quick):
    small.obs["batch"] = ["few"] * 5 + ["many"] * 55
    for genes in ("all", "hvg"):
        scrae.tl.scrae(small, genes=genes, n_genes=20, batch_key="batch", **quick)
        assert np.isfinite(small.obsm["X_scrae"]).all()


def copies(small, n):
    return anndata.AnnData(np.repeat(small.X[:1].toarray(), n, axis=0), var=small.var)


def test_copies_of_one_cell_share_one_point(small, quick):
    embedding = scrae.SCRAE(**quick).fit(copies(small, 60).X).embed()
    assert np.isfinite(embedding).all()
    assert (embedding == embedding[0]).all()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("hvg", r"none of \d+ genes differs between the 60 cells; are they copies of one cell\?"),
        ("seurat_v3", r"trend of variance on mean could not be fitted \(0 of \d+ genes vary\)"),  # loess: SIGSEGV
    ],
)
def test_genes_of_copies_of_one_cell_cannot_be_chosen_by_their_variance(small, method, message):
    with pytest.raises(ValueError, match=message):
        scrae.pp.select_genes(copies(small, 60), method, 10)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_genes_that_vary_do_not_end_the_process(small, n):
    adata = copies(small, 60)
    adata.X[::2, :n] += np.arange(1, n + 1, dtype=np.float32)
    with pytest.raises(ValueError, match=rf"{n} of \d+ genes vary"):
        scrae.pp.select_genes(adata, "seurat_v3", 10)


@pytest.mark.parametrize("copied", [5, 20])
def test_a_batch_of_copies_of_one_cell_leaves_the_choice_to_the_others(small, copied):
    small.X = small.X[[0] * copied + list(range(copied, 60))]
    small.obs["batch"] = ["copies"] * copied + ["others"] * (60 - copied)
    scrae.pp.select_genes(small, "hvg", 10, batch_key="batch")
    assert small.var["scrae_selected"].sum() == 10


def test_counts_are_raw_or_rounded(small, quick):
    with pytest.raises(ValueError, match='counts=\'floor\' is not known; choose "raw" or "round"'):
        scrae.tl.scrae(small, counts="floor", **quick)


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        (3.7, "random_state must be a whole number of at least 0, not 3.7"),
        (-1, "whole number of at least 0, not -1"),
        (2**32, "whole number below 4,294,967,296"),
        (True, "not True"),
        (None, "not None"),
        ("1", "not '1'"),
    ],
)
def test_a_seed_is_one_that_all_generators_take(small, quick, seed, message):
    with pytest.raises(ValueError, match=message):
        scrae.SCRAE(random_state=seed)
    if seed is not None:
        with pytest.raises(ValueError, match=message):
            scrae.SCRAE(**quick).fit(small).sample(2, random_state=seed)


def test_the_largest_seed_and_whole_floats_work(small, quick):
    model = scrae.SCRAE(**quick | {"random_state": 2**32 - 1, "n_latent": 3.0, "max_epochs": np.float64(2)}).fit(small)
    expected = scrae.SCRAE(**quick | {"random_state": 2**32 - 1, "n_latent": 3, "max_epochs": 2}).fit(small)
    np.testing.assert_array_equal(model.embed(), expected.embed())


@pytest.mark.parametrize("value", [-1, np.nan, "30", None, True])
def test_seconds_between_checkpoints_are_a_number(small, quick, value):
    with pytest.raises(ValueError, match="checkpoint_seconds must"):
        scrae.SCRAE(**quick).fit(small, checkpoint_seconds=value)


@pytest.mark.parametrize("value", [20.5, "20", 1, True, None])
def test_the_number_of_genes_is_whole(small, quick, value):
    with pytest.raises(ValueError, match="n_genes must be a whole number of at least 2"):
        scrae.tl.scrae(small, n_genes=value, **quick)


NINE = [True] * 9 + [False] * 21


@pytest.mark.parametrize(
    "values",
    [
        pd.array(NINE, dtype="object"),
        pd.array([True] * 9 + [np.nan] * 21, dtype="object"),
        pd.array([True] * 9 + [None] * 20 + [False], dtype="object"),
        pd.array([True] * 9 + [pd.NA] * 10 + [False] * 11, dtype="boolean"),
        ["TRUE"] * 9 + ["FALSE"] * 21,
        pd.Categorical(["True"] * 9 + ["False"] * 20 + [None]),
        [1.0] * 9 + [0.0] * 20 + [np.nan],
        [1] * 9 + [0] * 21,
    ],
)
def test_genes_are_marked_in_every_way_that_says_yes_or_no(small, quick, values):
    small.var["highly_variable"] = values
    scrae.tl.scrae(small, **quick)
    assert list(small.uns["scrae"]["genes"]) == [f"gene{i}" for i in range(9)]


@pytest.mark.parametrize("value", ["yes", 2, -1, 0.5, "", "NA"])
def test_genes_marked_in_another_way_are_refused(small, quick, value):
    small.var["highly_variable"] = pd.Series([value, True, False] * 10, index=small.var_names, dtype=object)
    with pytest.raises(ValueError, match=r'adata.var\["highly_variable"\] says neither yes nor no for 10 of 30 genes'):
        scrae.tl.scrae(small, **quick)


def test_one_column_may_be_named_without_a_list(small, quick):
    small.obs["sex"] = ["f", "m", "m"] * 20
    small.obs["score"] = np.linspace(0, 1, 60)
    one = scrae.SCRAE(**quick).fit(small, categorical_covariate_keys="sex", continuous_covariate_keys="score")
    several = scrae.SCRAE(**quick).fit(small, categorical_covariate_keys=["sex"], continuous_covariate_keys={"score"})
    np.testing.assert_array_equal(one.embed(), several.embed())


def test_the_advice_on_missing_labels_makes_no_label_of_them(small, quick):
    small.obs["donor"] = [None, "a", "b"] * 20
    with pytest.raises(ValueError, match=r"20 missing value\(s\).*adata = adata\[(.*)\].copy\(\)$") as refused:
        scrae.tl.scrae(small, batch_key="donor", genes="all", **quick)
    adata = small  # as the advice calls it
    adata = adata[eval(re.search(r"adata\[(.*)\].copy", str(refused.value)).group(1), {"adata": adata})].copy()
    scrae.tl.scrae(adata, batch_key="donor", genes="all", **quick)
    assert set(adata.obs["donor"]) == {"a", "b"}


def test_a_column_that_stands_there_twice_is_refused(small, quick):
    small.obs = pd.concat([small.obs[["batch"]], small.obs[["batch"]]], axis=1)
    with pytest.raises(ValueError, match="adata.obs has 2 columns named 'batch'"):
        scrae.tl.scrae(small, batch_key="batch", genes="all", **quick)


@pytest.mark.parametrize("column", ["feature_types", "modality"])
@pytest.mark.parametrize("genes", ["all", "hvg", "m3drop", "highly_variable"])
def test_features_that_are_no_genes_are_left_out(small, quick, column, genes):
    with_antibodies, gene = small.copy(), np.arange(30) % 3 > 0
    of_genes = small[:, gene].copy()
    names = ["Gene Expression", "Antibody Capture"] if column == "feature_types" else ["rna", "prot"]
    with_antibodies.var[column] = np.where(gene, *names)
    chosen = {} if genes == "highly_variable" else {"genes": genes}
    for adata in (with_antibodies, of_genes):
        if not chosen:
            adata.var["highly_variable"] = True
    with pytest.warns(UserWarning, match=rf"10 of 30 features are not gene expression \('{names[1]}'\)"):
        scrae.tl.scrae(with_antibodies, n_genes=12, **chosen, **quick)
    scrae.tl.scrae(of_genes, n_genes=12, **chosen, **quick)
    np.testing.assert_array_equal(with_antibodies.obsm["X_scrae"], of_genes.obsm["X_scrae"])
    if genes in ("hvg", "m3drop"):
        pd.testing.assert_frame_equal(with_antibodies.var.loc[gene, of_genes.var.columns], of_genes.var)
        assert not with_antibodies.var.loc[~gene, "scrae_selected"].any()


def test_other_features_are_modelled_where_they_are_asked_for(small, quick):
    small.var["feature_types"] = ["Peaks"] * 20 + ["Antibody Capture"] * 10
    with pytest.raises(ValueError, match=r"none of 30 features .* gene expression.*'Antibody Capture', 'Peaks'"):
        scrae.tl.scrae(small, genes="all", **quick)
    scrae.tl.scrae(small, genes="all", feature_types="Peaks", **quick)
    assert len(small.uns["scrae"]["genes"]) == 20
    scrae.tl.scrae(small, genes=[f"gene{i}" for i in range(10, 30)], **quick)  # named: asked for
    del small.var["feature_types"]
    with pytest.raises(ValueError, match="no column 'feature_types' or 'modality'"):
        scrae.tl.scrae(small, genes="all", feature_types="Peaks", **quick)


class MuData:
    """What of a MuData tells it from an AnnData."""

    def __init__(self, adata):
        self.mod, self.obs_names, self.var_names, self.obs, self.var = {"rna": adata}, [], [], adata.obs, adata.var


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda a, _: a.X, r"scrae.tl.scrae needs an AnnData, not a matrix: .*anndata.AnnData\(matrix\)"),
        (lambda a, _: a.X.toarray(), "not a matrix"),
        (lambda a, path: path / "cells.h5ad", "not the path of a file: read it with anndata.read_h5ad"),
        (lambda a, _: "cells.h5ad", "not the path of a file"),
        (lambda a, _: MuData(a), r"a MuData of 'rna': give the AnnData of one of them, mdata\['rna'\]"),
        (lambda a, _: None, "an object of type NoneType"),
        (lambda a, _: [a], "an object of type list"),
    ],
)
def test_other_objects_are_refused_with_what_to_do(small, quick, given, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        scrae.tl.scrae(given(small, tmp_path), **quick)
    if "MuData" in message:
        with pytest.raises(ValueError, match=message):
            scrae.SCRAE(**quick).fit(given(small, tmp_path))


def test_genes_are_given_in_an_order(small, quick):
    with pytest.raises(ValueError, match=r"genes is a set, which has no order: give a list, such as sorted\(genes\)"):
        scrae.tl.scrae(small, genes={"gene1", "gene2", "gene3"}, **quick)
    listed = scrae.SCRAE(**quick).fit(small, genes=[f"gene{i}" for i in range(5)])
    drawn = scrae.SCRAE(**quick).fit(small, genes=(f"gene{i}" for i in range(5)))
    np.testing.assert_array_equal(listed.embed(), drawn.embed())


@pytest.mark.parametrize("layer", ["X", 3, ["counts"]])
def test_a_layer_that_is_none_is_named(small, quick, layer):
    small.layers["counts"] = small.X.copy()
    with pytest.raises(ValueError, match="adata.layers has no layer"):
        scrae.tl.scrae(small, layer=layer, genes="all", **quick)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_key": ["batch"]}, r"a column of adata.obs is named by text, not by \['batch'\]"),
        ({"categorical_covariate_keys": 3}, "adata.obs has no column '3'"),
        ({"genes": [["gene1", "gene2"], ["gene3", "gene4"]]}, "genes is a table of 2 dimensions"),
        ({"genes": "gene1"}, "one gene"),
    ],
)
def test_one_value_and_several_are_told_apart(small, quick, arguments, message):
    with pytest.raises(ValueError, match=message):
        scrae.SCRAE(**quick).fit(small, **arguments)
