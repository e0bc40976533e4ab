"""The jobs that the R package gives, a function each, and how one is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from scrae._errors import Refusal
from scrae.r.answers import plain
from scrae.r.job import Emit, Job, names

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from scrae.model import SCRAE
    from scrae.model.query import Query


def _train(job: Job) -> dict[str, Any]:
    from scrae.model import SCRAE

    model = SCRAE(**job.settings(), verbose=bool(job.get("bar", False)))
    adata = job.cells()
    genes = job.chosen_genes(adata)
    job.emit("start", n_cells=adata.n_obs, n_genes=int(genes.sum()), device=str(model.device))
    model.fit(
        adata,
        counts=job.get("counts", "raw"),
        genes=genes,
        **job.covariates(),
        must_link=job.pairs("must_link"),
        cannot_link=job.pairs("cannot_link"),
        labels_key=job.get("labels_key"),
        unlabeled_category=job.get("unlabeled_category") or "Unknown",
        max_epochs=job.get("max_epochs"),
        resume=bool(job.get("resume", False)),
        model_dir=job.get("model_dir"),
        overwrite=bool(job.get("overwrite", False)),
        on_epoch=lambda epoch, most, losses: job.emit("epoch", max_epochs=most, **losses | {"epoch": epoch}),
    )
    answer = job.trained(model) | {"embedding": job.array("embedding", model.embed())}
    if not model.makes_clusters:
        return answer
    import pandas as pd

    from scrae.tl.embedding import own_clusters  # tools load much that others do without

    clusters = own_clusters(model)
    return answer if clusters is None else answer | {"table": job.table(pd.DataFrame({"clusters": clusters}))}


def _map(job: Job) -> dict[str, Any]:
    from scrae.model.query import Query

    model, adata = job.model(), job.cells()
    job.stage(f"mapping {adata.n_obs:,} cells")
    query = Query(model.fitted, adata, batch_key=job.get("batch_key"))
    answer = {"embedding": job.array("embedding", query.embedding())}
    if model.cell_types is None:
        return answer
    return answer | {"table": job.table(_labels(job, model, query))}


def _label(job: Job) -> dict[str, Any]:
    from scrae.model.query import Query

    model, adata = job.model(), job.cells()
    job.stage(f"learning types of {adata.n_obs:,} cells")
    model.fit_labels(adata, job["labels_key"], unlabeled_category=job["unlabeled_category"])
    table = _labels(job, model, Query(model.fitted, adata))
    return job.trained(model) | {"table": job.table(table)}


def _denoise(job: Job) -> dict[str, Any]:
    model, adata = job.model(), job.cells()
    job.stage(f"denoising {adata.n_obs:,} cells")
    means = model.denoise(adata, library_size=job["library_size"], batch=job.get("batch"))
    cutoff = job.get("cutoff") or 0.0
    matrix: Any = means
    if cutoff > 0:
        means[means < cutoff] = 0.0
        matrix = sp.csr_matrix(means)
    return {"genes": names(model), "matrix": job.array("matrix", matrix)}


def _sample(job: Job) -> dict[str, Any]:
    model = job.model()
    like = job.cells() if job.get("like") else None
    job.stage(f"drawing {job['n']:,} cells")
    counts = model.sample(
        job["n"],
        like=like,
        codes=job.get("codes", "cells"),
        random_state=job.get("random_state"),
        batch=job.get("batch"),
    )
    return {"genes": names(model), "matrix": job.array("matrix", sp.csr_matrix(counts))}


def _outliers(job: Job) -> dict[str, Any]:
    from scrae.tl import outliers

    adata, reference = job.cells(), None
    if "n_reference" in job.arguments:  # they come last
        n_cells = adata.n_obs - int(job["n_reference"])
        adata, reference = adata[:n_cells], adata[n_cells:]
    job.stage(f"scoring {adata.n_obs:,} cells")
    table = outliers(adata, job.model(), reference=reference)
    return {"table": job.table(table.rename(columns={"negative_log_likelihood": "surprise"}))}


def _differential(job: Job) -> dict[str, Any]:
    from scrae.tl import differential_expression

    adata = job.cells()
    job.stage(f"comparing groups of {adata.n_obs:,} cells")
    table = differential_expression(
        adata,
        job.model(),
        job["groupby"],
        groups=job.get("groups"),
        reference=job["reference"],
        batch_key=job.get("batch_key"),
    )
    return {"table": job.table(table)}


def _pseudobulk(job: Job) -> dict[str, Any]:
    """Compare profiles that R has summed: each row of the counts is one."""
    from scrae.tl.pseudobulk import Design, needed, tested

    needed()
    adata = job.cells()
    job.stage(f"comparing {adata.n_obs:,} samples")
    of = {name: adata.obs[name].astype(str).to_numpy() for name in adata.obs}
    design = Design(of["sample"], of["side"].astype(int), of.get("batch"), paired=bool(job["paired"]))
    table = tested(np.rint(adata.X.toarray()).astype(np.int64), design, adata.var_names.to_numpy().astype(str))
    return {"table": job.table(table.drop(columns="score"))}


def _sample_report(job: Job) -> dict[str, Any]:
    from scrae.tl import sample_report

    adata = job.cells()
    job.stage(f"comparing synthetic cells with {adata.n_obs:,} real ones")
    report = sample_report(adata, job.model(), n=job.get("n"), random_state=job["random_state"])
    return {"table": job.table(report.rename_axis("measure").reset_index(name="value"))}


def _cross_validate(job: Job) -> dict[str, Any]:
    from scrae.tl import molecular_cross_validation

    adata = job.cells()
    adata = adata[:, job.chosen_genes(adata)]
    job.stage(f"training on {job['share']:.0%} of the molecules")
    scores = molecular_cross_validation(adata, share=job["share"], max_epochs=job.get("max_epochs"), **job.settings())
    return {"table": job.table(scores.rename_axis("predictor").reset_index())}


def _stability(job: Job) -> dict[str, Any]:
    from scrae.tl import stability

    adata = job.cells()
    genes = job.chosen_genes(adata)
    job.stage(f"training {job['n_runs']} models")
    agreement = stability(
        adata,
        job["n_runs"],
        resolution=float(job["resolution"]),
        verbose=False,
        genes=genes,
        **job.covariates(),
        max_epochs=job.get("max_epochs"),
        **job.settings(),
    )
    return {"seeds": agreement.index.tolist(), "matrix": job.array("matrix", agreement.to_numpy())}


def _cluster(job: Job) -> dict[str, Any]:
    import pandas as pd

    from scrae.tl import cluster

    adata = job.cells()
    adata.uns["scrae"] = {"genes": job["genes"]}
    job.stage(f"looking for clusters among {adata.n_obs:,} cells")
    cluster(
        adata,
        level=job["level"],
        resolution=job["resolution"],
        rare=job.get("rare", False),
        batch_key=job.get("batch_key"),
        random_state=job["random_state"],
    )
    found = adata.uns["scrae_clusters"]
    of_cells = {"clusters": adata.obs["scrae_clusters"], "confidence": adata.obs["scrae_cluster_confidence"]}
    tree = found["tree"].astype({"kept_apart": int})
    return {
        "table": job.table(pd.DataFrame(of_cells)),
        "clusters": job.table(found["clusters"].reset_index(), "clusters"),
        "tree": job.table(tree, "tree"),
        "factors": job.table(found["factors"].reset_index(), "factors"),
        "separation": plain(found["params"]["separation"]),
    }


def _neighbors(job: Job) -> dict[str, Any]:
    from scrae.tl import neighbors

    adata = job.cells()
    job.stage(f"connecting {adata.n_obs:,} cells")
    neighbors(adata, n_neighbors=job.get("n_neighbors"), random_state=job["random_state"])
    return {
        "matrix": job.array("matrix", adata.obsp["connectivities"]),
        "n_neighbors": adata.uns["neighbors"]["params"]["n_neighbors"],
    }


def _batch_report(job: Job) -> dict[str, Any]:
    from scrae.tl import batch_report

    adata = job.cells()
    adata.uns["scrae"] = {"genes": job["genes"], "params": {"batch_key": job.get("told"), "keep": job.get("kept", [])}}
    job.stage(f"comparing batches of {adata.n_obs:,} cells")
    measures = batch_report(
        adata,
        job["batch_key"],
        keep=job["keep"],
        groupby=job.get("groupby"),
        random_state=job["random_state"],
    )
    report = adata.uns["scrae_batches"]
    return {
        "measures": job.table(measures.reset_index(), "measures"),
        "groups": job.table(report["groups"].reset_index(), "groups"),
        "findings": job.table(report["findings"], "findings"),
    }


def _report(job: Job) -> dict[str, Any]:
    from scrae.r.report import write_report

    return write_report(job)


def _select(job: Job) -> dict[str, Any]:
    from scrae.pp import select_genes
    from scrae.pp.genes import RANK, SELECTED

    adata = job.cells()
    job.stage(f"choosing genes ({job['method']})")
    select_genes(adata, job["method"], job["n_top"], batch_key=job.get("batch_key"), verbose=False)
    table = adata.var[adata.var[SELECTED]]
    return {"genes": table.sort_values(RANK, kind="stable").index.astype(str).tolist()}


def _read(job: Job) -> dict[str, Any]:
    """A model folder of the user's, which somebody may be writing into, as one that nobody else knows."""
    job.leave(job.model())
    return {}


def _save(job: Job) -> dict[str, Any]:
    """The other way round: with the lock, in one move, and without what another model has left there."""
    job.model().save(job["folder"])
    return {}


ACTIONS: dict[str, Callable[[Job], dict[str, Any]]] = {
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


def _labels(job: Job, model: SCRAE, query: Query) -> pd.DataFrame:
    """Type of each cell, its probability, and how like the labelled cells it is, as columns are called in R objects."""
    from scrae.tl.predicted import predicted_types

    unlabeled, rate = job["unlabeled_category"], job["unknown_rate"]
    table = predicted_types(model, query, unknown_rate=rate, unlabeled=unlabeled)
    return table.reset_index(drop=True).rename(columns={"conformal_p_value": "familiarity"})


def run(folder: Path, given: Callable[[], AnnData], emit: Emit) -> None:
    """Do the job in the folder; ``given`` gives the cells when they are needed."""
    job = Job.read(folder, given, emit)
    if job.action not in ACTIONS:
        text = f"the R package asks for {job.action!r}, which this version of scrae does not know"
        raise Refusal(text, "unknown_job", action=job.action)
    job.answer(ACTIONS[job.action](job))
