"""The estimator: embedding, denoising, sampling, mapping, covariates."""

from __future__ import annotations

import inspect
import weakref

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy import stats
from sklearn.base import clone as sklearn_clone

import scrae
from scrae.model.fitted import FittedModel


@pytest.fixture(scope="module")
def fitted(_pbmc):
    return scrae.SCRAE(n_hidden=(64,), max_epochs=60, verbose=False).fit(_pbmc)


def test_embedding_of_the_training_cells_is_that_of_the_same_cells_given_again(fitted, pbmc):
    np.testing.assert_array_equal(fitted.embed(), fitted.embed(pbmc))
    assert fitted.embed().dtype == np.float32
    assert fitted.embed().shape == (700, 30)


def test_embedding_does_not_depend_on_the_order_of_cells_or_genes(fitted, pbmc):
    rng = np.random.default_rng(0)
    cells, genes = rng.permutation(700), rng.permutation(765)
    np.testing.assert_allclose(fitted.embed(pbmc[cells, genes]), fitted.embed()[cells], atol=2e-5)


def test_standardised_codes_have_about_unit_moments(fitted):
    codes = fitted.codes()
    assert np.abs(codes.mean(0)).max() < 0.5
    assert np.abs(codes.std(0) - 1).max() < 0.6


def test_a_matrix_and_an_anndata_of_the_same_counts_give_the_same_embedding(small, quick):
    by_object = scrae.SCRAE(**quick).fit(small)
    by_matrix = scrae.SCRAE(**quick).fit(small.X)
    np.testing.assert_array_equal(by_object.embed(), by_matrix.embed())
    assert by_matrix.gene_names is None
    with pytest.raises(ValueError, match="has 29 genes and the model 30"):
        by_matrix.embed(small.X[:, :29])


def test_mapping_matches_genes_by_name_and_reports_the_missing(fitted, pbmc):
    rng = np.random.default_rng(1)
    shuffled = pbmc[:, rng.permutation(765)]
    np.testing.assert_allclose(fitted.map(shuffled), fitted.embed(), atol=2e-5)
    fewer = pbmc[:, 100:].copy()
    with pytest.warns(UserWarning, match="100 of the model's 765 genes are not in adata.X .*they count as zero"):
        mapped = fitted.map(fewer)
    zeroed = pbmc.copy()
    zeroed.X = sp.csr_matrix(zeroed.X.toarray() * (np.arange(765) >= 100).astype(np.float32))
    np.testing.assert_allclose(mapped, fitted.embed(zeroed), atol=2e-5)
    with pytest.raises(ValueError, match=r"100 of the model's 765 genes .*map\(query\) takes cells with missing"):
        fitted.embed(fewer)


def test_a_query_with_none_of_the_genes_is_refused_with_a_guess_why(fitted, pbmc):
    pbmc.var_names = [f"ENSG{i:011d}" for i in range(765)]
    with pytest.raises(ValueError, match="none of the model's 765 genes .*symbols on one side and Ensembl"):
        fitted.map(pbmc)


@pytest.mark.slow
def test_mapped_cells_land_near_training_cells_of_their_type(pbmc):
    from sklearn.neighbors import KNeighborsClassifier

    rng = np.random.default_rng(0)
    order = rng.permutation(700)
    reference, query = pbmc[order[:500]], pbmc[order[500:]]
    model = scrae.SCRAE(n_hidden=(64,), max_epochs=60, verbose=False).fit(reference)
    classifier = KNeighborsClassifier(15).fit(model.embed(), reference.obs["cell_type"])
    accuracy = classifier.score(model.map(query), query.obs["cell_type"])
    assert accuracy > 2 * query.obs["cell_type"].value_counts(normalize=True).max()


