"""Bias and variance: clustering and held-out likelihood against the strength of the adversarial pull to the prior.

    PYTHONPATH=benchmarks python benchmarks/studies/prior.py --data DIR [--datasets NAME ...] [--pulls 0.001 0.01 0.1 1]
                                      [--seeds 5] [--out results.csv] [--markdown table.md] [--figure figure.png]

The argument of Mondal et al. (2021) is that an autoencoder without a prior follows the noise of its cells (variance),
that a prior imposed from outside bends the codes (bias), and that a prior which learns where the codes are escapes
both. So the plain network is trained here, without anything else that keeps it from over-fitting (nothing masked, no
contrastive term, no early stopping, codes as they are), on nine tenths of the cells: with no prior, and with the fixed
and the learned one at each pull (the learning rate of the encoder's adversarial step, as a multiple of the
autoencoder's; 1e-3 is the published one). Scored are k-means with the true number of types on the codes of these
cells, and -log p of the last tenth. One row per (data set, prior, pull, seed); rows that are there are not computed
again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import matplotlib as mpl
import numpy as np
import pandas as pd
from experiment import command, loader, options, resumed
from figures import save
from tables import markdown, mean_and_spread, publish

import scrae

mpl.use("Agg")
import matplotlib.pyplot as plt

KEYS = ["dataset", "prior", "pull", "seed"]
DATASETS = ["klein_1000", "zheng_pbmc68k_700", "zeisel_1799", "han_bladder_2100", "cao_worm_neuron"]
REGULARISERS = {"none": "none", "fixed": "fixed_prior", "learned": "learned_prior"}
SCORES = {
    "NMI": "NMI of k-means",
    "ARI": "ARI of k-means",
    "held_out": "held-out -log p (nats per cell, less that without a prior)",
}
PLAIN: dict[str, Any] = {
    "mask_rate": 0.0,
    "contrast_weight": 0.0,
    "n_pcs": 0,
    "smoothing": 0.0,
    "early_stopping": False,
}


def measure(adata: anndata.AnnData, prior: str, pull: float, seed: int, max_epochs: int | None) -> dict[str, object]:
    """Scores of one training."""
    left_out = np.random.default_rng(seed).permutation(adata.n_obs) < adata.n_obs // 10
    options: dict[str, Any] = {} if prior == "none" else {"pull": pull}
    model = scrae.SCRAE(regulariser=REGULARISERS[prior], random_state=seed, verbose=False, **PLAIN, **options)
    model.fit(adata[~left_out].copy(), max_epochs=max_epochs)
    labels = adata.obs["cell_type"].astype(str).to_numpy()[~left_out]
    scores = scrae.metrics.scores(labels, scrae.metrics.kmeans(model.embed(), len(set(labels)), seed))
    return {
        "NMI": scores["NMI"],
        "ARI": scores["ARI"],
        "held_out": float(model.negative_log_likelihood(adata[left_out].copy()).mean()),
        "reconstruction": float(model.history["reconstruction"].iloc[-1]),
        "epochs": model.summary["epochs"],
    }


def beside_no_prior(results: pd.DataFrame) -> pd.DataFrame:
    """The same with held-out -log p less that of the same cells without a prior: which cells are held out says more."""
    keys = ["dataset", "seed"]
    without = results[results["prior"] == "none"].set_index(keys)["held_out"]
    return results.assign(held_out=results["held_out"] - without.loc[list(results[keys].itertuples(index=False))].array)


def table(results: pd.DataFrame, score: str) -> str:
    """Priors and pulls by data sets."""
    text = results.groupby(["prior", "pull", "dataset"])[score].agg(mean_and_spread).unstack("dataset")
    means = results.groupby(["prior", "pull", "dataset"])[score].mean().groupby(["prior", "pull"]).mean()
    text["**mean**"] = means.map("{:.3f}".format)
    text.index = [prior if prior == "none" else f"{prior}, {pull:g}" for prior, pull in text.index]
    return markdown(text, SCORES[score])


def draw(results: pd.DataFrame, path: Path) -> None:
    """A column for each data set: score against pull, a curve with its spread for each prior, none as a line."""
    names = list(dict.fromkeys(results["dataset"]))
    shown = ["NMI", "held_out"]
    fig, axes = plt.subplots(
        len(shown), len(names), figsize=(1 + 2.6 * len(names), 5.2), sharex=True, squeeze=False, layout="constrained"
    )
    for axis_row, score in zip(axes, shown, strict=True):
        for axis, name in zip(axis_row, names, strict=True):
            of_data = results[results["dataset"] == name]
            without = of_data.loc[of_data["prior"] == "none", score]
            axis.axhline(without.mean(), color="tab:gray", label="no prior")
            axis.axhspan(
                without.mean() - without.std(), without.mean() + without.std(), color="tab:gray", alpha=0.15, lw=0
            )
            for prior, colour in (("fixed", "tab:orange"), ("learned", "tab:blue")):
                curve = of_data[of_data["prior"] == prior].groupby("pull")[score].agg(["mean", "std"]).fillna(0.0)
                axis.errorbar(
                    curve.index, curve["mean"], curve["std"], fmt="o-", capsize=2, ms=4, color=colour,
                    label=f"{prior} prior",
                )  # fmt: skip
            axis.set_xscale("log")
            axis.set_title(name if score == shown[0] else "", fontsize=9)
        axis_row[0].set_ylabel(SCORES[score].replace(" (", "\n("), fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("pull")
    axes[0, 0].legend(fontsize=8, frameon=False)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    save(fig, path)


def main() -> None:
    parser = command(__doc__, "prior", folder="benchmarks/studies/results", datasets=DATASETS)
    parser.add_argument("--pulls", type=float, nargs="*", default=[1e-3, 1e-2, 1e-1, 1.0])
    parser.add_argument("--max-epochs", type=int, help="for a quick look (default: the model's)")
    parser.add_argument("--figure", type=Path)
    typed = options(parser)

    strengths = [("none", 0.0), *((prior, pull) for prior in ("fixed", "learned") for pull in typed.pulls)]
    wanted: list[tuple[object, ...]] = [
        (name, prior, pull, seed) for seed in range(typed.seeds) for name in typed.datasets for prior, pull in strengths
    ]

    load = loader(typed.data, typed.n_genes)
    results = beside_no_prior(
        resumed(
            typed.out, KEYS, wanted,
            lambda name, prior, pull, seed: measure(load(name), prior, pull, seed, typed.max_epochs),
        )
    )  # fmt: skip
    publish("\n\n".join(table(results, score) for score in SCORES), typed.markdown)
    if typed.figure is not None:
        draw(results, typed.figure)


if __name__ == "__main__":
    main()
