"""SCMarker: genes with several modes that are expressed together, or one without the other, in many cells.

Wang et al. (2019), SCMarker: ab initio marker selection for single cell transcriptome profiling, PLoS Computational
Biology 15, e1007445; as version 2.0 of the package computes it (``ModalFilter``, ``GeneFilter``, ``getMarker``).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from scrae._errors import Notice, Refusal
from scrae.compute.progress import progress_bar
from scrae.pp.findings import Findings
from scrae.pp.kernel_density import densities, peaks
from scrae.pp.moments import row_blocks

UBIQUITOUS = 0.8  # share of the cells from which on a gene marks nothing
SMALL = 32  # counts below are tabulated, larger ones sorted
SAMPLES = 256  # densities in hand at once
PAIRS = 2**20  # pairs of genes in hand at once
SPARSE_PAIR, DENSE_PAIR = 3.6e-9, 5e-11  # seconds a pair of genes takes in a cell, measured on one core
READS = 10  # UMI counts other than zero are mostly below this number


def scmarker(
    counts: sp.csr_array,
    totals: np.ndarray,
    detected: np.ndarray,
    genes: np.ndarray,
    *,
    width: float = 1.0,
    cutoff: float = 2.0,
    gene_cells: int = 10,
    cell_genes: int = 10,
    k: int = 300,
    n: int = 30,
    excluded: np.ndarray | None = None,
    verbose: bool | None = None,
) -> Findings:
    """Find the markers.

    Parameters
    ----------
    counts, totals, detected, genes
        As for :func:`scrae.pp.m3drop.m3drop`.
    width
        Width of the density's kernel, four standard deviations; 1 for UMI counts, 2 for read counts (as TPM).
    cutoff
        A gene is expressed in a cell with this count or more.
    gene_cells, cell_genes
        Genes expressed in more cells, and cells with more genes, are looked at (the package's ``geneK``, ``cellK``).
    k, n
        Partners are among each other's first ``k`` genes, with more than ``n`` cells.
    excluded
        Boolean per gene of ``counts``: never a marker.

    Returns
    -------
    The markers, by decreasing number of partners, ties by decreasing number of cells that express them, for the method
    gives a set. ``statistic`` is the number of partners (missing for genes that were not compared), ``peaks`` the modes
    of the counts other than zero (missing for genes in too few cells), ``multimodal`` (1 or 0) what the modal filter
    keeps, ``compared`` (1 or 0) what the gene filter keeps; ``fit`` how many genes passed each step.

    Raises
    ------
    ValueError
        An option out of range, or no gene that passes.
    """
    _check(width=(width, 0.01), cutoff=(cutoff, 1), gene_cells=(gene_cells, 0), k=(k, 1), n=(n, 0))
    _warn_of_reads(counts, width)
    cells = np.diff(counts.indptr) > cell_genes
    n_cells = int(cells.sum())
    gene, value, number = _tables(counts, cells, verbose)
    expressing = np.bincount(gene, number * (value >= cutoff), counts.shape[1])
    searched = np.zeros(counts.shape[1], dtype=bool)
    searched[genes] = True
    common = np.flatnonzero(searched & (expressing > gene_cells))
    n_peaks = np.zeros(counts.shape[1])
    n_peaks[common] = count_peaks(gene, value, number, common, width / 4)
    multimodal = n_peaks >= 2
    compared = multimodal & (expressing < UBIQUITOUS * n_cells)
    if excluded is not None:
        compared &= ~excluded
    partners = np.full(counts.shape[1], np.nan)
    chosen = np.flatnonzero(compared)
    if len(chosen):
        partners[chosen] = mutual_partners(_expressed(counts, cells, chosen, cutoff), k, n, verbose)
    marker = partners > 0
    steps = {
        "cells": n_cells,
        "expressed": len(common),
        "multimodal": int(multimodal.sum()),
        "compared": len(chosen),
        "markers": int(marker.sum()),
    }
    if not marker.any():
        raise Refusal(
            f"SCMarker finds no marker: of {len(genes):,} genes {steps['expressed']:,} have a count of {cutoff:g} or "
            f"more in more than {gene_cells} of {steps['cells']:,} cells, {steps['multimodal']:,} of these have two "
            f"peaks or more, {steps['compared']:,} of these are not in nearly all cells, and none has a partner with "
            f"which it shares (or does not share) more than {n} cells. Try a lower cutoff, gene_cells or n.",
            "no_marker",
            n_genes=len(genes),
            least=cutoff,
            in_cells=gene_cells,
            shared_cells=n,
            **steps,
        )
    columns = {
        "statistic": partners,
        "peaks": np.where(np.isin(np.arange(counts.shape[1]), common), n_peaks, np.nan),
        "multimodal": multimodal.astype(float),
        "compared": compared.astype(float),
    }
    of_genes = {name: column[genes] for name, column in columns.items()}
    order = np.lexsort((-expressing[genes], -np.nan_to_num(of_genes["statistic"])))
    return Findings(order[: steps["markers"]], of_genes, steps)


def _check(**options: tuple[float, float]) -> None:
    for name, (value, least) in options.items():
        if not value >= least:
            text = f"SCMarker: {name} must be at least {least:g}, not {value}"
            raise Refusal(text, "below_least", name=name, least=least, value=value)


def _warn_of_reads(counts: sp.csr_array, width: float) -> None:
    typical = float(np.median(counts.data[:: max(1, counts.nnz // 2**20)]))
    if typical > READS and width < 2:
        warnings.warn(
            Notice(
                f"SCMarker: half of the counts other than zero are {typical:g} or more, so these look like read "
                f"counts, not UMIs: with width={width:g} nearly every gene has several peaks. Pass width=2 or more.",
                "reads_not_umis",
                typical=typical,
            ),
            stacklevel=4,
        )


def _tables(counts: sp.csr_array, cells: np.ndarray, verbose: bool | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How often each gene has each count in ``cells`` (boolean): gene, count and number, in this order; no zeros."""
    n_genes = counts.shape[1]
    small = np.zeros(n_genes * SMALL, dtype=np.int64)
    large: list[tuple[np.ndarray, np.ndarray]] = []
    base = 2**25  # above any count
    for part in row_blocks(counts, "SCMarker: counts", verbose):
        block = part.matrix(n_genes)[cells[part.rows]]
        value = block.data.astype(np.int64)
        few = value < SMALL
        gene = block.indices.astype(np.int64)  # 32 bits are too few for gene and count in one number
        np.add.at(small, gene[few] * SMALL + value[few], 1)
        large.append(np.unique(gene[~few] * base + value[~few], return_counts=True))
    key = np.concatenate([keys for keys, _ in large])
    often = np.concatenate([numbers for _, numbers in large])
    distinct, inverse = np.unique(key, return_inverse=True)
    table = small.reshape(n_genes, SMALL)
    gene, value = np.nonzero(table)
    genes = np.concatenate([gene, distinct // base])
    values = np.concatenate([value, distinct % base])
    numbers = np.concatenate([table[gene, value], np.bincount(inverse, often, len(distinct)).astype(np.int64)])
    order = np.lexsort((values, genes))
    return genes[order], values[order].astype(float), numbers[order]


def count_peaks(
    gene: np.ndarray, value: np.ndarray, number: np.ndarray, genes: np.ndarray, bandwidth: float
) -> np.ndarray:
    """Peaks of the density of the counts of each of ``genes`` (ascending, each with a count in two cells or more)."""
    first = np.searchsorted(gene, genes, side="left")
    last = np.searchsorted(gene, genes, side="right")
    result = np.empty(len(genes))
    for start in range(0, len(genes), SAMPLES):
        block = slice(start, start + SAMPLES)
        rows = np.concatenate([np.arange(a, b) for a, b in zip(first[block], last[block], strict=True)])
        sample = np.repeat(np.arange(len(first[block])), last[block] - first[block])
        _, density = densities(sample, value[rows], number[rows], len(first[block]), bandwidth)
        result[block] = peaks(density)
    return result


def _expressed(counts: sp.csr_array, cells: np.ndarray, genes: np.ndarray, cutoff: float) -> sp.csr_array:
    """Ones where a gene is expressed, ``cells`` (boolean) x ``genes``."""
    place = np.full(counts.shape[1], -1, dtype=np.int32)
    place[genes] = np.arange(len(genes))
    columns, in_cell = [], []
    for part in row_blocks(counts, "SCMarker", False):
        block = part.matrix(counts.shape[1])[cells[part.rows]]
        column = place[block.indices]
        kept = (column >= 0) & (block.data >= cutoff)
        columns.append(column[kept])
        in_cell.append(np.diff(np.concatenate([[0], np.cumsum(kept)])[block.indptr]))
    ends = np.concatenate([[0], *in_cell]).cumsum()
    ends = ends.astype(np.int32 if ends[-1] < 2**31 else np.int64)
    indices = np.concatenate(columns)
    ones = np.ones(len(indices), dtype=np.float32)
    return sp.csr_array((ones, indices, ends), shape=(len(ends) - 1, len(genes)))


def mutual_partners(expressed: sp.csr_array, k: int, n: int, verbose: bool | None) -> np.ndarray:
    """Number of mutual partners of each gene, by co-expression and by exclusion together.

    With B the genes x cells matrix of zeros and ones, B B' counts the cells that express both genes, and
    (1 - B) B' = 1 rowSums(B)' - B B' those that express the second without the first, so one product serves both. It
    is made in blocks of genes, of which only each gene's first ``k`` are kept.

    Parameters
    ----------
    expressed
        Cells x genes, float32 ones.
    """
    n_genes = expressed.shape[1]
    cells = np.asarray(expressed.sum(0)).ravel()
    together, apart = [], []
    with progress_bar(n_genes, "SCMarker: pairs", "gene", verbose) as bar:
        for start, both in _common_cells(expressed, max(1, PAIRS // n_genes)):
            rows = np.arange(len(both))
            both[rows, start + rows] = 0
            second_alone = cells[None, :] - both
            second_alone[rows, start + rows] = 0
            together.append(_first(both, k, n))
            apart.append(_first(second_alone, k, n))
            bar.update(len(both))
    partners = np.zeros(n_genes)
    for parts in (together, apart):
        first = sp.csr_array(sp.vstack(parts, format="csr"))
        partners += np.asarray(first.multiply(first.T).sum(1), dtype=float).ravel()
    return partners


def _common_cells(expressed: sp.csr_array, step: int) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of ``step`` rows of B B', each with the position of its first row.

    Sparse times sparse, or, where genes are expressed in many cells, blocks of cells made dense for BLAS: whichever
    is the faster by what each takes for a pair of genes in a cell.
    """
    n_cells, n_genes = expressed.shape
    starts = range(0, n_genes, step)
    in_cell = np.diff(expressed.indptr).astype(float)
    if SPARSE_PAIR * (in_cell**2).sum() < DENSE_PAIR * n_cells * n_genes**2:
        bytes_only = np.ones(expressed.nnz, dtype=np.int8)
        by_gene = sp.csr_array(sp.csr_array((bytes_only, expressed.indices, expressed.indptr), expressed.shape).T)
        by_gene.data = expressed.data  # ones, too: one array in memory for both
        for start in starts:
            yield start, (by_gene[start : start + step] @ expressed).toarray()
        return
    cells = max(1, 4 * PAIRS // n_genes)
    for start in starts:
        block = np.zeros((min(step, n_genes - start), n_genes), dtype=np.float32)
        for first in range(0, n_cells, cells):
            dense = expressed[first : first + cells].toarray()
            block += dense[:, start : start + step].T @ dense
        yield start, block


def _first(score: np.ndarray, k: int, n: int) -> sp.csr_array:
    """Where in its row a score is among the first ``k`` and above ``n``.

    Equal scores share the mean of their ranks, as in R: those at the edge are all in, or all out.
    """
    k = min(k, score.shape[1])
    edge = np.partition(score, -k, axis=1)[:, -k][:, None]
    above, at = score > edge, score == edge
    edge_is_in = above.sum(1) + (at.sum(1) + 1) / 2 <= k
    return sp.csr_array((above | (at & edge_is_in[:, None])) & (score > n))
