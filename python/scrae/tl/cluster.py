"""Clusters of cells, without a number of clusters."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scrae._errors import Notice, Refusal
from scrae.clusters import (
    LEVELS,
    Agreement,
    ClusterTree,
    Landmarks,
    RareType,
    agreement,
    find_rare_types,
    grow,
    neighbour_graph,
    with_rare_types,
)
from scrae.clusters.tree import WITHIN
from scrae.compute.whole_numbers import seed
from scrae.data.cells import refuse_damaged_source, refuse_unknown_column, require_anndata
from scrae.metrics.batches import batch_alone
from scrae.tl.calls import call_text, default_arguments
from scrae.tl.embedding import EarlierTraining, finite_embedding, made_clusters
from scrae.tl.expression import log_expression, principal_components
from scrae.tl.profiles import moments, welch_t

if TYPE_CHECKING:
    from anndata import AnnData

MARKERS = 5  # genes that are named for each cluster


def cluster(
    adata: AnnData,
    *,
    level: str | int = "default",
    resolution: float = 1.0,
    rare: bool = False,
    key: str = "scrae",
    layer: str | None = None,
    batch_key: str | None = None,
    random_state: int = 0,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Find the clusters of an embedding. The number of clusters need not be known.

    The communities of the neighbour graph are joined step by step, the two that lie least apart first. Two groups
    remain two clusters if they lie further apart than the two halves of a single homogeneous group would
    (:func:`scrae.clusters.separation.separation`): at least 1.25 times as far by default, 1.6 times with
    ``level="broad"`` and 1.1 times with ``level="fine"``. Parts of one community have to lie 1.5 times as far apart as
    that. All levels are cuts of one tree, so each fine cluster lies within one broad cluster.

    A difference that several clusters share is a batch, a treatment or a state of the cells rather than a cell type
    (:func:`scrae.clusters.crossed_factors.crossed_pairs`). Groups that differ only in this way are joined, and a
    warning names the genes. ``level="fine"`` keeps them apart.

    Types of 8 to 40 cells are too few for a community. ``rare=True`` looks for them by genes of their own, and keeps
    those that other genes find again (:func:`scrae.clusters.rare_types.find_rare_types`).

    Parameters
    ----------
    adata
        Cells with an embedding from :func:`scrae.tl.scrae`. Separations are measured in the expression, so counts (or
        log-normalised values) are needed as well.
    level
        ``"default"``, ``"broad"`` or ``"fine"``; or the number of clusters, where it is known.
    resolution
        Above 1 gives more clusters than the level, below 1 fewer: the required separation is divided by this number.
    rare
        Look for types of a few cells as well. Some of the clusters that come with it are parts of a type.
    key
        Name of the embedding: ``obsm["X_" + key]``, described in ``uns[key]``.
    layer
        Layer with counts; None: where the embedding was trained on, or ``adata.X``.
    batch_key
        Column of ``adata.obs`` with batches; None: the one that the embedding was trained with. Differences between
        batches then do not separate clusters, and clusters that consist of one batch are marked.
    random_state
        Seed.
    key_added
        Clusters go to ``obs[key_added]``; None: ``key + "_clusters"``.
    copy
        Return a changed copy and leave ``adata`` as it is.

    Returns
    -------
    None, or the copy, with

    - ``obs["scrae_clusters"]``: categories "0", "1", ... in the order of the tree, so that similar clusters have
      neighbouring numbers;
    - ``obs["scrae_cluster_confidence"]``: the share of resamplings of the cells in which a cell came to its cluster
      again, from 0 to 1;
    - ``uns["scrae_clusters"]["clusters"]``: a row for each cluster, with its number of cells, stability from 0 to 1,
      nearest cluster, separation from it, genes that are higher than there, and its batch if it consists of one; with
      ``rare=True`` also ``found_by``, ``"neighbours"`` or ``"genes"`` of its own;
    - ``uns["scrae_clusters"]["tree"]``: a row for each pair of groups that was judged, with their numbers of cells,
      their separation, the shared difference between them if there is one, whether they were kept apart, and why;
    - ``uns["scrae_clusters"]["factors"]``: a row for each difference that several clusters share, with these clusters,
      the number of cells on either side, and the genes that are higher there in all of them;
    - ``uns["scrae_clusters"]["params"]``: the arguments; ``["call"]``: the code that repeats this call.

    Above 20,000 cells a sample of that size is clustered, and every other cell takes the cluster of its neighbours.

    Raises
    ------
    ValueError
        There is no embedding of that name or no such level, more clusters are asked for than there are groups, or a
        column ``key_added`` exists that was not written by an earlier call.

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> scrae.tl.scrae(adata, max_epochs=5, verbose=False)
    >>> scrae.tl.cluster(adata)
    >>> adata.obs["scrae_clusters"].cat.categories[0]
    '0'
    """
    given = {name: value for name, value in locals().items() if name not in ("adata", "copy")}
    require_anndata(adata, "scrae.tl.cluster")
    refuse_damaged_source(adata)
    random_state = seed(random_state)
    column = key_added or f"{key}_clusters"
    confidence_column = f"{column.removesuffix('s')}_confidence"
    _refuse_before_work(adata, level, resolution, key, column)
    trained = EarlierTraining.of(adata, key)
    layer = layer if layer is not None else trained.layer
    batch_key = batch_key if batch_key is not None else trained.batch_key
    if batch_key is not None:
        refuse_unknown_column(adata, batch_key)
    target = adata.copy() if copy else adata

    whole = np.asarray(adata.obsm[f"X_{key}"], dtype=np.float64)
    landmarks = Landmarks.of(whole, random_state)
    embedding = whole[landmarks.cells]
    expression = log_expression(adata, layer, landmarks.cells)
    batch = None if batch_key is None else adata.obs[batch_key].astype(str).to_numpy()[landmarks.cells]
    of_model = expression if trained.genes is None else expression[:, trained.genes]
    coordinates = principal_components(of_model, batch, random_state)

    graph = neighbour_graph(embedding)
    tree = grow(graph, embedding, coordinates, random_state, of_model)
    types: list[RareType] = []
    if rare:
        types = find_rare_types(expression, tree.communities, embedding, LEVELS["fine"], random_state)
        tree = with_rare_types(tree, types)
    nodes, least = _nodes(tree, level, resolution)
    found = tree.clusters(nodes)
    own_genes = _of_own_genes(found, nodes, tree, types) if rare else None
    again = _agreement(graph, found, own_genes or {}, random_state)
    clusters, confidence = landmarks.spread(found, again.of_cells)

    names = [str(i) for i in range(len(nodes))]
    factors = _factors_table(tree, nodes, expression, adata.var_names)
    target.obs[column] = pd.Categorical.from_codes(clusters, pd.Index(names))
    target.obs[confidence_column] = confidence
    target.uns[column] = {
        "params": {
            "level": level if isinstance(level, str) else int(level),
            "resolution": float(resolution),
            "separation": least,
            "rare": bool(rare),
            "key": key,
            "random_state": random_state,
            **({} if batch_key is None else {"batch_key": batch_key}),
        },
        "clusters": _clusters_table(
            found, clusters, embedding, coordinates, expression, adata.var_names, again, batch, own_genes
        ),
        "tree": _tree_table(tree, nodes, least),
        "factors": factors,
        "call": call_text("scrae.tl.cluster", "adata", given, default_arguments(cluster)),
    }
    for factor in factors.to_dict("records"):
        told = {name: str(factor[name]) for name in ("clusters", "genes", "genes_other")}
        warnings.warn(Notice(_shared_difference(**told), "shared_difference", **told), stacklevel=2)
    return target if copy else None


