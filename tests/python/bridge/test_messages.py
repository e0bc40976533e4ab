"""Every refusal and warning that R may meet, provoked in Python and worded by R: no word of Python is left."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

import scrae
from pretended_gpu import small_gpu
from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.autoencoder.settings import Settings
from scrae.data.cells import Cells, read_cells
from scrae.data.counts import as_counts
from scrae.data.written_files import refuse_target
from scrae.model.folder import DESCRIPTION, STATE, WEIGHTS
from scrae.model.lock import LOCK
from scrae.pp.genes import select_genes
from scrae.r import answers, conversion, jobs, run_in_session
from scrae.r.answers import plain
from scrae.r.events import described
from scrae.r.job import JOB
from scrae.regularisers import Regulariser
from scrae.tl import pseudobulk
from treated_cells import treated_cells

pytestmark = pytest.mark.slow

R_FILES = Path(__file__).parents[3] / "rpkg" / "R"
WORDS = sorted(R_FILES.glob("words_of_*.R"))
QUICK: dict[str, Any] = {"n_latent": 2, "n_hidden": (8,), "batch_size": 16, "max_epochs": 2, "verbose": False}
OF_PYTHON = re.compile(
    r"\badata\b|\bobs\b|\bvar\b|\bobsm\b|\buns\b|\bnp\.|\bsc\.|\btl\.|\bpp\.|\bNone\b|\bTrue\b|\bFalse\b|\bNaN\b|map\(|"
    r"Traceback|\w+Error\b|\bdict\b|\blist\b|\btuple\b|\bstr\b|\bfloat\b|\bint\b|dtype|\barray\b|\bself\b|py_last|"
    r"Length of values|Categorical|\[\d|\[\[|\[\(|<class|\bkwargs|AnnData|"
    r"unlabeled_category|labels_key|unknown_rate|n_runs|n_top|batch_key|random_state|library_size|layers?\[|layer=|"
    r"covariate_keys|model_dir|groupby|min_cells|max_q|\w=\S"
)


class Stage:
    """Cells and a model that the provocations work on; each gets fresh cells."""

    def __init__(self, model: scrae.SCRAE, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.model, self.folder, self.monkeypatch = model, folder, monkeypatch
        self.cells = cells()

    def fit(self, settings: dict[str, Any] | None = None, **arguments: Any) -> scrae.SCRAE:
        return scrae.SCRAE(**QUICK | (settings or {})).fit(self.cells, **arguments)

    def saved(self) -> Path:
        self.model.save(self.folder / "model")
        return self.folder / "model"

    def column(self, values: Any) -> anndata.AnnData:
        self.cells.obs["donor"] = values
        return self.cells


def cells(n_cells: int = 60, n_genes: int = 30) -> anndata.AnnData:
    rng = np.random.default_rng(3)
    counts = rng.poisson(rng.gamma(1.0, 1.5, size=(n_cells, n_genes))).astype(np.float32)
    counts[:, 0] += 1
    obs = pd.DataFrame(
        {"batch": np.resize(["a", "b"], n_cells), "type": np.resize(["x", "y", "y"], n_cells)},
        index=[f"cell{i}" for i in range(n_cells)],
    )
    return anndata.AnnData(sp.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)]))


def copied(stage: Stage, change: Callable[[pd.Series], Any]) -> str:
    """Name of a column that follows from the batch."""
    stage.cells.obs["follows"] = change(stage.cells.obs["batch"].astype(str))
    return "follows"


def large_answer(stage: Stage) -> None:
    stage.monkeypatch.setattr(answers, "MOST_ENTRIES", 10)
    answers.write_array(stage.folder, "matrix", stage.cells.X)


def of_two_files(stage: Stage) -> None:
    paths = [stage.folder / "first.h5ad", stage.folder / "second.h5ad"]
    stage.cells[:, :20].write_h5ad(paths[0])
    stage.cells[:, :10].write_h5ad(paths[1])
    stage.model.clone().fit(paths)


def unlike(stage: Stage) -> None:
    """Cells that hardly express what the training cells do."""
    changed = of_values(stage, lambda values: values[np.arange(60)[::-1], ::-1] ** 3)
    changed.obs["donor"] = "z"
    stage.model.map(changed, batch_key="donor")


def twins(stage: Stage) -> None:
    stage.cells.obs_names = ["cell1", *stage.cells.obs_names[1:]]
    stage.fit(must_link=[("cell1", "cell2")])


def of_values(stage: Stage, change: Callable[[np.ndarray], Any]) -> anndata.AnnData:
    """The cells with other values."""
    values = stage.cells.X.toarray()
    changed = change(values)
    return anndata.AnnData(values if changed is None else changed, obs=stage.cells.obs, var=stage.cells.var)


def dim_batch(stage: Stage) -> anndata.AnnData:
    """30 cells of one donor have counts of one gene alone."""

    def dim(values: np.ndarray) -> None:
        values[:30, 1:] = 0

    changed = of_values(stage, dim)
    changed.obs["donor"] = ["dim"] * 30 + ["bright"] * 30
    return changed


def put(row: int, column: int, value: float) -> Callable[[np.ndarray], None]:
    def change(values: np.ndarray) -> None:
        values[row, column] = value

    return change


def without_counts(genes: slice, of_cells: slice) -> Callable[[np.ndarray], None]:
    def change(values: np.ndarray) -> None:
        values[of_cells, genes] = 0

    return change


def damaged_matrix(stage: Stage) -> None:
    stage.cells.X.indices[3] = 10**6
    read_cells(stage.cells)


def twice(stage: Stage) -> anndata.AnnData:
    stage.cells.obs = pd.concat([stage.cells.obs, stage.cells.obs[["batch"]]], axis=1)
    stage.cells.obs.columns = ["type", "donor", "donor"]
    return stage.cells


def of_features(stage: Stage, column: str, values: Any) -> anndata.AnnData:
    stage.cells.var[column] = values
    return stage.cells


def repeated_genes(stage: Stage) -> None:
    stage.cells.var_names = ["gene1", *stage.cells.var_names[1:]]
    read_cells(stage.cells)


def renamed(stage: Stage, n: int) -> anndata.AnnData:
    stage.cells.var_names = [f"ENSG{i}" if i < n else name for i, name in enumerate(stage.cells.var_names)]
    return stage.cells


def spoil(stage: Stage, steps: Callable[[int], bool]) -> None:
    losses, step = RegularisedAutoencoder.losses, iter(range(10**9))

    def spoiled(self: RegularisedAutoencoder, minibatch: Any) -> dict[str, Any]:
        factor = float("nan") if steps(next(step)) else 1.0
        return {name: value * factor for name, value in losses(self, minibatch).items()}

    stage.monkeypatch.setattr(RegularisedAutoencoder, "losses", spoiled)
    stage.fit({"max_epochs": 12})


def damaged(stage: Stage, file: str) -> None:
    path = stage.saved() / file
    path.write_bytes(path.read_bytes()[:40])
    scrae.SCRAE.load(path.parent)


def redescribed(stage: Stage, change: Callable[[dict[str, Any]], None]) -> None:
    path = stage.saved() / DESCRIPTION
    description = json.loads(path.read_text())
    change(description)
    path.write_text(json.dumps(description))
    scrae.SCRAE.load(path.parent)


def no_room(stage: Stage) -> None:
    """A folder that is taken away in the first epoch: no checkpoint can be written, and training goes on to the end."""
    folder = stage.folder / "gone"

    def take_away(epoch: int, *_: Any) -> None:
        if epoch == 1:
            shutil.rmtree(folder)
            folder.symlink_to("/proc/no folder")  # never a folder, for root neither

    stage.fit(model_dir=folder, on_epoch=take_away)


def other_writer(stage: Stage) -> None:
    lock(stage, os.getppid())
    stage.fit(model_dir=stage.folder / "model")


def writer_died(stage: Stage) -> None:
    lock(stage, 2**22 + 1)  # more than there are
    stage.fit(model_dir=stage.folder / "model")


def lock(stage: Stage, process: int) -> None:
    (stage.folder / "model").mkdir()
    owner = {"process": process, "started": None, "host": socket.gethostname()}
    (stage.folder / "model" / LOCK).write_text(json.dumps(owner))


def of_two(stage: Stage) -> None:
    state = (stage.saved() / STATE).read_bytes()
    other = stage.fit({"n_latent": 3})
    other.save(stage.folder / "other")
    (stage.folder / "other" / STATE).write_bytes(state)
    scrae.SCRAE.load(stage.folder / "other")


def without_weights(stage: Stage) -> None:
    (stage.saved() / WEIGHTS).unlink()
    scrae.SCRAE.load(stage.folder / "model")


def with_own_clusters(stage: Stage) -> None:
    stage.cells.obs["scrae_clusters"] = "mine"
    scrae.tl.scrae(stage.cells, preset="scdeepcluster", genes="all", **QUICK)


def with_embedding(stage: Stage, first: float = 0.0) -> anndata.AnnData:
    """The cells with an embedding of two axes, of which one value is given."""
    embedding = np.random.default_rng(5).normal(size=(stage.cells.n_obs, 2))
    embedding[0, 0] = first
    stage.cells.obsm["X_scrae"] = embedding
    return stage.cells


def with_clusters_by_hand(stage: Stage) -> None:
    stage.cells.obs["scrae_clusters"] = "mine"
    scrae.tl.cluster(with_embedding(stage))


def too_large(stage: Stage) -> None:
    with open(stage.folder / "large.h5ad", "wb") as file:
        file.truncate(2**43)
    refuse_target(stage.folder / "out.h5ad", [stage.folder / "large.h5ad"])


def without_rpy2(stage: Stage) -> None:
    stage.monkeypatch.setitem(sys.modules, "anndata2ri", None)
    conversion.bridge()


def without_density(stage: Stage) -> None:
    model = stage.fit()
    object.__setattr__(model.fitted.population, "density", None)
    model.sample(3)


def without_memory(stage: Stage) -> None:
    torch.empty(2**60)


def without_cuda(stage: Stage) -> None:
    stage.monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    scrae.SCRAE(device="cuda")


def with_a_small_gpu(stage: Stage) -> None:
    small_gpu(stage.monkeypatch, 1000)
    scrae.SCRAE(device="cuda").fit(stage.cells)


def unknown_job(stage: Stage) -> None:
    (stage.folder / JOB).write_text(json.dumps({"action": "dance", "arguments": {}}))
    jobs.run(stage.folder, lambda: None, lambda *_, **__: None)


def shallow() -> anndata.AnnData:
    counts = np.zeros((40, 12), dtype=np.float32)
    counts[np.arange(40), np.arange(40) % 12] = 1
    return anndata.AnnData(counts)


def settings(**of_model: Any) -> Callable[[Stage], Any]:
    return lambda stage: scrae.SCRAE(**of_model)


def option(regulariser: str, **options: Any) -> Callable[[Stage], Any]:
    return lambda stage: Regulariser.registry[regulariser](3, **options)


PROVOKED: dict[str, list[Callable[[Stage], Any]]] = {
    "no_matrix": [lambda s: read_cells(anndata.AnnData(obs=s.cells.obs, var=s.cells.var))],
    "no_table": [lambda s: as_counts(np.ones(3))],
    "no_cells_or_genes": [lambda s: as_counts(np.ones((0, 1)))],
    "no_numbers_in_matrix": [lambda s: as_counts(np.array([["a"]]))],
    "not_counts": [
        lambda s, value=value: read_cells(of_values(s, put(3, 4, value))) for value in (0.5, -2, np.nan, np.inf, 2**25)
    ],
    "damaged_matrix": [damaged_matrix],
    "rounded_counts": [lambda s: scrae.SCRAE(**QUICK).fit(of_values(s, lambda v: v * 1.01), counts="round")],
    "all_zero": [lambda s: read_cells(of_values(s, lambda values: values * 0))],
    "empty_cells": [
        lambda s: read_cells(of_values(s, without_counts(slice(None), slice(1)))),
        lambda s: read_cells(of_values(s, without_counts(slice(None), slice(5)))),
    ],
    "one_cell": [lambda s: scrae.SCRAE(**QUICK).fit(s.cells[:1])],
    "one_gene": [lambda s: s.fit(genes=["gene0"])],
    "no_counts_of_chosen_genes": [
        lambda s: scrae.SCRAE(**QUICK).fit(of_values(s, without_counts(slice(1, 5), slice(None))), genes=[1, 2, 3])
    ],
    "too_many_dimensions": [lambda s: s.fit({"n_latent": 31})],
    "cells_without_modelled_genes": [
        lambda s: scrae.SCRAE(**QUICK).fit(of_values(s, without_counts(slice(1, 9), slice(1))), genes=range(1, 9))
    ],
    "repeated_genes": [repeated_genes],
    "no_anndata": [lambda s: scrae.tl.scrae(s.cells.X), lambda s: scrae.tl.scrae("cells")],
    "several_modalities": [lambda s: read_cells(SimpleNamespace(mod={"rna": s.cells}, obs_names=["a"]))],
    "genes_without_order": [lambda s: s.fit(genes={"gene1", "gene2"})],
    "no_name": [lambda s: read_cells(s.cells).covariate(3)],
    "repeated_column": [lambda s: read_cells(twice(s)).covariate("donor")],
    "neither_yes_nor_no": [lambda s: scrae.tl.scrae(of_features(s, "highly_variable", "maybe"))],
    "no_feature_types": [lambda s: scrae.tl.scrae(s.cells, feature_types="Peaks")],
    "no_feature_of_type": [lambda s: scrae.tl.scrae(of_features(s, "feature_types", "Peaks"))],
    "other_features_left_out": [
        lambda s: scrae.tl.scrae(of_features(s, "modality", ["rna"] * 20 + ["adt"] * 10), **QUICK | {"genes": "all"})
    ],
    "unknown_column": [
        lambda s: s.fit(batch_key="bach"),
        lambda s: scrae.tl.cluster(with_embedding(s), batch_key="bach"),
    ],
    "missing_values": [lambda s: read_cells(s.column([None, *["a"] * 59])).covariate("donor")],
    "no_numbers": [lambda s: s.fit(continuous_covariate_keys=["batch"])],
    "not_finite": [lambda s: read_cells(s.column([np.nan, *range(59)])).numbers("donor")],
    "single_cell_levels": [
        lambda s: scrae.SCRAE(**QUICK).fit(s.column(["alone", *["b"] * 59]), batch_key="donor"),
        lambda s: scrae.SCRAE(**QUICK).fit(s.column([*map(str, range(30)), *["b"] * 30]), batch_key="donor"),
    ],
    "constant_column": [lambda s: scrae.SCRAE(**QUICK).fit(s.column(1.5), continuous_covariate_keys=["donor"])],
    "categorical_and_continuous": [
        lambda s: scrae.SCRAE(**QUICK).fit(
            s.column(np.arange(60) % 3), batch_key="donor", continuous_covariate_keys=["donor"]
        )
    ],
    "new_levels": [lambda s: s.model.denoise(with_batch(s, "new"))],
    "new_batches_mapped": [lambda s: s.model.map(with_batch(s, "new"))],
    "nested_covariate": [
        lambda s: s.fit(batch_key="batch", categorical_covariate_keys=[copied(s, lambda batch: batch + "1")]),
        lambda s: s.fit(
            batch_key="batch", continuous_covariate_keys=[copied(s, lambda batch: batch.map({"a": 1, "b": 2}))]
        ),
    ],
    "keep_without_batch": [lambda s: s.fit(keep="batch")],
    "kept_and_corrected": [
        lambda s: s.fit(batch_key="batch", keep="batch"),
        lambda s: s.fit(batch_key="batch", categorical_covariate_keys=["type"], keep=["batch", "type"]),
    ],
    "kept_is_batch": [lambda s: s.fit(batch_key="batch", keep=copied(s, lambda batch: batch + "1"))],
    "kept_groups_of_one_batch": [
        lambda s: scrae.SCRAE(**QUICK).fit(
            s.column(np.where(np.arange(60) % 4, "others", "alone")), batch_key="batch", keep="donor"
        )
    ],
    "small_kept_groups": [
        lambda s: scrae.SCRAE(**QUICK).fit(
            s.column(np.where(np.arange(60) < 20, "few", "others")), batch_key="batch", keep="donor"
        )
    ],
    "cannot_keep": [lambda s: s.fit({"n_pcs": 0, "smoothing": 0}, batch_key="batch", keep="type")],
    "genes_of_some_files": [of_two_files],
    "new_batches_unlike": [lambda s: s.model.map(with_batch(s, "new"), batch_key="batch")],
    "new_batches_apart": [unlike],
    "answer_too_large": [large_answer],
    "no_landmarks": [lambda s: s.fit({"n_pcs": 0, "smoothing": 0}).map(s.column("z"), batch_key="donor")],
    "genes_missing": [
        lambda s: s.model.embed(renamed(s, 2)),
        lambda s: read_cells(s.cells).positions(["gene1", "gene99"]),
    ],
    "missing_genes_are_zero": [lambda s: s.model.map(renamed(s, 1)), lambda s: s.model.map(renamed(s, 5))],
    "no_gene_shared": [lambda s: s.model.map(renamed(s, 30))],
    "no_batches": [lambda s: s.fit().sample(3, batch=np.str_("a"))],
    "unknown_batch": [lambda s: s.model.sample(3, batch=np.str_("c"))],
    "too_few_types": [
        lambda s: s.model.fit_labels(s.column("B cell"), "donor"),
        lambda s: s.model.fit_labels(s.column("Unknown"), "donor"),
    ],
    "types_of_one_cell": [lambda s: s.model.fit_labels(s.column(["B cell", *["x", "y"] * 29, "x"]), "donor")],
    "too_few_to_score": [lambda s: scrae.tl.outliers(s.cells[:20], s.model)],
    "unknown_group": [lambda s: differ(s, ["x", "y"] * 30, groups=["z"])],
    "small_group": [
        lambda s: differ(s, ["B cell", *["x"] * 59]),
        lambda s: differ(s, ["x"] * 59 + ["B cell"], groups=["x"]),
    ],
    "no_batch_shared": [
        lambda s: differ(s, np.repeat(["x", "y"], 30), batch_key="half"),
        lambda s: differ(s, np.repeat(["x", "y"], 30), reference="y", batch_key="half"),
    ],
    "groups_left_out": [
        lambda s: differ(s, ["B cell", *["x", "y"] * 29, "x"]),
        lambda s: differ(s, np.repeat(["x", "y", "z"], [30, 20, 10]), batch_key="half"),
    ],
    "small_profiles_left_out": [lambda s: ignoring_refusals(lambda: profiles(["a", "b", "c"], [20, 20, 5]))],
    "few_samples": [lambda s: profiles(["a", "b", "c"], [20, 20, 20])],
    "some_samples_on_both_sides": [lambda s: profiles(["a", "b", "c", "a", "d", "e"], [20] * 6)],
    "unpaired_samples_left_out": [lambda s: profiles(["a", "b", "c", "a", "b"], [20] * 5)],
    "several_batches_in_sample": [lambda s: profiles(["a", "b", "c", "d"], [20] * 4, ["p", "q"] * 40)],
    "samples_confounded": [lambda s: profiles(["a", "b", "c", "d"], [20] * 4, np.repeat(["p", "q"], 40))],
    "too_few_genes_to_compare": [
        lambda s: pseudobulk.tested(np.ones((4, 5), dtype=int), profiles(["a", "b", "c", "d"], [20] * 4), np.arange(5))
    ],
    "library_size": [
        lambda s, value=value: s.model.denoise(s.cells, library_size=value) for value in ("usual", -1, [1, 2], True)
    ],
    "prior_with_like": [lambda s: s.model.sample(3, like=s.cells, codes="prior")],
    "draws_no_counts": [
        lambda s: s.fit({"likelihood": "mse", "target": "log1p", "max_epochs": 1}).sample(3),
    ],
    "no_density": [without_density],
    "too_few_to_be_like": [lambda s: s.model.sample(3, like=s.cells[:3])],
    "one_level": [lambda s: scrae.tl.batch_report(s.column("one"), "donor")],
    "too_few_cells_for_report": [lambda s: scrae.tl.batch_report(s.column(["a", "b"] * 30)[:20].copy(), "donor")],
    "too_few_to_tell_apart": [lambda s: scrae.tl.sample_report(s.cells[:3], s.model)],
    "cells_without_molecules": [lambda s: scrae.tl.molecular_cross_validation(s.cells, share=0.01)],
    "no_pairs": [lambda s: s.fit(must_link=[("cell0", "cell1", "cell2")])],
    "unknown_cells": [
        lambda s: s.fit(cannot_link=[("cell0", "cell600")]),
        lambda s: s.fit(must_link=[("a", "b"), ("c", "d")]),
    ],
    "repeated_cells": [twins],
    "paired_with_itself": [lambda s: s.fit(must_link=[("cell0", "cell0")])],
    "contradicting_pairs": [
        lambda s: s.fit(must_link=[("cell0", "cell1"), ("cell1", "cell2")], cannot_link=[("cell2", "cell0")])
    ],
    "explains_no_counts": [lambda s: s.fit({"preset": "contrastive_sc"}).denoise()],
    "other_target": [settings(preset="vasc", target="counts")],
    "nothing_to_learn": [lambda s: scrae.SCRAE(likelihood="none")],
    "no_prior": [lambda s: s.fit({"regulariser": "none"}).sample(3, codes="prior")],
    "makes_no_clusters": [lambda s: s.model.clusters()],
    "no_clusters_yet": [
        lambda s: s.fit({"preset": "scdeepcluster"}).clusters(),
        lambda s: scrae.tl.scrae(s.cells, genes="all", **QUICK | {"preset": "scdeepcluster"}),
    ],
    "no_embedding": [lambda s: scrae.tl.cluster(s.cells)],
    "embedding_not_finite": [lambda s: scrae.tl.cluster(with_embedding(s, np.nan))],
    "shared_difference": [lambda s: scrae.tl.cluster(treated_cells())],
    "too_many_clusters": [lambda s: scrae.tl.cluster(with_embedding(s), level=50)],
    "more_clusters_than_cells": [
        lambda s: s.fit({"preset": "scdeepcluster", "pretraining_epochs": 0, "n_clusters": 100})
    ],
    "unknown_setting": [settings(n_latnt=3), settings(completely_else=3)],
    "unknown_option": [
        lambda s: Settings(regulariser_options={"pul": 1}),
        lambda s: select_genes(s.cells, "scmarker", kk=3),
    ],
    "not_one_of": [
        settings(likelihood="binomial"),
        settings(preset="scvii"),
        settings(preset=["scvi", "dca"]),
        lambda s: select_genes(s.cells, "M3"),
        lambda s: s.model.sample(3, codes="none"),
        lambda s: scrae.tl.scrae(s.cells, genes="best"),
        lambda s: scrae.tl.cluster(with_embedding(s), level="finest"),
    ],
    "other_kind": [
        settings(mask_rate="a"),
        settings(mask_rate=[0.1, 0.2]),
        settings(bfloat16="yes"),
        settings(likelihood=3),
        settings(likelihood=["nb", "zinb"]),
        settings(pull="weak"),
        settings(early_stopping=None),
    ],
    "no_whole_number": [
        settings(n_latent=0),
        settings(n_latent=2.5),
        settings(n_latent=True),
        settings(random_state=3.7),
        lambda s: s.model.sample(0),
        lambda s: select_genes(s.cells, n_top=1),
        lambda s: s.fit(max_epochs=np.float64(0.5)),
    ],
    "below_least": [
        lambda s: scrae.tl.stability(s.cells, 1),
        lambda s: select_genes(s.cells, "scmarker", width=-1),
        option("kl_mixture", n_components=0),
        option("dec", n_clusters=0),
        option("learned_prior", adversarial_every=1),
    ],
    "not_within": [
        settings(mask_rate=1.0),
        settings(mask_rate=True),
        settings(random_state=2**33),
        settings(dropout_rate=np.float64(-1)),
        lambda s: s.fit().fit_labels(s.cells, "type").predict(unknown_rate=1),
    ],
    "not_between": [
        option("kl_spike_and_slab", slab_probability=1.0),
        lambda s: scrae.tl.molecular_cross_validation(s.cells, share=1),
    ],
    "not_positive": [
        settings(learning_rate=0),
        settings(contrast_temperature=np.float64(-1)),
        lambda s: scrae.tl.cluster(with_embedding(s), resolution=0),
    ],
    "negative": [
        settings(noise_sd=-1),
        option("mmd", weight=-1),
        option("dec", weight=-1),
        option("dual_matching", data_weight=-1),
        option("soft_kmeans", soft_kmeans_weight=-1),
        option("kl_normal", weight=-1, warmup_steps=-2),
        option("kl_normal", warmup_epochs=-1),
        option("information_dimension", batch_weight=-0.5),
    ],
    "no_widths": [
        settings(n_hidden=()),
        settings(n_hidden="abc"),
        settings(n_hidden=None),
        settings(critic_hidden=[0]),
    ],
    "clustering_options": [option("dec", tolerance=2)],
    "scaled_target": [settings(target="scaled")],
    "unknown_device": [settings(device="tpu"), settings(device=["cpu", "cuda"])],
    "no_double_precision": [settings(device="mps")],
    "no_cuda": [without_cuda],
    "gpu_too_small": [with_a_small_gpu],
    "too_few_genes_seen": [lambda s: select_genes(s.cells, min_cells=100)],
    "too_little_in_batch": [
        lambda s: select_genes(dim_batch(s), "danb", batch_key="donor"),
    ],
    "too_few_genes_pass": [lambda s: select_genes(s.cells, "m3drop", max_q=1e-300)],
    "fewer_genes_than_asked": [lambda s: select_genes(s.cells, n_top=100)],
    "no_dropouts": [lambda s: select_genes(of_values(s, lambda values: values + 1), "m3drop")],
    "too_few_genes_vary": [lambda s: select_genes(anndata.AnnData(np.ones((40, 12))), "danb")],
    "no_gene_varies": [lambda s: select_genes(anndata.AnnData(np.ones((40, 12))), "hvg")],
    "no_marker": [lambda s: select_genes(s.cells, "scmarker", gene_cells=300)],
    "reads_not_umis": [
        lambda s: ignoring_refusals(lambda: select_genes(of_values(s, lambda values: values * 60), "scmarker"))
    ],
    "no_trend": [lambda s: select_genes(shallow(), "seurat_v3", min_cells=1)],
    "diverged": [lambda s: spoil(s, lambda step: step > 5)],
    "going_back": [lambda s: spoil(s, lambda step: step == 5)],
    "no_checkpoint": [lambda s: ignoring_refusals(lambda: no_room(s))],
    "not_written": [lambda s: s.model.save("/proc/no folder")],
    "model_put_elsewhere": [no_room],
    "not_replaced": [lambda s: ((s.folder / "file.h5ad").write_text("mine"), refuse_target(s.folder / "file.h5ad"))],
    "no_room": [too_large],
    "no_folder": [lambda s: ((s.folder / "file").write_text(""), s.model.save(s.folder / "file"))],
    "another_model": [lambda s: (s.saved(), s.fit({"n_latent": 3}, model_dir=s.folder / "model"))],
    "other_writer": [other_writer],
    "writer_died": [writer_died],
    "missing_file": [without_weights],
    "file_of_another_model": [of_two],
    "column_of_user": [with_own_clusters, with_clusters_by_hand],
    "weights_do_not_fit": [lambda s: redescribed(s, lambda d: d["settings"].update(n_hidden=[9]))],
    "damaged_file": [lambda s: damaged(s, WEIGHTS), lambda s: damaged(s, DESCRIPTION)],
    "format_version": [lambda s: redescribed(s, lambda d: d.update(format_version=99))],
    "resume_of_other_data": [lambda s: s.fit().fit(s.cells[:50], resume=True)],
    "resume_of_other_settings": [
        lambda s: (
            s.fit(model_dir=s.folder / "model"),
            s.fit({"n_latent": 3}, model_dir=s.folder / "model", resume=True),
        )
    ],
    "no_bridge": [without_rpy2],
    "missing_package": [lambda s: __import__("no_such_package")],
    "unknown_job": [unknown_job],
    "memory": [without_memory],
    "interrupted": [lambda s: interrupt()],
}


def with_batch(stage: Stage, name: str) -> anndata.AnnData:
    stage.cells.obs["batch"] = [name, *["a"] * 59]
    return stage.cells


def differ(stage: Stage, groups_of_cells: Any, **arguments: Any) -> Any:
    adata = stage.column(groups_of_cells)
    adata.obs["half"] = np.repeat(["left", "right"], 30)
    return scrae.tl.differential_expression(adata, stage.model, "donor", **arguments)


def profiles(samples: list[str], n_cells: list[int], batch: Any = None) -> pseudobulk.Design:
    """The design of samples of which the first half is of the group."""
    side = np.repeat(np.arange(len(samples)) < len(samples) // 2, n_cells).astype(int)
    sample = np.repeat(samples, n_cells)
    return pseudobulk.design_of("B cell", sample, side, batch if batch is None else np.array(batch), "donor", "batch")[
        0
    ]


def ignoring_refusals(code: Callable[[], Any]) -> None:
    """For what warns before it is refused."""
    with suppress(ValueError, OSError):
        code()


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def model() -> scrae.SCRAE:
    return scrae.SCRAE(**QUICK).fit(cells(), batch_key="batch")


@pytest.fixture(scope="module")
def words_of_r(ro: Any) -> Callable[[list[str]], str]:
    """What R says to lines of JSON from Python."""
    ro.r("scrae_words <- new.env()")
    for path in (*(R_FILES / name for name in ("conditions.R", "phrases.R", "messages.R", "worker.R")), *WORDS):
        ro.r(f'sys.source("{path}", scrae_words)')
    say = ro.r(
        """function(lines, where) {
            tryCatch(
                scrae_words$pass_on(lapply(lines, scrae_words$read_event), where),
                condition = function(said) c(conditionMessage(said), class(said))
            )
        }"""
    )
    return lambda lines: list(say(ro.StrVector(lines), "assay 'RNA'"))


def provoke(code: str, provocation: Callable[[Stage], Any], stage: Stage) -> dict[str, Any]:
    """The event of this code."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        problems: list[BaseException] = []
        try:
            provocation(stage)
        except (Exception, KeyboardInterrupt) as error:
            problems.append(error)
    problems += [warning.message for warning in said if isinstance(warning.message, Warning)]
    told = [described(problem) for problem in problems]
    of_code = [one for one in told if one["code"] == code]
    assert of_code, f"provoked {told}"
    return {"event": "warning" if "Warning" in str(of_code[0]["kinds"]) else "error"} | of_code[0]