def test_denoised_counts_have_the_library_size_asked_for(fitted, pbmc):
    library = np.asarray(pbmc.X.sum(1)).ravel()
    np.testing.assert_allclose(fitted.denoise(library_size="observed").sum(1), library, rtol=1e-4)
    np.testing.assert_allclose(fitted.denoise(library_size=1000.0).sum(1), 1000.0, rtol=1e-4)
    np.testing.assert_allclose(fitted.denoise().sum(1), np.median(library), rtol=0.01)
    with pytest.raises(ValueError, match='"common", "observed" or a positive number'):
        fitted.denoise(library_size="shared")


@pytest.mark.slow
def test_denoising_restores_counts_that_were_thinned_away(pbmc):
    """Half of every count is hidden before training; denoised means predict it better than the other half does."""
    rng = np.random.default_rng(0)
    whole = pbmc.X.toarray().astype(int)
    kept = rng.binomial(whole, 0.5)
    adata = pbmc.copy()
    adata.X = sp.csr_matrix(kept.astype(np.float32))
    hidden = whole - kept
    denoised = scrae.SCRAE(n_hidden=(64,), max_epochs=60, verbose=False).fit(adata).denoise(library_size="observed")

    def per_gene(prediction):
        return np.nanmedian([stats.spearmanr(prediction[:, g], hidden[:, g])[0] for g in frequent])

    frequent = np.flatnonzero(whole.sum(0) > 500)
    assert per_gene(denoised) > per_gene(kept)


def test_synthetic_cells_resemble_the_real_ones(fitted, pbmc):
    synthetic = fitted.sample(2000, random_state=0)
    real = pbmc.X.toarray()
    assert synthetic.shape == (2000, 765)
    assert (synthetic >= 0).all()
    np.testing.assert_array_equal(synthetic, np.rint(synthetic))
    assert stats.pearsonr(np.log1p(synthetic.mean(0)), np.log1p(real.mean(0)))[0] > 0.95
    assert stats.pearsonr((synthetic == 0).mean(0), (real == 0).mean(0))[0] > 0.95
    assert 0.7 < np.median(synthetic.sum(1)) / np.median(real.sum(1)) < 1.3
    # Cells of one kind vary together: synthetic cells keep the real correlation of genes, not only their means.
    genes = np.argsort(-real.var(0))[:60]
    triangle = np.triu_indices(60, 1)
    correlation = [np.corrcoef(np.log1p(x[:, genes]).T)[triangle] for x in (synthetic, real)]
    assert stats.pearsonr(*correlation)[0] > 0.7


def test_each_call_draws_other_cells_unless_a_seed_is_given(small, quick, tmp_path):
    model = scrae.SCRAE(**quick, random_state=3).fit(small)
    first, second = model.sample(5), model.sample(5)
    assert not np.array_equal(first, second)
    assert not np.array_equal(model.sample_codes(4), model.sample_codes(4))
    np.testing.assert_array_equal(first, model.sample(5, random_state=3))
    np.testing.assert_array_equal(model.sample(5, random_state=1), model.sample(5, random_state=1))
    assert not np.array_equal(first, model.sample(5, random_state=3, codes="prior"))
    model.save(tmp_path / "model")
    again = scrae.SCRAE.load(tmp_path / "model")
    np.testing.assert_array_equal([again.sample(5), again.sample(5)], [first, second])
    assert model.sample_codes(4).shape == (4, 3)


def test_synthetic_cells_as_an_object_have_the_names_of_the_genes(small, quick):
    model = scrae.SCRAE(**quick).fit(small)
    cells = scrae.tl.sample(model, 7, random_state=2, like=small[:30])
    np.testing.assert_array_equal(cells.X.toarray(), model.sample(7, random_state=2, like=small[:30]))
    assert list(cells.var_names) == list(small.var_names)
    assert list(cells.obs_names) == [f"synthetic{i}" for i in range(7)]
    assert scrae.tl.sample(scrae.SCRAE(**quick).fit(small.X), 2).shape == (2, 30)


