"""The report of a run: one page for a lab meeting."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from scrae._version import __version__
from scrae.compute.atomic import write_bytes
from scrae.compute.whole_numbers import seed
from scrae.data.cells import require_anndata
from scrae.pl.html import page, tag
from scrae.pl.report_run import Run, run_of
from scrae.pl.report_sections import sections

if TYPE_CHECKING:
    from anndata import AnnData

ENDINGS = (".html", ".htm")


def report(
    adata: AnnData,
    path: str | os.PathLike[str],
    *,
    key: str = "scrae",
    clusters_key: str | None = None,
    batch_key: str | None = None,
    labels_key: str | None = None,
    outliers_key: str | None = None,
    layer: str | None = None,
    basis: str | None = None,
    title: str | None = None,
    random_state: int = 0,
) -> Path:
    """Write a report of a run: one HTML file that needs no network, to look at or to send.

    It says what was done, what stood out, how many counts and genes the cells have, how training went and why it
    stopped. It shows the cells by cluster, by known type and by batch, the clusters with their stability, confidence
    and genes, how batches mix, outliers, and the lines of code that repeat the run. Where something is missing, it
    names the call that adds it.

    Parameters
    ----------
    adata
        Cells with an embedding from :func:`scrae.tl.scrae`; nothing is written to it.
    path
        File to write, ending in ``.html``. One that is there is replaced.
    key
        Name of the embedding: ``obsm["X_" + key]``, described in ``uns[key]``.
    clusters_key
        Column of ``adata.obs`` with clusters; None: ``key + "_clusters"``, if there is such a column.
    batch_key
        Column with batches, which are compared by :func:`scrae.tl.batch_report`; None: the one that the training was
        told of.
    labels_key
        Column with known types of cells, to stand beside the clusters.
    outliers_key
        Column with scores of :func:`scrae.tl.outliers`; None: ``"scrae_outlier"``, if there is such a column.
    layer
        Layer with raw counts; None: where the embedding was trained on.
    basis
        Entry of ``adata.obsm`` with two axes to draw. None: ``"X_umap"``; where there is none, a UMAP is computed from
        the embedding, for the report alone.
    title
        Title of the page.
    random_state
        Seed of that UMAP, and of samples where there are many cells.

    Returns
    -------
    The file.

    Raises
    ------
    ValueError
        There is no embedding with its description, no such column, layer or basis, or the path has another ending.
    OSError
        The file could not be written.

    Examples
    --------
    >>> import tempfile
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> scrae.tl.scrae(adata, max_epochs=5, verbose=False)
    >>> scrae.tl.cluster(adata)
    >>> path = f"{tempfile.mkdtemp()}/run.html"
    >>> scrae.pl.report(adata, path, labels_key="cell_type", basis="X_umap_published").name
    'run.html'
    """
    require_anndata(adata, "scrae.pl.report")
    file = refuse_no_page(path)
    run = run_of(
        adata,
        key=key,
        clusters_key=clusters_key,
        batch_key=batch_key,
        labels_key=labels_key,
        outliers_key=outliers_key,
        layer=layer,
        basis=basis,
        random_state=seed(random_state),
    )
    write_bytes(file, page_of(run, title).encode("utf-8"))
    return file


def refuse_no_page(path: str | os.PathLike[str]) -> Path:
    """The path, if a page can be written there."""
    file = Path(path)
    if file.suffix.lower() not in ENDINGS:
        raise ValueError(f"{file}: a report is a page for a browser, so its name has to end in .html")
    if not file.absolute().parent.is_dir():
        raise FileNotFoundError(f"{file}: there is no folder {file.absolute().parent}")
    return file


def page_of(run: Run, title: str | None = None) -> str:
    """The whole page."""
    name = title or "scRAE: report of a run"
    parts = sections(run)
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z").strip()
    head = [
        tag("h1", name),
        tag(
            "p",
            f"{run.adata.n_obs:,} cells, {run.adata.n_vars:,} genes. Written on {made} by scrae {__version__}.",
            class_="quiet",
        ),
        tag("nav", *(tag("a", part.title, href=f"#{part.name}") for part in parts)),
    ]
    body = [tag("section", tag("h2", part.title, id=part.name), part.content) for part in parts]
    return page(name, tag("header", *head), tag("main", *body))
