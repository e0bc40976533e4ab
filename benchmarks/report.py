"""The results of benchmarks/accuracy.py: a ranking with paired confidence intervals, each data set, and a figure.

    python benchmarks/report.py [--results results.csv] [--methods default pca10 ...] [--against default]
                                [--markdown report.md] [--figure NAME.png]

Methods are compared on the data sets that all of them have. A method's score on a data set is its mean over seeds; its
rank follows from the mean over data sets. The difference to ``--against`` is paired: per data set first, then averaged,
with a 95 % bootstrap interval over data sets (they are the sample: another seed is no other tissue). Wins and losses
are data sets with a difference beyond 0.005.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from figures import save
from scipy.stats import bootstrap
from tables import by_dataset, in_common, markdown, publish

mpl.use("Agg")
import matplotlib.pyplot as plt

SCORES = {
    "kmeans_NMI": "k-means, NMI",
    "kmeans_ARI": "k-means, ARI",
    "leiden_by_silhouette_NMI": "Leiden by silhouette, NMI",
    "leiden_by_silhouette_ARI": "Leiden by silhouette, ARI",
    "leiden_NMI": "Leiden at 1, NMI",
    "leiden_ARI": "Leiden at 1, ARI",
}
DRAW = 0.005


def common(results: pd.DataFrame) -> pd.DataFrame:
    """Rows of the data sets that every method has."""
    complete = in_common(results, "method")
    if complete.empty:
        raise SystemExit("no data set has results of all methods: name fewer with --methods")
    return complete


def interval(differences: np.ndarray) -> str:
    """95 % bootstrap interval of a mean (percentile), as text; needs two different values."""
    if len(differences) < 2 or np.ptp(differences) == 0:
        return "-"
    limits = bootstrap((differences,), np.mean, method="percentile", rng=np.random.default_rng(0)).confidence_interval
    return f"{limits.low:+.3f} to {limits.high:+.3f}"


def ranking(results: pd.DataFrame, score: str, against: str) -> pd.DataFrame:
    """Methods in order: mean score, spread over seeds, difference of ``against`` to them, wins, draws, losses."""
    grouped = results.groupby(["dataset", "method"])[score]
    means = grouped.mean().unstack("method")
    spread = grouped.std().unstack("method").mean()
    rows = {}
    for method in means.mean().sort_values(ascending=False).index:
        difference = (means[against] - means[method]).to_numpy()
        wins, losses = int((difference > DRAW).sum()), int((difference < -DRAW).sum())
        own = method == against
        rows[method] = {
            "mean": f"{means[method].mean():.3f}",
            "spread over seeds": "-" if np.isnan(spread[method]) else f"{spread[method]:.3f}",
            f"{against} ahead by": "" if own else f"{difference.mean():+.3f}",
            "95 % interval": "" if own else interval(difference),
            "wins / draws / losses": "" if own else f"{wins} / {len(difference) - wins - losses} / {losses}",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def figure(results: pd.DataFrame, path: Path) -> None:
    """One panel per score: a row for each data set, a colour for each method, a point for each seed."""
    order = results.groupby("dataset")["kmeans_NMI"].mean().sort_values().index
    methods = results.groupby("method")["kmeans_NMI"].mean().sort_values(ascending=False).index
    fig, axes = plt.subplots(1, len(SCORES), figsize=(19, 1.2 + 0.38 * len(order)), sharey=True, layout="constrained")
    colours = mpl.color_sequences["tab10"]
    for axis, (score, title) in zip(axes, SCORES.items(), strict=True):
        for position, method in enumerate(methods):
            rows = results[results["method"] == method]
            height = order.get_indexer(rows["dataset"]) + 0.6 * ((position + 0.5) / len(methods) - 0.5)
            axis.scatter(rows[score], height, s=16, color=colours[position % 10], label=method, alpha=0.85, lw=0)
        axis.set_title(title)
        axis.set_xlim(0, 1.02)
        axis.set_yticks(range(len(order)), order)
        axis.hlines(np.arange(len(order) - 1) + 0.5, 0, 1.02, color="0.92", lw=0.8, zorder=0)
        axis.spines[["top", "right"]].set_visible(False)
    handles, names = axes[0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", ncols=len(methods), frameon=False)
    save(fig, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/accuracy.csv"))
    parser.add_argument("--methods", nargs="*", help="methods to compare (default: all in the results)")
    parser.add_argument("--against", default="default")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    results = pd.read_csv(options.results)
    if options.methods is not None:
        results = results[results["method"].isin(options.methods)]
    if options.against not in set(results["method"]):
        raise SystemExit(f"no results of {options.against!r}; there are {', '.join(sorted(set(results['method'])))}")
    results = common(results)
    seeds = results.groupby(["dataset", "method"])["seed"].nunique()
    number = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    text = f"{results['dataset'].nunique()} data sets, {number} seeds each\n\n"
    text += "\n\n".join(markdown(ranking(results, score, options.against), title) for score, title in SCORES.items())
    text += "\n\n## Each data set\n\n"
    text += "\n\n".join(by_dataset(results, score, title) for score, title in SCORES.items())
    publish(text, options.markdown)
    if options.figure is not None:
        figure(results, options.figure)


if __name__ == "__main__":
    main()