def test_denoised_expression_stands_in_a_layer_where_its_genes_stand(small, quick):
    model = scrae.SCRAE(**quick).fit(small, genes=["gene7", "gene0", "gene11"])
    changed = scrae.tl.denoise(small, model, library_size=100, copy=True)
    assert "denoised" not in small.layers
    means = model.denoise(small, library_size=100)
    np.testing.assert_array_equal(changed[:, ["gene7", "gene0", "gene11"]].layers["denoised"], means)
    assert np.isnan(changed[:, "gene3"].layers["denoised"]).all()
    assert scrae.tl.denoise(small, scrae.SCRAE(**quick).fit(small.X), key_added="means") is None
    assert np.isfinite(small.layers["means"]).all()


def test_a_clone_has_the_same_settings_and_trains_to_the_same_bits(small, quick):
    model = scrae.SCRAE("reference", random_state=4, pull=1e-2, **quick).fit(small)
    for clone in (model.clone(), scrae.SCRAE(**model.get_params()), sklearn_clone(model)):
        assert repr(clone) == "SCRAE(preset='reference', n_latent=3), not fitted"
        assert clone.get_params() == model.get_params()
        assert clone.settings == model.settings
    np.testing.assert_array_equal(clone.fit(small).embed(), model.embed())
    assert model.get_params()["pull"] == 1e-2
    assert set(inspect.signature(scrae.SCRAE).parameters) - {"settings"} <= set(model.get_params())


def test_a_loaded_model_can_be_cloned(small, quick, tmp_path):
    model = scrae.SCRAE(**quick, mask_rate=0.5).fit(small)
    model.save(tmp_path / "model")
    clone = scrae.SCRAE.load(tmp_path / "model", verbose=False).clone()
    np.testing.assert_array_equal(clone.fit(small).embed(), model.embed())


def test_genes_that_were_chosen_are_modelled_and_highly_variable_ones_as_by_the_tool(small, quick):
    every = scrae.SCRAE(**quick).fit(small)
    scrae.pp.select_genes(small, "hvg", 7)
    chosen = list(small.var_names[small.var["scrae_selected"]])
    assert list(scrae.SCRAE(**quick).fit(small).gene_names) == chosen
    small.var["highly_variable"] = np.arange(30) % 2 == 0
    model = scrae.SCRAE(**quick).fit(small)
    assert list(model.gene_names) == list(small.var_names[::2])
    scrae.tl.scrae(small, **quick)
    np.testing.assert_array_equal(small.obsm["X_scrae"], model.embed())
    for named in ("all", list(small.var_names)):
        np.testing.assert_array_equal(scrae.SCRAE(**quick).fit(small, genes=named).embed(), every.embed())
    scrae.tl.scrae(small, genes="all", **quick)
    np.testing.assert_array_equal(small.obsm["X_scrae"], every.embed())


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [
        (0, {}, "at least 1"),
        (3, {"codes": "posterior"}, 'codes is "cells" or "prior"'),
        (3, {"codes": "prior", "like": slice(0, 50)}, "cells from the prior cannot be made to resemble others"),
        (3, {"like": slice(0, 9)}, r"like has 9 cell\(s\); 10 or more are needed"),
    ],
)
def test_what_cannot_be_sampled_is_refused(fitted, pbmc, n, options, message):
    if "like" in options:
        options = options | {"like": pbmc[options["like"]]}
    with pytest.raises(ValueError, match=message):
        fitted.sample(n, **options)


def test_cells_drawn_like_others_have_their_markers_and_their_sizes(fitted, pbmc):
    b_cells = pbmc[pbmc.obs["cell_type"] == "CD19+ B"]
    alike, any_cells = (fitted.sample(300, like=some, random_state=0) for some in (b_cells, None))
    marker = pbmc.var_names.get_loc("CD79A")
    assert (alike[:, marker] > 0).mean() > 0.9
    assert (any_cells[:, marker] > 0).mean() < 0.4
    assert np.median(alike.sum(1)) == pytest.approx(np.median(b_cells.X.toarray().sum(1)), rel=0.1)


