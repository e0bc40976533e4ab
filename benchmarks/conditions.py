"""Donors of two conditions: are the donors taken out, and does the condition stay?

    python benchmarks/conditions.py --data DIR [--methods kept corrected default pca30] [--seeds 3] [--peer PYTHON]
                                    [--out conditions.csv] [--markdown conditions.md]

The cells of each condition of kang_ifnb_2800 (blood cells, stimulated and not) are dealt into three made donors
(benchmarks/made_batches.py), so that each donor has one condition. Methods: ``kept`` (the default preset with
``batch_key="donor", keep="condition"``), ``corrected`` (without ``keep``), ``default`` and ``pca30``, which are told of
no donor, and with ``--peer`` ``harmony``, which is. Scores, each from 0 to 1:

- ``condition``: share of the 15 nearest neighbours of a cell, among the cells of its type, that have its condition
  (``scrae.metrics.purity``). A half means that the conditions are mixed.
- ``donors``: how well donors mix among the neighbours of a cell within its type and condition
  (``scrae.metrics.mixing``).
- ``NMI``, ``ARI``: k-means with the number of types, against types; and ``type_ASW``, their silhouette.

The truth is ``uncut``: the default preset on the cells as they were, before they were dealt out.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import anndata
import numpy as np
from accuracy import embed
from experiment import KEYS, command, options, resumed, with_chosen_genes
from made_batches import Design, in_batches
from mixing import type_asw
from tables import by_method, publish

import scrae

SOURCE = "kang_ifnb_2800"
DONORS = Design(SOURCE, 3, shift=0.5, own=0.1, ambient=0.05, shallowest=0.6, evenness=None, alone=0, seed=10)
FEWEST = 40  # cells of a type whose neighbours are looked at
SCORES = ("condition", "donors", "NMI", "ARI", "type_ASW")


def dealt_out(adata: anndata.AnnData) -> anndata.AnnData:
    """The cells of each level of ``obs["batch"]`` in donors of its own: ``obs["condition"]`` and ``obs["donor"]``."""
    parts = []
    for number, (name, cells) in enumerate(adata.obs.groupby("batch", observed=True).groups.items()):
        part = in_batches(adata[cells].copy(), replace(DONORS, seed=DONORS.seed + number))
        part.obs["condition"] = str(name)
        part.obs["donor"] = [f"{name}, {donor}" for donor in part.obs["batch"]]
        del part.varm["log_factors"], part.obs["batch"]
        parts.append(part)
    return anndata.concat(parts)


def same_condition(embedding: np.ndarray, condition: np.ndarray, types: np.ndarray) -> float:
    """Mean over cells of types of :data:`FEWEST` cells or more that both conditions have."""
    shares = []
    for name in np.unique(types):
        cells = np.flatnonzero(types == name)
        if len(cells) < FEWEST or len(np.unique(condition[cells])) < 2:
            continue
        shares.append(scrae.metrics.purity(embedding[cells], condition[cells]))
    return float(np.concatenate(shares).mean())


def main() -> None:
    methods = ["kept", "corrected", "default", "pca30", "uncut"]
    typed = options(command(__doc__, "conditions", datasets=[SOURCE], methods=methods, peer="harmonypy"))

    @lru_cache
    def cells(uncut: bool) -> anndata.AnnData:
        whole = anndata.read_h5ad(typed.data / f"{SOURCE}.h5ad")
        if not uncut:
            return with_chosen_genes(dealt_out(whole), typed.n_genes, "hvg", batch_key="donor")
        whole.obs["condition"] = whole.obs["donor"] = whole.obs["batch"].astype(str)
        return with_chosen_genes(whole, typed.n_genes, "hvg")

    def row(_: str, method: str, seed: int) -> dict[str, object]:
        adata = cells(method == "uncut")
        donor, condition, types = (adata.obs[key].astype(str).to_numpy() for key in ("donor", "condition", "cell_type"))
        if method in ("kept", "corrected"):
            model = scrae.SCRAE(random_state=seed, verbose=False)
            model.fit(adata, batch_key="donor", keep="condition" if method == "kept" else ())
            embedding = model.embed()
        else:
            told = adata.copy()
            told.obs["batch"] = told.obs["donor"]  # as the peers call it
            embedding, _ = embed(told, "default" if method == "uncut" else method, seed, typed.peer)
        found = scrae.metrics.scores(types, scrae.metrics.kmeans(embedding, len(np.unique(types)), seed))
        alike = np.array([" ".join(both) for both in zip(types, condition, strict=True)])
        return {
            "condition": same_condition(embedding, condition, types),
            "donors": np.nan if method == "uncut" else float(np.nanmean(scrae.metrics.mixing(embedding, donor, alike))),
            "NMI": found["NMI"],
            "ARI": found["ARI"],
            "type_ASW": type_asw(embedding, types),
        }

    wanted = [(SOURCE, method, seed) for method in typed.methods for seed in range(typed.seeds)]
    shown = resumed(typed.out, KEYS, wanted, row)
    publish(by_method(shown, "dataset", SCORES), typed.markdown)


if __name__ == "__main__":
    main()