def _refuse_before_work(adata: AnnData, level: Any, resolution: Any, key: str, column: str) -> None:
    finite_embedding(adata, key)
    number = isinstance(level, (int, np.integer)) and not isinstance(level, bool) and level >= 1
    if not number and not (isinstance(level, str) and level in LEVELS):
        raise Refusal(
            f"level={level!r} is none of {', '.join(map(repr, LEVELS))}, nor a number of clusters",
            "not_one_of",
            name="level",
            known=list(LEVELS),
            value=str(level),
        )
    if not (isinstance(resolution, (int, float, np.number)) and 0 < resolution < np.inf):
        raise Refusal(
            f"resolution must be positive, not {resolution!r}", "not_positive", name="resolution", value=resolution
        )
    if column in adata.obs and column not in adata.uns and not _of_the_model(adata, key, column):
        raise Refusal(
            f"adata.obs[{column!r}] exists and is not the work of an earlier call: the clusters would replace it. "
            "Rename that column, or choose another key_added.",
            "column_of_user",
            column=column,
        )


def _of_the_model(adata: AnnData, key: str, column: str) -> bool:
    """Whether the column holds the clusters of a model that makes clusters itself."""
    return column == f"{key}_clusters" and made_clusters(adata.uns.get(key))


def _nodes(tree: ClusterTree, level: str | int, resolution: float) -> tuple[list[int], float]:
    """The clusters, and the separation from which on two groups are two clusters."""
    if isinstance(level, str):
        least = LEVELS[level] / float(resolution)
        return tree.nodes(least), least
    if level > tree.n_leaves:
        raise Refusal(
            f"level={level} clusters are asked for, and the cells fall into {tree.n_leaves} groups at most",
            "too_many_clusters",
            n=int(level),
            most=tree.n_leaves,
        )
    heights = np.r_[np.inf, np.sort(tree.heights)[::-1]]
    return tree.nodes_of(int(level)), float(heights[level - 1])