def test_synthetic_cells_have_the_sizes_of_real_ones(fitted, pbmc):
    """A zero-inflated likelihood drops counts: what is left has to add up, not what was there before."""
    assert fitted.sample(2000, random_state=0).sum(1).mean() == pytest.approx(pbmc.X.sum(1).mean(), rel=0.03)


def test_what_needs_training_says_so(small):
    model = scrae.SCRAE()
    assert "not fitted" in repr(model)
    for call in (model.embed, lambda: model.map(small), model.denoise, lambda: model.sample(1)):
        with pytest.raises(scrae.NotFittedError, match=r"call fit\(adata\) first"):
            call()
    with pytest.raises(scrae.NotFittedError):
        model.save("nowhere")


def with_batch_effect(pbmc):
    """The same cells, half of them with a fifth of the genes ten times as high: a batch effect by construction."""
    rng = np.random.default_rng(0)
    adata = pbmc.copy()
    adata.obs["batch"] = np.where(rng.random(700) < 0.5, "strong", "plain")
    factor = np.ones((700, 765), dtype=np.float32)
    factor[np.ix_(adata.obs["batch"] == "strong", rng.random(765) < 0.2)] = 10
    adata.X = sp.csr_matrix(adata.X.toarray() * factor)
    return adata


def batch_mixing(embedding, batch):
    """How well nearest neighbours predict the batch: 0.5 is mixed, 1 is apart."""
    from sklearn.model_selection import cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    return cross_val_score(KNeighborsClassifier(15), embedding, batch, cv=5).mean()


@pytest.mark.slow
def test_a_batch_key_takes_the_batch_effect_out_of_decoded_counts(pbmc):
    adata = with_batch_effect(pbmc)
    batch = adata.obs["batch"].to_numpy()
    model = scrae.SCRAE(n_hidden=(64,), max_epochs=60, verbose=False).fit(adata, batch_key="batch")
    plain, strong = model.denoise(batch="plain"), model.denoise(batch="strong")
    own = model.denoise()
    np.testing.assert_allclose(own[batch == "plain"], plain[batch == "plain"], rtol=1e-5)
    np.testing.assert_allclose(own[batch == "strong"], strong[batch == "strong"], rtol=1e-5)
    affected = np.asarray(adata[batch == "strong"].X.mean(0) / np.maximum(adata[batch == "plain"].X.mean(0), 1e-3))
    affected = affected.ravel() > 5
    assert np.median(strong[:, affected].mean(0) / plain[:, affected].mean(0)) > 2
    assert np.median(strong[:, ~affected].mean(0) / plain[:, ~affected].mean(0)) < 1
    with pytest.raises(ValueError, match="no batch 'stong'; did you mean 'strong'"):
        model.denoise(batch="stong")


def with_number_effect(adata, seed=0):
    """Each cell has a number; half of the genes are caught better the larger it is, the others worse."""
    rng = np.random.default_rng(seed)
    number, rises = rng.normal(50, 20, size=adata.n_obs), rng.random(adata.n_vars) < 0.5
    caught = 1 / (1 + np.exp(-np.outer((number - 50) / 20, np.where(rises, 1, -1))))
    adata = adata.copy()
    adata.X = sp.csr_matrix(rng.binomial(adata.X.toarray().astype(int), caught).astype(np.float32))
    adata.obs["number"] = number
    return adata[np.asarray(adata.X.sum(1)).ravel() > 0].copy(), rises


