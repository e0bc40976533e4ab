"""Write the tables of the documents anew from the results of the benchmarks: ``figures.py write`` or ``check``.

A table of a document that stands between ``<!-- table: NAME -->`` and ``<!-- end -->`` is made here, so that no figure
is typed by hand. ``check`` prints the documents whose tables are not those of the results, and fails if there are any.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md",
    "docs/ACCURACY.md",
    "docs/CLUSTERS.md",
    "docs/SCALE.md",
    "docs/USES.md",
    "docs/benchmarks.md",
    "docs/how_to/gpu.md",
)
PLACE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.S)

# The versions that were measured, in the words of the tables.
PEERS = {
    "scranpy (scrapper)": "scranpy 0.3.1 (in R scrapper)",
    "Seurat, 30 components": "Seurat 4.3, 30 components",
    "Seurat, SCTransform": "Seurat 4.3, SCTransform 0.3.5, 30 components",
    "scran": "scran 1.26",
    "Seurat, 10 components": "Seurat 4.3, 10 components",
    "SCALEX, Leiden at 1": "SCALEX 1.0.4, Leiden at 1",
    "scanpy": "scanpy 1.11",
    "scanpy, Pearson residuals": "scanpy 1.11, Pearson residuals",
    "JointEmbeddingSCVI, Leiden at 1": "JointEmbeddingSCVI (scvi-tools 1.5.1), Leiden at 1",
    "SCVI, Leiden at 1": "SCVI 1.4.2, Leiden at 1",
    "LDVAE, Leiden at 1": "LDVAE (scvi-tools 1.4.2), Leiden at 1",
    "CONCORD, Leiden at 1": "CONCORD 1.0.13, Leiden at 1",
    "30 components, Leiden by silhouette": "30 principal components, Leiden at the best silhouette",
}
INTEGRATIONS = {
    "scrae": "scRAE",
    "harmony": "Harmony",
    "scanorama": "Scanorama",
    "seurat_rpca": "Seurat RPCA",
    "seurat_cca": "Seurat CCA",
    "scvi_batch": "SCVI",
    "fastmnn": "fastMNN",
    "concord": "CONCORD",
    "pca30": "PCA",
    "default": "scRAE, no batch",
}
QUERIES = {
    "scrae_map_batch": "`map(query, batch_key=)`",
    "scrae_map": "`map(query)`",
    "seurat_transfer": "Seurat, FindTransferAnchors and MapQuery",
    "scanvi_surgery": "scANVI, surgery for the query",
    "pca30": "PCA-30 of the reference",
    "scrae_together": "trained on all cells, `batch_key`",
}
CONSTRAINTS = {
    "default": "default",
    "default_clusters": "its clusters, number not given",
    "default_codes": "its codes",
    "scdcc": "`scdcc`",
    "labels": "`fit_labels` of the default",
    "scanvi": "scANVI",
}
CLUSTERINGS = {
    "scrae.tl.cluster": "`scrae.tl.cluster`",
    "Louvain at 0.8 (Seurat)": "Louvain at 0.8 on Seurat's graph (Seurat's defaults)",
    "Leiden at 1 (scanpy)": "Leiden at 1 (scanpy's defaults)",
    "Leiden by silhouette": "Leiden at the resolution of the best silhouette",
    "k-means, true number": "k-means with the true number, all columns",
}


def tables(name: str, before: str | None = None) -> dict[str, dict[str, dict[str, str]]]:
    """The tables of a page of results (of what stands ``before`` a line): by their first heading, by row and column."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    header: list[str] = []
    text = (ROOT / "benchmarks" / "results" / name).read_text(encoding="utf-8")
    for line in (text if before is None else text.partition(before)[0]).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            header = []
        elif not header:
            header = cells
            found[header[0]] = {}
        elif set(line) - set("| -:"):
            found[header[0]][cells[0]] = dict(zip(header[1:], cells[1:], strict=True))
    return found