def _of_own_genes(
    found: np.ndarray, nodes: Sequence[int], tree: ClusterTree, rare: Sequence[RareType]
) -> dict[int, RareType]:
    """The rare types that are clusters of their own, by number."""
    alone = {cluster for cluster, node in enumerate(nodes) if node in tree.rare}
    return {int(found[one.cells[0]]): one for one in rare if int(found[one.cells[0]]) in alone}


def _agreement(graph: sp.csr_array, found: np.ndarray, own_genes: dict[int, RareType], random_state: int) -> Agreement:
    """How far clusters are found again: by the graph, and rare types, which it does not show, by their genes."""
    again = agreement(graph, found, random_state)
    of_cells, of_clusters = again.of_cells.copy(), again.of_clusters.copy()
    for cluster, one in own_genes.items():
        of_cells[one.cells], of_clusters[cluster] = one.confidence, one.stability
    return Agreement(of_cells, of_clusters)


def _clusters_table(
    found: np.ndarray,
    clusters: np.ndarray,
    embedding: np.ndarray,
    coordinates: np.ndarray,
    expression: sp.csr_array,
    genes: Sequence[str],
    again: Any,
    batch: np.ndarray | None,
    own_genes: dict[int, RareType] | None,
) -> pd.DataFrame:
    from scrae.clusters.separation import separation

    n = int(found.max()) + 1
    centres = np.stack([embedding[found == i].mean(0) for i in range(n)])
    of_clusters = [moments(expression[found == i]) for i in range(n)]
    rows = []
    for i in range(n):
        row: dict[str, Any] = {"n_cells": int((clusters == i).sum()), "stability": float(again.of_clusters[i])}
        row |= {"nearest": "", "separation": np.nan, "genes": ""}
        if n > 1:
            distance = ((centres - centres[i]) ** 2).sum(1)
            distance[i] = np.inf
            j = int(distance.argmin())
            apart = (
                own_genes[i].separation
                if own_genes and i in own_genes
                else separation(coordinates[found == min(i, j)], coordinates[found == max(i, j)])
            )
            row |= {
                "nearest": str(j),
                "separation": apart,
                "genes": _higher(welch_t(of_clusters[i], of_clusters[j]), genes),
            }
        if own_genes is not None:
            row["found_by"] = "genes" if i in own_genes else "neighbours"
        row["batch"] = "" if batch is None else batch_alone(batch[found == i], batch)
        rows.append(row)
    return pd.DataFrame(rows, index=pd.Index([str(i) for i in range(n)], name="cluster"))


