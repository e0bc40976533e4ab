"""Are results the same bits as those of another version? Digests of what four presets give on the counts that ship.

    python benchmarks/bits.py --write digests.json      # with the one version
    python benchmarks/bits.py --compare digests.json    # with the other one: exit status 1 where a digest differs

Both have to run on the same machine with the same libraries and number of threads. Only the public interface is used.

    python benchmarks/bits.py --keep embedding.npz      # with the libraries of one environment
    python benchmarks/bits.py --near embedding.npz      # with those of another one

Other versions of torch and numpy give other bits. This says how far apart a whole default training then ends: which
share of the 15 nearest neighbours of a cell is the same, and how well the clusters agree (ARI).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

import scrae

EPOCHS, RESUMED_AT = 6, 3
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "reference": {"batch_size": 64},
    "scvi": {},
    "scdeepcluster": {"pretraining_epochs": 2, "n_clusters": 5},
}


def results(preset: str, settings: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """What a model of this preset gives, by name: trained, loaded, and trained with a break."""
    adata = scrae.datasets.pbmc()
    adata.obs["half"] = np.where(np.arange(adata.n_obs) % 2, "odd", "even")

    def new() -> scrae.SCRAE:
        return scrae.SCRAE(preset, verbose=False, random_state=1, **settings)

    with tempfile.TemporaryDirectory() as folder:
        model = new().fit(adata, batch_key="half", max_epochs=EPOCHS, model_dir=folder)
        yield from answers("", model, None)
        history = model.history.drop(columns="seconds")
        yield "history", history.to_numpy()
        yield from answers("loaded: ", scrae.SCRAE.load(folder), adata)
    with tempfile.TemporaryDirectory() as folder:
        new().fit(adata, batch_key="half", max_epochs=RESUMED_AT, model_dir=folder)
        resumed = new().fit(adata, batch_key="half", max_epochs=EPOCHS, model_dir=folder, resume=True)
        yield from answers("resumed: ", resumed, None)


def answers(when: str, model: scrae.SCRAE, adata: Any) -> Iterator[tuple[str, np.ndarray]]:
    yield when + "embedding", model.embed(adata)
    yield when + "codes", model.codes(adata)
    yield when + "denoised", model.denoise(adata)
    if model.settings.target in (None, "counts", "lognorm", "scaled"):
        yield when + "sample", model.sample(50)
    if model.makes_clusters:
        yield when + "clusters", model.clusters(adata)


def whole() -> dict[str, np.ndarray]:
    """Embedding and clusters of a default training."""
    adata = scrae.datasets.pbmc()
    scrae.tl.scrae(adata, verbose=False)
    scrae.tl.cluster(adata)
    return {"embedding": adata.obsm["X_scrae"], "clusters": adata.obs["scrae_clusters"].cat.codes.to_numpy()}


def shared_neighbours(one: np.ndarray, other: np.ndarray, n: int = 15) -> float:
    """Mean share of the n nearest neighbours that a cell has in both, (n_cells, n_axes) each."""
    near = [NearestNeighbors(n_neighbors=n).fit(space).kneighbors(return_distance=False) for space in (one, other)]
    return float(np.mean([len(set(a) & set(b)) / n for a, b in zip(*near, strict=True)]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--write", type=Path, metavar="FILE", help="write the digests of this version")
    way.add_argument("--compare", type=Path, metavar="FILE", help="compare this version with digests of another one")
    way.add_argument("--keep", type=Path, metavar="FILE", help="write the embedding of a whole training")
    way.add_argument("--near", type=Path, metavar="FILE", help="compare it with that of another environment")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if options.keep or options.near:
        found = whole()
        if options.keep:
            np.savez(options.keep, **found)
            return 0
        with np.load(options.near) as known:
            near = shared_neighbours(found["embedding"], known["embedding"])
            agreement = adjusted_rand_score(found["clusters"], known["clusters"])
        print(f"neighbours that are the same: {near:.3f}; clusters, ARI: {agreement:.3f}")
        return 0
    digests = {
        preset: {
            name: hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).hexdigest()
            for name, values in results(preset, settings)
        }
        for preset, settings in PRESETS.items()
    }
    if options.write:
        options.write.write_text(json.dumps(digests, indent=1) + "\n")
        return 0
    known = json.loads(options.compare.read_text())
    for preset, of_preset in digests.items():
        for name, digest in of_preset.items():
            same = known.get(preset, {}).get(name) == digest
            print(f"{preset:14} {name:20} {digest}  {'same' if same else 'DIFFERENT'}")
    return 0 if known == digests else 1


if __name__ == "__main__":
    sys.exit(main())
