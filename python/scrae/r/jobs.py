"""The jobs that the R package gives, and how one is done: read from its folder, done, answered there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from scrae._errors import Refusal
from scrae.compute.atomic import write_bytes
from scrae.r.answers import plain, write_array, write_table
from scrae.r.models import KEPT

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from scrae.model import SCRAE
    from scrae.model.query import Query

JOB = "job.json"
RESULT = "result.json"
MODEL = "model"
OTHER_GENES = "(other genes)"
"""Row of the object that is no gene: it marks cells whose counts all lie in genes that were left out in R."""

Emit = Callable[..., None]


def _train(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    from scrae.model import SCRAE

    model = SCRAE(**_settings(arguments), verbose=bool(arguments.get("bar", False)))
    adata = cells()
    genes = _chosen_genes(arguments, adata, emit)
    emit("start", n_cells=adata.n_obs, n_genes=int(genes.sum()), device=str(model.device))
    model.fit(
        adata,
        counts=arguments.get("counts", "raw"),
        genes=genes,
        batch_key=arguments.get("batch_key"),
        categorical_covariate_keys=arguments.get("categorical_covariate_keys", []),
        continuous_covariate_keys=arguments.get("continuous_covariate_keys", []),
        must_link=_pairs(arguments, "must_link"),
        cannot_link=_pairs(arguments, "cannot_link"),
        labels_key=arguments.get("labels_key"),
        unlabeled_category=arguments.get("unlabeled_category") or "Unknown",
        max_epochs=arguments.get("max_epochs"),
        resume=bool(arguments.get("resume", False)),
        model_dir=arguments.get("model_dir"),
        overwrite=bool(arguments.get("overwrite", False)),
        on_epoch=lambda epoch, most, losses: emit("epoch", max_epochs=most, **losses | {"epoch": epoch}),
    )
    answer = _trained(model, folder) | {"embedding": write_array(folder, "embedding", model.embed())}
    if not model.makes_clusters:
        return answer
    import pandas as pd

    from scrae.tl.embedding import own_clusters  # tools load much that others do without

    clusters = own_clusters(model)
    return answer if clusters is None else answer | {"table": write_table(folder, pd.DataFrame({"clusters": clusters}))}


def _map(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    from scrae.model.query import Query

    model, adata = _load(arguments), cells()
    emit("stage", text=f"mapping {adata.n_obs:,} cells")
    query = Query(model.fitted, adata, batch_key=arguments.get("batch_key"))
    answer = {"embedding": write_array(folder, "embedding", query.embedding())}
    if model.cell_types is None:
        return answer
    return answer | {"table": write_table(folder, _labels(arguments, model, query))}


def _label(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    from scrae.model.query import Query

    model, adata = _load(arguments), cells()
    emit("stage", text=f"learning types of {adata.n_obs:,} cells")
    model.fit_labels(adata, arguments["labels_key"], unlabeled_category=arguments["unlabeled_category"])
    table = _labels(arguments, model, Query(model.fitted, adata))
    return _trained(model, folder) | {"table": write_table(folder, table)}


def _denoise(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    model, adata = _load(arguments), cells()
    emit("stage", text=f"denoising {adata.n_obs:,} cells")
    means = model.denoise(adata, library_size=arguments["library_size"], batch=arguments.get("batch"))
    cutoff = arguments.get("cutoff") or 0.0
    matrix: Any = means
    if cutoff > 0:
        means[means < cutoff] = 0.0
        matrix = sp.csr_matrix(means)
    return {"genes": _names(model), "matrix": write_array(folder, "matrix", matrix)}


def _sample(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    model = _load(arguments)
    like = cells() if arguments.get("like") else None
    emit("stage", text=f"drawing {arguments['n']:,} cells")
    counts = model.sample(
        arguments["n"],
        like=like,
        codes=arguments.get("codes", "cells"),
        random_state=arguments.get("random_state"),
        batch=arguments.get("batch"),
    )
    return {"genes": _names(model), "matrix": write_array(folder, "matrix", sp.csr_matrix(counts))}


def _outliers(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    from scrae.tl import outliers

    adata, reference = cells(), None
    if "n_reference" in arguments:  # they come last
        n_cells = adata.n_obs - int(arguments["n_reference"])
        adata, reference = adata[:n_cells], adata[n_cells:]
    emit("stage", text=f"scoring {adata.n_obs:,} cells")
    table = outliers(adata, _load(arguments), reference=reference)
    return {"table": write_table(folder, table.rename(columns={"negative_log_likelihood": "surprise"}))}


def _differential(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    from scrae.tl import differential_expression

    adata = cells()
    emit("stage", text=f"comparing groups of {adata.n_obs:,} cells")
    table = differential_expression(
        adata,
        _load(arguments),
        arguments["groupby"],
        groups=arguments.get("groups"),
        reference=arguments["reference"],
        batch_key=arguments.get("batch_key"),
    )
    return {"table": write_table(folder, table)}


def _pseudobulk(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    """Compare profiles that R has summed: each row of the counts is one."""
    from scrae.tl.pseudobulk import Design, needed, tested

    needed()
    adata = cells()
    emit("stage", text=f"comparing {adata.n_obs:,} samples")
    of = {name: adata.obs[name].astype(str).to_numpy() for name in adata.obs}
    design = Design(of["sample"], of["side"].astype(int), of.get("batch"), paired=bool(arguments["paired"]))
    table = tested(np.rint(adata.X.toarray()).astype(np.int64), design, adata.var_names.to_numpy().astype(str))
    return {"table": write_table(folder, table.drop(columns="score"))}


def _sample_report(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    from scrae.tl import sample_report

    adata = cells()
    emit("stage", text=f"comparing synthetic cells with {adata.n_obs:,} real ones")
    report = sample_report(adata, _load(arguments), n=arguments.get("n"), random_state=arguments["random_state"])
    return {"table": write_table(folder, report.rename_axis("measure").reset_index(name="value"))}


def _cross_validate(
    arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit
) -> dict[str, Any]:
    from scrae.tl import molecular_cross_validation

    adata = cells()
    adata = adata[:, _chosen_genes(arguments, adata, emit)]
    emit("stage", text=f"training on {arguments['share']:.0%} of the molecules")
    scores = molecular_cross_validation(
        adata, share=arguments["share"], max_epochs=arguments.get("max_epochs"), **_settings(arguments)
    )
    return {"table": write_table(folder, scores.rename_axis("predictor").reset_index())}


def _stability(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    from scrae.tl import stability

    adata = cells()
    genes = _chosen_genes(arguments, adata, emit)
    emit("stage", text=f"training {arguments['n_runs']} models")
    agreement = stability(
        adata,
        arguments["n_runs"],
        resolution=float(arguments["resolution"]),
        verbose=False,
        genes=genes,
        batch_key=arguments.get("batch_key"),
        categorical_covariate_keys=arguments.get("categorical_covariate_keys", []),
        continuous_covariate_keys=arguments.get("continuous_covariate_keys", []),
        max_epochs=arguments.get("max_epochs"),
        **_settings(arguments),
    )
    return {"seeds": agreement.index.tolist(), "matrix": write_array(folder, "matrix", agreement.to_numpy())}


def _cluster(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    import pandas as pd

    from scrae.tl import cluster

    adata = cells()
    adata.uns["scrae"] = {"genes": arguments["genes"]}
    emit("stage", text=f"looking for clusters among {adata.n_obs:,} cells")
    cluster(
        adata,
        level=arguments["level"],
        resolution=arguments["resolution"],
        rare=arguments.get("rare", False),
        batch_key=arguments.get("batch_key"),
        random_state=arguments["random_state"],
    )
    found = adata.uns["scrae_clusters"]
    of_cells = {"clusters": adata.obs["scrae_clusters"], "confidence": adata.obs["scrae_cluster_confidence"]}
    tree = found["tree"].astype({"kept_apart": int})
    return {
        "table": write_table(folder, pd.DataFrame(of_cells)),
        "clusters": write_table(folder, found["clusters"].reset_index(), "clusters"),
        "tree": write_table(folder, tree, "tree"),
        "factors": write_table(folder, found["factors"].reset_index(), "factors"),
        "separation": plain(found["params"]["separation"]),
    }


def _neighbors(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    from scrae.tl import neighbors

    adata = cells()
    emit("stage", text=f"connecting {adata.n_obs:,} cells")
    neighbors(adata, n_neighbors=arguments.get("n_neighbors"), random_state=arguments["random_state"])
    return {
        "matrix": write_array(folder, "matrix", adata.obsp["connectivities"]),
        "n_neighbors": adata.uns["neighbors"]["params"]["n_neighbors"],
    }


def _batch_report(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    from scrae.tl import batch_report

    adata = cells()
    adata.uns["scrae"] = {"genes": arguments["genes"], "params": {"batch_key": arguments.get("told")}}
    emit("stage", text=f"comparing batches of {adata.n_obs:,} cells")
    measures = batch_report(
        adata,
        arguments["batch_key"],
        keep=arguments["keep"],
        groupby=arguments.get("groupby"),
        random_state=arguments["random_state"],
    )
    report = adata.uns["scrae_batches"]
    return {
        "measures": write_table(folder, measures.reset_index(), "measures"),
        "groups": write_table(folder, report["groups"].reset_index(), "groups"),
        "findings": write_table(folder, report["findings"], "findings"),
    }


def _report(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    from scrae.r.report import write_report

    return write_report(arguments, cells, emit)


def _select(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    from scrae.pp import select_genes
    from scrae.pp.genes import RANK, SELECTED

    adata = cells()
    emit("stage", text=f"choosing genes ({arguments['method']})")
    select_genes(adata, arguments["method"], arguments["n_top"], batch_key=arguments.get("batch_key"), verbose=False)
    table = adata.var[adata.var[SELECTED]]
    return {"genes": table.sort_values(RANK, kind="stable").index.astype(str).tolist()}


def _read(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    """A model folder of the user's, which somebody may be writing into, as one that nobody else knows."""
    _leave(_load(arguments), folder)
    return {}


