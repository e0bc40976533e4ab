"""A job as R gives it: what is asked for, the cells, and the folder that the answer goes to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scrae.compute.atomic import write_bytes
from scrae.r.answers import plain, write_array, write_table
from scrae.r.models import KEPT

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from scrae.model import SCRAE

JOB = "job.json"
RESULT = "result.json"
MODEL = "model"
OTHER_GENES = "(other genes)"
"""Row of the object that is no gene: it marks cells whose counts all lie in genes that were left out in R."""

Emit = Callable[..., None]


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes
    ----------
    action
        What is to be done.
    arguments
        What R says of it.
    folder
        Where the answer goes.
    given
        Gives the cells when they are needed.
    emit
        Tells R how far the job has come.
    """

    action: str
    arguments: dict[str, Any]
    folder: Path
    given: Callable[[], AnnData]
    emit: Emit

    @classmethod
    def read(cls, folder: Path, given: Callable[[], AnnData], emit: Emit) -> Job:
        """The job that R has left in the folder."""
        written = json.loads((folder / JOB).read_text(encoding="utf-8"))
        if written.get("threads"):
            import torch

            torch.set_num_threads(int(written["threads"]))
        return cls(written["action"], written["arguments"], folder, given, emit)

    # -- what is given -------------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        """An argument that R always gives."""
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """An argument that R gives where the user has."""
        return self.arguments.get(name, default)

    def cells(self) -> AnnData:
        """The cells of the object, or those that the job is about."""
        self.stage("reading the cells")
        return self.given()

    def model(self) -> SCRAE:
        """The model that is asked."""
        from scrae.model import SCRAE

        folder, device = self["model"], self.get("device") or "auto"
        kept = KEPT.find(folder, device)
        return SCRAE.load(folder, device=device, verbose=False) if kept is None else kept

    def settings(self) -> dict[str, Any]:
        """What is said of the model to train, as :class:`scrae.SCRAE` takes it."""
        return {
            "preset": self.get("preset") or "default",
            "random_state": self["random_state"],
            "device": self.get("device") or "auto",
            **self.get("settings", {}),
        }

    def covariates(self) -> dict[str, Any]:
        """The columns that are told to the decoder, as :meth:`scrae.SCRAE.fit` takes them."""
        return {
            "batch_key": self.get("batch_key"),
            "categorical_covariate_keys": self.get("categorical_covariate_keys", []),
            "continuous_covariate_keys": self.get("continuous_covariate_keys", []),
            "keep": self.get("keep", []),
        }

    def pairs(self, name: str) -> np.ndarray:
        """Positions of linked cells, which R gives pair by pair in one list."""
        return np.array(self.get(name) or [], dtype=np.int64).reshape(-1, 2)

    def chosen_genes(self, adata: AnnData) -> np.ndarray:
        """Mask of the genes to model: chosen in R, or here if the job says how."""
        from scrae.pp import select_genes
        from scrae.pp.genes import SELECTED

        selection = self.get("select")
        if not selection:
            return np.asarray(adata.var_names != OTHER_GENES)
        n_genes, n_top = int((adata.var_names != OTHER_GENES).sum()), int(selection["n_top"])
        self.stage(
            f"choosing {n_top:,} of {n_genes:,} genes ({selection['method']})"
            if n_top < n_genes
            else f"there are {n_genes:,} genes, no more than the {n_top:,} that would be chosen: taking all that are "
            "seen"
        )
        select_genes(
            adata,
            selection["method"],
            selection["n_top"],
            batch_key=self.get("batch_key"),
            counts=self.get("counts", "raw"),
            verbose=False,
        )
        return np.asarray(adata.var[SELECTED])

    # -- what is answered ----------------------------------------------------------------------------------------------

    def stage(self, text: str) -> None:
        """Say what begins."""
        self.emit("stage", text=text)

    def array(self, name: str, matrix: Any) -> dict[str, Any]:
        """Leave a matrix, :func:`scrae.r.answers.write_array`."""
        return write_array(self.folder, name, matrix)

    def table(self, table: pd.DataFrame, called: str = "") -> dict[str, Any]:
        """Leave a table, :func:`scrae.r.answers.write_table`."""
        return write_table(self.folder, table, called)

    def leave(self, model: SCRAE) -> None:
        """Leave a model; R does not resume, so without the state that training goes on from."""
        from scrae.model.folder import save_model

        save_model(self.folder / MODEL, replace(model.fitted, training_state=None))

    def trained(self, model: SCRAE) -> dict[str, Any]:
        """Leave a model that has learned, and tell what is known of it."""
        self.leave(model)
        history = model.history.reset_index()
        return {
            "genes": names(model),
            "summary": plain(model.summary),
            "parameters": plain(model.settings_dict()) | {"preset": model.preset, "random_state": model.random_state},
            "history": {name: plain(history[name].tolist()) for name in history},
        }

    def answer(self, result: dict[str, Any]) -> None:
        """Say where everything is: the job is done."""
        write_bytes(self.folder / RESULT, json.dumps(result).encode())


def names(model: SCRAE) -> list[str] | None:
    """Names of the modelled genes; None: they have none."""
    return None if model.gene_names is None else [str(name) for name in model.gene_names]
