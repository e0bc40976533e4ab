"""Threads of one process get what one thread gets, one after the other; and a model is a value that travels."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import scrae
from scrae.autoencoder.presets import PRESETS
from scrae.compute import turns
from scrae.compute.threads import at_most
from scrae.compute.turns import one_at_a_time

pytestmark = pytest.mark.slow


def in_threads(*tasks):
    """What each gives; all begin at once."""
    begin = threading.Barrier(len(tasks))

    def run(task):
        begin.wait()
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(run, tasks))


def test_threads_that_train_map_and_draw_at_once_get_what_they_would_get_alone(small, quick):
    other = scrae.SCRAE(**quick).fit(small)

    def training(seed):
        def train():
            model = scrae.SCRAE(**quick | {"max_epochs": 15}, random_state=seed).fit(small)
            return model.embed(), model.sample(20)

        return train

    def embedded():
        adata = small.copy()
        scrae.tl.scrae(adata, genes="all", **quick | {"max_epochs": 15})
        return adata.obsm["X_scrae"], adata.X.toarray()

    def asked():
        return other.sample(40, random_state=3), other.embed(small)

    tasks = [training(1), training(2), embedded, asked]
    alone = [task() for task in tasks]
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    together = in_threads(*tasks)
    assert torch.equal(torch.rand(3), expected)
    for one, another in zip(alone, together, strict=True):
        for mine, theirs in zip(one, another, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_loading_a_model_leaves_the_users_random_state_alone(small, quick, tmp_path):
    scrae.SCRAE(**quick).fit(small, model_dir=tmp_path)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    scrae.SCRAE.load(tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_a_thread_that_waits_says_so_once_and_not_where_quiet_is_asked_for(monkeypatch, capfd):
    monkeypatch.setattr(turns, "SECONDS_WITHOUT_A_WORD", 0.01)

    def waits(show):
        def wait():
            with one_at_a_time(show):
                pass

        return wait

    for show, lines in ((None, 1), (False, 0)):
        with ThreadPoolExecutor(1) as pool:
            with one_at_a_time():
                waiting = pool.submit(waits(show))
                time.sleep(0.1)
                assert not waiting.done()
            waiting.result()
        assert capfd.readouterr().err.count("waiting for it") == lines


def test_a_model_can_be_asked_from_within_its_training(small, quick):
    asked = []
    model = scrae.SCRAE(**quick)
    model.fit(small, on_epoch=lambda *_: asked.append(model.sample_codes(3)))
    assert len(asked) == 4
    np.testing.assert_array_equal(model.embed(), scrae.SCRAE(**quick).fit(small).embed())


def test_a_turn_that_ends_with_an_error_is_over(small, quick):
    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    with pytest.raises(Stop):
        scrae.SCRAE(**quick).fit(small, on_epoch=stop)
    (embedding,) = in_threads(scrae.SCRAE(**quick).fit(small).embed)
    assert embedding.shape == (60, 3)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_process_forked_while_a_thread_trains_can_train():
    code = """
import os, threading, sys
from scrae.compute.turns import one_at_a_time

inside, over = threading.Event(), threading.Event()

def hold():
    with one_at_a_time():
        inside.set()
        over.wait()

thread = threading.Thread(target=hold)
thread.start()
inside.wait()
child = os.fork()
if child == 0:
    with one_at_a_time(), one_at_a_time():
        os._exit(7)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
over.set()
thread.join()
with one_at_a_time():
    child = os.fork()  # by the thread whose turn it is
if child == 0:
    with one_at_a_time():
        os._exit(7)
sys.exit(status + os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=120, check=False)
    assert run.returncode == 14


def test_a_thread_that_begins_while_another_limits_torchs_threads_is_not_limited():
    before = torch.get_num_threads()
    limited, asked = threading.Event(), threading.Event()

    def limits():
        with one_at_a_time(), at_most(1):
            limited.set()
            asked.wait()

    def begins():
        limited.wait()
        threading.Timer(0.2, asked.set).start()
        with one_at_a_time():
            return torch.get_num_threads()

    try:
        torch.set_num_threads(2)
        assert in_threads(limits, begins)[1] == 2
    finally:
        torch.set_num_threads(before)


CLUSTERING = {"scdeepcluster": {"n_clusters": 3}, "sczidesk": {"n_clusters": 3}}


@pytest.mark.parametrize("preset", PRESETS)
def test_models_of_all_families_can_be_pickled_and_copied(small, quick, preset):
    settings = quick | CLUSTERING.get(preset, {}) | {"max_epochs": 2}
    model = scrae.SCRAE(preset, **settings).fit(small, batch_key="batch")
    others = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.deepcopy(model)]
    others[-1]._fitted = pickle.loads(pickle.dumps(model.fitted))
    module = model.fitted.module
    draws = module.likelihood.reconstructs and module.target_transform.kind in ("counts", "lognorm", "scaled")
    for other in others:
        np.testing.assert_array_equal(other.embed(small), model.embed(small))
        np.testing.assert_array_equal(other.embed(), model.embed())
        if module.likelihood.reconstructs:
            np.testing.assert_array_equal(other.denoise(small), model.denoise(small))
        if draws:
            np.testing.assert_array_equal(other.sample(5, random_state=0), model.sample(5, random_state=0))
        if model.settings.regulariser == "learned_prior":
            np.testing.assert_array_equal(other.sample_codes(5, random_state=0), model.sample_codes(5, random_state=0))
        assert other.history.equals(model.history)


@pytest.mark.parametrize("preset", ["default", "scvi"])
def test_a_pickled_model_goes_on_training_to_the_same_bits(small, quick, preset):
    whole = scrae.SCRAE(preset, **quick | {"max_epochs": 6}).fit(small)
    half = scrae.SCRAE(preset, **quick | {"max_epochs": 6}).fit(small, max_epochs=3)
    other = pickle.loads(pickle.dumps(half)).fit(small, resume=True)
    np.testing.assert_array_equal(other.embed(), whole.embed())
