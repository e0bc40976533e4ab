"""``scrae report``: the report of a run, of the file that ``scrae run`` has written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    report = commands.add_parser("report", help="write a page (HTML) about a run from the file with its embedding")
    report.set_defaults(command=_report)
    report.add_argument("input", type=Path, help="h5ad or zarr that `scrae run` or scrae.tl.scrae has written")
    report.add_argument("--out", type=Path, help="page to write (default: the input's name with .html)")
    report.add_argument("--clusters-key", help="column of obs with clusters (default: scrae_clusters)")
    report.add_argument("--batch-key", help="column of obs with batches (default: that of the training)")
    report.add_argument("--labels-key", help="column of obs with known cell types, to stand beside the clusters")
    report.add_argument("--outliers-key", help="column of obs with outlier scores (default: scrae_outlier)")
    report.add_argument("--layer", help="layer with raw counts (default: where the training had them)")
    report.add_argument("--basis", help="entry of obsm to draw (default: X_umap, or a UMAP that is computed)")
    report.add_argument("--title", help="title of the page (default: the input's name)")
    report.add_argument("--seed", type=int, default=0, help="seed of that UMAP (default: %(default)s)")
    report.add_argument("--quiet", action="store_true", help="do not say what was written")


def _report(options: argparse.Namespace) -> int:
    from scrae import pl
    from scrae.data.files import read_counts
    from scrae.pl.report import refuse_no_page

    out = refuse_no_page(options.out or options.input.with_suffix(".html"))
    if options.input.suffix not in (".h5ad", ".zarr"):
        raise ValueError(f"{options.input}: a report is made from an h5ad or zarr file that `scrae run` has written")
    pl.report(
        read_counts(options.input),
        out,
        clusters_key=options.clusters_key,
        batch_key=options.batch_key,
        labels_key=options.labels_key,
        outliers_key=options.outliers_key,
        layer=options.layer,
        basis=options.basis,
        title=options.title or f"scRAE: {options.input.name}",
        random_state=options.seed,
    )
    if not options.quiet:
        print(f"{out}: open it in a browser")
    return 0
