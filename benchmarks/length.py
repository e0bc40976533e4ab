"""What shorter trainings cost: clusters by the routes that users take, against known labels, and processor time.

    python benchmarks/length.py --data DIR [--datasets NAME ...] [--steps 1000 600 400] [--seeds 5] [--out length.csv]
                                [--markdown length.md]

DIR holds h5ad files with raw counts in X and labels in obs["cell_type"], which are used for the scores and, by k-means
alone, for the number of clusters. The default model is trained for each number of steps (``n_steps``) with the same
seeds, on one thread. Each embedding is clustered by ``scrae.tl.cluster``, by Leiden at 1 on the graph of
``scrae.tl.neighbors``, and by k-means with the true number of types. Seconds are those of the processor, for training
and embedding together. A row for each data set, number of steps and seed; rows that are there are not computed again.
"""

from __future__ import annotations

import time

import pandas as pd
from clusters import connected, leiden, own
from experiment import command, loader, options, resumed
from tables import markdown, publish

import scrae

KEYS = ["dataset", "steps", "seed"]
ROUTES = {
    "cluster": "scrae.tl.cluster",
    "graph_leiden": "Leiden at 1, graph of scrae.tl.neighbors",
    "kmeans": "k-means, true number",
}


def table(rows: pd.DataFrame) -> str:
    """Means over data sets and seeds, NMI / ARI, and the largest loss in NMI of a data set to the longest training."""
    longest = rows["steps"].max()
    lines = []
    for steps, of_steps in sorted(rows.groupby("steps"), reverse=True):
        line: dict[str, object] = {"steps": steps, "processor seconds": f"{of_steps['seconds'].mean():.1f}"}
        for route, name in ROUTES.items():
            means = of_steps[[f"{route}_NMI", f"{route}_ARI"]].mean()
            by_dataset = rows.groupby(["dataset", "steps"])[f"{route}_NMI"].mean().unstack()
            lost = (by_dataset[longest] - by_dataset[steps]).max()
            line[name] = " / ".join(f"{mean:.3f}" for mean in means) + (f" ({lost:.3f})" if steps != longest else "")
        lines.append(line)
    shown = pd.DataFrame(lines).astype(str).set_index("steps")
    return markdown(shown, "steps")


def main() -> None:
    parser = command(__doc__, "length")
    parser.add_argument("--steps", type=int, nargs="*", default=[1000, 600, 400])
    typed = options(parser)
    load = loader(typed.data, typed.n_genes)

    def measure(name: str, steps: int, seed: int) -> dict[str, object]:
        adata = load(name)
        labels = adata.obs["cell_type"].astype(str).to_numpy()
        started = time.process_time()
        model = scrae.SCRAE(n_steps=steps, random_state=seed, verbose=False).fit(adata)
        embedding = model.embed()
        row: dict[str, object] = {"seconds": time.process_time() - started, "epochs": model.summary["epochs"]}
        first = embedding[:, : model.settings.n_latent]
        found = {
            "cluster": own(adata, embedding, seed),
            "graph_leiden": leiden(connected(embedding), seed),
            "kmeans": scrae.metrics.kmeans(first, len(set(labels)), seed),
        }
        for route, clusters in found.items():
            scored = scrae.metrics.scores(labels, clusters)
            row |= {f"{route}_{score}": scored[score] for score in ("NMI", "ARI")}
        return row

    wanted = [(name, steps, seed) for seed in range(typed.seeds) for name in typed.datasets for steps in typed.steps]
    publish(table(resumed(typed.out, KEYS, wanted, measure)), typed.markdown)


if __name__ == "__main__":
    main()
