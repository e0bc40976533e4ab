"""The preset scvi beside scvi-tools: the same weights and minibatch give the same loss terms.

What scvi-tools 1.4 gives is stored in tests/fixtures/scvi/terms.npz. Where scvi-tools is there, in a Python of its own
that `make peers` makes, the script beside that file is run anew and its terms are compared, too.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.autoencoder.presets import settings_of
from scrae.data.minibatches import Minibatch
from scrae.data.sparse import SparseRows

FIXTURES = Path(__file__).parents[1] / "fixtures" / "scvi"
CASES = ("zinb", "zinb_learned", "zinb_by_batch", "nb", "nb_by_batch_learned", "poisson")


@pytest.fixture(scope="module", params=["stored", pytest.param("live", marks=pytest.mark.slow)])
def theirs(request, tmp_path_factory):
    """What scvi-tools made of a minibatch with weights of its own, by case and name, and what the cases are."""
    path = FIXTURES / "terms.npz"
    if request.param == "live":
        path = tmp_path_factory.mktemp("scvi") / "terms.npz"
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        peer = request.getfixturevalue("peer")
        subprocess.run([peer, FIXTURES / "make.py", path], check=True, env=environment)
    stored = np.load(path)
    return {name: stored[name] for name in stored.files}, json.loads(str(stored["facts"]))


def with_their_weights(case, library_prior, state, n_genes):
    """The preset's module with the weights of their VAE."""
    n_latent, n_hidden = state["z_encoder.mean_encoder.weight"].shape
    own_settings = {name: case[name] for name in ("likelihood", "dispersion", "library")}
    settings = settings_of("scvi").changed(
        own_settings | {"dropout_rate": 0.0, "n_hidden": (n_hidden,), "n_latent": n_latent}
    )
    module = RegularisedAutoencoder(settings, n_genes, case["n_batches"], max(case["n_batches"], 1))
    layer = "{}.fc_layers.Layer 0.{}".format
    own = {
        f"encoder.output.{part}": torch.cat([state[f"z_encoder.{output}_encoder.{part}"] for output in ("mean", "var")])
        for part in ("weight", "bias")
    }
    if case["likelihood"] != "poisson":
        own["likelihood.log_r"] = state["px_r"].reshape(n_genes, -1).T
    for mine, name in (("encoder.hidden", "z_encoder.encoder"), ("decoder", "decoder.px_decoder")):
        for index, part in ((0, "weight"), (0, "bias"), (1, "weight"), (1, "bias")):
            own[f"{mine}.{index}.{part}"] = state[layer(name, f"{index}.{part}")]
    own["encoder.hidden.0.weight"] = own["encoder.hidden.0.weight"].T  # ours has a row for each gene
    for part in ("weight", "bias"):
        own[f"likelihood.log_mean.{part}"] = state[f"decoder.px_scale_decoder.0.{part}"]
        if case["likelihood"] == "zinb":
            own[f"likelihood.dropout_logit.{part}"] = state[f"decoder.px_dropout_decoder.{part}"]
        if case["library"] == "learned":
            own[f"library.mean.{part}"] = state[f"l_encoder.mean_encoder.{part}"]
    if case["library"] == "learned":
        own["library.log_variance.weight"] = torch.zeros(1, n_hidden)
        # scvi-tools adds 1e-4 to the variance of the library, too
        own["library.log_variance.bias"] = torch.log(state["l_encoder.var_encoder.bias"].exp() + 1e-4)
        own["library.prior_mean"] = torch.tensor(library_prior["mean"])
        own["library.prior_variance"] = torch.tensor(library_prior["variance"])
    unknown = module.load_state_dict(own, strict=False)
    assert not unknown.unexpected_keys
    assert {name for name in unknown.missing_keys if name in dict(module.named_parameters())} == set()
    return module


def test_every_case_is_compared(theirs):
    assert tuple(theirs[1]["cases"]) == CASES


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
def test_loss_terms_equal_those_of_scvi_tools(theirs, name, dtype, monkeypatch):
    """In single precision by compiled loops, in double by plain torch."""
    stored, facts = theirs
    case = facts["cases"][name]
    state = {key.removeprefix(f"{name}."): v for key, v in stored.items() if key.startswith(f"{name}.")}
    state = {key: torch.as_tensor(value) for key, value in state.items()}
    counts, batch = torch.as_tensor(stored["counts"]), torch.as_tensor(stored["batch"])
    if not case["n_batches"]:
        batch = torch.zeros_like(batch)
    module = with_their_weights(case, facts["library"], state, counts.shape[1]).to(dtype).train()
    module.regulariser.start_epoch(round(case["kl_weight"] * 400), lambda: pytest.fail("the KL needs no codes"))
    noise = [state["noise_z"]] + ([state["noise_l"].squeeze(1)] if case["library"] == "learned" else [])
    monkeypatch.setattr(torch, "randn_like", lambda like: noise.pop(0).to(like.dtype))  # the draws that they made
    one_hot = torch.nn.functional.one_hot(batch, 2)[:, : case["n_batches"]].to(dtype)
    minibatch = Minibatch(SparseRows.from_dense(counts.to(dtype)), one_hot, batch, torch.arange(len(counts)))
    with torch.no_grad():
        ours = module.losses(minibatch)
    assert noise == []
    expected = {
        "reconstruction": state["reconstruction"],
        "kl": case["kl_weight"] * state["kl_z"],
        "autoencoder": state["loss"],
    }
    if case["library"] == "learned":
        expected["library_kl"] = state["kl_l"]
    else:
        assert state["kl_l"] == 0
    assert set(ours) == set(expected)
    for term, value in expected.items():
        assert ours[term].item() == pytest.approx(value.item(), rel=1e-5), term
