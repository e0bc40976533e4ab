"""Every preset: trains without NaN, is saved, loaded and resumed to the same bits, and is what its name says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import scrae
from scrae.autoencoder.presets import PRESETS

SMALL = {"n_latent": 4, "n_hidden": (16,), "decoder_hidden": None, "batch_size": 16, "verbose": False}
"""What makes any preset small."""


def small_settings(preset):
    """Changes that keep the preset's terms and let its stages pass within a few epochs."""
    options = PRESETS[preset].regulariser_options
    changes = dict(SMALL)
    if "warmup_epochs" in options:
        changes["warmup_epochs"] = 2
    if "critic_hidden" in options:
        changes["critic_hidden"] = (8,)
    if "pretraining_epochs" in options:
        changes |= {"pretraining_epochs": 2, "check_every": 1, "tolerance": 0.0}
    return changes


@pytest.fixture
def cells(pbmc):
    """150 real cells, 120 genes."""
    genes = pbmc[:150, :120].copy()
    return genes[np.asarray(genes.X.sum(1)).ravel() > 0].copy()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains_saves_loads_and_resumes_to_the_same_bits(cells, preset, tmp_path):
    settings = small_settings(preset)
    whole = scrae.SCRAE(preset, **settings).fit(cells, max_epochs=6)
    scrae.SCRAE(preset, **settings).fit(cells, max_epochs=3).save(tmp_path / "model")
    loaded = scrae.SCRAE.load(tmp_path / "model", verbose=False)
    assert loaded.embed(cells).shape == (cells.n_obs, 4)
    resumed = loaded.fit(cells, max_epochs=6, resume=True)
    np.testing.assert_array_equal(resumed.embed(), whole.embed())
    assert np.isfinite(whole.embed()).all()
    assert np.isfinite(whole.history.to_numpy()).all()
    for name, tensor in whole.fitted.training_state.items():
        if name != "progress":  # holds seconds
            assert torch.equal(tensor, resumed.fitted.training_state[name]), name
    if whole.fitted.module.likelihood.reconstructs:
        assert (whole.denoise() >= 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_improves_its_reconstruction_with_the_settings_as_published(pbmc, preset):
    history = scrae.SCRAE(preset, verbose=False).fit(pbmc, max_epochs=2).history
    learned = "contrast" if preset == "contrastive_sc" else "reconstruction"
    assert history[learned].iloc[1] < history[learned].iloc[0]


def test_an_unknown_preset_names_those_that_there_are():
    with pytest.raises(ValueError, match="'scvi_tools' is not known; choose one of 'default', 'reference', 'ae'"):
        scrae.SCRAE("scvi_tools")


def test_the_kl_of_scvi_rises_over_400_epochs(cells):
    model = scrae.SCRAE("scvi", verbose=False, early_stopping=False).fit(cells, max_epochs=3)
    kl = model.history["kl"]
    assert kl.iloc[0] == 0
    assert kl.iloc[2] / kl.iloc[1] == pytest.approx(2, rel=0.3)


def test_contrastive_sc_learns_from_nt_xent_of_two_views_alone(cells):
    settings = {"n_latent": 4, "n_hidden": (8,), "batch_size": 500, "learning_rate": 1e-3, "verbose": False}
    model = scrae.SCRAE("contrastive_sc", **settings).fit(cells, max_epochs=2)
    history, codes = model.history, model.embed()
    np.testing.assert_array_equal(history["autoencoder"], history["contrast"])
    assert (history["reconstruction"] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(model.sample_codes(50), axis=1), 1, rtol=1e-5)
    before = scrae.SCRAE("contrastive_sc", **settings).fit(cells, max_epochs=1).fitted.module
    assert all(
        torch.equal(weights, dict(before.decoder.named_parameters())[name])
        for name, weights in model.fitted.module.decoder.named_parameters()
    )


@pytest.mark.parametrize(
    "question",
    [
        lambda m: m.denoise(),
        lambda m: m.negative_log_likelihood(),
        lambda m: m.sample(3),
        lambda m: m.sample(3, codes="prior"),
    ],
)
def test_a_model_without_reconstruction_refuses_questions_about_counts(cells, question):
    settings = {"n_latent": 4, "n_hidden": (8,), "batch_size": 50, "verbose": False}
    model = scrae.SCRAE("contrastive_sc", **settings).fit(cells, max_epochs=1)
    with pytest.raises(ValueError, match="has an embedding and knows nothing of counts"):
        question(model)


@pytest.mark.parametrize("change", [{"mask_rate": 0.0}, {"contrast_weight": 0.0}, {"early_stopping": True}])
def test_a_training_without_any_loss_is_refused(change):
    with pytest.raises(ValueError, match="likelihood='none' reconstructs nothing: contrast_weight and mask_rate must"):
        scrae.SCRAE("contrastive_sc", **change)


def test_squared_errors_of_scaled_expression_decode_to_counts(pbmc):
    model = scrae.SCRAE("ae", verbose=False).fit(pbmc, max_epochs=30)
    denoised = model.denoise(library_size="observed")
    counts = pbmc.X.toarray()
    np.testing.assert_allclose(denoised.sum(1), counts.sum(1), rtol=1e-4)
    assert np.corrcoef(np.log1p(denoised.mean(0)), np.log1p(counts.mean(0)))[0, 1] > 0.95


def test_the_reconstruction_of_a_plain_autoencoder_is_the_sum_of_squares(cells):
    """-log p is it and a constant: half of log(pi) for each gene."""
    model = scrae.SCRAE("ae", verbose=False, n_hidden=(8,)).fit(cells, max_epochs=1)
    module = model.fitted.module.eval()
    minibatch = model.fitted.data(*model.fitted.training_cells).minibatch(torch.arange(10))
    with torch.no_grad():
        losses = module.losses(minibatch)
        codes = module.encode(minibatch)
        mean = module.decode(codes, minibatch.covariates, torch.zeros(10), minibatch.batch)[0]
    lognorm = np.log1p(cells.X.toarray() / cells.X.sum(1) * np.median(np.asarray(cells.X.sum(1))))
    scaled = np.minimum((lognorm - lognorm.mean(0)) / np.where(lognorm.std(0) > 0, lognorm.std(0, ddof=1), 1), 10)
    squares = np.square(np.asarray(scaled)[:10] - mean.numpy()).sum(1).mean()
    constant = cells.n_vars * np.log(np.pi) / 2
    assert losses["reconstruction"].item() == pytest.approx(squares + constant, rel=1e-4)


def test_losses_per_gene_weigh_penalties_more(cells):
    model = scrae.SCRAE("beta_vae", per_gene=True, verbose=False, n_hidden=(8,)).fit(cells, max_epochs=1)
    row = model.history.iloc[0]
    assert row["autoencoder"] == pytest.approx(row["reconstruction"] / cells.n_vars + row["kl"], rel=1e-5)


def test_noise_is_of_the_standard_deviation_asked_for_and_only_in_training(cells):
    model = scrae.SCRAE(noise_sd=2.0, mask_rate=0.0, verbose=False, n_hidden=(8,)).fit(cells, max_epochs=1)
    counts = model.fitted.data(*model.fitted.training_cells).minibatch(torch.arange(100)).counts
    clean = model.fitted.module.eval().encoder_input(counts).dense()
    noise = model.fitted.module.train().encoder_input(counts) - clean
    assert noise.std().item() == pytest.approx(2.0, rel=0.02)
    assert abs(noise.mean().item()) < 0.05


def test_gradients_are_clipped_at_the_size_asked_for(cells):
    """Adam's first step is of the sign alone, so a clipped gradient shows in its second moments."""

    def largest(clip):
        model = scrae.SCRAE(clip_gradient=clip, verbose=False, n_hidden=(8,), batch_size=500).fit(cells, max_epochs=1)
        return max(
            t.max().item()
            for k, t in model.fitted.training_state.items()
            if k.startswith("optimiser.auto") and "avg_sq" in k
        )

    assert largest(1e-3) == pytest.approx(1e-6 * 1e-3, rel=1e-3)
    assert largest(None) > 1e-6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "scaled"}, "negative values, which likelihood='zinb' does not allow; use \"mse\""),
        ({"noise_sd": -1.0}, "noise_sd must not be negative"),
        ({"adam_eps": 0.0}, "adam_eps must be positive"),
        ({"clip_gradient": 0.0}, "clip_gradient must be positive"),
        ({"decoder_hidden": ()}, "decoder_hidden must be one or more positive widths"),
        ({"decoder_dropout_rate": 1.0}, "decoder_dropout_rate must be in"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        scrae.SCRAE(**settings)