def _save(arguments: dict[str, Any], cells: Callable[[], AnnData], folder: Path, emit: Emit) -> dict[str, Any]:
    """The other way round: with the lock, in one move, and without what another model has left there."""
    _load(arguments).save(arguments["folder"])
    return {}


ACTIONS = {
    "train": _train,
    "map": _map,
    "label": _label,
    "denoise": _denoise,
    "sample": _sample,
    "outliers": _outliers,
    "differential": _differential,
    "pseudobulk": _pseudobulk,
    "sample_report": _sample_report,
    "cross_validate": _cross_validate,
    "stability": _stability,
    "cluster": _cluster,
    "neighbors": _neighbors,
    "batch_report": _batch_report,
    "report": _report,
    "read": _read,
    "save": _save,
    "select": _select,
}


def _settings(arguments: dict[str, Any]) -> dict[str, Any]:
    """What a job says of the model to train, as :class:`scrae.SCRAE` takes it."""
    return {
        "preset": arguments.get("preset") or "default",
        "random_state": arguments["random_state"],
        "device": arguments.get("device") or "auto",
        **arguments.get("settings", {}),
    }


def _pairs(arguments: dict[str, Any], name: str) -> np.ndarray:
    """Positions of linked cells, which R gives pair by pair in one list."""
    return np.array(arguments.get(name) or [], dtype=np.int64).reshape(-1, 2)


