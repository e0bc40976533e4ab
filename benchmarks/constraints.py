"""What some labels are worth as pairs of cells that belong together or not, beside a classifier that learns them.

    python benchmarks/constraints.py --data DIR [--datasets NAME ...] [--shares 0.01 0.05 0.1] [--seeds 5]
                                     [--cells 1000] [--methods ...] [--peer PYTHON] [--out constraints.csv]
                                     [--markdown constraints.md] [--tables-only]

DIR holds h5ad files with raw counts in X and types in obs["cell_type"]. A share of all cells, drawn with the seed,
keeps its label; all scores are of the other cells. Methods:

- ``default`` and ``scdcc``: the presets, told pairs of the labelled cells (``fit(labels_key=)``), then k-means with the
  true number of types on the embedding, of all cells; ``default_codes``: of the codes; ``default_clusters``:
  :func:`scrae.tl.cluster` on the embedding, which is not told the number;
- ``labels``: the default model told nothing, then :meth:`scrae.SCRAE.fit_labels`; the prediction stands for clusters;
- ``scanvi`` (with ``--peer``): SCANVI of scvi-tools, whose prediction does; one seed.

A share of 0 is the presets without pairs. One row per (data set, share, method, seed); rows that are there already are
not computed again. With --tables-only nothing is trained.
"""

from __future__ import annotations

import warnings
from functools import lru_cache

import anndata
import numpy as np
import pandas as pd
from experiment import ask_peer, command, loader, measured_already, options, resumed
from tables import markdown, mean_and_spread, publish

import scrae

KEYS = ["dataset", "share", "method", "seed"]
METHODS = ("default", "default_clusters", "default_codes", "labels", "scdcc", "scanvi")
OF_LABELS = ("labels", "scanvi")  # methods that are nothing without labels
SCORES = ("NMI", "ARI")
SMALLEST = 2  # cells with a label, so that there is a pair

INTRODUCTION = """# Some labels as pairs of cells

`make bench-constraints` (`benchmarks/constraints.py`; every run in `constraints.csv`): a share of the cells keeps its
label, from which pairs are made that belong together or do not (`fit(labels_key=)`). NMI / ARI of the cells without a
label, at most {cells:,} random cells of each data set, {n_genes} genes, up to {seeds} seeds (± is the standard
deviation over them). `default`, `default_codes` (the codes alone) and `scdcc`: k-means with the true number of types.
`default_clusters`: `scrae.tl.cluster`, which is not told the number. `labels`: the prediction of `fit_labels`, which
learns the same labels after a training without pairs; `scanvi`: that of SCANVI.
"""


