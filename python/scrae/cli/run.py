"""``scrae run``: train on a file of counts, also on several processes under torchrun."""

from __future__ import annotations

import argparse
import csv
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrae.cli.settings import add_set, settings_of

if TYPE_CHECKING:
    from anndata import AnnData

ENDED_EARLY = {"interrupted": 130, "terminated": 143}


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    run = commands.add_parser("run", help="train on a file of raw counts and write it back with the embedding")
    run.set_defaults(command=_run)
    add_input(run, several=True)
    run.add_argument("--out", type=Path, required=True, help="h5ad or zarr to write, with obsm['X_scrae']")
    run.add_argument("--layer", help="layer with raw counts (default: X)")
    run.add_argument(
        "--round",
        action="store_true",
        help="round estimated counts (SoupX, DecontX, CellBender, RSEM, salmon, alevin) to whole ones",
    )
    run.add_argument(
        "--batch-key",
        help="column of obs with batches, whose effect is removed from the embedding (default with several files: "
        '"file", which is written into obs and names the file of each cell)',
    )
    run.add_argument("--no-batch", action="store_true", help="do not take each of several files for a batch")
    run.add_argument(
        "--categorical-covariate-keys", nargs="*", default=[], metavar="KEY", help="further columns of that kind"
    )
    run.add_argument(
        "--continuous-covariate-keys", nargs="*", default=[], metavar="KEY", help="columns of numbers of that kind"
    )
    run.add_argument(
        "--keep", nargs="*", default=[], metavar="KEY", help="columns whose differences stay, such as the condition"
    )
    run.add_argument(
        "--labels-key", help="column of obs with the types of some cells: pairs of one type are drawn together"
    )
    run.add_argument(
        "--unlabeled", default="Unknown", help="how cells of no type are called there (default: %(default)s)"
    )
    run.add_argument(
        "--must-link", type=Path, metavar="CSV", help="file with pairs of cells of one type: two names in each line"
    )
    run.add_argument("--cannot-link", type=Path, metavar="CSV", help="the same for cells of different types")
    run.add_argument("--n-latent", type=int, help="dimensions of the embedding")
    run.add_argument(
        "--genes",
        help='how to select genes: "hvg", "seurat_v3", "m3drop", "danb", "danb_dispersion", "danb_variance", '
        '"scmarker", or "all" (default: var["highly_variable"], else "hvg")',
    )
    run.add_argument("--n-genes", type=int, default=2000, help="how many genes to select (default: %(default)s)")
    run.add_argument(
        "--feature-types", nargs="*", metavar="TYPE", help='types of features to model (default: "Gene Expression")'
    )
    run.add_argument("--max-epochs", type=int, help="passes over the cells at most (default: by their number)")
    run.add_argument(
        "--preset", default="default", help='"default", "reference" (the published code), "scvi", ... (docs/PRESETS.md)'
    )
    add_set(run)
    run.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    run.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    run.add_argument("--model-dir", type=Path, help="folder for the model and its checkpoints")
    run.add_argument("--resume", action="store_true", help="go on from the checkpoint in --model-dir, if there is one")
    run.add_argument(
        "--overwrite", action="store_true", help="replace a model of other data or settings in --model-dir"
    )
    run.add_argument(
        "--from-disk",
        action="store_true",
        help="leave the counts of h5ad or zarr on disk: for files larger than memory",
    )
    run.add_argument(
        "--cluster",
        nargs="?",
        const="default",
        type=level,
        metavar="LEVEL",
        help='find clusters, too: "default", "broad", "fine", or their number; in obs["scrae_clusters"]',
    )
    run.add_argument("--rare", action="store_true", help="with --cluster: look for types of 8 to 40 cells as well")
    run.add_argument("--quiet", action="store_true", help="no progress bar and no summary")