def drawn(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("|" + "".join(f" {cell} |" if cell else " |" for cell in row) + "\n" for row in lines)


def bold_first(values: list[str], least: bool = False) -> list[str]:
    """The values, the largest (or the least) in bold; several where they are equal."""
    numbers = [float(value.split()[0]) for value in values]
    first = min(numbers) if least else max(numbers)
    return [f"**{value}**" if number == first else value for value, number in zip(values, numbers, strict=True)]


# What is said of the rows of docs/ACCURACY.md: the question, the advice, the row of the results.
CHOICES = [
    ("clusters, and the number of types is not known", "scRAE, `scrae.tl.cluster`", "scrae.tl.cluster"),
    ("clusters at Seurat's defaults (Louvain at 0.8)", "scRAE", "Louvain at 0.8 (Seurat)"),
    ("clusters at scanpy's defaults (Leiden at 1)", "scRAE or PCA: level", "Leiden at 1 (scanpy)"),
    ("Leiden clusters at the best silhouette", "PCA, by a little", "Leiden by silhouette"),
]
DATASETS = [
    ("unequal types of one tissue: Baron's pancreas", "scRAE", "baron_human2_4"),
    ("kidney", "scRAE", "young_kidney_top2000"),
    ("worm neurons", "scRAE", "cao_worm_neuron"),
    ("few, deeply sequenced cells: Klein", "scRAE", "klein_1000"),
    ("Pollen", "scRAE", "pollen_299"),
    ("blood cells: pbmc3k", "scRAE", "pbmc3k_2638"),
    ("sorted blood cells", "scRAE", "zheng_sorted_3874"),
    ("700 blood cells of PBMC 68k", "PCA", "zheng_pbmc68k_700"),
    ("a continuum: Paul's myeloid cells", "level", "paul_myeloid"),
    ("gradients of one tissue: bladder", "PCA", "han_bladder_2100"),
    ("two conditions in one matrix: Kang", '`batch_key="condition"`; without it PCA', "kang_ifnb_2800"),
]


def pair(row: dict[str, str]) -> str:
    return f"{row['NMI'].split()[0]} / {row['ARI'].split()[0]}"


def choices() -> str:
    own = tables("clusters.md")["all data sets"]
    means = {score: tables("accuracy.md")[f"k-means, {score}"]["**mean**"] for score in ("NMI", "ARI")}
    rows = [[asked, use, pair(own[f"scrae: {name}"]), pair(own[f"pca30: {name}"])] for asked, use, name in CHOICES]
    last = [" / ".join(means[score][method].strip("*") for score in means) for method in ("default", "pca30")]
    rows.append(["a known number of groups (k-means)", "scRAE", *last])
    return drawn(["you want", "use", "NMI / ARI: scRAE", "PCA, 30 components"], rows)


def datasets() -> str:
    found = tables("accuracy.md")["k-means, NMI"]
    rows = [
        [asked, use, *(found[name][method].split()[0] for method in ("default", "pca30"))]
        for asked, use, name in DATASETS
    ]
    return drawn(["your data", "use", "k-means NMI: scRAE", "PCA, 30 components"], rows)


def readme() -> str:
    own = tables("clusters.md")["all data sets"]
    peers = tables("cluster_peers.md")["all data sets"]
    name = max(
        (peer for peer in PEERS if peers[peer]["clusters / types"] != "-" and "silhouette" not in peer),
        key=lambda peer: float(peers[peer]["NMI"]),
    )
    rows = {
        "scRAE with `scrae.tl.cluster` / `ClusterSCRAE`": own["scrae: scrae.tl.cluster"],
        "the same clustering on 30 principal components": own["pca30: scrae.tl.cluster"],
        f"{PEERS[name]}, the best of six other packages by NMI": peers[name],
    }
    scores = {score: bold_first([row[score].split()[0] for row in rows.values()]) for score in ("NMI", "ARI")}
    return drawn(
        ["", "NMI", "ARI", "clusters per type"],
        [
            [label, scores["NMI"][i], scores["ARI"][i], row["clusters / types"]]
            for i, (label, row) in enumerate(rows.items())
        ],
    )


def clusterings() -> str:
    own = tables("clusters.md")["all data sets"]
    rows = []
    for name, label in CLUSTERINGS.items():
        pair = [own[f"{embedding}: {name}"] for embedding in ("scrae", "pca30")]
        nmi, ari = (bold_first([row[score] for row in pair]) for score in ("NMI", "ARI"))
        rows.append([label, *(part for i in range(2) for part in (nmi[i], ari[i]))])
    return drawn(["", "scRAE: NMI", "ARI", "30 principal components: NMI", "ARI"], rows)


def peers() -> str:
    page = tables("cluster_peers.md")
    scores, leads = page["all data sets"], page["scrae.tl.cluster against"]

    def row(label: str, name: str) -> list[str]:
        one = scores[name]
        lead = leads.get(name)
        return [
            label,
            one["NMI"],
            one["ARI"],
            one["clusters / types"],
            one["within a factor of 1.5"].replace("%", " %"),
            *(
                [f"{lead[f'{score} ahead by']} ({lead[f'{score}, 95 % interval']})" for score in ("NMI", "ARI")]
                if lead
                else ["", ""]
            ),
        ]

    header = ["", "NMI", "ARI", "clusters / types", "within a factor of 1.5", "scRAE ahead in NMI by", "in ARI by"]
    made = [row("`scrae.tl.cluster`", "scrae.tl.cluster"), *(row(label, name) for name, label in PEERS.items())]
    made[0][1:4] = [f"**{value}**" for value in made[0][1:4]]
    return drawn(header, made)


def integration() -> str:
    """A row for each data set, without the spread over seeds, which the page of results has."""
    page = tables("batch.md", before="## scib-metrics")
    names = [name for name in page if not name.startswith("mean of")]
    scores = {
        name: [page[name].get(method, {}).get("overall", "-").split()[0] for method in INTEGRATIONS] for name in names
    }
    means = [
        "-" if "-" in column else f"{sum(map(float, column)) / len(column):.3f}"
        for column in zip(*scores.values(), strict=True)
    ]
    rows = [[f"`{name}`", *bold_known(row)] for name, row in scores.items()]
    return drawn(["overall score", *INTEGRATIONS.values()], [*rows, ["mean", *bold_known(means)]])


def scib() -> str:
    """The scores of scib-metrics, means over the seeds of each method, where all three were judged."""
    judged = {"scrae": "scRAE, `batch_key`", "scvi_batch": "SCVI", "harmony": "Harmony on PCA-30"}
    parts = ("Total", "Batch correction", "Bio conservation")
    found: dict[str, dict[str, list[list[float]]]] = {}
    with (ROOT / "benchmarks" / "results" / "batch_scib.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            seeds = found.setdefault(line["dataset"], {}).setdefault(line["method"], [])
            seeds.append([float(line[part]) for part in parts])
    whole = {name: of for name, of in found.items() if judged.keys() <= of.keys()}

    def row(name: str, scores: dict[str, list[float]]) -> list[str]:
        shown = [[f"{score:.3f}" for score in of] for of in scores.values()]
        totals = bold_first([total for total, *_ in shown])
        return [name, *(f"{total} ({of[1]}; {of[2]})" for total, of in zip(totals, shown, strict=True))]

    numbers = {
        name: {method: [mean(column) for column in zip(*of[method], strict=True)] for method in judged}
        for name, of in sorted(whole.items())
    }
    means = {
        method: [mean(column) for column in zip(*(of[method] for of in numbers.values()), strict=True)]
        for method in judged
    }
    return drawn(
        ["total (batch correction; bio conservation)", *judged.values()],
        [*(row(f"`{name}`", of) for name, of in numbers.items()), row("mean", means)],
    )


def within_types() -> str:
    """What batches explain within types, means over the seeds of each method; the least after a correction is bold."""
    corrected = {"scrae": "scRAE, `batch_key`", "scvi_batch": "SCVI", "harmony": "Harmony on PCA-30"}
    corrected |= {"scanorama": "Scanorama"}
    header = ["share of the variance within types", "PCA-30, not corrected", *corrected.values()]
    page, share = tables("batch_variance.md"), "by batches within types"

    def row(name: str, of: dict[str, dict[str, str]]) -> list[str]:
        shown = [of[method][share].split()[0] for method in corrected]
        return [name, of["pca30"][share].split()[0], *bold_first(shown, least=True)]

    mean_of_all, *rows = (row(name if name.startswith("mean") else f"`{name}`", of) for name, of in page.items())
    return drawn(header, [*rows, mean_of_all])


def bold_known(values: list[str]) -> list[str]:
    """As :func:`bold_first`, where some are not known."""
    known = iter(bold_first([value for value in values if value != "-"]))
    return [value if value == "-" else next(known) for value in values]


def queries() -> str:
    """The first table of the page, of the queries that all methods have."""
    page = tables("query.md")
    found = page[next(name for name in page if name.startswith("mean of"))]
    columns = {
        "accuracy": "right types, nearest cells",
        "own_accuracy": "right types, own classifier",
        "mixing": "mixing",
        "kBET": "kBET",
    }
    methods = [name for name in QUERIES if name in found]
    best = [bold_known([found[name][column] for name in methods]) for column in columns]
    return drawn(
        ["", *columns.values()],
        [[QUERIES[name], *(column[i] for column in best)] for i, name in enumerate(methods)],
    )


def constraints() -> str:
    """Means over data sets by share of the labels, of the methods that all data sets have with it."""
    found = tables("constraints.md")["data set, share of labels"]
    shares = {row.split()[1]: scores for row, scores in found.items() if row.startswith("**mean**")}
    rows = {label: [scores.get(method, "-") for scores in shares.values()] for method, label in CONSTRAINTS.items()}
    rows = {label: row for label, row in rows.items() if set(row) != {"-"}}
    columns = [bold_pairs(list(column)) for column in zip(*rows.values(), strict=True)]
    return drawn(
        ["NMI / ARI, by share of the labels", *(share.replace("%", " %") for share in shares)],
        [[label, *row] for label, *row in zip(rows, *columns, strict=True)],
    )


def bold_pairs(values: list[str]) -> list[str]:
    """As :func:`bold_known` of "NMI / ARI", where the two may be highest in different rows."""
    pairs = [value.split(" / ") if value != "-" else ["-", "-"] for value in values]
    both = zip(*(bold_known(list(scores)) for scores in zip(*pairs, strict=True)), strict=True)
    return ["-" if pair[0] == "-" else " / ".join(pair) for pair in both]


def kmeans() -> str:
    names = {"default": "scRAE", "pca10": "PCA, 10", "pca30": "PCA, 30", "scvi": "SCVI"}
    found = tables("accuracy.md")["k-means, NMI"]  # two tables of the page begin so; the second has each data set
    header = list(next(iter(found.values())))
    return drawn(
        ["data set", *(names[name] for name in header)],
        [[dataset, *bold_first(list(row.values()))] for dataset, row in found.items()],
    )


SPEED = [  # what is compared, as docs/benchmarks.md and as benchmarks/results/goals.md call it
    ("training, cells/s, one thread", "training, times scvi-tools' cells/s, 1 thread"),
    ("training, cells/s, two threads", "training, times scvi-tools' cells/s, 2 threads"),
    *(
        (f"embedding, {call}, cells/s, {threads}", f"embedding, {call}, times scvi-tools' cells/s, {counted}")
        for call in ("the first call", "later calls")
        for threads, counted in (("one thread", "1 thread"), ("two threads", "2 threads"))
    ),
    ("peak memory of the process, MB", "peak memory, times scvi-tools', 1 thread"),
]
SIZES = {
    "3,000 cells x 20,000 genes": "3,000 cells x 20,000 genes",
    "70,000 cells x 20,000 genes (70 million counts)": "70,000 cells x 20,000 genes",
}
CALLS = {"scrae.tl.scrae": "beside the counts", "RunSCRAE": "above the object, worker's too"}


def speed() -> str:
    found = tables("goals.md")["goal"]
    rows = []
    for what, goal in SPEED:
        ours, theirs = found[goal][""].rsplit(" ", 1)[0].split(" and ")
        rows.append([what, ours, theirs, found[goal]["measured"]])
    return drawn(["", "scRAE, default", "scvi-tools 1.4.2", "ratio"], rows)


def sizes() -> str:
    found = tables("goals.md")["goal"]

    def row(size: str) -> list[str]:
        seconds = [f"{float(found[f'{call}, {size}, s']['measured']):.0f} s" for call in CALLS]
        return seconds + [f"{found[f'{call}, {size}, MB {where}']['measured']} MB" for call, where in CALLS.items()]

    header = ["data, all defaults", "`scrae.tl.scrae`", "`RunSCRAE` on a Seurat object"]
    return drawn(
        [*header, "memory beside the counts", "memory above the Seurat object"],
        [[label, *row(size)] for label, size in SIZES.items()],
    )


ROUTES = {"scrae": "scRAE", "quick": "scRAE with `n_steps=400`", "scanpy": "scanpy: PCA and Leiden"}


def waiting() -> str:
    rows = []
    for name, row in tables("waiting.md")["seconds, by cells and route"].items():
        n_cells, route = name.rsplit(", ", 1)
        if route in ROUTES:
            *parts, together = row.values()
            rows.append([n_cells, ROUTES[route], *parts, together.split(" ")[0]])
    return drawn(["cells", "route", "embedding", "clusters", "UMAP", "together"], rows)


def conditions() -> str:
    """Donors of two conditions, each score's best in bold but for that of the truth."""
    names = {
        "kept": '`batch_key="donor", keep="condition"`',
        "corrected": '`batch_key="donor"`',
        "harmony": "Harmony on PCA-30, told the donors",
        "default": "scRAE, told of no donor",
        "pca30": "PCA-30, told of no donor",
        "uncut": "scRAE on the cells before they were dealt out",
    }
    scores = {"condition": "same condition", "donors": "donors mix", "NMI": "NMI", "ARI": "ARI"}
    found = tables("conditions.md")["kang_ifnb_2800"]
    compared = [method for method in names if method != "uncut"]
    columns = [bold_first([found[method][score] for method in compared]) for score in scores]
    rows = [[names[method], *row] for method, row in zip(compared, zip(*columns, strict=True), strict=True)]
    rows.append([names["uncut"], *(found["uncut"][score] for score in scores)])
    return drawn(["", *scores.values()], rows)


def gpu() -> str:
    """Medians of both packages by size of minibatches, and their ratio."""
    page = tables("gpu.md")
    found = page[next(name for name in page if name.startswith("training"))]
    rows = []
    for what in ("training", "embedding"):
        for size in dict.fromkeys(name.split(" of ")[1] for name in found):
            ours, theirs = (
                found[f"{method}, minibatches of {size}"][f"{what}, cells/s"].split()[0] for method in ("scrae", "scvi")
            )
            ratio = float(ours.replace(",", "")) / float(theirs.replace(",", ""))
            rows.append([f"{what}, minibatches of {int(size):,}", ours, theirs, f"{ratio:.1f}"])
    return drawn(["", "scRAE", "SCVI", "ratio"], rows)


def gpu_calls() -> str:
    """A whole call on a GPU by size of minibatches."""
    page = tables("gpu.md")
    found = page[next(name for name in page if name.startswith("whole"))]
    units = {"whole call, s": "s", "of it training, s": "s", "memory of the GPU, MB": "MB"}
    rows = [
        [f"{int(name.split(' of ')[1]):,}", *(f"{row[column]} {unit}" for column, unit in units.items())]
        for name, row in found.items()
    ]
    return drawn(["minibatches of", "whole call", "of it training", "memory of the GPU"], rows)


TABLES = {
    made.__name__: made
    for made in (
        readme,
        choices,
        datasets,
        clusterings,
        peers,
        integration,
        queries,
        constraints,
        kmeans,
        speed,
        sizes,
        waiting,
        scib,
        within_types,
        conditions,
        gpu,
        gpu_calls,
    )
}


def filled(text: str) -> str:
    """The text of a document with its tables as the results have them."""
    return PLACE.sub(lambda match: match[1] + TABLES[match[2]]() + match[3], text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["write", "check"])
    what = parser.parse_args().what
    old = []
    for name in PAGES:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        if filled(text) != text:
            old.append(name)
            if what == "write":
                path.write_text(filled(text), encoding="utf-8")
    if what == "check" and old:
        print("make figures: the tables of these documents are not those of benchmarks/results: " + ", ".join(old))
    return 1 if what == "check" and old else 0


if __name__ == "__main__":
    sys.exit(main())
