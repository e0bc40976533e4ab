"""Informative genes: which of them the model is trained on."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scrae._errors import Notice, Refusal
from scrae._messages import unknown
from scrae.compute import distributed
from scrae.compute.whole_numbers import at_least
from scrae.data.cells import Cells, read_cells, require_anndata
from scrae.data.features import SELECTION
from scrae.data.on_disk import by_rows
from scrae.pp.danb import danb, danb_dispersion, danb_variance
from scrae.pp.findings import Findings, combined
from scrae.pp.hvg import highly_variable
from scrae.pp.m3drop import m3drop
from scrae.pp.moments import cell_totals, cells_with, means
from scrae.pp.scmarker import scmarker

if TYPE_CHECKING:
    from anndata import AnnData

VARIABLE = ("hvg", "seurat_v3")
MODELLED: dict[str, Callable[..., Findings]] = {
    "m3drop": m3drop,
    "danb": danb,
    "danb_dispersion": danb_dispersion,
    "danb_variance": danb_variance,
    "scmarker": scmarker,
}
METHODS = (*VARIABLE, *MODELLED)
SELECTED = "scrae_selected"
RANK = "scrae_rank"
MEAN, DROPOUT, EXPECTED = "scrae_mean", "scrae_dropout", "scrae_expected_dropout"
OTHERS = ("statistic", "effect", "p", "q", "size", "expected_dropout", "peaks", "multimodal", "compared", "n_batches")
COLUMNS = (SELECTED, RANK, MEAN, DROPOUT, *(f"scrae_{name}" for name in OTHERS))
N_TOP = 2000  # genes, unless another number is asked for
LEAST_IN_BATCH = 20  # cells
MIN_CELLS = 10  # genes seen in fewer cells are left out (Mondal et al. 2021, section 4)


def select_genes(
    adata: AnnData,
    method: str = "hvg",
    n_top: int = N_TOP,
    layer: str | None = None,
    batch_key: str | None = None,
    *,
    counts: str = "raw",
    among: np.ndarray | None = None,
    max_q: float | None = None,
    min_cells: int | None = None,
    verbose: bool | None = None,
    **options: Any,
) -> None:
    """Rank genes by how informative they are, and select the first ``n_top``.

    Parameters
    ----------
    adata
        Cells x genes with raw counts.
    method
        ``"hvg"``
            highest dispersion of normalised expression within bins of the mean (scanpy's ``flavor="seurat"``);
        ``"seurat_v3"``
            highest variance of counts above a loess trend on the mean (scanpy's flavour of that name);
        ``"m3drop"``
            more dropouts than a Michaelis-Menten curve allows (:func:`scrae.pp.m3drop.m3drop`);
        ``"danb"``
            more dropouts than a depth-adjusted negative binomial allows, for UMI counts (:func:`scrae.pp.danb.danb`);
        ``"danb_dispersion"``, ``"danb_variance"``
            a higher dispersion than is usual at the mean of the gene (without p values), or a higher variance (with p
            values);
        ``"scmarker"``
            several modes, and expressed together with, or exclusively of, many other genes
            (:func:`scrae.pp.scmarker.scmarker`). The result is a set of markers, ranked by their number of partners.
    n_top
        How many genes to select. If fewer qualify, all of them are selected, with a warning if you asked for a number.
    layer
        Layer with raw counts; None: ``adata.X``.
    batch_key
        Column of ``adata.obs``: select within each batch and combine the ranks
        (:func:`scrae.pp.findings.combined`; ``"hvg"`` and ``"seurat_v3"`` each in scanpy's own way). Batches of fewer
        than 20 cells are taken together as one: so few do not tell which genes vary.
    counts
        ``"raw"``, or ``"round"`` for estimated counts, as in :meth:`scrae.SCRAE.fit`, which says what rounding moves.
    among
        Boolean for each gene: choose among these, as if there were no others. None: all.
    max_q
        Select only genes with a q value of at most this; None: whatever their q value.
    min_cells
        Genes that are seen in fewer cells are neither modelled nor selected. None: 10 cells, in small data 1 % of the
        cells and at least 2. The R packages take every gene that is seen, which is ``min_cells=1``.
    verbose
        Progress bars; None: in a terminal only.
    **options
        Options of the method. Only ``"scmarker"`` has some: ``width``, ``cutoff``, ``gene_cells``, ``cell_genes``,
        ``k``, ``n``, and ``exclude``, the names of genes that shall not be markers (ribosomal, mitochondrial).

    Returns
    -------
    Nothing. In ``adata.var``, missing where a gene was not looked at:

    - ``scrae_selected`` (bool) and ``scrae_rank`` (1 is the best; missing for genes that were not ranked);
    - ``scrae_mean`` (of the counts; for ``"m3drop"`` of counts scaled to the median total) and ``scrae_dropout`` (share
      of cells without the gene);
    - as far as the method has them ``scrae_statistic``, ``scrae_effect``, ``scrae_p``, ``scrae_q`` (Benjamini and
      Hochberg), ``scrae_expected_dropout``, ``scrae_size``, ``scrae_peaks``, ``scrae_multimodal``, ``scrae_compared``,
      and with batches ``scrae_n_batches``, in how many of them the gene is among the first ``n_top``.

    ``adata.uns["scrae_genes"]`` holds the call that chose (``scrae.tl.scrae`` chooses, too), the method, the arguments,
    how many genes were selected and what was fitted.

    Raises
    ------
    scrae.CountsError
        What was given are not raw counts.
    ValueError
        The method or an option is unknown, ``n_top`` is below 2, or no gene qualifies.

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> scrae.pp.select_genes(adata, "danb", n_top=200)
    >>> int(adata.var["scrae_selected"].sum())
    200
    """
    require_anndata(adata, "scrae.pp.select_genes")
    _check(method, n_top, max_q, min_cells)
    cells = read_cells(adata, layer, copy=False, counts=counts)
    batches = None if batch_key is None else _large_enough(cells.covariate(batch_key))
    if distributed.divides_work():
        distributed.require_same("cells and genes", f"{cells.counts.shape} {cells.counts.nnz}")
    kept = np.arange(adata.n_vars) if among is None else np.flatnonzero(among)
    arguments = _arguments(method, options, cells, kept) | ({} if method in VARIABLE else {"verbose": verbose})
    matrix = cells.counts
    if len(kept) < adata.n_vars:
        matrix = by_rows(matrix, lambda rows: sp.csr_array(rows[:, kept]), len(kept))
    least = _least_cells(adata.n_obs) if min_cells is None else int(min_cells)
    detected = cells_with(matrix, verbose)
    eligible = np.flatnonzero(detected >= least)
    if len(eligible) < 2:
        raise Refusal(
            f"{len(eligible)} of {adata.n_vars:,} genes are seen in {least:,} or more of {adata.n_obs:,} cells: too "
            f"few to choose from; lower min_cells (now {least:,}), and look at whether rows are cells, columns genes",
            "too_few_genes_seen",
            n=len(eligible),
            n_genes=adata.n_vars,
            least=least,
            n_cells=adata.n_obs,
        )
    n_asked, n_top = int(n_top), min(int(n_top), len(eligible))

    if method in VARIABLE:
        found = highly_variable(matrix, eligible, method, n_top, batches, verbose)
    elif batches is None:
        found = MODELLED[method](matrix, cell_totals(matrix), detected, eligible, **arguments)
    else:
        found = _by_batch(method, matrix, eligible, arguments, batches, str(batch_key), n_top)
    best = found.order if max_q is None else found.order[found.columns["q"][found.order] <= max_q]
    _judge(method, len(best), n_asked, max_q, least)
    rank = np.full(adata.n_vars, np.nan)
    places = kept[eligible]
    rank[places[found.order]] = np.arange(1, len(found.order) + 1)
    selected = np.zeros(adata.n_vars, dtype=bool)
    selected[places[best[:n_top]]] = True

    columns = {RANK: rank, SELECTED: selected}
    if "mean" not in found.columns:
        columns[MEAN] = _spread(means(matrix, verbose), kept, adata.n_vars)
    columns[DROPOUT] = _spread((adata.n_obs - detected) / adata.n_obs, kept, adata.n_vars)
    for name, values in found.columns.items():
        columns[f"scrae_{name}"] = _spread(values, places, adata.n_vars)
    others = adata.var.drop(columns=[name for name in COLUMNS if name in adata.var])
    adata.var = pd.concat([others, pd.DataFrame(columns, index=others.index)], axis=1)  # column by column takes 2 ms
    adata.uns[SELECTION] = {
        "chosen_by": "scrae.pp.select_genes",
        "method": method,
        "n_top": n_top,
        "n_selected": int(selected.sum()),
        "layer": layer or "X",
        "batch_key": batch_key or "",
        "min_cells": least,
        "max_q": 1.0 if max_q is None else max_q,
        "options": {name: np.asarray(value).tolist() for name, value in options.items()},
        "fit": dict(found.fit),
    }


def _spread(values: np.ndarray, places: np.ndarray, n_genes: int) -> np.ndarray:
    """Values at their places among all genes, missing elsewhere."""
    result = np.full(n_genes, np.nan)
    result[places] = values
    return result


def _check(method: str, n_top: int, max_q: float | None, min_cells: int | None) -> None:
    if method not in METHODS:
        raise Refusal(
            f"method={method!r} is not known; choose one of {', '.join(map(repr, METHODS))}",
            "not_one_of",
            name="method",
            known=list(METHODS),
            value=method,
        )
    at_least("n_top", n_top, 2)
    if min_cells is not None:
        at_least("min_cells", min_cells, 1)
    if max_q is not None:
        if method in (*VARIABLE, "danb_dispersion", "scmarker"):
            raise ValueError(
                f"max_q={max_q:g} needs a method with q values ('m3drop', 'danb', 'danb_variance'); {method!r} has none"
            )
        if not 0 < max_q <= 1:
            raise ValueError(f"max_q must be above 0 and at most 1, not {max_q:g}")


def _least_cells(n_cells: int) -> int:
    return min(MIN_CELLS, max(2, n_cells // 100))


def _arguments(method: str, options: Mapping[str, Any], cells: Cells, kept: np.ndarray) -> dict[str, Any]:
    """The options as the method's function takes them."""
    known: list[str] = []
    if method in MODELLED:
        parameters = inspect.signature(MODELLED[method]).parameters.values()
        known = [p.name for p in parameters if p.kind == p.KEYWORD_ONLY and p.name not in ("verbose", "excluded")]
    known += ["exclude"] if method == "scmarker" else []
    arguments = dict(options)
    for name in arguments:
        if name not in known:
            raise Refusal(
                unknown("option", name, known, f"method={method!r}"),
                "unknown_option",
                name=name,
                known=known,
                of=method,
            )
    if "exclude" in arguments:
        excluded = np.zeros(cells.counts.shape[1], dtype=bool)
        names = arguments.pop("exclude")
        if len(names):
            excluded[cells.positions(names)] = True
        arguments["excluded"] = excluded[kept]
    return arguments


def _large_enough(batches: np.ndarray) -> np.ndarray | None:
    """The batch of each cell, those of too few cells taken together; None where nothing but these is left.

    Where they are too few together, too, they go with the smallest of the others.
    """
    names, code, sizes = np.unique(batches, return_inverse=True, return_counts=True)
    small = sizes < LEAST_IN_BATCH
    if not small.any():
        return batches
    if not small.all() and sizes[small].sum() < LEAST_IN_BATCH:
        small[np.flatnonzero(~small)[sizes[~small].argmin()]] = True
    if small.all():
        return None
    named = names.astype(object)
    named[small] = f"{small.sum()} small batches"
    result: np.ndarray = named[code]
    return result


def _by_batch(
    method: str,
    counts: sp.csr_array,
    genes: np.ndarray,
    arguments: Mapping[str, Any],
    batches: np.ndarray,
    batch_key: str,
    n_top: int,
) -> Findings:
    """Search each batch for those of ``genes`` that are seen in it, and combine what was found."""
    place = np.full(counts.shape[1], -1)
    place[genes] = np.arange(len(genes))
    per_batch = []
    fits: dict[str, list[float]] = {}
    names = np.unique(batches)
    for name in names:
        part = sp.csr_array(counts[np.flatnonzero(batches == name)])
        detected = cells_with(part, False)
        seen = genes[detected[genes] > 0]
        try:
            if len(seen) < 2:
                raise Refusal(
                    f"{part.shape[0]:,} cell(s) and {len(seen):,} gene(s) are too few; leave this batch out, or "
                    "merge it with another",
                    "too_little_in_batch",
                    n_cells=part.shape[0],
                    n_genes=len(seen),
                )
            found = MODELLED[method](part, cell_totals(part), detected, seen, **arguments)
        except Refusal as error:
            text = f"batch {str(name)!r} of adata.obs[{batch_key!r}]: {error}"
            within = {"batch": str(name), "batch_column": batch_key}
            raise Refusal(text, error.code, **error.fields, **within) from error
        per_batch.append((place[seen], part.shape[0], found))
        for quantity, value in found.fit.items():
            fits.setdefault(quantity, []).append(value)
    found = combined(per_batch, len(genes), n_top)
    return Findings(
        found.order, found.columns, {"batch": names.astype(object)} | {q: np.array(v) for q, v in fits.items()}
    )


def _judge(method: str, n_passing: int, n_asked: int, max_q: float | None, least: int) -> None:
    """Refuse a selection of nothing; warn where it is smaller than asked, by the default number only if few pass."""
    condition = "are markers" if method == "scmarker" else f"are seen in {least:,} or more cells"
    condition = condition if max_q is None else f"have q <= {max_q:g}"
    every_gene = method != "scmarker" and max_q is None
    if n_passing < 2:
        raise Refusal(
            f"{method}: {n_passing} gene(s) {condition}, too few to train on; raise max_q, lower min_cells, or use "
            "another method",
            "too_few_genes_pass",
            method=method,
            n=n_passing,
            least=least,
            max_q=max_q,
        )
    if n_passing < n_asked and not (every_gene and n_asked == N_TOP):
        warnings.warn(
            Notice(
                f"{method}: {n_passing:,} genes {condition}, fewer than n_top={n_asked:,}; all of them are selected",
                "fewer_genes_than_asked",
                method=method,
                n=n_passing,
                n_asked=n_asked,
                least=least,
                max_q=max_q,
            ),
            stacklevel=3,
        )
