"""Train each case in double precision and write what came of it: run alone, or by torchrun on several processes.

In single precision Adam makes steps of what is only rounding (biases before a batch normalisation have no gradient), so
that two orders of summation drift apart; in double precision the difference stays far below any mistake.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch

from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.autoencoder.presets import settings_of
from scrae.compute import distributed
from scrae.data.covariates import Covariates
from scrae.data.links import Links
from scrae.data.minibatches import CountData
from scrae.training.loop import Training

N_CELLS, N_GENES, EPOCHS = 73, 30, 3
SMALL = {"n_latent": 3, "n_hidden": (12, 8), "decoder_hidden": None, "batch_size": 17}
CASES = {
    "default": {},
    "lognorm": {"input_transform": "lognorm", "noise_sd": 0.1, "dropout_rate": 0.1, "library": "learned"},
    "reference": {},
    "scvi": {"warmup_epochs": 2},
    "scvae_gm": {"n_components": 3},
    "beta_vsc": {},
    "wae": {"critic_hidden": (8,)},
    "wae_mmd": {},
    "dr_a": {"critic_hidden": (8,)},
    "saucie": {},
    "scdeepcluster": {"pretraining_epochs": 1, "n_clusters": 3, "tolerance": 0.0},
    "scdcc": {"pretraining_epochs": 1, "n_clusters": 3, "tolerance": 0.0},
    "contrastive_sc": {},
    "vasc": {},
    "sczidesk": {"pretraining_epochs": 1, "n_clusters": 3, "tolerance": 0.0, "check_every": 1},
}
"""Every regulariser and normalisation, sparse and dense inputs, everything that is drawn at random."""
LINKS = Links(np.array([[0, 5], [7, 20]]), np.array([[1, 70], [3, 4], [30, 40]]))


def train(case: str, options: dict[str, object]) -> dict[str, np.ndarray]:
    """Losses of each epoch, codes and validation of one training."""
    rng = np.random.default_rng(0)
    counts = sp.csr_array(rng.poisson(rng.gamma(1.0, 1.5, size=(N_CELLS, N_GENES))).astype(np.float64))
    codes = rng.integers(0, 3, size=(N_CELLS, 1))
    preset = case if case != "lognorm" else "default"
    settings = settings_of(preset).changed(SMALL | {"n_pcs": 0, "smoothing": 0.0} | options)
    torch.manual_seed(0)
    model = RegularisedAutoencoder(settings, N_GENES, 3, 3)
    model.fit_constants(counts)
    covariates, links = Covariates.categorical(codes, (3,)), LINKS if case == "scdcc" else None
    data = CountData(counts, covariates, torch.device("cpu"), has_batch=True, links=links)
    order, held_out = torch.randperm(N_CELLS), 10 if model.likelihood.reconstructs else 0
    training = Training(model.double(), data, order[held_out:], order[:held_out], patience=100)
    training.run(EPOCHS, show_progress=False)
    losses = [[value for name, value in row.items() if name != "seconds"] for row in training.progress.history]
    with torch.no_grad():
        codes = model.eval().encode(data.minibatch(torch.arange(N_CELLS)))
    return {f"{case} losses": np.array(losses), f"{case} codes": codes.numpy()}


def train_all() -> dict[str, np.ndarray]:
    """All cases, by name."""
    torch.set_default_dtype(torch.float64)
    try:
        found: dict[str, np.ndarray] = {}
        for case, options in CASES.items():
            found |= train(case, options)
        return found
    finally:
        torch.set_default_dtype(torch.float32)


if __name__ == "__main__":
    with distributed.joined():
        results = train_all()
        if distributed.in_charge():
            np.savez(Path(sys.argv[1]), n_processes=distributed.n_processes(), **results)
