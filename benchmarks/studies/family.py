"""The whole family on the same cells and genes: Table 2 and Figures 2 to 6 of Mondal et al. (2021).

    PYTHONPATH=benchmarks python benchmarks/studies/family.py --data DIR [--datasets NAME ...] [--presets default ...]
                                      [--latent 2 10 20] [--seeds 5] [--cells N] [--tables-only] [--out results.csv]
                                      [--markdown tables.md] [--figure scores.png] [--maps DIR]

DIR holds h5ad files with raw counts in X and labels in obs["cell_type"]. For each data set, preset, latent size and
seed the preset is trained with its own settings on all cells and scored by k-means with the true number of classes.
Two sets of scores come of it: *honest*, of the model that training ended with, chosen without labels; and *oracle*, the
best by NMI of that and of the model at every twentieth of the longest training, chosen by the labels, which is how the
paper's figures were made. Clustering presets estimate their number of clusters. Seconds are those of the training
steps. One row per (data set, preset, latent size, seed) is appended as soon as it is there; rows that are there already
are not computed again, so processes with different --datasets may share a file (with another --cells give another one).
With --tables-only nothing is trained: tables and figures are of the rows that are there.

--maps draws the cells of every data set into a folder, seed 0: two dimensions of each preset side by side, and PCA,
t-SNE and UMAP of ten. Embeddings are kept in the folder; one that is not there yet is trained for, row or no row.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import anndata
import matplotlib as mpl
import numpy as np
import pandas as pd
import scanpy as sc
from experiment import command, loader, measured_already, options, resumed, uninterrupted
from figures import save
from oracle import SNAPSHOTS, Oracle
from report import ranking
from tables import in_common, markdown, mean_and_spread, publish

import scrae
from scrae.autoencoder.presets import PRESETS

mpl.use("Agg")
import matplotlib.pyplot as plt

KEYS = ["dataset", "preset", "n_latent", "seed"]
SCORES = ("NMI", "ARI")
Watch = Callable[[int, int, dict[str, float]], None]

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

`make bench-family` (`benchmarks/studies/family.py`; every run in `{file}`): each preset as published, on {cells}
and the same {n_genes} genes (`{genes}`), k-means with the true number of classes. Scores are means over the data sets
and seeds that all presets have, ± their standard deviation over seeds. *Honest* is the model that training ended with,
no label used. *Oracle* is the best by NMI of {snapshots} epochs evenly spaced over the longest training and of the
final model, chosen by the labels: published figures are of that kind, and no user can have them. *Published* is the
paper's Table 2, on ten data sets of its own. *Ahead by* is the lead of `default` in honest NMI, paired by data set,
with a 95 % bootstrap interval over data sets; wins and losses are data sets where it is more than 0.005.
"""


def fit(model: scrae.SCRAE, adata: anndata.AnnData, max_epochs: int | None, on_epoch: Watch | None = None) -> None:
    """Train a model; of a training that diverges the best state is kept."""
    with warnings.catch_warnings(), suppress(scrae.TrainingDiverged):
        warnings.filterwarnings("ignore", message="a loss stopped being finite", category=RuntimeWarning)
        model.fit(adata, max_epochs=max_epochs, on_epoch=on_epoch)


def measure(
    adata: anndata.AnnData, preset: str, n_latent: int, seed: int, max_epochs: int | None
) -> tuple[dict[str, object], np.ndarray]:
    """Scores of one training, honest and by the oracle, and its embedding."""
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    model = scrae.SCRAE(preset, n_latent=n_latent, random_state=seed, verbose=False)

    def scored() -> dict[str, float]:
        clusters = scrae.metrics.kmeans(model.embed()[:, : model.settings.n_latent], len(set(labels)), seed)
        return scrae.metrics.scores(labels, clusters)

    oracle = Oracle(scored)
    fit(model, adata, max_epochs, oracle.watch)
    honest = scored()
    _, best = oracle.best(model.summary["epochs"], honest)
    row: dict[str, object] = {score: honest[score] for score in SCORES}
    row |= {"oracle_NMI": best["NMI"], "training_seconds": float(model.history["seconds"].sum())}
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
        len(SCORES), len(sizes), figsize=(1 + 3 * len(sizes), 6), sharex=True, sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    order = results.groupby("preset")["NMI"].mean().sort_values().index
    for column, n_latent in zip(axes.T, sizes, strict=True):
        of_size = common(results[results["n_latent"] == n_latent])
        for axis, score in zip(column, SCORES, strict=True):
            honest = of_size.groupby(["preset", "seed"])[score].mean().groupby("preset")
            spread = honest.std().reindex(order).fillna(0.0)
            axis.barh(range(len(order)), honest.mean().reindex(order), xerr=spread, color="tab:blue", label="honest")
            axis.set_title(f"{score}, latent size {n_latent}", fontsize=9)
            axis.set_yticks(range(len(order)), order, fontsize=7)
        oracle = of_size.groupby("preset")["oracle_NMI"].mean().reindex(order)
        column[0].plot(oracle, range(len(order)), "|", color="tab:red", markersize=9, markeredgewidth=2, label="oracle")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    save(fig, path)


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
    save(fig, path, dpi=80)


