"""Differential expression: false discoveries, and power at few cells, on sorted cells.

    python benchmarks/differential.py --data DIR [--datasets NAME ...] [--methods scrae wilcoxon ...] [--seeds 5]
                                      [--peer PYTHON] [--out differential.csv] [--markdown differential.md]

Each DIR/NAME.h5ad holds raw counts in X and sorted types in obs["cell_type"]. Designs, each drawn with the seed:

- ``permuted``: 200 against 200 cells drawn from all types, their groups permuted: nothing differs;
- ``shuffled``: all cells of ``--one`` against as many of other types, with the counts of a fifth of the genes shuffled
  over these cells before anything else: these genes do not differ, the others may;
- ``power N``: N cells of ``--one`` against N of ``--other``, in a data set of these and 1,000 cells of the remaining
  types. The truth is what scanpy's Wilcoxon finds at q <= 0.01 with all cells of the two types, sizes are scanpy's
  log2 fold changes from these.

Methods: ``scrae`` (the default model, trained on the cells of the design without their groups, then
scrae.tl.differential_expression), ``wilcoxon`` (scanpy, as it comes), and with ``--peer`` ``scvi_de`` (SCVI of
scvi-tools and its differential expression, as they come), with one seed. Columns: genes called (q <= 0.05; for scVI
its own call at an FDR of 0.05), how many of these are true (``power``) or false (``permuted``, ``shuffled``),
``small_p``, the share of p <= 0.05 among the genes that do not differ, ``small_model_p``, the same by the denoised
means alone, and the correlation of log2 fold changes with those of all cells over the true genes. One row per (data
set, design, method, seed); rows that are there already are not computed again.
"""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse as sp
from experiment import ask_peer, command, loader, options, resumed
from tables import by_method, publish

import scrae

KEYS = ["dataset", "design", "method", "seed"]
METHODS = ["scrae", "wilcoxon"]
DESIGNS = ["permuted", "shuffled", "power 25", "power 100"]
COLUMNS = ["called", "true", "false", "small_p", "small_model_p", "correlation"]
SHUFFLED = 0.2  # of the genes
OTHERS = 1000  # cells of other types in ``power``


def wilcoxon(adata: anndata.AnnData) -> pd.DataFrame:
    """Of "a" against "b" in obs["group"]: p, q, log2fc, by gene."""
    work = adata[adata.obs["group"].isin(["a", "b"])].copy()
    sc.pp.normalize_total(work)
    sc.pp.log1p(work)
    sc.tl.rank_genes_groups(work, "group", groups=["a"], reference="b", method="wilcoxon")
    found = sc.get.rank_genes_groups_df(work, "a").set_index("names").loc[adata.var_names]
    found = found.rename(columns={"pvals": "p", "pvals_adj": "q", "logfoldchanges": "log2fc"})
    return found.assign(called=found["q"] <= 0.05)


def tested(adata: anndata.AnnData, method: str, seed: int, peer: str | None) -> pd.DataFrame:
    """Columns called, log2fc, and p and model_p where there are any, by gene in the order of ``adata``."""
    if method == "wilcoxon":
        return wilcoxon(adata)
    if method == "scvi_de":
        called, _, log2fc = ask_peer(adata, method, seed, peer)[0].T
        return pd.DataFrame({"called": called.astype(bool), "log2fc": log2fc}, index=adata.var_names)
    model = scrae.SCRAE(random_state=seed, verbose=False).fit(adata)
    found = scrae.tl.differential_expression(adata, model, "group", groups=["a"], reference="b")
    found = found.set_index("gene").loc[adata.var_names]
    return found.assign(called=found["q"] <= 0.05)


def grouped(adata: anndata.AnnData, groups: dict[str, np.ndarray]) -> anndata.AnnData:
    """The cells of some groups, positions by name, with obs["group"]."""
    cells = np.concatenate(list(groups.values()))
    chosen = adata[cells].copy()
    chosen.obs["group"] = np.repeat(list(groups), [len(part) for part in groups.values()])
    return chosen


