"""The whole family on the same cells and genes: Table 2 and Figures 2 to 6 of Mondal et al. (2021).

    python benchmarks/family.py --data DIR [--datasets NAME ...] [--presets default scvi ...] [--latent 2 10 20]
                                [--seeds 5] [--cells N] [--tables-only]
                                [--out results.csv] [--markdown tables.md] [--figures DIR]

DIR holds h5ad files with raw counts in X and labels in obs["cell_type"]. For each data set, preset, latent size and
seed the preset is trained with its own settings on all cells and scored by k-means with the true number of classes.
Two sets of scores come of it: *honest*, of the model that training ended with, chosen without labels; and *oracle*, the
best by NMI of that and of the model at every twentieth of the longest training, chosen by the labels, which is how the
paper's figures were made. Clustering presets estimate their number of clusters. Seconds are those of the training
steps. One row per (data set, preset, latent size, seed) is appended as soon as it is there; rows that are there already
are not computed again, so processes with different --datasets may share a file (with another --cells give another one).
With --tables-only nothing is trained: tables and figures are of the rows that are there. Figures are of the runs with
seed 0, bars of all.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import anndata
import matplotlib as mpl
import numpy as np
import pandas as pd
import scanpy as sc
from experiment import command, loader, measured_already, options, resumed, uninterrupted
from oracle import SNAPSHOTS, Oracle
from PIL import Image
from report import ranking
from tables import in_common, markdown, mean_and_spread, publish

import scrae
from scrae.autoencoder.presets import PRESETS
from scrae.metrics import SCORES

mpl.use("Agg")
import matplotlib.pyplot as plt

KEYS = ["dataset", "preset", "n_latent", "seed"]

# Mean NMI over ten data sets, best epoch by the labels, by latent size (Table 2 of the paper).
PUBLISHED = {
    "reference": {2: 0.6975, 10: 0.7093, 20: 0.7126},
    "sczidesk": {2: 0.6259, 10: 0.6427, 20: 0.6489},
    "scvae": {2: 0.5755, 10: 0.5887, 20: 0.6132},
    "scdeepcluster": {2: 0.5808, 10: 0.6139, 20: 0.6277},
    "dr_a": {2: 0.6441, 10: 0.6744, 20: 0.6823},
    "saucie": {2: 0.4450, 10: 0.4826, 20: 0.4787},
    "scvi": {2: 0.6164, 10: 0.6271, 20: 0.6405},
}

INTRODUCTION = """# Every model of the field, as a preset