def add_input(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Add what :func:`scrae.data.files.read_counts`, or :func:`scrae.data.several_files.read_several`, is to read."""
    what = "h5ad, zarr, 10x .h5, or a folder of counts (Cell Ranger, STARsolo, alevin-fry, kallisto, BD, Parse)"
    if several:
        parser.add_argument("input", type=Path, nargs="+", help=f"{what}; several are joined by the names of genes")
    else:
        parser.add_argument("input", type=Path, help=what)
    parser.add_argument("--prefix", help="what the files of a folder with several matrices begin with")


def level(text: str) -> str | int:
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    if text not in ("default", "broad", "fine"):
        raise argparse.ArgumentTypeError(f'{text!r} is none of "default", "broad", "fine", nor a number of clusters')
    return text


def refuse_output(out: Path, sources: Sequence[Path]) -> None:
    """Refuse a name under which no result can be written."""
    if out.suffix not in (".h5ad", ".zarr"):
        raise ValueError(f"--out {out}: the result is written as h5ad or zarr, so its name must end in that")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"--out {out}: there is no folder {out.parent}")
    from scrae.data.written_files import refuse_target

    refuse_target(out, sources)


def _run(options: argparse.Namespace) -> int:
    settings_of(options.settings)
    if options.rare and options.cluster is None:
        raise ValueError("--rare needs --cluster: types of a few cells are looked for among clusters")
    if options.resume and options.model_dir is None:
        raise ValueError("--resume needs --model-dir: that is where the checkpoint is")
    if options.no_batch and options.batch_key is not None:
        raise ValueError("--no-batch removes nothing, and --batch-key names a batch: give one of them")
    if options.from_disk and len(options.input) == 1 and options.out.suffix != options.input[0].suffix:
        raise ValueError(f"--from-disk copies {options.input[0]}, so --out must end in {options.input[0].suffix}, too")
    if options.model_dir is not None and options.model_dir.resolve().is_relative_to(options.out.resolve()):
        raise ValueError(f"--model-dir {options.model_dir} lies within --out {options.out}, which is written anew")
    from scrae.compute import distributed

    refuse_output(options.out, options.input)
    with distributed.joined():
        if not distributed.in_charge():
            options.quiet = True
            warnings.simplefilter("ignore")  # the first process says it
        return _train(options)


def _pairs(path: Path | None) -> list[list[str]] | None:
    """Names of two cells in each line of a file."""
    if path is None:
        return None
    with path.open(encoding="utf-8", newline="") as file:
        rows = [[name.strip() for name in row] for row in csv.reader(file) if row]
    wrong = next((row for row in rows if len(row) != 2), None)
    if wrong is not None:
        raise ValueError(f"{path}: each line names two cells, with a comma between them, and one has {len(wrong)}")
    return rows


def _train(options: argparse.Namespace) -> int:
    from scrae import tl
    from scrae.compute import distributed
    from scrae.data.several_files import batch_of, read_several, several_on_disk

    settings = settings_of(options.settings) | ({} if options.n_latent is None else {"n_latent": options.n_latent})
    counts = "round" if options.round else "raw"
    must_link, cannot_link = _pairs(options.must_link), _pairs(options.cannot_link)
    if options.from_disk:
        with distributed.divided_work():
            adata, layer = several_on_disk(options.input, options.layer, counts=counts), None
    else:
        adata, layer = read_several(options.input, options.prefix), options.layer
    tl.scrae(
        adata,
        layer=layer,
        counts=counts,
        genes=options.genes,
        n_genes=options.n_genes,
        feature_types=options.feature_types or None,
        batch_key=None if options.no_batch else batch_of(options.input, options.batch_key),
        categorical_covariate_keys=options.categorical_covariate_keys,
        continuous_covariate_keys=options.continuous_covariate_keys,
        keep=options.keep,
        must_link=must_link,
        cannot_link=cannot_link,
        labels_key=options.labels_key,
        unlabeled_category=options.unlabeled,
        preset=options.preset,
        max_epochs=options.max_epochs,
        random_state=options.seed,
        device=options.device,
        verbose=False if options.quiet else None,
        model_dir=options.model_dir,
        resume=options.resume,
        overwrite=options.overwrite,
        **settings,
    )
    refused = None
    if distributed.in_charge() and options.cluster is not None:
        try:
            tl.cluster(adata, level=options.cluster, rare=options.rare, random_state=options.seed)
        except ValueError as error:
            refused = error
    if distributed.in_charge():
        _write(options, adata)
    if refused is not None:  # the embedding is written, whatever becomes of the clusters
        raise ValueError(f"obs['scrae_clusters'] is missing in {options.out}: {refused}")
    summary = adata.uns["scrae"]["summary"]
    if not options.quiet:
        print(
            f"{summary['n_cells']:,} cells x {summary['n_genes']:,} genes, {summary['epochs']} epochs "
            f"({summary['stop_reason']}) in {summary['seconds']:.1f} s: obsm['X_scrae'] in {options.out}"
        )
    if not options.quiet and options.cluster is not None:
        print(f"{len(adata.uns['scrae_clusters']['clusters'])} clusters: obs['scrae_clusters'] in {options.out}")
    return ENDED_EARLY.get(summary["stop_reason"], 0)


def _write(options: argparse.Namespace, adata: AnnData) -> None:
    """Write the result; where that fails the embedding is put elsewhere, so that the training is not lost."""
    from scrae.data.written_files import write_beside, write_elsewhere, write_whole

    try:
        if options.from_disk and len(options.input) == 1:
            write_beside(options.input[0], adata, options.out)
        else:
            write_whole(adata, options.out)
    except Exception as error:  # whatever it is, hours of training have come before it
        place = write_elsewhere(adata, options.out)
        if place is None:
            raise
        raise OSError(
            f"{options.out} was not written ({error}); the embedding was put into {str(place)!r} instead, in "
            "obsm['X_scrae'], with obs and uns but without the counts"
        ) from error
