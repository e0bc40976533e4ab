"""Groups compared by donors: which profiles there are, what they are tested by, and what cannot be tested."""

from __future__ import annotations

import importlib.util
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy import stats

import scrae
from scrae._errors import Notice
from scrae.tl.pseudobulk import Design, design_of

needs_pydeseq2 = pytest.mark.skipif(importlib.util.find_spec("pydeseq2") is None, reason="pydeseq2 is not installed")


def donors(
    design: dict[str, tuple[str, ...]], n_cells: int = 30, n_genes: int = 60, spread: float = 0.4, seed: int = 0
):
    """Cells of donors in the groups that are theirs; each gene of each donor has a level of its own.

    The first ten genes are three times as high in the group "treated".
    """
    rng = np.random.default_rng(seed)
    means = rng.gamma(2.0, 1.0, n_genes) + 0.5
    counts, obs = [], []
    for donor, groups in design.items():
        level = means * rng.lognormal(0, spread, n_genes)
        for group in groups:
            change = np.where((np.arange(n_genes) < 10) & (group == "treated"), 3.0, 1.0)
            counts.append(rng.poisson(level * change, (n_cells, n_genes)))
            obs += [(donor, group)] * n_cells
    return anndata.AnnData(
        sp.csr_matrix(np.vstack(counts).astype(np.float32)),
        obs=pd.DataFrame(obs, columns=["donor", "group"], index=[f"c{i}" for i in range(len(obs))]),
        var=pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)]),
    )


ONE_SIDE = {f"d{i}": ("treated",) if i < 4 else ("control",) for i in range(8)}
BOTH_SIDES = {f"d{i}": ("treated", "control") for i in range(4)}


def designed(
    adata: anndata.AnnData, group: str = "treated", batch: list[str] | None = None
) -> tuple[Design, np.ndarray]:
    sample, side = adata.obs["donor"].to_numpy(), (adata.obs["group"] == group).to_numpy().astype(int)
    of_cells = None if batch is None else np.asarray(batch, dtype=object)
    return design_of(group, sample, side, of_cells, "donor", None if batch is None else "batch")


def test_donors_of_one_side_are_independent_and_those_of_both_are_pairs():
    design, profile = designed(donors(ONE_SIDE))
    assert (design.paired, list(design.terms())) == (False, ["side"])
    assert np.bincount(profile).tolist() == [30] * 8
    design, _ = designed(donors(BOTH_SIDES))
    assert (design.paired, list(design.terms())) == (True, ["sample", "side"])
    assert sorted(zip(design.sample, design.side, strict=True)) == [
        (f"d{i}", side) for i in range(4) for side in (0, 1)
    ]


def test_pairs_are_compared_alone_where_they_are_the_larger_part():
    adata = donors(BOTH_SIDES | {"x": ("control",)})
    with pytest.warns(Notice, match=r"4 of 5 samples .* are on both sides and are compared as pairs.*'x'"):
        design, profile = designed(adata)
    assert (len(design.side), design.paired) == (8, True)
    assert set(profile[adata.obs["donor"] == "x"]) == {-1}
    with pytest.raises(ValueError, match=r"1 of 8 samples .* on both sides \('d0'\), the others on one"):
        designed(donors(ONE_SIDE | {"d0": ("treated", "control")}))


def test_few_donors_and_small_profiles_are_not_compared():
    with pytest.raises(ValueError, match=r"group 'treated': 1 sample\(s\) .* against 3; 2 or more"):
        designed(donors({"a": ("treated",), "b": ("control",), "c": ("control",), "d": ("control",)}))
    adata = donors(ONE_SIDE)
    adata = adata[~((adata.obs["donor"] == "d1") & (np.arange(240) % 30 > 5))]
    with pytest.warns(Notice, match=r"1 of 8 profiles .* fewer than 10 cells and are left out \('d1'\)"):
        assert "d1" not in set(designed(adata)[0].sample)