def known(types: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which cells keep their label; of two types at least."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(types))
    labelled = order[: max(SMALLEST, round(share * len(types)))]
    if share and len(set(types[labelled])) == 1:
        labelled = np.append(labelled, order[types[order] != types[labelled[0]]][:1])
    return np.isin(np.arange(len(types)), labelled if share else [])


def clusters_of(adata: anndata.AnnData, method: str, seed: int, n_types: int, told: bool) -> np.ndarray:
    """Clusters of a model that is told pairs, or is not."""
    model = trained(adata, "scdcc" if method == "scdcc" else "default", seed, told)
    if method == "default_clusters":
        adata.obsm["X_scrae"] = model.embed()
        scrae.tl.cluster(adata, random_state=seed)
        return adata.obs["scrae_clusters"].astype(str).to_numpy()
    embedding = model.embed() if method == "default" else model.codes()
    return scrae.metrics.kmeans(embedding[:, : model.settings.n_latent], n_types, seed)


_trained: dict[tuple[object, ...], scrae.SCRAE] = {}


def trained(adata: anndata.AnnData, preset: str, seed: int, told: bool) -> scrae.SCRAE:
    """The model, told the pairs of ``obs["known"]`` or nothing; the last one is kept for what follows on the same."""
    key = preset, seed, adata.obs["known"].to_numpy().tobytes() if told else None, adata.obs_names[0], adata.n_obs
    if key not in _trained:
        _trained.clear()
        model = scrae.SCRAE(preset, random_state=seed, verbose=False)
        _trained[key] = model.fit(adata, labels_key="known" if told else None)
    return _trained[key]


def measure(adata: anndata.AnnData, share: float, method: str, seed: int, peer: str | None) -> dict[str, object]:
    types = adata.obs["cell_type"].astype(str).to_numpy()
    labelled = known(types, share, seed)
    adata.obs["known"] = np.where(labelled, types, "Unknown")
    if method == "scanvi":
        names = np.unique(types[labelled])
        untold = anndata.AnnData(adata.X, adata.obs[["known"]], adata.var)  # of no batches, as the others are
        found = names[ask_peer(untold, method, seed, peer)[0].argmax(1)]
    elif method == "labels":
        model = trained(adata, "default", seed, told=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of types with one cell
            found = model.fit_labels(adata, "known").predict(adata, unknown_rate=0.0)
    else:
        found = clusters_of(adata, method, seed, len(set(types)), told=bool(share))
    scores = scrae.metrics.scores(types[~labelled], found[~labelled])
    return {score: scores[score] for score in SCORES}


def table(results: pd.DataFrame) -> str:
    """Data sets and shares by methods, NMI / ARI; and means of the methods that all data sets have with a share."""
    text = (
        results.groupby(["dataset", "share", "method"])["NMI"].agg(mean_and_spread)
        + " / "
        + results.groupby(["dataset", "share", "method"])["ARI"].agg(mean_and_spread)
    )
    # Data sets may have different numbers of seeds.
    by_dataset = results.groupby(["share", "method", "dataset"])[list(SCORES)].mean()
    groups = by_dataset.groupby(["share", "method"])
    means = groups.mean()[groups.size() == results["dataset"].nunique()]
    mean = means["NMI"].map("{:.3f}".format) + " / " + means["ARI"].map("{:.3f}".format)
    whole = pd.concat([text, pd.concat({"**mean**": mean})]).unstack()
    whole = whole[[method for method in METHODS if method in whole]]
    whole.index = [f"{name}, {share:.0%}" for name, share in whole.index]
    return markdown(whole, "data set, share of labels")


def main() -> None:
    parser = command(__doc__, "constraints", n_genes=720, peer="scvi-tools")
    parser.add_argument("--methods", nargs="*", default=list(METHODS[:-1]), choices=METHODS)
    parser.add_argument("--shares", type=float, nargs="*", default=[0.01, 0.05, 0.1])
    parser.add_argument("--cells", type=int, default=1000, help="of each data set at most so many, drawn at random")
    parser.add_argument("--tables-only", action="store_true", help="of the rows that are there; nothing is trained")
    typed = options(parser)
    wanted: list[tuple[object, ...]] = [
        (name, share, method, seed)
        for seed in range(typed.seeds)
        for name in typed.datasets
        for methods in (("default", "default_clusters", "default_codes", "labels"), ("scdcc",), ("scanvi",))
        for share in [0.0, *typed.shares]
        for method in methods
        if method in typed.methods and (share or method not in OF_LABELS) and (method != "scanvi" or seed == 0)
    ]
    load = lru_cache(maxsize=1)(loader(typed.data, typed.n_genes, n_cells=typed.cells))
    if typed.tables_only:
        results = measured_already(typed.out, KEYS, wanted)
    else:
        results = resumed(typed.out, KEYS, wanted, lambda name, *which: measure(load(name), *which, peer=typed.peer))
    seeds = results["seed"].nunique()
    publish(
        INTRODUCTION.format(cells=typed.cells, n_genes=typed.n_genes, seeds=seeds) + "\n" + table(results),
        typed.markdown,
    )


if __name__ == "__main__":
    main()
