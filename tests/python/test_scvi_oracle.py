"""The preset scvi beside scvi-tools: the same weights and minibatch give the same loss terms.

scvi-tools lives in a Python of its own, which `make peers` makes.
"""

from __future__ import annotations

import os
import subprocess

import numpy as np
import pytest
import torch

from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.autoencoder.presets import settings_of
from scrae.data.minibatches import Minibatch
from scrae.data.sparse import SparseRows

N_CELLS, N_GENES, KL_WEIGHT = 64, 50, 0.3
LIBRARY_MEAN, LIBRARY_VARIANCE = 4.5, 0.4

THEIRS = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np, torch
from scvi.module import VAE

counts, library_mean, library_variance, kl_weight, out = sys.argv[1:]
data = np.load(counts)
cells = {"X": torch.as_tensor(data["counts"]), "batch": torch.as_tensor(data["batch"])[:, None]}
cells["labels"] = torch.zeros_like(cells["batch"])
torch.manual_seed(1)
found = {}
for library in ("observed", "learned"):
    prior = {"library_log_means": np.full((1, 2), float(library_mean)),
             "library_log_vars": np.full((1, 2), float(library_variance))} if library == "learned" else {}
    prior["use_observed_lib_size"] = library == "observed"
    vae = VAE(data["counts"].shape[1], n_batch=2, dropout_rate=0.0, **prior)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.normal_(0.0, 0.2)
        # One hidden layer for both encoders, and a variance of the library that is the same for all cells.
        vae.l_encoder.encoder.load_state_dict(vae.z_encoder.encoder.state_dict())
        vae.l_encoder.var_encoder.weight.zero_()
        vae.l_encoder.mean_encoder.bias.fill_(float(library_mean))
    vae.train()
    inference = vae.inference(**vae._get_inference_input(cells))
    generative = vae.generative(**vae._get_generative_input(cells, inference))
    loss = vae.loss(cells, inference, generative, kl_weight=float(kl_weight))
    terms = {"loss": loss.loss, "reconstruction": loss.reconstruction_loss_sum / len(data["counts"]),
             "kl_z": loss.kl_local["kl_divergence_z"].mean(), "kl_l": loss.kl_local["kl_divergence_l"].mean(),
             "noise_z": (inference["z"] - inference["qz"].loc) / inference["qz"].scale, "library": inference["library"]}
    if library == "learned":
        terms["noise_l"] = (inference["library"] - inference["ql"].loc) / inference["ql"].scale
    for name, value in (terms | vae.state_dict()).items():
        found[f"{library}.{name}"] = value.detach().numpy()
np.savez(out, **found)
"""


@pytest.fixture(scope="module")
def theirs(tmp_path_factory, peer):
    """Counts and batches of a minibatch, and what scvi-tools made of it with weights of its own."""
    folder = tmp_path_factory.mktemp("scvi")
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(0.7, 3.0, size=(N_CELLS, N_GENES))).astype(np.float32)
    batch = rng.integers(0, 2, N_CELLS)
    np.savez(folder / "counts.npz", counts=counts, batch=batch)
    arguments = [str(folder / "counts.npz"), str(LIBRARY_MEAN), str(LIBRARY_VARIANCE), str(KL_WEIGHT)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([peer, "-c", THEIRS, *arguments, str(folder / "terms.npz")], check=True, env=environment)
    terms = np.load(folder / "terms.npz")
    return counts, batch, {name: torch.as_tensor(terms[name]) for name in terms.files}


def with_their_weights(library, state):
    """The preset's module with the weights of their VAE."""
    settings = settings_of("scvi").changed({"dropout_rate": 0.0, "library": library})
    module = RegularisedAutoencoder(settings, N_GENES, n_covariates=2, n_batches=2)
    layer = "{}.fc_layers.Layer 0.{}".format
    own = {
        f"encoder.output.{part}": torch.cat([state[f"z_encoder.{output}_encoder.{part}"] for output in ("mean", "var")])
        for part in ("weight", "bias")
    }
    own["likelihood.log_r"] = state["px_r"][None]
    for mine, name in (("encoder.hidden", "z_encoder.encoder"), ("decoder", "decoder.px_decoder")):
        for index, part in ((0, "weight"), (0, "bias"), (1, "weight"), (1, "bias")):
            own[f"{mine}.{index}.{part}"] = state[layer(name, f"{index}.{part}")]
    own["encoder.hidden.0.weight"] = own["encoder.hidden.0.weight"].T  # ours has a row for each gene
    for part in ("weight", "bias"):
        own[f"likelihood.log_mean.{part}"] = state[f"decoder.px_scale_decoder.0.{part}"]
        own[f"likelihood.dropout_logit.{part}"] = state[f"decoder.px_dropout_decoder.{part}"]
        if library == "learned":
            own[f"library.mean.{part}"] = state[f"l_encoder.mean_encoder.{part}"]
    if library == "learned":
        own["library.log_variance.weight"] = torch.zeros(1, 128)
        # scvi-tools adds 1e-4 to the variance of the library, too
        own["library.log_variance.bias"] = torch.log(state["l_encoder.var_encoder.bias"].exp() + 1e-4)
        own["library.prior_mean"] = torch.tensor(LIBRARY_MEAN)
        own["library.prior_variance"] = torch.tensor(LIBRARY_VARIANCE)
    unknown = module.load_state_dict(own, strict=False)
    assert not unknown.unexpected_keys
    assert {name for name in unknown.missing_keys if name in dict(module.named_parameters())} == set()
    return module


@pytest.mark.parametrize("library", ["observed", "learned"])
def test_loss_terms_equal_those_of_scvi_tools(theirs, library, monkeypatch):
    counts, batch, terms = theirs
    state = {name.removeprefix(f"{library}."): v for name, v in terms.items() if name.startswith(f"{library}.")}
    module = with_their_weights(library, state).train()
    module.regulariser.start_epoch(int(KL_WEIGHT * 400), lambda: pytest.fail("the KL needs no codes"))
    noise = [state["noise_z"]] + ([state["noise_l"].squeeze(1)] if library == "learned" else [])
    monkeypatch.setattr(torch, "randn_like", lambda like: noise.pop(0))  # the draws that they made
    codes = torch.as_tensor(batch)
    one_hot = torch.nn.functional.one_hot(codes, 2).float()
    minibatch = Minibatch(SparseRows.from_dense(torch.as_tensor(counts)), one_hot, codes, torch.arange(N_CELLS))
    with torch.no_grad():
        ours = module.losses(minibatch)
    expected = {
        "reconstruction": state["reconstruction"],
        "kl": KL_WEIGHT * state["kl_z"],
        "autoencoder": state["loss"],
    }
    if library == "learned":
        expected["library_kl"] = state["kl_l"]
    else:
        assert state["kl_l"] == 0
    assert set(ours) == set(expected)
    for name, value in expected.items():
        assert ours[name].item() == pytest.approx(value.item(), rel=1e-5), name
