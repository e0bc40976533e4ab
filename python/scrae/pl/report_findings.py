"""What a reader of a report has to know before the rest: everything that stood out, in whole sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from scrae._version import __version__
from scrae.pl.report_run import Run

STABLE = 0.75  # stability from which on a cluster may be called stable
STRANGE = 3.0  # outlier score above which ordinary cells hardly lie
MOST_STRANGE = 0.05  # share of such cells from which on it is said first
GOOD = ("no_batches", "batches_gone")  # findings on batches that need no care


def sentence(text: str) -> str:
    """The text with a capital letter and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def stop_in_words(run: Run) -> str:
    """Why and when training stopped, and which weights were kept."""
    summary = run.summary
    epochs, best = int(summary.get("epochs", 0)), int(summary.get("best_epoch", 0))
    held_out = int(summary.get("n_validation_cells", 0))
    kept = (
        f"The weights of epoch {best} were kept, which explain the {held_out:,} held-out cells best."
        if held_out
        else "No cells were held out, so the weights of the last epoch were kept."
    )
    reason = str(summary.get("stop_reason", "unknown"))
    if reason == "early_stopping":
        return (
            f"Training stopped after {epochs} epochs, because the last {epochs - best} brought no improvement. {kept}"
        )
    if reason == "max_epochs":
        return f"Training ran for {epochs} epochs, as many as it was allowed. {kept}"
    if reason == "converged":
        return f"Training stopped after {epochs} epochs, because the clusters that the model makes had settled."
    if reason in ("interrupted", "terminated"):
        what = "Ctrl-C" if reason == "interrupted" else "a signal of the system (SIGTERM)"
        return f"Training was ended by {what} after {epochs} epochs, before its own end. {kept}"
    return f"Training ended after {epochs} epochs ({reason}). {kept}"


def findings(run: Run) -> list[str]:
    """Everything that stood out, the most important first; nothing twice."""
    return list(dict.fromkeys([*_of_training(run), *_of_cells(run), *_of_batches(run), *_of_clusters(run)]))


def _of_training(run: Run) -> Iterator[str]:
    summary = run.summary
    if summary.get("stop_reason") in ("interrupted", "terminated"):
        yield stop_in_words(run)
    best, epochs = summary.get("best_epoch"), summary.get("epochs")
    limited = summary.get("stop_reason") == "max_epochs" and int(summary.get("n_validation_cells", 0)) > 0
    if limited and best == epochs:
        yield (
            f"The held-out cells were still explained better and better when training reached its limit of {epochs} "
            "epochs. More epochs may give a better embedding."
        )
    yield from run.told
    trained_with = str(summary.get("versions", {}).get("scrae", __version__))
    if trained_with != __version__:
        yield f"The training is of scrae {trained_with}, and this report of {__version__}."


def _of_cells(run: Run) -> Iterator[str]:
    n_trained = int(run.summary.get("n_cells", run.adata.n_obs))
    if n_trained != run.adata.n_obs:
        yield (
            f"The training saw {n_trained:,} cells, and the object has {run.adata.n_obs:,} now. This report is "
            "about the cells in the object."
        )
    if run.quality is None:
        yield (
            "The raw counts that the training had are no longer there, so counts and genes per cell are not shown. "
            f"Keep raw counts in {run.calls.counts}."
        )
    if run.outliers is not None:
        score = run.adata.obs[run.outliers].to_numpy(dtype=float)
        share = float(np.mean(score[np.isfinite(score)] > STRANGE)) if np.isfinite(score).any() else 0.0
        if share > MOST_STRANGE:
            yield f"{share:.0%} of the cells are explained badly by the model (outlier score above {STRANGE:g})."


def _of_batches(run: Run) -> Iterator[str]:
    if run.batch_gone is not None:
        yield (
            f"The training was told of batches in the column {run.batch_gone!r}, which the object does not have any "
            "more. Batches are not looked at here."
        )
    if run.batch is None:
        return
    if isinstance(run.batches, str):
        yield sentence(f"The batches could not be looked at: {run.batches}")
        return
    table = run.batches["findings"]
    for code, text in zip(table["finding"], table["text"], strict=True):
        if code not in GOOD:
            yield sentence(str(text))


def _of_clusters(run: Run) -> Iterator[str]:
    if run.found is None:
        return
    table = run.found["clusters"]
    sizes = run.adata.obs[run.clusters].value_counts()
    if any(int(sizes.get(name, 0)) != int(n) for name, n in table["n_cells"].items()):
        yield (
            "The clusters were found on other cells than the object has now. Their stability and their tree are those "
            f"of then; {run.calls.cluster} finds them anew."
        )
    if bool(run.found["params"].get("replaced", False)):
        yield (
            "The clusters are those of an embedding that was replaced since, so that they do not belong to the "
            f"training described here. {run.calls.cluster} finds new ones."
        )
    if str(run.found["params"].get("key", run.key)) != run.key:
        yield f"The clusters are those of another embedding, {run.found['params']['key']!r}."
    if len(table) == 1:
        yield "All cells are one cluster: nothing parts them further than chance would."
    loose = [f"{name} ({value:.2f})" for name, value in table["stability"].items() if value < STABLE]
    if loose:
        yield (
            f"Clusters with a stability below {STABLE:g} (in brackets): {', '.join(loose)}. Do not build on them alone."
        )
    alone = [f"{name} ({batch})" for name, batch in table["batch"].items() if batch] if "batch" in table else []
    if alone:
        yield (
            f"Clusters of a single batch: {', '.join(alone)}. They may be types that the other batches lack, or what "
            "is left of a batch."
        )
    factors = run.found.get("factors")
    for factor in factors.to_dict("records") if factors is not None else []:
        yield _shared_difference(factor)


def _shared_difference(factor: Mapping[str, object]) -> str:
    many = "," in str(factor["clusters"])
    return (
        f"Cluster{'s' if many else ''} {factor['clusters']} hold{'' if many else 's'} groups of cells that differ in "
        f"the same way (genes that are higher in one group: {factor['genes'] or 'none'}; in the other: "
        f"{factor['genes_other'] or 'none'}): a batch, a treatment or a state of the cells. They were joined."
    )