def _higher(t: np.ndarray, genes: Sequence[str]) -> str:
    """The genes that are most surely higher, in one line."""
    return ", ".join(str(genes[g]) for g in np.argsort(-t, kind="stable")[:MARKERS] if t[g] > 0)


def _factors_table(
    tree: ClusterTree, nodes: Sequence[int], expression: sp.csr_array, genes: Sequence[str]
) -> pd.DataFrame:
    """The crossed factors that these clusters hold within them, and the genes that follow them in each."""
    names = [str(factor) for factor in sorted(set(tree.factors[tree.factors > 0].tolist()))]
    clusters = tree.clusters(nodes)
    rows = {}
    for name in names:
        held, sizes, t = [], [0, 0], []
        for one, other in tree.children[tree.factors == int(name)]:
            cells = [np.flatnonzero(np.isin(tree.leaf, tree.leaves_of(int(node)))) for node in (one, other)]
            if clusters[cells[0][0]] == clusters[cells[1][0]]:
                held.append(int(clusters[cells[0][0]]))
                sizes = [size + len(of_node) for size, of_node in zip(sizes, cells, strict=True)]
                t.append(welch_t(*(moments(expression[of_node]) for of_node in cells)))
        if held:
            rows[name] = {
                "clusters": ", ".join(map(str, sorted(set(held)))),
                "n_cells": sizes[0],
                "n_cells_other": sizes[1],
                "genes": _higher(np.min(t, axis=0), genes),
                "genes_other": _higher(np.min(np.negative(t), axis=0), genes),
            }
    columns = ["clusters", "n_cells", "n_cells_other", "genes", "genes_other"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("factor")
    return table.astype({"n_cells": int, "n_cells_other": int})


def _shared_difference(clusters: str, genes: str, genes_other: str) -> str:
    who = f"clusters {clusters} hold" if "," in clusters else f"cluster {clusters} holds"
    return (
        f"{who} groups of cells that differ in the same way (genes that are higher in one group: {genes or 'none'}; in "
        f"the other: {genes_other or 'none'}): a batch, a treatment or a state of the cells, which are no types. They "
        'were joined; level="fine" keeps them apart, and batch_key= takes a batch out.'
    )


def _tree_table(tree: ClusterTree, nodes: Sequence[int], least: float) -> pd.DataFrame:
    """What was judged, the groups that lie furthest apart first."""
    inside = set()
    for node in nodes:
        waiting = [node]
        while waiting:
            at = waiting.pop()
            if at >= tree.n_leaves:
                inside.add(at)
                waiting.extend(map(int, tree.children[at - tree.n_leaves]))
    made = tree.n_leaves + np.arange(len(tree.children))
    apart = np.asarray([int(node) not in inside for node in made], dtype=bool)
    rare = [not tree.rare.isdisjoint(pair) for pair in tree.children.tolist()]
    table = pd.DataFrame(
        {
            "node": made,
            "left": tree.children[:, 0],
            "right": tree.children[:, 1],
            "n_left": tree.sizes[tree.children[:, 0]],
            "n_right": tree.sizes[tree.children[:, 1]],
            "separation": tree.separations,
            "height": tree.heights,
            "factor": tree.factors,
            "kept_apart": apart,
            "reason": [
                _reason(*judged, least) for judged in zip(apart, tree.separations, tree.factors, rare, strict=True)
            ],
        }
    )
    return table.sort_values("height", ascending=False, kind="stable").reset_index(drop=True)


def _reason(apart: bool, separation: float, factor: int, rare: bool, least: float) -> str:
    if rare:
        compared = "at least" if apart else "below"
        return f"a few cells with genes of their own, by which {separation:.2f} is {compared} {least:.2f}"
    if factor and not apart:
        return f"differ as others do, by factor {factor}: a batch, a treatment or a state of the cells"
    if apart == (separation >= least):
        return f"{separation:.2f} is {'at least' if apart else 'below'} {least:.2f}"
    if apart:
        return f"{separation:.2f} is below {least:.2f}, but parts of them lie further apart"
    return f"parts of one community of the neighbour graph, for which {separation:.2f} is below {WITHIN * least:.2f}"