def designed(
    adata: anndata.AnnData, design: str, one: str, other: str, seed: int
) -> tuple[anndata.AnnData, np.ndarray]:
    """Cells with obs["group"] a, b or rest; which genes cannot differ (boolean, by gene)."""
    rng = np.random.default_rng(seed)
    types = adata.obs["cell_type"].astype(str).to_numpy()
    nothing = np.zeros(adata.n_vars, dtype=bool)
    kind, _, number = design.partition(" ")
    if kind == "permuted":
        a, b = np.split(rng.choice(adata.n_obs, 400, replace=False), 2)
        rest = np.setdiff1d(np.arange(adata.n_obs), np.r_[a, b])
        return grouped(adata, {"a": a, "b": b, "rest": rng.permutation(rest)[:OTHERS]}), ~nothing
    a, b = (rng.permutation(np.flatnonzero(which)) for which in (types == one, types == other))
    rest = rng.permutation(np.flatnonzero((types != one) & (types != other)))
    if kind == "power":
        n = int(number)
        return grouped(adata, {"a": a[:n], "b": b[:n], "rest": rest[:OTHERS]}), nothing
    b = rng.permutation(np.r_[b, rest])[: len(a)]
    cells = grouped(adata, {"a": a, "b": b})
    fixed = nothing.copy()
    fixed[rng.choice(adata.n_vars, round(SHUFFLED * adata.n_vars), replace=False)] = True
    counts = cells.X.toarray()
    counts[:, fixed] = rng.permuted(counts[:, fixed], axis=0)
    cells.X = sp.csr_matrix(counts)
    return cells, fixed


def truth(adata: anndata.AnnData, one: str, other: str) -> tuple[np.ndarray, np.ndarray]:
    """Which genes differ between all cells of two types, and by how much (log2 fold), by gene."""
    types = adata.obs["cell_type"].astype(str).to_numpy()
    found = wilcoxon(grouped(adata, {"a": np.flatnonzero(types == one), "b": np.flatnonzero(types == other)}))
    return (found["q"] <= 0.01).to_numpy(), found["log2fc"].to_numpy()


def measure(
    adata: anndata.AnnData, design: str, method: str, seed: int, one: str, other: str, peer: str | None
) -> dict[str, object]:
    cells, fixed = designed(adata, design, one, other, seed)
    found = tested(cells, method, seed, peer)
    called = found["called"].to_numpy()
    row: dict[str, object] = dict.fromkeys(COLUMNS, np.nan) | {"called": called.sum()}
    if fixed.any():
        row["false"] = (called & fixed).sum()
        for column, p in (("small_p", "p"), ("small_model_p", "model_p")):
            if p in found:
                row[column] = (found[p].to_numpy()[fixed] <= 0.05).mean()
    if design.startswith("power "):
        differ, size = truth(adata, one, other)
        row["true"] = (called & differ).sum()
        row["correlation"] = np.corrcoef(found["log2fc"].to_numpy()[differ], size[differ])[0, 1]
    return row


def main() -> None:
    parser = command(__doc__, "differential", datasets=["zheng_sorted_3874"], methods=METHODS, peer="scvi-tools")
    parser.add_argument("--one", default="CD19+ B")
    parser.add_argument("--other", default="CD56+ NK")
    parser.add_argument("--designs", nargs="*", default=DESIGNS)
    typed = options(parser)

    load = loader(typed.data, typed.n_genes)
    wanted = [
        (name, design, method, seed)
        for name in typed.datasets
        for design in typed.designs
        for method in typed.methods
        for seed in range(1 if method == "scvi_de" else typed.seeds)
    ]

    def one(name: str, design: str, method: str, seed: int) -> dict[str, object]:
        return measure(load(name), design, method, seed, typed.one, typed.other, typed.peer)

    results = resumed(typed.out, KEYS, wanted, one)
    publish(by_method(results, results["dataset"] + ", " + results["design"], COLUMNS), typed.markdown)


if __name__ == "__main__":
    main()
