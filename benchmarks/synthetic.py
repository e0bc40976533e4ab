"""Synthetic cells beside real ones that the simulator has not seen.

    python benchmarks/synthetic.py --data DIR [--datasets NAME ...] [--methods real default ...] [--seeds 5]
                                   [--peer PYTHON] [--out synthetic.csv] [--markdown synthetic.md]

DIR holds h5ad files with raw counts in X. Half of the cells, drawn with the seed, are given to a simulator, which makes
as many; they are compared with the other half (scrae.tl.compare_cells); no label is used. Methods: the half itself
(``real``: the best that is possible), presets of scRAE (``default``; codes from the prior), ``independent`` (a negative
binomial for each gene, with the library sizes of real cells), and with ``--peer`` ``scvi_samples`` (SCVI of scvi-tools
with its defaults, codes from the standard normal), with one seed. One row per (data set, method, seed); rows that are
there already are not computed again.
"""

from __future__ import annotations

import anndata
import numpy as np
from experiment import KEYS, ask_peer, command, loader, options, resumed
from tables import by_method, publish

import scrae

METHODS = ["real", "default", "independent"]


def independent(counts: np.ndarray, seed: int) -> np.ndarray:
    """As many cells, (n_cells, n_genes): each gene on its own, its mean in proportion to the library size.

    The mean is p_g l with p_g the gene's share of all counts and l the library size of a real cell, the variance
    p_g l + phi_g (p_g l)^2; phi_g is that of the moments, sum over cells of (x - p l)^2 - p l over that of (p l)^2.
    """
    rng = np.random.default_rng(seed)
    library = counts.sum(1)
    mean = np.outer(library, counts.sum(0) / counts.sum())
    excess = ((counts - mean) ** 2 - mean).sum(0)
    overdispersion = np.maximum(excess, 0) / np.maximum((mean**2).sum(0), 1e-12)
    drawn = rng.choice(library, len(library))[:, None] * (counts.sum(0) / counts.sum())
    size = 1 / np.maximum(overdispersion, 1e-6)
    return rng.poisson(drawn * rng.gamma(size, 1 / size, size=drawn.shape)).astype(np.float32)


def simulated(adata: anndata.AnnData, method: str, seed: int, peer: str | None) -> np.ndarray:
    """Counts of synthetic cells, (n_cells, n_genes)."""
    if method == "real":
        return adata.X.toarray()
    if method == "independent":
        return independent(adata.X.toarray().astype(np.float64), seed)
    if method == "scvi_samples":
        return ask_peer(adata, method, seed, peer)[0]
    model = scrae.SCRAE(method, random_state=seed, verbose=False).fit(adata)
    return model.sample(adata.n_obs, random_state=seed)


def measure(adata: anndata.AnnData, method: str, seed: int, peer: str | None) -> dict[str, object]:
    order = np.random.default_rng(seed).permutation(adata.n_obs)
    known, held_out = (np.sort(part) for part in np.array_split(order, 2))
    synthetic = simulated(adata[known].copy(), method, seed, peer)
    return dict(scrae.tl.compare_cells(adata.X[held_out], synthetic, random_state=seed))


def main() -> None:
    parser = command(
        __doc__, "synthetic", datasets=["zheng_sorted_3874", "zheng_pbmc68k_700"], methods=METHODS, peer="scvi-tools"
    )
    typed = options(parser)

    load = loader(typed.data, typed.n_genes)
    wanted = [
        (name, method, seed)
        for name in typed.datasets
        for method in typed.methods
        for seed in range(1 if method == "scvi_samples" else typed.seeds)
    ]
    results = resumed(typed.out, KEYS, wanted, lambda name, method, seed: measure(load(name), method, seed, typed.peer))
    publish(by_method(results, "dataset", list(results.columns.drop(KEYS))), typed.markdown)


if __name__ == "__main__":
    main()
