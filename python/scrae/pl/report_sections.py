"""The sections of a report, each from what is there; where something is missing, the call that adds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scrae.pl import report_figures as figures
from scrae.pl.batches import drawn_report, name_of_measure
from scrae.pl.clusters import clusters as draw_clusters
from scrae.pl.colours import colours_of_groups, in_order
from scrae.pl.history import history as draw_history
from scrae.pl.html import Html, paragraph, picture, swatch, table, tag, together
from scrae.pl.report_code import lines_of_code
from scrae.pl.report_findings import STABLE, STRANGE, findings, sentence, stop_in_words
from scrae.pl.report_run import MARKERS, MOST_CELLS, Run
from scrae.tl.calls import as_typed
from scrae.tl.layout import MOST_CELLS as MOST_LAID_OUT

MOST_GROUPS = 60  # that are drawn with a name each
STRANGEST = 10  # cells that are listed


@dataclass(frozen=True)
class Section:
    """A part of the page with a name to jump to."""

    name: str
    title: str
    content: Html


def sections(run: Run) -> list[Section]:
    """All of them, in their order."""
    makers: list[tuple[str, str, Callable[[Run], Html]]] = [
        ("notes", "What to look at", _notes),
        ("run", "What was done", _what_was_done),
        ("quality", "Counts and genes of the cells", _quality),
        ("training", "Training", _training),
        ("map", "The cells", _map),
        ("clusters", "Clusters", _clusters),
        ("markers", "Genes of the clusters", _markers),
        ("batches", "Batches", _batches),
        ("outliers", "Outliers", _outliers),
        ("code", "To repeat it", _code),
    ]
    return [Section(name, title, make(run)) for name, title, make in makers]


def missing(text: str, call: str, what_it_does: str) -> Html:
    """A paragraph that says what is not there, and the call that adds it."""
    return tag("p", f"{text} ", tag("code", call), f" {what_it_does}.", class_="missing")


def _notes(run: Run) -> Html:
    found = findings(run)
    if not found:
        return paragraph("Nothing stood out.")
    return tag("ul", *(tag("li", text) for text in found), class_="note")


def _what_was_done(run: Run) -> Html:
    params, summary = run.params, run.summary
    n_cells, n_trained = run.adata.n_obs, int(summary.get("n_cells", 0))
    rows = [
        ("cells", f"{n_cells:,}, {'all' if n_trained == n_cells else f'and {n_trained:,}'} in training"),
        ("genes", f"{run.adata.n_vars:,}, of which {int(summary.get('n_genes', 0)):,} were modelled"),
        ("choice of genes", _origin(str(params.get("genes", "not known")))),
        ("counts from", str(params.get("counts_from", _place(str(params.get("layer", "X")))))),
        ("model", f"preset {params.get('preset', 'default')!r}"),
        ("changed settings", ", ".join(f"{k} = {as_typed(v)}" for k, v in run.changed_settings.items()) or "none"),
        ("batches", run.batch_of_training or "none named"),
        *([("differences kept", ", ".join(run.kept_in_training))] if run.kept_in_training else []),
        ("seed", str(params.get("random_state", "not known"))),
        ("training", _times(run)),
        ("versions", ", ".join(f"{name} {version}" for name, version in sorted(summary.get("versions", {}).items()))),
    ]
    return table(("", ""), rows)


def _place(layer: str) -> str:
    return layer if layer == "X" else f"layer {layer!r}"


def _origin(genes: str) -> str:
    said = {
        "all": "all",
        "given": "given by name or position",
        "features": "as RunSCRAE() was given them, or chose them",
        'adata.var["highly_variable"]': 'those that var["highly_variable"] marks',
    }
    return said.get(genes, f"by {genes}" if genes != "not known" else genes)


def _times(run: Run) -> str:
    summary = run.summary
    if "seconds" not in summary:
        return "not known"
    rate = f", {summary['training_cells_per_second']:,.0f} cells a second" if summary.get("epochs") else ""
    how_long = f"{summary.get('epochs', 0)} epochs in {_duration(float(summary['seconds']))}"
    threads = int(summary.get("threads", 1))
    with_threads = "1 thread" if threads == 1 else f"{threads} threads"
    return f"{how_long} on {summary.get('device', 'cpu')} with {with_threads}{rate}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


def _quality(run: Run) -> Html:
    n_genes, n_modelled = run.adata.n_vars, int(run.summary.get("n_genes", 0))
    n_trained = int(run.summary.get("n_cells", 0))
    dropped = (
        f"No cell was dropped: the training takes all of them ({n_trained:,})."
        if n_trained == run.adata.n_obs
        else f"The training had {n_trained:,} cells, and the object has {run.adata.n_obs:,} now."
    )
    left_out = (
        f"All {n_genes:,} genes were modelled."
        if n_modelled == n_genes
        else f"{n_modelled:,} of {n_genes:,} genes were modelled."
    )
    quality = run.quality
    if quality is None:
        return together(
            [
                tag(
                    "p",
                    "The raw counts that the training had are no longer there, so nothing can be said about counts "
                    "and genes per cell. Keep them in ",
                    tag("code", run.calls.counts),
                    ".",
                    class_="missing",
                ),
                paragraph(f"{dropped} {left_out}"),
            ]
        )
    unseen = int((quality.seen_in == 0).sum())
    have = "gene has" if unseen == 1 else "genes have"
    texts = [dropped, left_out, f"{unseen:,} {have} no count in any cell." if unseen else ""]
    rows = [_five_numbers("counts per cell", quality.counts), _five_numbers("genes per cell", quality.genes)]
    parts = [
        paragraph(" ".join(filter(None, texts))),
        picture(figures.quality(quality), "Histograms of counts per cell and of genes per cell"),
        table(("", "least", "5 %", "median", "95 %", "most"), rows, numbers=range(1, 6)),
    ]
    if run.batch is not None:
        of_cells = run.adata.obs[run.batch].astype(str).to_numpy()
        names = sorted(set(of_cells))
        lines = []
        for name in names[:MOST_GROUPS]:
            cells = of_cells == name
            medians = (np.median(values[cells]) for values in (quality.counts, quality.genes))
            lines.append((name, f"{cells.sum():,}", *(f"{median:,.0f}" for median in medians)))
        parts.append(table((run.batch, "cells", "median counts", "median genes"), lines, numbers=(1, 2, 3)))
        if len(names) > MOST_GROUPS:
            parts.append(paragraph(f"The first {MOST_GROUPS} of {len(names):,} batches."))
    return together(parts)


def _five_numbers(name: str, values: np.ndarray) -> tuple[str, ...]:
    return (name, *(f"{value:,.0f}" for value in np.percentile(values, [0, 5, 50, 95, 100])))


def _training(run: Run) -> Html:
    said = paragraph(stop_in_words(run))
    history = run.described.get("history")
    if history is None or not len(history):
        return together([said, paragraph("The object holds no losses of single epochs.")])
    return together([said, picture(draw_history(pd.DataFrame(history)), "Losses of each epoch")])


def _map(run: Run) -> Html:
    where = (
        "The UMAP was computed from the embedding for this report; the object has none. "
        if run.basis_made
        else f"Cells are drawn at their places in {run.basis}. "
    )
    sample = (
        f"A sample of {MOST_LAID_OUT:,} cells is drawn." if run.basis_made and run.adata.n_obs > MOST_LAID_OUT else ""
    )
    parts: list[Html] = [paragraph(where + sample)]
    columns = [column for column in (run.clusters, run.labels, run.batch) if column is not None]
    drawn = [_picture_of(run, column) for column in dict.fromkeys(columns)]
    parts.append(
        tag("div", *(drawn or [picture(figures.cells(run.adata, None, run.basis), "The cells")]), class_="pictures")
    )
    if run.clusters is None:
        parts.append(missing("There are no clusters.", run.calls.cluster, "finds them"))
    if run.labels is None:
        parts.append(missing("No column with known cell types was named.", run.calls.name_labels, "draws them as well"))
    if run.batch is None:
        parts.append(
            missing("No column with batches was named.", run.calls.name_batch, "draws and compares them as well")
        )
    return together(parts)


def _picture_of(run: Run, column: str) -> Html:
    return picture(figures.cells(run.adata, column, run.basis), f"The cells, coloured by {column}")


def _clusters(run: Run) -> Html:
    if run.clusters is None:
        return missing("There are no clusters.", run.calls.cluster, "finds them, with their stability and their genes")
    groups = in_order(run.adata.obs[run.clusters])
    found = run.found["clusters"] if run.found is not None else None
    confidence = run.confidence
    head = [
        "cluster",
        "cells",
        "share",
        "stability",
        "confidence",
        "nearest",
        "separation",
        "higher than in the nearest",
    ]
    if run.labels is not None:
        head.append(f"{run.labels}, most frequent")
    colours = colours_of_groups(run.adata, run.clusters)
    rows = []
    for code, name in enumerate(groups.categories):
        cells = np.asarray(groups.codes) == code
        row: list[str] = [together([swatch(colours[str(name)]), str(name)]), f"{cells.sum():,}", f"{cells.mean():.1%}"]
        known = found.loc[str(name)] if found is not None and str(name) in found.index else None
        row.append("not known" if known is None else f"{known['stability']:.2f}")
        row.append("not known" if confidence is None or not cells.any() else f"{float(confidence[cells].median()):.2f}")
        row += _nearest(known)
        if run.labels is not None:
            row.append(_most_frequent(run.adata.obs[run.labels][cells]))
        rows.append(row)
    parts = [
        paragraph(
            f"{len(groups.categories)} clusters in the column {run.clusters!r}. Stability is the mean overlap of a "
            "cluster with those that are found when a fifth of the cells is left out; above "
            f"{STABLE:g} it may be called stable. Confidence is the median, over the cells of a cluster, of the share "
            "of resamplings in which a cell came to its cluster again. Separation is relative to the two halves of one "
            "homogeneous group, which have 1."
        ),
        table(head, rows, numbers=range(1, 7)),
    ]
    if found is None:
        parts.append(
            missing(
                "These clusters have no tree and no stability, because they were found in another way.",
                run.calls.cluster,
                "finds clusters that have both",
            )
        )
    else:
        figure = draw_clusters(run.adata, run.clusters, run.basis)
        parts.append(picture(figure, "The clusters: their cells, their tree, and their stability"))
    return together(parts)


def _nearest(known: pd.Series | None) -> list[str]:
    if known is None or not known["nearest"]:
        return ["", "", ""]
    return [str(known["nearest"]), f"{known['separation']:.2f}", str(known["genes"])]


def _most_frequent(labels: pd.Series) -> str:
    counts = labels.dropna().astype(str).value_counts()
    if not len(counts):
        return "none known"
    return f"{counts.index[0]} ({counts.iloc[0] / counts.sum():.0%})"


def _markers(run: Run) -> Html:
    if run.clusters is None:
        return missing("There are no clusters whose genes could be compared.", run.calls.cluster, "finds them")
    names = [str(name) for name in pd.Categorical(run.adata.obs[run.clusters]).categories]
    if len(names) < 2:
        return paragraph("There is one cluster, and nothing to compare it with.")
    profiles = run.profiles
    markers = profiles.markers(MARKERS)
    order = [names.index(str(name)) for name in in_order(run.adata.obs[run.clusters]).categories]
    symbols = run.adata.var_names.astype(str)
    n = profiles.n_cells[:, None]
    others = ((profiles.detected * n).sum(0) - profiles.detected * n) / np.maximum(n.sum() - n, 1)
    rows = [
        (
            names[i] if first else "",
            symbols[gene],
            f"{profiles.mean[i, gene]:.2f}",
            f"{profiles.detected[i, gene]:.0%}",
            f"{others[i, gene]:.0%}",
        )
        for i in order
        for first, gene in zip([True] + [False] * MARKERS, markers[i], strict=False)
    ]
    without = [names[i] for i in order if not len(markers[i])]
    sampled = f" Of a sample of {MOST_CELLS:,} cells." if run.adata.n_obs > MOST_CELLS else ""
    unit = "log-normalised counts" if run.quality is not None else "the values in the object"
    parts = [
        paragraph(
            f"The {MARKERS} genes that are most clearly higher in each cluster than in all other cells (by Welch's t "
            f"of {unit}).{sampled} There are no p values: the clusters were found on the same counts, so almost every "
            "test between them would be significant."
        ),
        picture(figures.dots(profiles, markers, names, order, symbols), "Dot plot of the genes of each cluster"),
        table(("cluster", "gene", "mean", "cells with it", "other cells with it"), rows, numbers=(2, 3, 4)),
    ]
    if without:
        parts.append(paragraph(f"No gene is higher in: {', '.join(without)}."))
    return together(parts)


def _batches(run: Run) -> Html:
    if run.batch is None:
        return missing("No column with batches was named.", run.calls.name_batch, "says whether they mix")
    report = run.batches
    if isinstance(report, str):
        return paragraph(f"The batches in {run.batch!r} could not be compared: {report}")
    told = [tag("li", sentence(str(text))) for text in report["findings"]["text"]]
    measures = report["measures"]
    rows = [
        (
            name_of_measure(str(name)),
            *("" if np.isnan(value) else f"{value:.2f}" for value in (row["before"], row["after"])),
        )
        for name, row in measures.iterrows()
    ]
    return together(
        [
            tag("ul", *told),
            picture(drawn_report(report), "Measures of the batches before and after"),
            table(("", "before: principal components", "after: the embedding"), rows, numbers=(1, 2)),
        ]
    )


def _outliers(run: Run) -> Html:
    if run.outliers is None:
        return missing(
            "Outliers were not looked for.", run.calls.outliers, "scores how badly the model explains each cell"
        )
    score = run.adata.obs[run.outliers].astype(float)
    known = score.dropna()
    high = known[known > STRANGE]
    parts = [
        paragraph(
            f"{len(high):,} of {len(known):,} cells ({len(high) / max(len(known), 1):.1%}) have a score above "
            f"{STRANGE:g} in the column {run.outliers!r}: the model explains their counts worse than those of other "
            "cells of their size. They may be doublets, debris, damaged cells or rare types. Ordinary cells have "
            "scores like a standard normal variable."
        )
    ]
    if not len(known):
        return together(parts)
    parts.append(picture(figures.outliers(known.to_numpy()), "Histogram of the outlier scores"))
    if run.clusters is not None:
        groups = in_order(run.adata.obs[run.clusters])
        above = (score > STRANGE).to_numpy()
        rows = []
        for code, name in enumerate(groups.categories):
            cells = np.asarray(groups.codes) == code
            rows.append((str(name), f"{(above & cells).sum():,}", f"{above[cells].mean():.1%}" if cells.any() else ""))
        parts.append(table(("cluster", f"cells above {STRANGE:g}", "share"), rows, numbers=(1, 2)))
    if len(high):
        strangest = high.sort_values(ascending=False).head(STRANGEST)
        parts.append(
            table(("cell", "score"), [(str(cell), f"{value:.1f}") for cell, value in strangest.items()], numbers=(1,))
        )
    return together(parts)


def _code(run: Run) -> Html:
    said = paragraph("The same data, settings, versions and number of threads give the same numbers on a processor.")
    return together([said, tag("pre", tag("code", run.code or "\n".join(lines_of_code(run))))])