@pytest.mark.slow
def test_a_continuous_covariate_is_taken_out_of_the_embedding_and_known_to_the_decoder(pbmc):
    from sklearn.model_selection import cross_val_predict
    from sklearn.neighbors import KNeighborsRegressor

    adata, rises = with_number_effect(pbmc)
    number, types = adata.obs["number"].to_numpy(), adata.obs["cell_type"]
    told, agreement = {}, {}
    for keys in ((), ("number",)):
        model = scrae.SCRAE(verbose=False).fit(adata, continuous_covariate_keys=keys)
        embedding = model.embed()
        found = cross_val_predict(KNeighborsRegressor(15), embedding, number, cv=5)
        told[keys] = np.corrcoef(found, number)[0, 1] ** 2
        agreement[keys] = scrae.metrics.scores(types, scrae.metrics.kmeans(embedding, 8))["ARI"]
    assert told[()] > 0.8
    assert told[("number",)] < 0.5
    assert agreement[("number",)] > agreement[()] + 0.1
    low, high = adata[number < 35], adata[number > 65]
    means = model.denoise()[number < 35].mean(0), model.denoise()[number > 65].mean(0)
    caught_more = np.log(means[1] / means[0])
    assert np.median(caught_more[rises]) > 0.5 > -0.5 > np.median(caught_more[~rises])
    assert model.map(high).shape == (high.n_obs, 30)  # new cells need no number
    np.testing.assert_allclose(model.denoise(low), model.denoise()[number < 35], rtol=1e-4)


def test_a_model_with_continuous_covariates_is_saved_sampled_and_resumed(small, quick, tmp_path):
    small.obs["number"] = np.linspace(3, 5, 60)
    keys = {"batch_key": "batch", "continuous_covariate_keys": ["number"]}
    model = scrae.SCRAE(**quick).fit(small, **keys)
    assert model.fitted.module.decoder[0].in_features == 3 + 2 + 1
    model.save(tmp_path)
    loaded = scrae.SCRAE.load(tmp_path, verbose=False)
    np.testing.assert_array_equal(loaded.denoise(small), model.denoise())
    np.testing.assert_array_equal(loaded.sample(20, random_state=0), model.sample(20, random_state=0))
    half = scrae.SCRAE(**quick).fit(small, **keys, max_epochs=2)
    resumed = half.fit(small, **keys, max_epochs=4, resume=True)
    np.testing.assert_array_equal(resumed.embed(), model.embed())
    small.obs["number"] = np.linspace(5, 3, 60)
    with pytest.raises(ValueError, match="resume needs the same data"):
        half.fit(small, **keys, max_epochs=6, resume=True)


def test_further_covariates_and_a_dispersion_per_batch_are_part_of_the_model(small, quick):
    small.obs["sex"] = ["f", "m", "m"] * 20
    model = scrae.SCRAE(**quick, dispersion="gene-batch").fit(
        small, batch_key="batch", categorical_covariate_keys=["sex"]
    )
    assert model.fitted.module.decoder[0].in_features == 3 + 2 + 2
    assert model.fitted.module.likelihood.log_r.shape == (2, 30)
    assert not torch.equal(*model.fitted.module.likelihood.log_r)
    assert model.sample(6, batch="a").shape == (6, 30)


@pytest.mark.parametrize("likelihood", ["zinb", "nb", "poisson", "gaussian"])
@pytest.mark.parametrize("library", ["observed", "learned"])
def test_every_likelihood_trains_with_either_library(pbmc, likelihood, library):
    model = scrae.SCRAE(likelihood=likelihood, library=library, n_hidden=(32,), max_epochs=8, verbose=False).fit(pbmc)
    history = model.history
    assert history["reconstruction"].iloc[-1] < history["reconstruction"].iloc[0]
    assert np.isfinite(history.to_numpy()).all()
    denoised = model.denoise(library_size="observed")
    assert (denoised >= 0).all()
    assert 0.5 < np.median(denoised.sum(1)) / np.median(pbmc.X.toarray().sum(1)) < 2
    assert np.isfinite(model.sample(3)).all()