def _chosen_genes(arguments: dict[str, Any], adata: AnnData, emit: Emit) -> np.ndarray:
    """Mask of the genes to model: chosen in R, or here if the job says how."""
    from scrae.pp import select_genes
    from scrae.pp.genes import SELECTED

    selection = arguments.get("select")
    if not selection:
        return np.asarray(adata.var_names != OTHER_GENES)
    n_genes, n_top = int((adata.var_names != OTHER_GENES).sum()), int(selection["n_top"])
    emit(
        "stage",
        text=f"choosing {n_top:,} of {n_genes:,} genes ({selection['method']})"
        if n_top < n_genes
        else f"there are {n_genes:,} genes, no more than the {n_top:,} that would be chosen: taking all that are seen",
    )
    select_genes(
        adata,
        selection["method"],
        selection["n_top"],
        batch_key=arguments.get("batch_key"),
        counts=arguments.get("counts", "raw"),
        verbose=False,
    )
    return np.asarray(adata.var[SELECTED])


def _load(arguments: dict[str, Any]) -> SCRAE:
    from scrae.model import SCRAE

    folder, device = arguments["model"], arguments.get("device") or "auto"
    kept = KEPT.find(folder, device)
    return SCRAE.load(folder, device=device, verbose=False) if kept is None else kept


def _labels(arguments: dict[str, Any], model: SCRAE, query: Query) -> pd.DataFrame:
    """Type of each cell, its probability, and how like the labelled cells it is, as columns are called in R objects."""
    from scrae.tl.predicted import predicted_types

    unlabeled, rate = arguments["unlabeled_category"], arguments["unknown_rate"]
    table = predicted_types(model, query, unknown_rate=rate, unlabeled=unlabeled)
    return table.reset_index(drop=True).rename(columns={"conformal_p_value": "familiarity"})


def _leave(model: SCRAE, folder: Path) -> None:
    """Leave a model where R looks for it; R does not resume, so without the state that training goes on from."""
    from scrae.model.folder import save_model

    save_model(folder / MODEL, replace(model.fitted, training_state=None))


def _trained(model: SCRAE, folder: Path) -> dict[str, Any]:
    """Leave the model, and tell what is known of it."""
    _leave(model, folder)
    history = model.history.reset_index()
    return {
        "genes": _names(model),
        "summary": plain(model.summary),
        "parameters": plain(model.settings_dict()) | {"preset": model.preset, "random_state": model.random_state},
        "history": {name: plain(history[name].tolist()) for name in history},
    }


def _names(model: SCRAE) -> list[str] | None:
    return None if model.gene_names is None else [str(name) for name in model.gene_names]


def run(folder: Path, given: Callable[[], AnnData], emit: Emit) -> None:
    """Do the job in the folder; ``given`` gives the cells when they are needed."""
    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    if job["action"] not in ACTIONS:
        text = f"the R package asks for {job['action']!r}, which this version of scrae does not know"
        raise Refusal(text, "unknown_job", action=job["action"])
    if job.get("threads"):
        import torch

        torch.set_num_threads(int(job["threads"]))

    def cells() -> AnnData:
        emit("stage", text="reading the cells")
        return given()

    result = ACTIONS[job["action"]](job["arguments"], cells, folder, emit)
    write_bytes(folder / RESULT, json.dumps(result).encode())
