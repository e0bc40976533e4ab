"""The jobs that the R package gives, and how one is done: read from its folder, done, answered there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from scrae.r.answers import plain, write_array
from scrae.r.conversion import from_sce

if TYPE_CHECKING:
    from anndata import AnnData

    from scrae.model import SCRAE

JOB = "job.json"
CELLS = "cells.rds"
RESULT = "result.json"
MODEL = "model"
OTHER_GENES = "(other genes)"
"""Row of the object that is no gene: it marks cells whose counts all lie in genes that were left out in R."""

Emit = Callable[..., None]


def _train(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    from scrae.model import SCRAE
    from scrae.pp import select_genes
    from scrae.pp.genes import SELECTED

    model = SCRAE(
        arguments.get("preset") or "default",
        random_state=arguments["random_state"],
        device=arguments.get("device") or "auto",
        verbose=bool(arguments.get("bar", False)),
        **arguments.get("settings", {}),
    )
    adata = cells()
    batch_key = arguments.get("batch_key")
    selection = arguments.get("select")
    if selection:
        emit("stage", text=f"choosing {selection['n_top']:,} genes ({selection['method']})")
        select_genes(adata, selection["method"], selection["n_top"], batch_key=batch_key)
        genes = adata.var[SELECTED].to_numpy()
    else:
        genes = np.asarray(adata.var_names != OTHER_GENES)
    emit("start", n_cells=adata.n_obs, n_genes=int(genes.sum()), device=str(model.device))
    model.fit(
        adata,
        genes=genes,
        batch_key=batch_key,
        categorical_covariate_keys=arguments.get("categorical_covariate_keys", []),
        max_epochs=arguments.get("max_epochs"),
        resume=bool(arguments.get("resume", False)),
        model_dir=arguments.get("model_dir"),
        on_epoch=lambda epoch, most, losses: emit("epoch", max_epochs=most, **losses | {"epoch": epoch}),
    )
    model.save(folder / MODEL)
    return _description(model) | {"embedding": write_array(folder, "embedding", model.embed())}


def _map(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    model = _load(arguments)
    return {"embedding": write_array(folder, "embedding", model.map(cells()))}


def _denoise(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    model = _load(arguments)
    means = model.denoise(cells(), library_size=arguments["library_size"], batch=arguments.get("batch"))
    cutoff = arguments.get("cutoff") or 0.0
    matrix: Any = means
    if cutoff > 0:
        means[means < cutoff] = 0.0
        matrix = sp.csr_matrix(means)
    return {"genes": _names(model), "matrix": write_array(folder, "matrix", matrix)}


def _sample(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    model = _load(arguments)
    counts = model.sample(arguments["n"], random_state=arguments.get("random_state"), batch=arguments.get("batch"))
    return {"genes": _names(model), "matrix": write_array(folder, "matrix", sp.csr_matrix(counts))}


def _select(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    from scrae.pp import select_genes
    from scrae.pp.genes import RANK, SELECTED

    adata = cells()
    select_genes(adata, arguments["method"], arguments["n_top"], batch_key=arguments.get("batch_key"))
    table = adata.var[adata.var[SELECTED]]
    return {"genes": table.sort_values(RANK, kind="stable").index.astype(str).tolist()}


def _example(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    from scrae.datasets import pbmc

    adata = pbmc()
    return {
        "genes": adata.var_names.tolist(),
        "cells": adata.obs_names.tolist(),
        "cell_type": adata.obs["cell_type"].astype(str).tolist(),
        "matrix": write_array(folder, "matrix", adata.X),
    }


ACTIONS = {"train": _train, "map": _map, "denoise": _denoise, "sample": _sample, "select": _select, "example": _example}


def _load(arguments: dict[str, Any]) -> SCRAE:
    from scrae.model import SCRAE

    return SCRAE.load(arguments["model"], device=arguments.get("device") or "auto", verbose=False)


def _description(model: SCRAE) -> dict[str, Any]:
    history = model.history.reset_index()
    return {
        "genes": _names(model),
        "summary": plain(model.summary),
        "parameters": plain(model.settings_dict()) | {"preset": model.preset, "random_state": model.random_state},
        "history": {name: plain(history[name].tolist()) for name in history},
    }


def _names(model: SCRAE) -> list[str] | None:
    return None if model.gene_names is None else [str(name) for name in model.gene_names]


def run(folder: Path, sce: Callable[[], Any], emit: Emit) -> None:
    """Do the job in the folder; ``sce`` gives the R object when it is needed."""
    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    if job["action"] not in ACTIONS:
        raise ValueError(f"the R package asks for {job['action']!r}, which this version of scrae does not know")
    if job.get("threads"):
        import torch

        torch.set_num_threads(int(job["threads"]))

    def cells() -> AnnData:
        emit("stage", text="reading the counts")
        return from_sce(sce())

    result = ACTIONS[job["action"]](job["arguments"], cells, folder, emit)
    aside = folder / f".{RESULT}"
    aside.write_text(json.dumps(result), encoding="utf-8")
    aside.replace(folder / RESULT)
