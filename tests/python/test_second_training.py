"""A second training on an object that fails leaves object and folder as the first one left them."""

from __future__ import annotations

import hashlib
import signal

import numpy as np
import pytest
import torch

import scrae
from scrae.training.loop import Training


def digests(folder):
    """Digest of each file of a folder, by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def out_of_memory(*_, **__):
    raise MemoryError("no room")


def ask_for_too_much(*_, **__):
    """A real refusal by the system, within a limit on what may be asked for."""
    torch.empty(2**40, dtype=torch.uint8)


def press_control_c(*_):
    signal.raise_signal(signal.SIGINT)


PREPARATION = {
    "memory": ("scrae.autoencoder.autoencoder.RegularisedAutoencoder.fit_constants", out_of_memory, MemoryError),
    "memory of the system": ("scrae.model.fitting.CountData", ask_for_too_much, RuntimeError),
    "components": ("scrae.posthoc.principal_components.svds", out_of_memory, MemoryError),
    "control c": ("scrae.model.fitting.Population.of", press_control_c, KeyboardInterrupt),
}


@pytest.fixture
def first(small, quick, tmp_path):
    """A trained model with its folder, and what it answers."""
    model = scrae.SCRAE(**quick).fit(small, batch_key="batch", model_dir=tmp_path / "model")
    model.fit_labels(small, "batch")
    model.save(tmp_path / "model")
    return model, tmp_path / "model"


def answers(model, adata):
    return {
        "embedding": model.embed(),
        "of the data": model.embed(adata),
        "codes": model.codes(),
        "denoised": model.denoise(),
        "sample": model.sample(5, random_state=0),
        "types": model.predict(adata).astype(str),
        "history": model.history.to_numpy(),
        "summary": np.array([repr(model.summary)]),
        "model": np.array([repr(model)]),
        "genes": model.gene_names.astype(str),
    }


def assert_as_before(before, model, adata):
    after = answers(model, adata)
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values, err_msg=name)


@pytest.mark.parametrize("with_folder", [True, False], ids=["model_dir", "no model_dir"])
@pytest.mark.parametrize("what", PREPARATION)
def test_what_fails_while_a_second_training_is_prepared_changes_nothing(first, small, monkeypatch, what, with_folder):
    model, folder = first
    before, files = answers(model, small), digests(folder)
    place, fails, error = PREPARATION[what]
    with monkeypatch.context() as patched:
        patched.setattr(place, fails)
        with pytest.raises(error):
            model.fit(small[:, :20], model_dir=folder if with_folder else None, overwrite=True)
    assert digests(folder) == files
    assert_as_before(before, model, small)
    assert_as_before(before, refitted(model, small, before), small)


def refitted(model, small, before):
    """What the same training gives after the failure: the object is as good as ever."""
    again = scrae.SCRAE(model.preset, verbose=False, n_latent=3, n_hidden=(16,), batch_size=16, max_epochs=4)
    again.fit(small, batch_key="batch")
    np.testing.assert_array_equal(again.embed(), before["embedding"])
    return model


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda adata: adata[:, :1], "has one gene"),
        (lambda adata: adata[:1], "has one cell"),
        (lambda adata: np.log1p(adata.X.toarray()), "fractional"),
        (lambda adata: -adata.X.toarray(), "negative"),
    ],
    ids=["a gene", "a cell", "logarithms", "negative"],
)
def test_bad_data_for_a_second_training_change_nothing(first, small, wrong, message):
    model, folder = first
    before, files = answers(model, small), digests(folder)
    with pytest.raises(ValueError, match=message):
        model.fit(wrong(small), model_dir=folder)
    assert digests(folder) == files
    assert_as_before(before, model, small)


@pytest.mark.parametrize("with_folder", [True, False], ids=["model_dir", "no model_dir"])
def test_control_c_in_the_first_epoch_of_a_second_training_changes_nothing(first, small, monkeypatch, with_folder):
    model, folder = first
    before, files = answers(model, small), digests(folder)
    step = Training._step

    def pressed(self, phase, losses):
        if self.progress.step == 1 and phase.name == "autoencoder":
            press_control_c()
        return step(self, phase, losses)

    with monkeypatch.context() as patched:
        patched.setattr(Training, "_step", pressed)
        with pytest.raises(KeyboardInterrupt, match="before its first epoch had ended"):
            model.fit(small[:, :20], model_dir=folder if with_folder else None, overwrite=True)
    assert digests(folder) == files
    assert_as_before(before, model, small)


def test_an_error_in_a_later_epoch_keeps_what_the_new_training_had_come_to(first, small, tmp_path):
    """There is a new model by then: it is taken, whole, with the genes, history and folder that belong to it."""
    model, folder = first

    def fail(epoch, most, losses):
        if epoch == 3:
            raise MemoryError("no room")

    with pytest.raises(MemoryError):
        model.fit(small[:, :20], model_dir=folder, overwrite=True, on_epoch=fail)
    assert model.gene_names.tolist() == small.var_names[:20].tolist()
    assert model.cell_types is None
    assert len(model.history) == model.summary["epochs"]
    loaded = scrae.SCRAE.load(folder)
    np.testing.assert_array_equal(loaded.embed(small[:, :20]), model.embed())
    assert loaded.gene_names.tolist() == model.gene_names.tolist()
    resumed = loaded.fit(small[:, :20], max_epochs=4, resume=True)
    whole = scrae.SCRAE(n_latent=3, n_hidden=(16,), batch_size=16, verbose=False).fit(small[:, :20], max_epochs=4)
    np.testing.assert_array_equal(resumed.embed(), whole.embed())


def test_what_fails_when_a_second_training_is_finished_changes_nothing(first, small, monkeypatch):
    """Nothing is swapped in before it is whole."""
    model, folder = first
    before = answers(model, small)
    with monkeypatch.context() as patched:
        patched.setattr("scrae.model.fitting.finish", out_of_memory)
        with pytest.raises(MemoryError):
            model.fit(small[:, :20])
    assert_as_before(before, model, small)
    assert sorted(digests(folder)) == ["scrae.json", "training_state.safetensors", "weights.safetensors"]


def test_to_the_function_called_after_an_epoch_the_object_is_the_model_in_training(first, small):
    model, _ = first
    seen = []

    def look(epoch, most, losses):
        seen.append((epoch, len(model.history), model.gene_names.size, model.codes().shape))

    first_codes = model.codes()
    model.fit(small[:, :20], on_epoch=look)
    assert seen == [(epoch, epoch, 20, (60, 3)) for epoch in range(1, 5)]
    assert not np.array_equal(model.codes(), first_codes)


def test_a_fitted_model_is_one_value_that_a_new_training_does_not_change(first, small):
    model, _ = first
    value = model.fitted
    weights = {name: tensor.clone() for name, tensor in value.module.state_dict().items()}
    model.fit(small[:, :20])
    model.fit(small, resume=False, batch_key="batch", max_epochs=2)
    assert model.fitted is not value
    assert all(torch.equal(tensor, weights[name]) for name, tensor in value.module.state_dict().items())
    with pytest.raises(AttributeError):
        value.genes = None


def test_the_system_does_refuse_so_much_memory():
    """Otherwise the test above that asks for it would ask for nothing."""
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        ask_for_too_much()