`make bench-family` (`benchmarks/family.py`; every run in `{file}`): each preset as published, on {cells} and the
same {n_genes} genes (`{genes}`), k-means with the true number of classes; means over the data sets and seeds that all
presets have, ± their standard deviation over seeds. *Honest* is the model that training ended with, no label used;
*oracle* the best by NMI of {snapshots} epochs evenly spaced over the longest training and of the final model, chosen
by the labels: published figures are of that kind, and no user can have them. *Published* is the paper's Table 2, on
ten data sets of its own. *Ahead by* is the lead of `default` in honest NMI, paired by data set, with a 95 % bootstrap
interval over data sets; wins and losses are data sets where it is more than 0.005.
"""


def measure(
    adata: anndata.AnnData, preset: str, n_latent: int, seed: int, max_epochs: int | None
) -> tuple[dict[str, object], np.ndarray]:
    """Scores of one training, honest and by the oracle, and its embedding."""
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    model = scrae.SCRAE(preset, n_latent=n_latent, random_state=seed, verbose=False)

    def scored() -> dict[str, float]:
        clusters = scrae.metrics.kmeans(model.embed(), len(set(labels)), seed)
        return scrae.metrics.scores(labels, clusters)

    oracle = Oracle(scored)
    stop_reason = None
    started = time.perf_counter()
    try:
        model.fit(adata, max_epochs=max_epochs, on_epoch=oracle.watch)
    except scrae.TrainingDiverged:  # the best model so far is kept, and scored
        stop_reason = "diverged"
    seconds = time.perf_counter() - started
    honest, last = scored(), model.summary["epochs"]
    best_epoch, best = oracle.best(last, honest)
    row: dict[str, object] = {"cells": adata.n_obs, "genes": adata.n_vars, "classes": len(set(labels))}
    row |= {score: honest[score] for score in SCORES}
    row |= {f"oracle_{score}": best[score] for score in SCORES}
    row |= {
        "oracle_epoch": best_epoch,
        "epochs": last,
        "stop_reason": stop_reason or model.summary["stop_reason"],
        "training_seconds": float(model.history["seconds"].sum()),
        "seconds_with_scores": seconds,
    }
    return row, model.embed()


def over_datasets(results: pd.DataFrame, score: str) -> pd.Series:
    """Mean over data sets for each seed, then mean and spread over seeds, as text by preset."""
    per_seed = results.groupby(["preset", "seed"])[score].mean()
    return per_seed.groupby("preset").agg(mean_and_spread)


def common(results: pd.DataFrame) -> pd.DataFrame:
    """Rows of the data sets that every preset has, with the seeds that all of those have."""
    complete = in_common(results, "preset")
    trainings = complete.groupby("seed").size()
    return complete[complete["seed"].isin(trainings.index[trainings == trainings.max()])]


def table(results: pd.DataFrame, n_latent: int) -> str:
    """Presets by scores for one latent size, honest and oracle, the published one, seconds, and the default's lead."""
    cells = pd.DataFrame({f"{score}, honest": over_datasets(results, score) for score in SCORES})
    cells["NMI, *oracle*"] = over_datasets(results, "oracle_NMI")
    cells["NMI, *published*"] = pd.Series(
        {preset: f"{by_size[n_latent]:.3f}" for preset, by_size in PUBLISHED.items() if n_latent in by_size}
    )
    cells["seconds, median"] = results.groupby("preset")["training_seconds"].median().map("{:.0f}".format)
    if "default" in set(results["preset"]):
        leads = ranking(results.rename(columns={"preset": "method"}), "NMI", against="default")
        cells = cells.join(leads[["default ahead by", "95 % interval", "wins / draws / losses"]])
    order = results.groupby("preset")["NMI"].mean().sort_values(ascending=False).index
    return markdown(cells.loc[order], "preset")


def per_dataset(results: pd.DataFrame) -> str:
    """Data sets by presets: NMI, honest / oracle."""
    groups = results.groupby(["dataset", "preset"])
    text = groups["NMI"].agg(mean_and_spread) + " / *" + groups["oracle_NMI"].agg(mean_and_spread) + "*"
    return markdown(text.unstack("preset"), "honest / *oracle* NMI")


