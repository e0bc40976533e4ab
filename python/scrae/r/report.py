"""The job that writes the report of a run which was made in R: what R hands over becomes an object as Python's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scrae.compute.atomic import write_bytes
from scrae.pl.report import page_of
from scrae.pl.report_calls import R
from scrae.pl.report_code import lines_of_r
from scrae.pl.report_run import run_of
from scrae.r.job import Job

AXES = (".scrae_axis_1", ".scrae_axis_2")  # columns with the places of the cells in a picture
NUMBERS = ("n_cells", "stability", "separation", "before", "after", "mixing_before", "mixing_after")


def write_report(job: Job) -> dict[str, Any]:
    """Do the job ``"report"``."""
    adata = job.cells()
    job.stage("writing the report")
    basis = job.get("basis") or "umap"
    if AXES[0] in adata.obs:
        adata.obsm[f"X_{basis}"] = adata.obs[list(AXES)].to_numpy(dtype=float)
        del adata.obs[AXES[0]], adata.obs[AXES[1]]
    fit = job["fit"]
    adata.uns["scrae"] = {
        "params": fit["parameters"]
        | {"genes": "features", "counts_from": job["counts_from"]}
        | {"batch_key": fit.get("batch_key"), "keep": fit.get("keep", [])},
        "summary": fit["summary"],
        "history": _frame(fit["history"]),
        "genes": _listed(fit["genes"]),
        "warnings": _listed(fit["warnings"]),
    }
    clusters, told = job.get("clusters"), job.get("told")
    if told is not None:
        adata.uns[clusters] = {
            "clusters": _frame(told["clusters"]).set_index("cluster").rename(index=str),
            "tree": _frame(told["tree"]),
            "factors": _frame(told["factors"]),
            "params": {"key": "scrae", "separation": told["separation"], "replaced": told["replaced"]},
        }
    batches = job.get("batches")
    if isinstance(batches, Mapping):
        adata.uns["scrae_batches"] = {
            "measures": _frame(batches["measures"]).set_index("measure")[["before", "after"]].astype(float),
            "groups": _frame(batches["groups"]).set_index("group").rename(index=str),
            "findings": _frame(batches["findings"]),
            "params": {"batch_key": job["batch"]},
        }
    run = run_of(
        adata,
        key="scrae",
        clusters_key=clusters,
        batch_key=job.get("batch"),
        labels_key=job.get("labels"),
        outliers_key=job.get("outliers"),
        layer=None,
        basis=f"X_{basis}" if f"X_{basis}" in adata.obsm else None,
        random_state=job["random_state"],
        calls=R,
    )
    if isinstance(batches, str):
        run.batches = batches
    run.code = "\n".join(lines_of_r(run, job["code"]))
    write_bytes(Path(job["path"]), page_of(run, job.get("title")).encode("utf-8"))
    return {}


def _listed(values: Any) -> list[Any]:
    """R's vectors of one value come as that value."""
    return list(values) if isinstance(values, list) else [values]


def _frame(columns: Mapping[str, Any]) -> pd.DataFrame:
    """A table from its columns; what R has as missing is missing."""
    table = pd.DataFrame({name: _listed(values) for name, values in columns.items()} if columns else {})
    for name in table:
        if name in NUMBERS or str(name).startswith("n_"):
            table[name] = pd.to_numeric(table[name], errors="coerce")
    if "kept_apart" in table:
        table["kept_apart"] = table["kept_apart"].astype(bool)
    return table.replace({None: np.nan}) if "before" in table else table
