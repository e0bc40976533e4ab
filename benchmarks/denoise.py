"""Denoising, judged by molecules that were held out (molecular cross-validation, Batson et al. 2019).

    python benchmarks/denoise.py --data DIR [--datasets NAME ...] [--methods default dca ...] [--seeds 5]
                                 [--peer PYTHON] [--out denoise.csv] [--markdown denoise.md]

DIR holds h5ad files with raw counts in X. Half of the molecules of each cell, drawn with the seed, are given to a
method, which predicts the other half; no label is used. Methods: presets of scRAE (``default``, ``dca``), the half
itself (``counts``), gene means at the cell's size (``mean``), and with ``--peer`` ``scvi_denoised`` (SCVI of
scvi-tools) and ``magic``, each with its own defaults; one split of ``scvi_denoised``. Scores as in
scrae.tl.molecular_cross_validation; ``floored`` is the Poisson deviance after a hundredth of the gene means was mixed
in, so that a zero that turns out wrong costs much but not everything. One row per (data set, method, seed); rows that
are there already are not computed again.
"""

from __future__ import annotations

import anndata
import numpy as np
import scipy.sparse as sp
from experiment import KEYS, ask_peer, command, loader, options, resumed
from tables import by_method, publish

import scrae
from scrae.tl.crossvalidation import SCORES, gene_means, split_molecules, sums_of_scores

METHODS = ["default", "dca", "counts", "mean"]
FLOOR = 0.01  # of the gene means, mixed in
COLUMNS = ("poisson", "floored", *SCORES[1:])


def predicted(train: sp.csr_array, method: str, seed: int, peer: str | None) -> np.ndarray:
    """Expected counts at each cell's own size, (n_cells, n_genes)."""
    if method == "counts":
        return train.toarray()
    if method == "mean":
        return gene_means(train)(slice(None))
    if method in ("scvi_denoised", "magic"):
        return ask_peer(anndata.AnnData(sp.csr_matrix(train)), method, seed, peer)[0]
    return scrae.SCRAE(method, random_state=seed, verbose=False).fit(train).denoise(library_size="observed")


def measure(adata: anndata.AnnData, method: str, seed: int, peer: str | None) -> dict[str, object]:
    train, test = split_molecules(sp.csr_array(adata.X), 0.5, seed)
    whole = np.asarray((train.sum(1) > 0) & (test.sum(1) > 0))
    train, truth = train[whole], test[whole].toarray().astype(np.float64)
    expected = predicted(train, method, seed, peer).astype(np.float64)
    floored = (1 - FLOOR) * expected + FLOOR * gene_means(train)(slice(None))
    target = float(np.median(train.sum(1)))
    poisson, squared_error, correlation = sums_of_scores(truth, expected, target) / len(truth)
    scores = [poisson, sums_of_scores(truth, floored, target)[0] / len(truth), squared_error, correlation]
    return dict(zip(COLUMNS, scores, strict=True))


def main() -> None:
    parser = command(
        __doc__,
        "denoise",
        datasets=["zheng_sorted_3874", "zeisel_1799"],
        methods=METHODS,
        peer="scvi-tools and magic-impute",
    )
    typed = options(parser)

    load = loader(typed.data, typed.n_genes)
    wanted = [
        (name, method, seed)
        for name in typed.datasets
        for method in typed.methods
        for seed in range(1 if method == "scvi_denoised" else typed.seeds)
    ]
    results = resumed(typed.out, KEYS, wanted, lambda name, method, seed: measure(load(name), method, seed, typed.peer))
    publish(by_method(results, "dataset", COLUMNS), typed.markdown)


if __name__ == "__main__":
    main()
