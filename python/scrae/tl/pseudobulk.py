"""Which genes differ between groups of donors: raw counts are summed over each donor's cells, and donors are compared.

Cells of one donor are alike, so a test that counts cells as if each were drawn anew finds differences between any two
sets of donors (Squair et al. 2021, Confronting false discoveries in single-cell differential expression). The sum over
the cells of a donor in a group is one profile, and profiles are compared as bulk samples are: by negative binomial
regression with shared dispersions (Love, Huber and Anders 2014), here that of pydeseq2.

Where each donor is on one side the profiles are independent. Where each is on both (a cluster beside the other cells, a
treatment of the same donors' cells) they are pairs, and donors are a term of the design. What lies between is refused,
or is compared by the pairs alone if they are the larger part.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scrae._errors import Notice, Refusal
from scrae._messages import first_few, some
from scrae.compute.statistics import ordered
from scrae.data.cells import Cells

SMALLEST = 10  # cells that a group needs for the normal limit, and a profile to be one
DONORS = 2  # on each side
COUNTS = 10  # of a gene, in as many profiles as the smaller side has

Comparison = Callable[[str, str, int, list[int]], pd.DataFrame]
"""Name of a group, that of its reference, code of the group, codes of the reference: a table of genes."""


@dataclass(frozen=True)
class Design:
    """Profiles of donors on two sides.

    Attributes
    ----------
    sample
        Donor of each profile, (n_profiles,).
    side
        1: of the group, 0: of its reference, (n_profiles,).
    batch
        Its batch, (n_profiles,), or None.
    paired
        Whether each donor has a profile on either side.
    """

    sample: np.ndarray
    side: np.ndarray
    batch: np.ndarray | None
    paired: bool

    def terms(self) -> pd.DataFrame:
        """A column for each term, the group last, as text that no formula can misread."""
        columns: dict[str, Any] = {}
        if self.paired:
            columns["sample"] = pd.factorize(self.sample)[0]
        if self.batch is not None:
            columns["batch"] = pd.factorize(self.batch)[0]
        table = pd.DataFrame(columns | {"side": self.side}).map(lambda code: f"l{code}")
        return table.set_axis([f"p{i}" for i in range(len(table))], axis=0)

    def is_estimable(self) -> bool:
        """Whether the difference between the sides can be told from the other terms, with profiles to spare."""
        terms = pd.get_dummies(self.terms(), drop_first=True, dtype=float)
        full = np.column_stack([np.ones(len(terms)), terms.to_numpy()])
        return bool(np.linalg.matrix_rank(full) == full.shape[1] < len(full))


def by_samples(cells: Cells, of_cell: np.ndarray, sample_key: str, batch_key: str | None) -> Comparison:
    """A function that compares two groups of cells by the donors that they are from.

    Parameters
    ----------
    cells
        Raw counts with their columns.
    of_cell
        Code of the group of each cell, (n_cells,).
    sample_key, batch_key
        Columns of donors, and of batches of donors or None.

    Raises
    ------
    ModuleNotFoundError
        pydeseq2 is missing.
    """
    needed()
    sample = cells.covariate(sample_key).astype(str)
    batch = None if batch_key is None else cells.covariate(batch_key).astype(str)
    genes = np.arange(cells.counts.shape[1]).astype(str) if cells.gene_names is None else cells.gene_names.astype(str)

    def compare(name: str, reference: str, group: int, others: list[int]) -> pd.DataFrame:
        side = np.where(of_cell == group, 1, np.where(np.isin(of_cell, others), 0, -1))
        design, profile = design_of(name, sample, side, batch, sample_key, batch_key)
        sums, detected, n_cells = _summed(cells.counts, profile, len(design.side))
        table = tested(sums, design, genes)
        per_million = sums * 1e6 / np.maximum(sums.sum(1, keepdims=True), 1)
        at = pd.Index(genes).get_indexer(table["gene"])
        for prefix, code in (("", 1), ("reference_", 0)):
            of_side = design.side == code
            table[f"{prefix}mean"] = per_million[of_side][:, at].mean(0)
            table[f"{prefix}detected"] = detected[of_side][:, at].sum(0) / n_cells[of_side].sum()
            table[f"{prefix}samples"] = int(of_side.sum())
        table.insert(0, "group", name)
        columns = ["group", "gene", "log2fc", "log2fc_error", "p", "q"]
        columns += [f"{prefix}{kind}" for kind in ("mean", "detected", "samples") for prefix in ("", "reference_")]
        p = np.where(np.isnan(table["p"]), np.inf, table["p"])
        return table[[*columns, "score"]].iloc[ordered(p, -np.abs(table["log2fc"].to_numpy()))]

    return compare


def needed() -> None:
    """See that pydeseq2 is there.

    Raises
    ------
    ModuleNotFoundError
        It is not.
    """
    if importlib.util.find_spec("pydeseq2") is None:
        raise ModuleNotFoundError(
            "donors are compared by pydeseq2, which is not installed: pip install 'scrae[pseudobulk]'", name="pydeseq2"
        )


def design_of(
    name: str, sample: np.ndarray, side: np.ndarray, batch: np.ndarray | None, sample_key: str, batch_key: str | None
) -> tuple[Design, np.ndarray]:
    """The profiles of donors on two sides, and which of them each cell belongs to.

    Parameters
    ----------
    name
        Of the group, for messages.
    sample
        Donor of each cell, (n_cells,).
    side
        1: a cell of the group, 0: one of its reference, -1: neither, (n_cells,).
    batch
        Batch of each cell, (n_cells,), or None.

    Returns
    -------
    The design, and the number of each cell's profile, -1 for cells of none, (n_cells,).

    Raises
    ------
    scrae._errors.Refusal
        Too few donors, donors of which some are on both sides, several batches in a profile, or batches and groups that
        cannot be told apart.
    """
    column = f"adata.obs[{sample_key!r}]"
    pair = pd.MultiIndex.from_arrays([sample, side])
    code, profiles = pd.factorize(pair)
    n_cells = np.bincount(code)
    of_profile, side_of = profiles.get_level_values(0).to_numpy(), profiles.get_level_values(1).to_numpy()
    small = (n_cells < SMALLEST) & (side_of >= 0)
    if small.any():
        warnings.warn(
            Notice(
                f"group {name!r}: {small.sum():,} of {(side_of >= 0).sum():,} profiles of {column} have fewer than "
                f"{SMALLEST} cells and are left out ({some(of_profile[small])})",
                "small_profiles_left_out",
                group=name,
                column=sample_key,
                n=int(small.sum()),
                n_profiles=int((side_of >= 0).sum()),
                names=first_few(of_profile[small]),
                least=SMALLEST,
            ),
            stacklevel=6,
        )
    kept = (side_of >= 0) & ~small
    on = [set(of_profile[kept & (side_of == one)]) for one in (0, 1)]
    both, either = on[0] & on[1], on[0] | on[1]
    if min(map(len, on)) < DONORS:
        raise Refusal(
            f"group {name!r}: {len(on[1])} sample(s) of {column} against {len(on[0])}; {DONORS} or more with "
            f"{SMALLEST} or more cells each are needed on either side, because a difference is compared with the "
            "spread between samples",
            "few_samples",
            group=name,
            column=sample_key,
            n=len(on[1]),
            n_reference=len(on[0]),
            least=DONORS,
            least_cells=SMALLEST,
        )
    single = sorted(either - both)
    if both and single:
        if len(both) < max(DONORS, len(single)):
            raise Refusal(
                f"group {name!r}: {len(both):,} of {len(either):,} samples of {column} are on both sides "
                f"({some(sorted(both))}), the others on one: they are neither pairs nor independent. Leave out the "
                "cells that these samples have on one side",
                "some_samples_on_both_sides",
                group=name,
                column=sample_key,
                n=len(both),
                n_samples=len(either),
                names=first_few(sorted(both)),
            )
        warnings.warn(
            Notice(
                f"group {name!r}: {len(both):,} of {len(either):,} samples of {column} are on both sides and are "
                f"compared as pairs; the others are left out, because they are on one side only ({some(single)})",
                "unpaired_samples_left_out",
                group=name,
                column=sample_key,
                n=len(both),
                n_samples=len(either),
                names=first_few(single),
            ),
            stacklevel=6,
        )
        kept &= np.isin(of_profile, sorted(both))
    number = np.full(len(profiles), -1)
    number[kept] = np.arange(kept.sum())
    profile = number[code]
    of_batch = None if batch is None else _batch_of(name, profile, sample, batch, sample_key, str(batch_key))
    design = Design(of_profile[kept], side_of[kept], of_batch, paired=bool(both))
    if design.paired and of_batch is not None:
        within = pd.DataFrame({"sample": design.sample, "batch": of_batch}).groupby("sample")["batch"].nunique()
        if (within == 1).all():  # what differs between donors is taken out as it is
            design = Design(design.sample, design.side, None, paired=True)
    if not design.is_estimable():
        raise Refusal(
            f"group {name!r}: what differs between it and its reference cannot be told from what differs between "
            f"batches of adata.obs[{batch_key!r}]: each batch has samples of one side, or there are too few samples "
            "for so many batches",
            "samples_confounded",
            group=name,
            column=batch_key,
        )
    return design, profile


def _batch_of(
    name: str, profile: np.ndarray, sample: np.ndarray, batch: np.ndarray, sample_key: str, batch_key: str
) -> np.ndarray:
    """The one batch of each profile."""
    column = f"adata.obs[{sample_key!r}]"
    of_cells = pd.DataFrame({"profile": profile, "sample": sample, "batch": batch})[profile >= 0]
    grouped = of_cells.groupby("profile")
    several = grouped["batch"].nunique() > 1
    if several.any():
        names = sorted(set(grouped["sample"].first()[several]))
        raise Refusal(
            f"group {name!r}: {len(names):,} sample(s) of {column} have cells of several batches of "
            f"adata.obs[{batch_key!r}] ({some(names)}), but cells that are summed have to be of one batch. "
            "Leave batch_key out, or name samples that are of one batch each",
            "several_batches_in_sample",
            group=name,
            column=batch_key,
            sample_column=sample_key,
            n=len(names),
            names=first_few(names),
        )
    return grouped["batch"].first().to_numpy()


def _summed(counts: sp.csr_array, profile: np.ndarray, n_profiles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of the counts, numbers of cells with a count (n_profiles, n_genes), and of cells (n_profiles,)."""
    cell = np.flatnonzero(profile >= 0)
    which = sp.csr_array((np.ones(len(cell)), (profile[cell], cell)), shape=(n_profiles, len(profile)))
    sums = np.rint((which @ counts.astype(np.float64)).toarray()).astype(np.int64)
    seen = counts.copy()
    seen.data = (seen.data > 0).astype(np.float64)
    return sums, (which @ seen).toarray(), np.bincount(profile[cell], minlength=n_profiles)