@pytest.mark.slow
def test_the_zinb_finds_dropout_that_is_there_and_none_that_is_not():
    """Made counts, half of the entries of high genes set to zero: the dropout probability is learned."""
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 2, 400)
    mean = np.where(groups[:, None] == np.arange(20) % 2, 30.0, 10.0)
    counts = rng.poisson(mean).astype(np.float32)
    dropped = counts.copy()
    dropped[:, :10] *= rng.random((400, 10)) < 0.5
    model = scrae.SCRAE(n_latent=2, n_hidden=(32,), early_stopping=False, max_epochs=150, mask_rate=0.1, verbose=False)
    model.fit(dropped)
    with torch.inference_mode():
        minibatch = model.fitted.data(*model.fitted.training_cells).minibatch(torch.arange(400))
        codes = model.fitted.module.encode(minibatch)
        log_library = torch.zeros(400)
        logit = model.fitted.module.decode(codes, minibatch.covariates, log_library, minibatch.batch)[2]
    dropout = torch.sigmoid(logit).mean(0).numpy()
    np.testing.assert_allclose(dropout[:10], 0.5, atol=0.1)
    assert dropout[10:].max() < 0.05


def test_the_reference_preset_is_the_published_code_and_can_be_undone_part_by_part(pbmc):
    model = scrae.SCRAE("reference", max_epochs=1, verbose=False).fit(pbmc)
    rates = {phase.name: phase.learning_rate for phase in model.fitted.module.phases()}
    assert rates == pytest.approx({"autoencoder": 1e-3, "encoder_adversarial": 1e-6, "prior": 9e-5, "critic": 9e-5})
    assert not any(isinstance(m, torch.nn.BatchNorm1d) for m in model.fitted.module.modules())
    minibatch = model.fitted.data(*model.fitted.training_cells).minibatch(torch.arange(5))
    target = model.fitted.module.target_transform(minibatch.counts).dense().numpy()
    counts = pbmc.X.toarray()
    np.testing.assert_allclose(target, np.log2(1 + counts[:5]) / np.log2(1 + counts.max()), rtol=1e-5)
    np.testing.assert_allclose(
        model.fitted.module.library.prior_mean, np.log((np.log2(1 + counts) / np.log2(1 + counts.max())).sum(1)).mean(),
        rtol=1e-4,
    )  # fmt: skip
    with pytest.raises(ValueError, match='train with target="counts"'):
        model.sample(3)
    undone = scrae.SCRAE("reference", target="counts", max_epochs=1, n_hidden=(32,), pull=1.0, verbose=False).fit(pbmc)
    assert undone.sample(3).shape == (3, 765)
    assert {p.name: p.learning_rate for p in undone.fitted.module.phases()}["encoder_adversarial"] == 1e-3


def test_cuda_is_used_or_its_absence_said(small, quick):
    if torch.cuda.is_available():
        model = scrae.SCRAE(device="cuda", **quick).fit(small)
        assert model.embed().shape == (60, 3)
    else:
        with pytest.raises(ValueError, match='finds no CUDA device; use device="cpu"'):
            scrae.SCRAE(device="cuda")


def test_pieces_of_an_embedding_are_not_kept_beside_it(pbmc, quick, monkeypatch):
    """Small pieces that outlive the large arrays of their minibatch cost gigabytes for a million cells."""
    model = scrae.SCRAE(**quick).fit(pbmc)
    embedding, pieces = FittedModel.embedding, []

    def watched(self, minibatch):
        assert [piece() for piece in pieces] == [None] * len(pieces)
        result = embedding(self, minibatch)
        pieces.append(weakref.ref(result))
        return result

    monkeypatch.setattr(FittedModel, "embedding", watched)
    many = sp.vstack([sp.csr_array(pbmc.X)] * 5)
    np.testing.assert_allclose(model.embed(many)[-pbmc.n_obs :], model.embed(), rtol=1e-4, atol=1e-5)
    assert len(pieces) == 5