def draw_scores(results: pd.DataFrame, path: Path) -> None:
    """A panel for each score and latent size: a bar with its spread over seeds for each preset, oracle as a line."""
    sizes = sorted(results["n_latent"].unique())
    fig, axes = plt.subplots(
        len(sizes), len(SCORES), figsize=(15, 1 + 2.6 * len(sizes)), sharex=True, sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    order = results.groupby("preset")["NMI"].mean().sort_values().index
    for row, n_latent in zip(axes, sizes, strict=True):
        of_size = common(results[results["n_latent"] == n_latent])
        for axis, score in zip(row, SCORES, strict=True):
            honest = of_size.groupby(["preset", "seed"])[score].mean().groupby("preset")
            oracle = of_size.groupby("preset")[f"oracle_{score}"].mean().reindex(order)
            spread = honest.std().reindex(order).fillna(0.0)
            axis.barh(range(len(order)), honest.mean().reindex(order), xerr=spread, color="tab:blue", label="honest")
            axis.plot(oracle, range(len(order)), "|", color="tab:red", markersize=9, label="oracle")
            axis.set_title(f"{score}, latent {n_latent}", fontsize=9)
            axis.set_yticks(range(len(order)), order, fontsize=7)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    fig.savefig(path, dpi=150)
    plt.close(fig)


def draw_maps(maps: dict[str, np.ndarray], labels: np.ndarray, title: str, path: Path, columns: int = 4) -> None:
    """Two-dimensional maps side by side, cells coloured by their label."""
    rows = -(-len(maps) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(2.5 * columns, 2.5 * rows), squeeze=False, layout="constrained")
    codes, types = pd.factorize(labels, sort=True)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (name, points) in zip(axes.flat, maps.items(), strict=False):
        dots = axis.scatter(*points.T, c=codes, s=2, cmap="tab20", linewidths=0)
        axis.set_title(name, fontsize=9)
    colours = dots.legend_elements(num=None)[0]
    fig.legend(colours, types, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    fig.suptitle(title)
    fig.savefig(path, dpi=80)
    plt.close(fig)
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)  # a third of the bytes, as the eye sees it


def projections(embedding: np.ndarray) -> dict[str, np.ndarray]:
    """PCA, t-SNE and UMAP of an embedding, each (n_cells, 2)."""
    adata = anndata.AnnData(embedding)
    sc.pp.pca(adata, n_comps=2)
    sc.tl.tsne(adata, use_rep="X", random_state=0)
    sc.pp.neighbors(adata, use_rep="X", random_state=0)
    sc.tl.umap(adata, random_state=0)
    return {"PCA": adata.obsm["X_pca"], "t-SNE": adata.obsm["X_tsne"], "UMAP": adata.obsm["X_umap"]}


def main() -> None:
    parser = command(__doc__, "family", n_genes=720)  # the paper's number of genes
    parser.add_argument("--presets", nargs="*", default=list(PRESETS))
    parser.add_argument("--latent", type=int, nargs="*", default=[2, 10, 20])
    parser.add_argument("--genes", default="hvg")
    parser.add_argument("--cells", type=int, help="of each data set at most so many, drawn at random (default: all)")
    parser.add_argument("--max-epochs", type=int, help="for a quick look (default: the preset's)")
    parser.add_argument("--tables-only", action="store_true", help="of the rows that are there; nothing is trained")
    parser.add_argument("--figures", type=Path, help="folder; embeddings of seed 0 are kept in embeddings/ in it")
    typed = options(parser)

    wanted: list[tuple[object, ...]] = [
        (name, preset, n_latent, seed)
        for seed in range(typed.seeds)  # so that what is there after some hours is a table
        for name in typed.datasets
        for preset in typed.presets
        for n_latent in typed.latent
    ]
    kept = None if typed.figures is None else typed.figures / "embeddings"

    load = loader(typed.data, typed.n_genes, typed.genes, n_cells=typed.cells)

    def one(name: str, preset: str, n_latent: int, seed: int) -> dict[str, object]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="a loss stopped being finite", category=RuntimeWarning)
            row, embedding = uninterrupted(lambda: measure(load(name), preset, n_latent, seed, typed.max_epochs))
        if kept is not None and seed == 0:
            kept.mkdir(parents=True, exist_ok=True)
            np.save(kept / f"{name}-{preset}-{n_latent}.npy", embedding)
        return row

    results = measured_already(typed.out, KEYS, wanted) if typed.tables_only else resumed(typed.out, KEYS, wanted, one)

    parts = [
        INTRODUCTION.format(
            file=typed.out.name, n_genes=typed.n_genes, genes=typed.genes,
            cells="all cells" if typed.cells is None else f"at most {typed.cells:,} random cells",
            snapshots=SNAPSHOTS,
        )
    ]  # fmt: skip
    for n_latent in typed.latent:
        of_size = results[results["n_latent"] == n_latent]
        complete = common(of_size)
        names = ", ".join(sorted(set(complete["dataset"])))
        parts += [f"## Latent size {n_latent}", f"Data sets: {names}. Seeds: {complete['seed'].nunique()}."]
        parts += [table(complete, n_latent)]
        parts += [f"### Each data set, latent size {n_latent}", per_dataset(of_size)]
    text = "\n\n".join(part.strip() for part in parts)
    publish(text, typed.markdown)
    if kept is not None:

        def figure(of: str) -> Path:
            path: Path = typed.figures / f"{typed.out.stem}_{of}.png"
            return path

        draw_scores(results, figure("scores"))
        for name in typed.datasets:
            labels = load(name).obs["cell_type"].astype(str).to_numpy()
            files = {
                (preset, n_latent): kept / f"{name}-{preset}-{n_latent}.npy"
                for preset in typed.presets
                for n_latent in typed.latent
            }
            flat = {preset: np.load(f) for (preset, size), f in files.items() if size == 2 and f.exists()}
            if flat:
                draw_maps(flat, labels, f"{name}: latent size 2", figure(f"latent2_{name}"))
            deep = {preset: np.load(f) for (preset, size), f in files.items() if size == 10 and f.exists()}
            maps = {
                f"{preset}: {kind}": points
                for preset, embedding in deep.items()
                for kind, points in projections(embedding).items()
            }
            if maps:
                draw_maps(maps, labels, f"{name}: latent size 10", figure(f"latent10_{name}"), columns=6)


if __name__ == "__main__":
    main()
