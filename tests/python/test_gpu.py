"""Training on a real GPU, beside the same on the processor. Skipped where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import scrae
from scrae._errors import TrainingNotice
from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.autoencoder.presets import PRESETS
from scrae.data.covariates import Covariates
from scrae.data.minibatches import CountData
from scrae.training.loop import Training
from scrae.training.recordings import Recordings

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
CPU, GPU = torch.device("cpu"), torch.device("cuda")
SOON = {"max_epochs": 3, "early_stopping": False, "verbose": False}


@pytest.fixture
def exact_products():
    """Single precision as it is, without the GPU's shorter formats."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def training_on(device, preset, counts, batch, **changes):
    torch.manual_seed(0)
    settings = PRESETS[preset].changed(changes)
    module = RegularisedAutoencoder(settings, counts.shape[1], 2, 2)
    module.fit_constants(counts, batch)
    covariates = Covariates(batch[:, None], (2,), np.zeros((len(batch), 0), np.float32))
    data = CountData(counts, covariates, device, has_batch=True)
    return Training(module.to(device), data, torch.arange(len(batch)), torch.arange(0), None)


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"contrastive_sc"}))
def test_a_model_says_the_same_of_cells_on_both(small, preset, exact_products):
    counts, batch = sp.csr_array(small.X), np.arange(60) % 2
    found = []
    for device in (CPU, GPU):
        training = training_on(device, preset, counts, batch)
        training.model.eval()
        minibatch = training.data.minibatch(torch.arange(60))
        with torch.no_grad():
            found.append((training.model.negative_log_likelihood(minibatch), training.model.features(minibatch)))
    for here, there in zip(*found, strict=True):
        torch.testing.assert_close(there.cpu(), here, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_trains_and_is_loaded_without_a_gpu(made, preset, tmp_path):
    model = scrae.SCRAE(preset, device="cuda", random_state=0, **SOON).fit(made)
    assert model.fitted.device.type == "cuda"
    embedding = model.embed()
    assert np.isfinite(embedding).all()
    model.save(tmp_path / "model")
    elsewhere = scrae.SCRAE.load(tmp_path / "model", device="cpu")
    np.testing.assert_allclose(elsewhere.embed(made), embedding, rtol=0.02, atol=0.02 * np.abs(embedding).max())


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_replayed_iteration_is_the_iteration_itself(made, preset, monkeypatch):
    counts, batch = sp.csr_array(made.X), np.arange(300) % 2
    plain, recorded = (training_on(GPU, preset, counts, batch, batch_size=60) for _ in range(2))
    replays = []
    replay = torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda graph: (replays.append(1), replay(graph))[1])
    for training in (plain, recorded):
        torch.manual_seed(1)
        if training is plain:
            training._recordable = lambda: False
        training.run(3, show_progress=False)
    assert bool(replays) == recorded.model.regulariser.steps_alike
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(recorded.model.state_dict()[name], value, rtol=1e-3, atol=1e-4, msg=name)
    for one, other in zip(plain.progress.history, recorded.progress.history, strict=True):
        assert one.keys() == other.keys()
        for name in one.keys() - {"seconds"}:
            assert other[name] == pytest.approx(one[name], rel=1e-3, abs=1e-4), name


def test_every_replay_draws_random_numbers_of_its_own():
    drawn = torch.zeros(3, device=GPU)
    seen = []
    iteration = Recordings(lambda cells, due: (drawn.copy_(torch.rand(3, device=GPU) + cells.sum()), None)[1])
    for number in range(6):
        iteration(torch.full((2,), number, device=GPU), ())
        seen.append(drawn.cpu() - 2 * number)
    values = torch.stack(seen)
    assert ((values >= 0) & (values < 1)).all()
    assert len(values.flatten().unique()) == 18


def test_the_same_seed_gives_the_same_bits_on_a_gpu(made):
    embeddings = [scrae.SCRAE(device="cuda", random_state=4, **SOON).fit(made).embed() for _ in range(2)]
    np.testing.assert_array_equal(*embeddings)


def test_an_interrupted_training_goes_on_to_the_same_model(made):
    counts, batch = sp.csr_array(made.X), np.arange(300) % 2
    whole, first, second = (training_on(GPU, "default", counts, batch, batch_size=60) for _ in range(3))
    torch.manual_seed(1)
    whole.run(6, show_progress=False)
    torch.manual_seed(1)
    first.run(3, show_progress=False)
    second.load_state(first.state())
    second.run(6, show_progress=False)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(second.model.state_dict()[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_a_training_that_diverges_goes_back_and_on_with_lower_learning_rates(made):
    counts, batch = sp.csr_array(made.X), np.arange(300) % 2
    training = training_on(GPU, "default", counts, batch, batch_size=60)
    spoilt = []

    def spoil(training):
        if training.progress.epoch == 2 and not spoilt:
            spoilt.append(1)
            with torch.no_grad():
                next(training.model.parameters()).fill_(float("nan"))

    with pytest.warns(TrainingNotice, match="stopped being finite"):
        training.run(4, show_progress=False, after_epoch=spoil)
    assert training.progress.learning_rate_factor == 0.5
    assert training.progress.epoch == 4
    assert all(value.isfinite().all() for value in training.model.state_dict().values())


def test_what_is_done_with_a_model_works_on_a_gpu(made, tmp_path):
    made.obs["donor"] = np.array(["a", "b", "c"])[np.arange(300) % 3]
    made.obs["kind"] = np.where(np.arange(300) % 2, "one", "other")
    model = scrae.SCRAE(device="cuda", random_state=0, **SOON).fit(made, batch_key="donor")
    assert model.denoise(made).shape == made.shape
    assert len(model.sample(20)) == 20
    assert np.isfinite(model.negative_log_likelihood(made)).all()
    model.fit_labels(made, "kind")
    assert len(model.predict(made)) == made.n_obs
    query = made[:80].copy()
    query.obs["donor"] = "new"
    assert np.isfinite(model.map(query, batch_key="donor")).all()


def test_pairs_of_cells_are_learned_on_a_gpu(made):
    names = made.obs_names.to_numpy()
    pairs = np.stack([names[:50], names[2:52]], 1)
    model = scrae.SCRAE(device="cuda", random_state=0, **SOON).fit(made, must_link=pairs)
    assert np.isfinite(model.embed()).all()
    assert "must_link" in model.history


def test_scanpy_users_get_embedding_and_clusters_from_a_gpu(made):
    scrae.tl.scrae(made, device="cuda", **SOON)
    scrae.tl.cluster(made)
    assert made.obsm["X_scrae"].shape[0] == made.n_obs
    assert made.uns["scrae"]["summary"]["device"] == "cuda"