def projections(embedding: np.ndarray) -> dict[str, np.ndarray]:
    """PCA, t-SNE and UMAP of an embedding, each (n_cells, 2)."""
    adata = anndata.AnnData(embedding)
    sc.pp.pca(adata, n_comps=2)
    sc.tl.tsne(adata, use_rep="X", random_state=0)
    sc.pp.neighbors(adata, use_rep="X", random_state=0)
    sc.tl.umap(adata, random_state=0)
    return {"PCA": adata.obsm["X_pca"], "t-SNE": adata.obsm["X_tsne"], "UMAP": adata.obsm["X_umap"]}


def main() -> None:
    parser = command(__doc__, "family", folder="benchmarks/studies/results", n_genes=720)  # the paper's number of genes
    parser.add_argument("--presets", nargs="*", default=list(PRESETS))
    parser.add_argument("--latent", type=int, nargs="*", default=[2, 10, 20])
    parser.add_argument("--genes", default="hvg")
    parser.add_argument("--cells", type=int, help="of each data set at most so many, drawn at random (default: all)")
    parser.add_argument("--max-epochs", type=int, help="for a quick look (default: the preset's)")
    parser.add_argument("--tables-only", action="store_true", help="of the rows that are there; nothing is trained")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--maps", type=Path, help="folder for maps of cells, with the embeddings that they are made of")
    typed = options(parser)

    wanted: list[tuple[object, ...]] = [
        (name, preset, n_latent, seed)
        for seed in range(typed.seeds)  # so that what is there after some hours is a table
        for name in typed.datasets
        for preset in typed.presets
        for n_latent in typed.latent
    ]
    maps = None if typed.maps is None else typed.maps / typed.out.stem

    load = loader(typed.data, typed.n_genes, typed.genes, n_cells=typed.cells)

    def kept(folder: Path, name: str, preset: str, n_latent: int) -> Path:
        return folder / "embeddings" / f"{name}-{preset}-{n_latent}.npy"

    def keep(folder: Path, name: str, preset: str, n_latent: int, embedding: np.ndarray) -> None:
        path = kept(folder, name, preset, n_latent)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, embedding)

    def one(name: str, preset: str, n_latent: int, seed: int) -> dict[str, object]:
        row, embedding = uninterrupted(lambda: measure(load(name), preset, n_latent, seed, typed.max_epochs))
        if maps is not None and seed == 0:
            keep(maps, name, preset, n_latent, embedding)
        return row

    def embeddings(folder: Path, name: str, n_latent: int) -> dict[str, np.ndarray]:
        """Of each preset with seed 0; one that is not there is trained for, unless nothing may be."""
        for preset in typed.presets:
            if not (kept(folder, name, preset, n_latent).exists() or typed.tables_only):
                model = scrae.SCRAE(preset, n_latent=n_latent, random_state=0, verbose=False)
                uninterrupted(partial(fit, model, load(name), typed.max_epochs))
                keep(folder, name, preset, n_latent, model.embed())
        files = {preset: kept(folder, name, preset, n_latent) for preset in typed.presets}
        return {preset: np.load(file) for preset, file in files.items() if file.exists()}

    if typed.tables_only:
        results = measured_already(typed.out, KEYS, wanted)
    else:
        # Four digits: the differences between seeds are in the second.
        results = resumed(typed.out, KEYS, wanted, one, float_format="%.4g")

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
    if typed.figure is not None:
        draw_scores(results, typed.figure)
    if maps is not None:
        for name in typed.datasets:
            labels = load(name).obs["cell_type"].astype(str).to_numpy()
            flat = embeddings(maps, name, 2) if 2 in typed.latent else {}
            if flat:
                draw_maps(flat, labels, f"{name}: latent size 2", maps / f"latent2_{name}.png")
            deep = embeddings(maps, name, 10) if 10 in typed.latent else {}
            three = {
                f"{preset}: {kind}": points
                for preset, embedding in deep.items()
                for kind, points in projections(embedding).items()
            }
            if three:
                draw_maps(three, labels, f"{name}: latent size 10", maps / f"latent10_{name}.png", columns=6)


if __name__ == "__main__":
    main()