def tested(sums: np.ndarray, design: Design, genes: np.ndarray) -> pd.DataFrame:
    """pydeseq2's test of the difference between the sides, of the genes with enough counts.

    Parameters
    ----------
    sums
        Summed counts, whole, (n_profiles, n_genes).
    genes
        Their names, (n_genes,).

    Returns
    -------
    Columns ``gene``, ``log2fc``, ``log2fc_error``, ``p``, ``q`` and ``score`` (Wald's statistic), in the order of the
    genes. As DESeq2 has it, p is NaN for a gene with an outlier, and q also for one with few counts.
    """
    enough = (sums >= COUNTS).sum(0) >= np.bincount(design.side, minlength=2).min()
    if enough.sum() < 2:
        raise Refusal(
            f"{enough.sum():,} of {len(genes):,} genes have {COUNTS} or more counts in enough samples to be compared: "
            "two or more are needed",
            "too_few_genes_to_compare",
            n=int(enough.sum()),
            n_genes=len(genes),
            least=COUNTS,
        )
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.ds import DeseqStats

    terms = design.terms()
    columns = [f"g{i}" for i in np.flatnonzero(enough)]
    with warnings.catch_warnings():  # which trend it fits to the dispersions, and what its own packages deprecate
        warnings.simplefilter("ignore")
        data = DeseqDataSet(
            counts=pd.DataFrame(sums[:, enough], index=terms.index, columns=columns),
            metadata=terms,
            design="~" + " + ".join(terms.columns),
            quiet=True,
            n_cpus=1,
        )
        data.deseq2()
        stats = DeseqStats(data, contrast=["side", "l1", "l0"], quiet=True, n_cpus=1)
        stats.summary()
    found = stats.results_df.loc[columns]
    return pd.DataFrame(
        {
            "gene": genes[enough],
            "log2fc": found["log2FoldChange"].to_numpy(),
            "log2fc_error": found["lfcSE"].to_numpy(),
            "p": found["pvalue"].to_numpy(),
            "q": found["padj"].to_numpy(),
            "score": found["stat"].to_numpy(),
        }
    )