def test_batches_are_a_term_unless_donors_say_it_already_or_it_cannot_be_told_apart():
    adata = donors(ONE_SIDE)
    of_donor = {f"d{i}": "pq"[i % 2] for i in range(8)}
    design, _ = designed(adata, batch=[of_donor[name] for name in adata.obs["donor"]])
    assert list(design.terms()) == ["batch", "side"]
    paired = donors(BOTH_SIDES)
    assert list(designed(paired, batch=[of_donor[name] for name in paired.obs["donor"]])[0].terms()) == [
        "sample",
        "side",
    ]
    with pytest.raises(ValueError, match="cannot be told from what differs between batches"):
        designed(adata, batch=list(adata.obs["group"]))
    with pytest.raises(ValueError, match=r"8 sample\(s\) .* have cells of several batches"):
        designed(adata, batch=["p", "q"] * 120)


def test_without_pydeseq2_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'scrae\[pseudobulk\]'"):
        scrae.tl.differential_expression(donors(ONE_SIDE), None, "group", sample_key="donor")


@needs_pydeseq2
@pytest.mark.parametrize("design", [ONE_SIDE, BOTH_SIDES], ids=["independent", "pairs"])
def test_the_test_is_that_of_pydeseq2_on_counts_summed_by_hand(design):
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.ds import DeseqStats

    adata = donors(design)
    found = scrae.tl.differential_expression(adata, None, "group", groups=["treated"], sample_key="donor").set_index(
        "gene"
    )
    frame = pd.DataFrame(adata.X.toarray().astype(int), columns=adata.var_names)
    frame = frame.groupby([adata.obs["donor"].to_numpy(), adata.obs["group"].to_numpy()]).sum()
    about = frame.index.to_frame(index=False, name=["donor", "group"])
    about.index = frame.index = [f"{donor} {group}" for donor, group in frame.index]
    formula = "~donor + group" if design is BOTH_SIDES else "~group"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = DeseqDataSet(counts=frame, metadata=about, design=formula, quiet=True, n_cpus=1)
        data.deseq2()
        theirs = DeseqStats(data, contrast=["group", "treated", "control"], quiet=True, n_cpus=1)
        theirs.summary()
    expected = theirs.results_df.loc[found.index]
    np.testing.assert_allclose(found["log2fc"], expected["log2FoldChange"], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found["p"], expected["pvalue"], rtol=1e-2)
    changed = [f"gene{i}" for i in range(10)]
    assert (found.loc[changed, "q"] < 0.05).sum() >= 8
    assert (found["samples"] == 4).all()
    assert (found["reference_samples"] == 4).all()
    of_group = (adata.obs["group"] == "treated").to_numpy()
    seen = np.asarray((adata.X[of_group] > 0).mean(0)).ravel()
    np.testing.assert_allclose(found["detected"], pd.Series(seen, adata.var_names)[found.index])


@needs_pydeseq2
@pytest.mark.slow
def test_between_donors_alike_cells_give_discoveries_and_donors_do_not():
    of_cells, of_donors = [], []
    for seed in range(4):
        adata = donors(
            {name: ("a",) if groups == ("treated",) else ("b",) for name, groups in ONE_SIDE.items()}, seed=seed
        )
        found = scrae.tl.differential_expression(adata, None, "group", groups=["a"], sample_key="donor")
        of_donors.extend(found["p"].dropna())
        logs = np.log1p(adata.X.toarray())
        is_a = (adata.obs["group"] == "a").to_numpy()
        of_cells.extend(stats.mannwhitneyu(logs[is_a], logs[~is_a]).pvalue)
    assert np.mean(np.array(of_cells) < 0.05) > 0.4
    assert (
        np.mean(np.array(of_donors) < 0.05) < 0.14
    )  # Wald's test takes the dispersions for known: somewhat more than 0.05
    assert stats.kstest(of_donors, "uniform").statistic < 0.15
