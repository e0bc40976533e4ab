"""The read-out of the embedding, against scanpy's PCA and scikit-learn's neighbour graph."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import kneighbors_graph

import scrae
from scrae.data.covariates import Covariates
from scrae.data.minibatches import CountData
from scrae.posthoc import principal_components
from scrae.posthoc.integration import without_covariates
from scrae.posthoc.principal_components import PrincipalComponents
from scrae.posthoc.readout import AVERAGED, NEIGHBOURS, SPREAD, STEPS, Readout


def data_of(adata) -> CountData:
    return CountData(sp.csr_array(adata.X), Covariates.none(adata.n_obs), torch.device("cpu"))


def test_components_are_those_of_scaled_pca_at_unit_mean_square(pbmc):
    minibatch = data_of(pbmc).minibatch(torch.arange(pbmc.n_obs))
    components = PrincipalComponents.fit(sp.csr_array(pbmc.X), 8)(minibatch.counts).numpy()
    expected = scrae.metrics.scaled_pca(pbmc, 8)
    expected /= np.sqrt((expected**2).sum(1).mean())
    signs = np.sign((components * expected).sum(0))
    np.testing.assert_allclose(components, expected * signs, atol=2e-3)
    assert (components**2).sum(1).mean() == pytest.approx(1.0, rel=1e-4)


def test_components_of_many_cells_are_those_of_scaled_pca_too(pbmc, monkeypatch):
    monkeypatch.setattr(principal_components, "MANY", 0)
    some = pbmc[:, :200].copy()
    some = some[np.asarray(some.X.sum(1)).ravel() > 0].copy()
    found = PrincipalComponents.fit(sp.csr_array(some.X), 8)(data_of(some).minibatch(torch.arange(some.n_obs)).counts)
    expected = scrae.metrics.scaled_pca(some, 8)
    expected /= np.sqrt((expected**2).sum(1).mean())
    signs = np.sign((found.numpy() * expected).sum(0))
    np.testing.assert_allclose(found.numpy(), expected * signs, atol=2e-3)


def test_smoothing_is_a_random_walk_on_the_symmetric_neighbour_graph(pbmc):
    codes = torch.randn(pbmc.n_obs, 3, generator=torch.Generator().manual_seed(0))
    readout = Readout.fit(
        data_of(pbmc), torch.arange(pbmc.n_obs), lambda minibatch: codes[minibatch.cells], (3,), None, weight=0.5
    )
    x = ((codes - codes.mean(0)) / codes.std(0)).double().numpy() / np.sqrt(3)

    graph = kneighbors_graph(x, NEIGHBOURS, include_self=False).toarray()
    graph = ((graph + graph.T + np.eye(len(x))) > 0).astype(float)
    smoothed = np.linalg.matrix_power(graph / graph.sum(1, keepdims=True), STEPS) @ x
    near = kneighbors_graph(x, AVERAGED, include_self=True).toarray() / AVERAGED
    minibatch = data_of(pbmc).minibatch(torch.arange(pbmc.n_obs))
    y = x + 0.5 * near @ smoothed
    coordinates = readout.coordinates(codes, minibatch.counts)
    np.testing.assert_allclose(readout.shifted(coordinates, readout._near(coordinates)).numpy(), y, atol=1e-4)
    axes = PCA(3).fit_transform(y)
    embedding = readout(codes, minibatch.counts).numpy()
    np.testing.assert_allclose(embedding * np.sign((embedding * axes).sum(0)), axes, atol=1e-3)


def coordinates_of(model, adata) -> np.ndarray:
    minibatch = data_of(adata).minibatch(torch.arange(adata.n_obs))
    with torch.no_grad():
        return model.fitted.readout.coordinates(model.fitted.module.features(minibatch), minibatch.counts).numpy()


def test_codes_and_hidden_layer_weigh_together_as_much_as_the_components(pbmc):
    model = scrae.SCRAE(n_latent=4, n_hidden=(32, 16), n_pcs=10, max_epochs=3, verbose=False).fit(pbmc)
    codes, hidden, components = np.split(coordinates_of(model, pbmc), [4, 20], axis=1)
    expected = model.codes() - model.codes().mean(0)
    np.testing.assert_allclose(codes, expected / expected.std(0, ddof=1) / np.sqrt(2 * 4), atol=1e-5)
    for block, share in ((codes, 0.5), (hidden, 0.5), (components, 1.0)):
        assert (block**2).sum(1).mean() == pytest.approx(share, rel=0.01)
    assert hidden.std(0) == pytest.approx(hidden.std(0).mean(), rel=1e-3)


def test_a_feature_that_never_varied_cannot_blow_up_in_a_new_cell(pbmc):
    features = torch.randn(pbmc.n_obs, 3, generator=torch.Generator().manual_seed(0))
    features[:, 2] = 0.0
    readout = Readout.fit(
        data_of(pbmc), torch.arange(pbmc.n_obs), lambda minibatch: features[minibatch.cells], (2, 1), None, weight=0.0
    )
    minibatch = data_of(pbmc).minibatch(torch.arange(1))
    dead, alive = torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    assert torch.equal(readout(dead, minibatch.counts), readout(alive, minibatch.counts))


def test_the_embedding_keeps_the_widest_axes_of_what_is_joined(pbmc):
    model = scrae.SCRAE(n_latent=4, n_pcs=10, smoothing=0, max_epochs=3, verbose=False).fit(pbmc)
    expected = PCA(4).fit_transform(coordinates_of(model, pbmc))
    embedding = model.embed()
    np.testing.assert_allclose(embedding * np.sign((embedding * expected).sum(0)), expected, atol=1e-3)


def test_residual_axes_are_the_next_components_unsmoothed_and_equally_wide(pbmc):
    settings = {"n_latent": 4, "n_hidden": (32, 16), "n_pcs": 10, "max_epochs": 3, "verbose": False}
    model = scrae.SCRAE(**settings, n_residual=6).fit(pbmc)
    embedding = model.embed()
    first, residual = np.split(embedding, [4], axis=1)
    np.testing.assert_array_equal(first, scrae.SCRAE(**settings).fit(pbmc).embed())
    np.testing.assert_allclose(residual.std(0, ddof=1), SPREAD * np.sqrt(first.var(0, ddof=1).mean()), rtol=1e-3)
    x = coordinates_of(model, pbmc)
    known = model.fitted.readout.axes.numpy()
    left = (x - x.mean(0)) @ (np.eye(30) - known @ known.T)
    expected = PCA(6).fit_transform(left)
    expected *= np.sign((expected * residual).sum(0)) * residual.std(0) / expected.std(0)
    np.testing.assert_allclose(residual, expected, atol=2e-3)


@pytest.mark.parametrize(
    ("settings", "n_columns"),
    [
        ({}, 30),
        ({"n_latent": 12}, 32),
        ({"n_latent": 2}, 2),
        ({"n_latent": 2, "n_residual": 3}, 5),
        ({"n_residual": 0}, 10),
        ({"n_hidden": (6,), "n_pcs": 4}, 20),
        ({"n_pcs": 0, "smoothing": 0}, 10),
        ({"preset": "scvi"}, 10),
    ],
    ids=str,
)
def test_the_embedding_has_twenty_axes_more_where_ten_are_asked_for(pbmc, settings, n_columns):
    assert scrae.SCRAE(**settings, max_epochs=1, verbose=False).fit(pbmc).embed().shape == (700, n_columns)


def test_without_components_and_smoothing_the_embedding_is_the_codes(small, quick):
    model = scrae.SCRAE(**quick, n_pcs=0, smoothing=0).fit(small)
    assert np.array_equal(model.embed(), model.codes())
    assert model.embed().shape == (60, 3)


def test_read_out_embedding_survives_saving_and_meets_new_cells(pbmc, tmp_path):
    model = scrae.SCRAE(n_pcs=5, smoothing=0.5, max_epochs=3, verbose=False).fit(pbmc)
    embedding = model.embed()
    assert embedding.shape == (700, 30)
    assert model.codes().shape == (700, 10)
    model.save(tmp_path)
    loaded = scrae.SCRAE.load(tmp_path)
    assert np.array_equal(loaded.embed(pbmc), embedding)
    np.testing.assert_allclose(loaded.map(pbmc[:20]), embedding[:20], atol=1e-5)
    np.testing.assert_allclose(loaded.denoise(pbmc[:20]), model.denoise()[:20], rtol=1e-4)


@pytest.mark.slow
def test_training_that_goes_on_comes_to_the_same_embedding(pbmc, tmp_path):
    options = {"n_pcs": 5, "smoothing": 0.5, "verbose": False}
    whole = scrae.SCRAE(**options).fit(pbmc, max_epochs=4).embed()
    scrae.SCRAE(**options).fit(pbmc, max_epochs=2, model_dir=tmp_path, checkpoint_seconds=0)
    assert np.array_equal(
        scrae.SCRAE(**options).fit(pbmc, max_epochs=4, model_dir=tmp_path, resume=True).embed(), whole
    )


@pytest.mark.slow
def test_a_checkpoint_alone_embeds_as_the_model_it_holds(pbmc, tmp_path):
    """As after a kill: no finished model was written, the last checkpoint is all there is."""
    embeddings = []

    def look(epoch, longest, losses):
        embeddings.append(epoch)

    options = {"n_pcs": 5, "smoothing": 0.5, "verbose": False}
    model = scrae.SCRAE(**options).fit(pbmc, max_epochs=3, model_dir=tmp_path, checkpoint_seconds=0, on_epoch=look)
    for name in ("weights.safetensors", "scrae.json"):
        (tmp_path / name).unlink()
    left = scrae.SCRAE.load(tmp_path)
    assert len(left.fitted.readout.landmarks) == 700
    assert embeddings == [1, 2, 3]
    assert model.summary["best_epoch"] == 3
    assert np.array_equal(left.embed(pbmc), model.embed())


def in_two_batches(adata, n_codes):
    """Codes of three kinds in two batches that lie apart along the fourth: codes, kind, batch, data, covariates."""
    rng = np.random.default_rng(0)
    kind, batch = rng.integers(3, size=700), rng.integers(2, size=700)
    codes = 6 * np.eye(3, n_codes)[kind] + 2 * np.eye(n_codes)[3] * batch[:, None]
    codes += rng.normal(scale=0.5, size=(700, n_codes))
    covariates = Covariates.categorical(batch[:, None], (2,))
    data = CountData(sp.csr_array(adata.X), covariates, torch.device("cpu"), has_batch=True)
    return torch.as_tensor(codes, dtype=torch.float32), kind, batch, data, covariates


def test_what_a_batch_adds_to_the_codes_is_taken_out_for_new_cells_too(pbmc):
    codes, kind, batch, data, _ = in_two_batches(pbmc, 4)
    readout = Readout.fit(data, torch.arange(500), lambda minibatch: codes[minibatch.cells], (4,), None, weight=0.0)
    new = torch.arange(500, 700)
    embedding = readout(codes[new], data.minibatch(new).counts).numpy()

    def apart(values, groups):
        means = np.stack([values[groups == name].mean(0) for name in np.unique(groups)])
        return np.linalg.norm(means - means.mean(0), axis=1).mean()

    def batches_over_kinds(values):
        within = np.mean([apart(values[kind[500:] == k], batch[500:][kind[500:] == k]) for k in range(3)])
        return within / apart(values, kind[500:])

    standardised = readout.coordinates(codes[new], data.minibatch(new).counts).numpy()
    assert batches_over_kinds(embedding) < 0.4 * batches_over_kinds(standardised)


def test_residual_axes_are_taken_of_what_harmony_has_corrected(pbmc):
    features, _, _, data, covariates = in_two_batches(pbmc, 24)
    cells = torch.arange(700)
    readout = Readout.fit(data, cells, lambda minibatch: features[minibatch.cells], (2, 22), None, 2.0, n_residual=8)

    x = readout.coordinates(features, data.minibatch(cells).counts).numpy().astype(np.float64)
    near = kneighbors_graph(x, AVERAGED, include_self=True).toarray() / AVERAGED
    v = x + near @ (without_covariates(x, covariates) - x)
    known = readout.axes.numpy()
    expected = PCA(8).fit_transform((v - v.mean(0)) @ (np.eye(24) - known @ known.T))
    residual = readout(features, data.minibatch(cells).counts).numpy()[:, 2:]
    expected *= np.sign((expected * residual).sum(0)) * residual.std(0) / expected.std(0)
    np.testing.assert_allclose(residual, expected, atol=2e-3)
    assert np.abs(v - x).max() > 0.1


def test_more_components_than_genes_allow_are_cut(small, quick):
    model = scrae.SCRAE(**quick, n_pcs=100).fit(small)
    assert model.fitted.readout.components.loadings.shape == (30, 29)
    assert model.embed().shape == (60, 3)


def test_components_beyond_the_number_of_cells_are_empty(small, quick):
    model = scrae.SCRAE(**quick, n_pcs=20, smoothing=0.5).fit(small[:8])
    loadings = model.fitted.readout.components.loadings
    assert loadings[:, :6].any(dim=0).all()
    assert not loadings[:, 7:].any()
    assert np.isfinite(model.embed()).all()


def test_a_fraction_of_a_component_is_refused():
    with pytest.raises(ValueError, match="n_pcs must be a whole number"):
        scrae.SCRAE(n_pcs=2.5)


@pytest.mark.parametrize("setting", ["n_pcs", "smoothing", "n_residual"])
def test_negative_settings_of_the_read_out_are_refused(setting):
    with pytest.raises(ValueError, match=f"{setting} must (not be negative|be a whole number of at least 0)"):
        scrae.SCRAE(**{setting: -1})
