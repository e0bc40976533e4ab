"""How the choice of genes moves the clustering: Tables 3 and 5 of Mondal et al. (2021) on the data at hand.

    PYTHONPATH=benchmarks python benchmarks/studies/genes_accuracy.py --data DIR [--datasets NAME ...]
                                      [--selections hvg m3drop ...] [--n-top 720] [--numbers 500 600 ...] [--seeds 5]
                                      [--out results.csv] [--markdown tables.md]

DIR holds h5ad files with raw counts in X and labels in obs["cell_type"]. For each data set, choice of genes and seed
the default model is trained once, on all cells, and scored by NMI (geometric mean) of k-means with the true number of
classes. Two figures come of it: *honest*, of the model that training ended with, chosen without labels; and *oracle*,
the best of that and of the model as it was at every twentieth of the longest training, chosen by the labels, which is
how the paper's figures were made. A choice with as many genes as the data set has, or more, is left out. One row per
(data set, selection, number of genes, seed) is appended as soon as it is there; rows that are there already are not
computed again, so processes with different --datasets may share a file.
"""

from __future__ import annotations

import time
import warnings
from functools import lru_cache
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from experiment import command, options, resumed
from oracle import SNAPSHOTS, Oracle
from tables import markdown, mean_and_spread, publish

import scrae

KEYS = ["dataset", "selection", "n_top", "seed"]
DATASETS = ("klein_1000", "baron_human2_4", "zeisel_1799", "han_bladder_2100")  # the paper's that are at hand
SELECTIONS = ("hvg", "m3drop", "danb", "scmarker", "all")
SMALL = 5000  # genes, up to which "all" of them are a choice

INTRODUCTION = """# NMI by the choice of genes

`make bench-genes-accuracy` (`benchmarks/studies/genes_accuracy.py`; every run in `genes_accuracy.csv`): the default
model on all cells, k-means with the true number of classes, NMI (geometric mean), mean ± standard deviation over
{seeds} seeds. In each cell first the honest figure, of the model that training ended with, no label used; then the
*oracle*, the best of {snapshots} epochs evenly spaced over the longest training and of the final model, chosen by the
labels. Published figures are of this kind, and no user can have them. `-`: the data have no more genes than that, or
no gene passes.
"""


@lru_cache(maxsize=1)
def load(path: Path) -> anndata.AnnData:
    return anndata.read_h5ad(path)


@lru_cache(maxsize=1)
def chosen_genes(path: Path, selection: str, n_top: int) -> np.ndarray:
    """Boolean per gene; none where no gene passes."""
    adata = load(path)
    if selection == "all":
        return np.ones(adata.n_vars, dtype=bool)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # fewer markers than asked, read counts: as published
            scrae.pp.select_genes(adata, selection, n_top, verbose=False)
    except ValueError:
        return np.zeros(adata.n_vars, dtype=bool)
    return adata.var["scrae_selected"].to_numpy()


def measure(path: Path, selection: str, n_top: int, seed: int, max_epochs: int | None) -> dict[str, object]:
    """NMI of one training, honest and by the oracle; missing where no gene passes."""
    adata, genes = load(path), chosen_genes(path, selection, n_top)
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    model = scrae.SCRAE(random_state=seed, verbose=False)

    def scored() -> dict[str, float]:
        clusters = scrae.metrics.kmeans(model.embed()[:, : model.settings.n_latent], len(set(labels)), seed)
        return scrae.metrics.scores(labels, clusters)

    oracle = Oracle(scored)
    row: dict[str, object] = {"cells": adata.n_obs, "genes": genes.sum(), "honest": np.nan, "oracle": np.nan}
    if not genes.any():
        return row | {"oracle_epoch": 0, "epochs": 0, "stop_reason": "no gene passes", "seconds": 0.0}
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* cells have no count in the .* modelled genes")
        model.fit(adata, genes=genes, max_epochs=max_epochs, on_epoch=oracle.watch)
    honest = scored()
    best_epoch, best = oracle.best(model.summary["epochs"], honest)
    return row | {
        "honest": honest["NMI"],
        "oracle": best["NMI"],
        "oracle_epoch": best_epoch,
        "epochs": model.summary["epochs"],
        "stop_reason": model.summary["stop_reason"],
        "seconds": time.perf_counter() - started,
    }


def table(results: pd.DataFrame, by: str, order: list[object]) -> str:
    """Honest figures, then the oracle's: data sets by choices, and means of the choices that all data sets have."""
    results = results.dropna(subset="honest")
    groups = results.groupby(["dataset", by])
    text = groups["honest"].agg(mean_and_spread) + " / *" + groups["oracle"].agg(mean_and_spread) + "*"
    present = set(results["dataset"])
    names = [*(name for name in DATASETS if name in present), *sorted(present - set(DATASETS))]
    order = [choice for choice in order if choice in set(results[by])]
    cells = text.unstack(by).reindex(index=names, columns=order)
    means = groups[["honest", "oracle"]].mean().unstack(by)
    cells.loc["**mean**"] = [
        f"{means['honest', choice].mean():.3f} / *{means['oracle', choice].mean():.3f}*"
        if means["honest", choice].notna().all()
        else None
        for choice in order
    ]
    return markdown(cells, "honest / *oracle*")


def main() -> None:
    parser = command(__doc__, "genes_accuracy", folder="benchmarks/studies/results", datasets=DATASETS, n_genes=None)
    parser.add_argument("--selections", nargs="*", default=SELECTIONS, help='methods of select_genes, and "all"')
    parser.add_argument(
        "--n-top", type=int, nargs="*", default=[720], help="genes of each method (default: the paper's)"
    )
    parser.add_argument("--numbers", type=int, nargs="*", default=[500, 600, 700, 800, 900, 1000, 2000, 5000])
    parser.add_argument("--max-epochs", type=int, help="for a quick look (default: the model's)")
    typed = options(parser)

    wanted: list[tuple[object, ...]] = []
    for name in typed.datasets:
        n_genes = anndata.read_h5ad(typed.data / f"{name}.h5ad", backed="r").n_vars
        choices = [(selection, n) for n in typed.n_top for selection in typed.selections if selection != "all"]
        choices += [("hvg", n) for n in typed.numbers]
        choices = [(selection, n) for selection, n in dict.fromkeys(choices) if n < n_genes]
        if "all" in typed.selections and n_genes <= SMALL:
            choices.append(("all", n_genes))
        wanted += [(name, *choice, seed) for choice in choices for seed in range(typed.seeds)]

    def one(name: str, selection: str, n_top: int, seed: int) -> dict[str, object]:
        return measure(typed.data / f"{name}.h5ad", selection, n_top, seed, typed.max_epochs)

    results = resumed(typed.out, KEYS, wanted, one)

    parts = [INTRODUCTION.format(seeds=typed.seeds, snapshots=SNAPSHOTS)]
    for n_top in typed.n_top:
        shown = results[(results["n_top"] == n_top) | (results["selection"] == "all")]
        parts += [f"## By method, {n_top:,} genes (the paper's Table 3)", table(shown, "selection", typed.selections)]
    if typed.numbers:
        shown = results[(results["selection"] == "hvg") & results["n_top"].isin(typed.numbers)]
        parts += ["## By number of genes, `hvg` (the paper's Table 5)", table(shown, "n_top", typed.numbers)]
    text = "\n\n".join(part.strip() for part in parts)
    publish(text, typed.markdown)


if __name__ == "__main__":
    main()