@pytest.mark.parametrize(
    ("code", "number"), [(code, i) for code, provocations in PROVOKED.items() for i in range(len(provocations))]
)
def test_r_says_it_without_a_word_of_python(
    code: str,
    number: int,
    model: scrae.SCRAE,
    words_of_r: Callable[[list[str]], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event = provoke(code, PROVOKED[code][number], Stage(model, tmp_path, monkeypatch))
    words, *classes = words_of_r([json.dumps(plain(event))])
    print(f"{code}: {words}")
    found = OF_PYTHON.search(words.replace(str(tmp_path), ""))
    assert found is None, f"{found.group()!r} in: {words}" if found else ""
    assert "NA" not in words.split() or code == "not_counts"
    assert "NULL" not in words or code in ("no_widths", "other_kind"), "some were given None"
    assert "character(0)" not in words
    if event["event"] == "error":
        assert classes[:2] == [f"scrae_{code}", event["kinds"][0]]
        assert classes[-4:] == ["scrae_python_error", "scrae_error", "error", "condition"]
    else:
        assert "warning" in classes


def test_every_code_that_r_has_words_for_is_provoked() -> None:
    known = re.findall(r"^    (\w+) = function\(f, where\)", "".join(map(Path.read_text, WORDS)), flags=re.M)
    assert sorted(known) == sorted(PROVOKED)


def test_what_r_has_no_words_for_is_said_to_be_pythons(words_of_r: Callable[[list[str]], list[str]]) -> None:
    event = {"event": "error"} | described(LookupError("nothing here"))
    words, *classes = words_of_r([json.dumps(event)])
    assert words == (
        "Python says something that this version of scRAE has no words of its own for (LookupError): nothing here"
    )
    assert classes[:2] == ["scrae_other", "LookupError"]


def test_what_goes_wrong_in_the_session_is_told_as_the_worker_tells_it(ro: Any, tmp_path: Path) -> None:
    """No exception reaches R; the lines are those of the worker, which test_worker.py looks at."""
    (tmp_path / JOB).write_text(
        json.dumps({"action": "train", "arguments": {"random_state": 0, "settings": {"n_laten": 3}}})
    )
    lines = run_in_session(str(tmp_path))
    (event,) = map(json.loads, lines)
    with pytest.raises(TypeError) as refused:
        scrae.SCRAE(n_laten=3)
    assert event == {"event": "error"} | plain(described(refused.value))


def test_names_of_cells_are_shown_as_they_are_whatever_numpy_makes_of_them() -> None:
    counts = Cells(as_counts(np.ones((2, 2))), np.array(["g1", "g2"], dtype=object), "adata.X").counts
    with pytest.raises(scrae.CountsError, match="cell 'c1', gene 'g1'"):
        as_counts(counts.toarray() / 2, "X", np.array(["c1", "c2"]), np.array(["g1", "g2"]))
