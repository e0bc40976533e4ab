"""``scrae map``, ``predict``, ``denoise`` and ``cluster``: a file of cells in, and the same with more in it out."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrae.cli.run import add_input, level

if TYPE_CHECKING:
    from anndata import AnnData

    from scrae.model import SCRAE


NEW_BATCHES = "column of obs with batches that the model was not trained on: what sets them apart is taken out"


def add_to(commands: Any) -> None:
    """Add the commands to the parser."""
    mapping = _command(commands, "map", _map, "embed new cells with a trained model, without training again")
    _add_model(mapping)
    mapping.add_argument("--batch-key", help=NEW_BATCHES)
    mapping.add_argument("--round", action="store_true", help="round estimated counts to whole ones")
    mapping.add_argument("--key-added", default="scrae", help="name of the embedding (default: %(default)s)")

    predict = _command(commands, "predict", _predict, "name the types of cells as labelled cells have them")
    _add_model(predict)
    predict.add_argument("--reference", type=Path, help="h5ad or zarr with labelled cells, for a model without types")
    predict.add_argument("--batch-key", help=NEW_BATCHES)
    predict.add_argument("--labels-key", help="column of the reference's obs with the types")
    predict.add_argument(
        "--unlabeled", default="Unknown", help="how cells of no type are called (default: %(default)s)"
    )
    predict.add_argument(
        "--unknown-rate",
        type=float,
        default=0.01,
        help="share of known cells that may be called that (default: %(default)s)",
    )
    predict.add_argument(
        "--key-added", default="scrae", help="columns begin with this and _label (default: %(default)s)"
    )

    denoise = _command(commands, "denoise", _denoise, "write expected counts, without counting noise, into a layer")
    _add_model(denoise)
    denoise.add_argument(
        "--library-size", default="common", help="common, observed, or a number of counts (default: %(default)s)"
    )
    denoise.add_argument("--batch", help="decode all cells as if they were of this batch")
    denoise.add_argument("--key-added", default="denoised", help="name of the layer (default: %(default)s)")

    cluster = _command(commands, "cluster", _cluster, "find clusters of a file that has an embedding")
    cluster.add_argument("--level", type=level, default="default", help='"default", "broad", "fine", or their number')
    cluster.add_argument("--resolution", type=float, default=1.0, help="above 1: more clusters (default: %(default)s)")
    cluster.add_argument("--rare", action="store_true", help="look for types of 8 to 40 cells as well")
    cluster.add_argument("--batch-key", help="column of obs with batches (default: that of the training)")
    cluster.add_argument("--key", default="scrae", help="name of the embedding (default: %(default)s)")
    cluster.add_argument(
        "--key-added", help="column of obs for the clusters (default: the embedding's name and _clusters)"
    )
    cluster.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], what: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=what)
    parser.set_defaults(command=run)
    add_input(parser)
    parser.add_argument("--out", type=Path, required=True, help="h5ad or zarr to write; it may be the input")
    parser.add_argument("--layer", help="layer with raw counts (default: X)")
    parser.add_argument("--quiet", action="store_true", help="do not say what was written")
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model-dir", type=Path, required=True, help="folder of a trained model (scrae run --model-dir)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")


def _model(options: argparse.Namespace) -> SCRAE:
    from scrae.model import SCRAE

    return SCRAE.load(options.model_dir, device=options.device, verbose=False)


def _cells(options: argparse.Namespace) -> AnnData:
    """The input, once it is clear that the result can be written."""
    from scrae.cli.run import refuse_output
    from scrae.data.files import read_counts

    refuse_output(options.out, [options.input])
    return read_counts(options.input, options.prefix)


def _written(options: argparse.Namespace, adata: AnnData, said: str) -> int:
    from scrae.data.written_files import write_whole

    write_whole(adata, options.out)
    if not options.quiet:
        print(f"{said} in {options.out}")
    return 0


def _map(options: argparse.Namespace) -> int:
    adata = _cells(options)
    counts = "round" if options.round else "raw"
    key = f"X_{options.key_added}"
    adata.obsm[key] = _model(options).map(adata, layer=options.layer, counts=counts, batch_key=options.batch_key)
    return _written(options, adata, f"{adata.n_obs:,} cells: obsm[{key!r}]")


def _predict(options: argparse.Namespace) -> int:
    from scrae.data.files import read_counts

    if (options.reference is None) != (options.labels_key is None):
        raise ValueError("--reference and --labels-key belong together: a file of labelled cells, and its column")
    adata, model = _cells(options), _model(options)
    if options.reference is not None:
        labelled = read_counts(options.reference)
        model.fit_labels(labelled, options.labels_key, unlabeled_category=options.unlabeled, layer=options.layer)
    if model.cell_types is None:
        raise ValueError(
            f"the model in {options.model_dir} knows no types: name labelled cells with --reference and --labels-key"
        )
    from scrae.model.query import Query
    from scrae.tl.predicted import predicted_types

    query = Query(model.fitted, adata, options.layer, batch_key=options.batch_key)
    table = predicted_types(model, query, unknown_rate=options.unknown_rate, unlabeled=options.unlabeled)
    for name, column in table.items():
        adata.obs[f"{options.key_added}_{name}"] = column
    unknown = int((table["label"] == options.unlabeled).sum())
    return _written(
        options,
        adata,
        f"{adata.n_obs:,} cells, {unknown:,} of them {options.unlabeled}: obs['{options.key_added}_label']",
    )


def _denoise(options: argparse.Namespace) -> int:
    from scrae import tl

    size = options.library_size
    if size not in ("common", "observed"):
        try:
            size = float(size)
        except ValueError:
            raise ValueError(f"--library-size {size}: it is common, observed, or a number") from None
    adata = _cells(options)
    tl.denoise(
        adata, _model(options), layer=options.layer, library_size=size, batch=options.batch, key_added=options.key_added
    )
    return _written(options, adata, f"{adata.n_obs:,} cells: layers[{options.key_added!r}]")


def _cluster(options: argparse.Namespace) -> int:
    from scrae import tl

    adata = _cells(options)
    tl.cluster(
        adata,
        level=options.level,
        resolution=options.resolution,
        rare=options.rare,
        key=options.key,
        layer=options.layer,
        batch_key=options.batch_key,
        random_state=options.seed,
        key_added=options.key_added,
    )
    column = options.key_added or f"{options.key}_clusters"
    return _written(options, adata, f"{len(adata.uns[column]['clusters'])} clusters: obs[{column!r}]")
