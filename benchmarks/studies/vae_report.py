"""Does the plain autoencoder beat its variational kin? The experiment of a report on PBMC 3k, over seeds.

    PYTHONPATH=benchmarks python benchmarks/studies/vae_report.py --data DIR [--datasets pbmc3k_2638]
                                      [--methods ae beta_vae beta_vsc default] [--seeds 5] [--n-genes 2000]
                                      [--out results.csv] [--markdown table.md] [--figure heatmap.png]

"Variational autoencoders for single-cell transcriptomics data" (okunator/Variational-Autoencoders) trains an
autoencoder, a beta-VAE and a beta-VSC on scaled counts (200 epochs of 256 cells, 6 latent dimensions, beta 2), brings
each latent space to two dimensions by t-SNE with perplexity 40, clusters those with k-means, and finds the plain
autoencoder ahead. The presets of that name are these models. Here each is trained with several seeds, k-means is scored
on the t-SNE, as there, and on the embedding itself; the report has one training of each and all genes. One row per
(data set, method, seed); methods are presets; rows that are there already are not computed again.
"""

from __future__ import annotations

from pathlib import Path

import anndata
import matplotlib as mpl
import numpy as np
import pandas as pd
from experiment import KEYS, command, loader, options, resumed
from figures import save
from sklearn.manifold import TSNE
from tables import by_method, publish

import scrae

mpl.use("Agg")
import matplotlib.pyplot as plt

METHODS = ["ae", "beta_vae", "beta_vsc", "default"]
SCORES = ("NMI", "ARI", "homogeneity", "completeness")  # the report's
PERPLEXITY = 40  # the report's
SPACES = {"tsne": "t-SNE of the embedding, two dimensions", "embedding": "the embedding"}


def measure(adata: anndata.AnnData, preset: str, seed: int, max_epochs: int | None) -> dict[str, object]:
    """Scores of k-means with the true number of types in both spaces, and what the training took."""
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    model = scrae.SCRAE(preset, random_state=seed, verbose=False).fit(adata, max_epochs=max_epochs)
    embedding = model.embed()
    spaces = {
        "tsne": TSNE(perplexity=PERPLEXITY, random_state=seed).fit_transform(embedding),
        "embedding": embedding,
    }
    row: dict[str, object] = {"cells": adata.n_obs, "genes": adata.n_vars, "epochs": model.summary["epochs"]}
    row["seconds"] = float(model.history["seconds"].sum())
    for space, coordinates in spaces.items():
        found = scrae.metrics.scores(labels, scrae.metrics.kmeans(coordinates, len(set(labels)), seed))
        row |= {f"{space}_{score}": found[score] for score in SCORES}
    return row


def draw(results: pd.DataFrame, path: Path) -> None:
    """The report's heat map: models by scores on the t-SNE, means over seeds, a panel for each data set."""
    names = list(dict.fromkeys(results["dataset"]))
    fig, panels = plt.subplots(1, len(names), figsize=(6.2 * len(names), 2.8), squeeze=False, layout="constrained")
    for panel, name in zip(panels[0], names, strict=True):
        of_data = results[results["dataset"] == name].groupby("method", sort=False)
        means = of_data[[f"tsne_{score}" for score in SCORES]].mean()
        image = panel.imshow(means, vmin=0.0, vmax=1.0, cmap="viridis", aspect="auto")
        panel.set_xticks(range(len(SCORES)), SCORES, fontsize=9)
        panel.set_yticks(range(len(means)), means.index)
        for (row, column), value in np.ndenumerate(means.to_numpy()):
            panel.text(column, row, f"{value:.2f}", ha="center", va="center", color="w" if value < 0.6 else "k")
        panel.set_title(f"{name}: k-means on the t-SNE", fontsize=10)
    fig.colorbar(image, ax=panels[0].tolist(), shrink=0.9)
    save(fig, path)


def main() -> None:
    parser = command(
        __doc__, "vae_report", folder="benchmarks/studies/results", datasets=["pbmc3k_2638"], methods=METHODS
    )
    parser.add_argument("--max-epochs", type=int, help="for a quick look (default: the preset's)")
    parser.add_argument("--figure", type=Path)
    typed = options(parser)

    wanted: list[tuple[object, ...]] = [
        (name, preset, seed) for name in typed.datasets for seed in range(typed.seeds) for preset in typed.methods
    ]
    load = loader(typed.data, typed.n_genes)
    results = resumed(
        typed.out, KEYS, wanted,
        lambda name, preset, seed: measure(load(name), preset, seed, typed.max_epochs),
    )  # fmt: skip
    parts = []
    for space, title in SPACES.items():
        of_space = {f"{space}_{score}": score for score in SCORES}
        shown = results[["dataset", "method", *of_space, "seconds"]].rename(columns=of_space)
        parts.append(f"k-means on {title}:\n\n" + by_method(shown, "dataset", [*SCORES, "seconds"]))
    publish("\n\n".join(parts), typed.markdown)
    if typed.figure is not None:
        draw(results, typed.figure)


if __name__ == "__main__":
    main()
