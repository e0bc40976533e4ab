"""The lines of code that repeat a run, in Python or in R."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scrae.autoencoder.settings import Settings, epochs_for
from scrae.pl.report_run import Run
from scrae.tl.calls import Expression, as_typed, call_text, laid_out

USUAL_TRAINING = {
    "layer": None,
    "batch_key": None,
    "keep": (),
    "preset": "default",
    "random_state": 0,
    "key_added": "scrae",
}
USUAL_CLUSTERING = {"level": "default", "resolution": 1.0, "key": "scrae", "random_state": 0, "batch_key": None}


def lines_of_code(run: Run) -> Iterator[str]:
    """In Python; the calls as they were made, where the object has kept them."""
    yield "import anndata"
    if run.basis_made:
        yield "import scanpy as sc"
    yield "import scrae"
    yield ""
    yield 'adata = anndata.read_h5ad("cells.h5ad")  # the cells of this report, with raw counts'
    if "call" in run.described:
        yield str(run.described["call"])
    else:
        yield "# Put together from the settings, because the object does not hold the call itself."
        yield _training(run)
    if run.found is not None:
        yield str(run.found["call"]) if "call" in run.found else _clustering(run, run.found["params"])
    if run.basis_made:
        yield f"sc.pp.neighbors(adata, use_rep={as_typed(f'X_{run.key}')})"
        yield "sc.tl.umap(adata)"


def _training(run: Run) -> str:
    params = run.params
    layer = str(params.get("layer", "X"))
    given: dict[str, Any] = {
        "layer": None if layer == "X" else layer,
        "genes": Expression(f'adata.uns[{as_typed(run.key)}]["genes"]'),
        "batch_key": run.batch_of_training,
        "keep": run.kept_in_training,
        "preset": str(params.get("preset", "default")),
        "random_state": int(params.get("random_state", 0)),
        "key_added": run.key,
        **_limit(run),
    }
    return call_text("scrae.tl.scrae", "adata", given | run.changed_settings, USUAL_TRAINING)


def _clustering(run: Run, params: Mapping[str, Any]) -> str:
    given = {name: params.get(name, usual) for name, usual in USUAL_CLUSTERING.items()}
    if given["batch_key"] == "None":  # as versions before 0.2 wrote it
        given["batch_key"] = None
    own_name = {} if run.clusters == f"{run.key}_clusters" else {"key_added": run.clusters}
    return call_text("scrae.tl.cluster", "adata", given | own_name, USUAL_CLUSTERING)


def lines_of_r(run: Run, said: Mapping[str, Any]) -> Iterator[str]:
    """In R; the settings of the model from the object, all else as R has typed it.

    Parameters
    ----------
    run
        The run.
    said
        ``object``, ``training`` and ``clustering``: how the object and the functions are written; ``arguments`` and
        ``of_clustering``: the arguments of these; ``embedding``: what clusters are looked for in, where that is given.
    """
    settings = {name.replace("_", "."): _in_r(value) for name, value in (run.changed_settings | _limit(run)).items()}
    yield "library(scRAE)"
    yield f"# {said['object']}: the cells of this report, with raw counts"
    yield laid_out(said["training"], said["object"], dict(said["arguments"]) | settings, " = ")
    if said.get("clustering"):
        first = ", ".join(filter(None, [said["object"], said.get("embedding")]))
        yield laid_out(said["clustering"], first, dict(said.get("of_clustering") or {}), " = ")


def _limit(run: Run) -> dict[str, int]:
    """The number of epochs, where it is another one than would be trained by default."""
    summary = run.summary
    epochs = int(summary.get("epochs", 0))
    n_trained = int(summary.get("n_cells", 0)) - int(summary.get("n_validation_cells", 0))
    if "max_epochs" in run.changed_settings or not epochs or n_trained < 1:
        return {}
    size, steps = (int(run.params.get(name, getattr(Settings, name))) for name in ("batch_size", "n_steps"))
    usual = epochs_for(n_trained, size, steps)
    given = epochs > usual or (summary.get("stop_reason") == "max_epochs" and epochs != usual)
    return {"max_epochs": epochs} if given else {}


def _in_r(value: Any) -> str:
    """A setting as it is typed in R."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, list):
        return f"c({', '.join(map(_in_r, value))})"
    return "NULL" if value == "None" else as_typed(value)
