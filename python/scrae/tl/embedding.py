"""One call from counts to an embedding in ``adata.obsm``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scrae._errors import Notice, Refusal, warnings_kept
from scrae._messages import first_few, some
from scrae.compute import distributed
from scrae.compute.whole_numbers import at_least
from scrae.data.cells import refuse_damaged_source, require_anndata
from scrae.data.covariates import column_names
from scrae.data.features import SELECTION, marked, of_types
from scrae.model import SCRAE
from scrae.pp import select_genes
from scrae.pp.genes import METHODS, SELECTED
from scrae.regularisers import Regulariser
from scrae.tl.calls import Expression, as_typed, call_text, default_arguments

if TYPE_CHECKING:
    from anndata import AnnData

# Arguments that a call which is made again does without.
NOT_REPEATED = ("adata", "settings", "verbose", "model_dir", "resume", "overwrite", "copy")


def scrae(
    adata: AnnData,
    *,
    layer: str | None = None,
    counts: str = "raw",
    genes: str | Sequence[Any] | np.ndarray | None = None,
    n_genes: int = 2000,
    feature_types: str | Sequence[str] | None = None,
    batch_key: str | None = None,
    categorical_covariate_keys: str | Iterable[str] = (),
    continuous_covariate_keys: str | Iterable[str] = (),
    keep: str | Iterable[str] = (),
    must_link: Any = None,
    cannot_link: Any = None,
    labels_key: str | None = None,
    unlabeled_category: str = "Unknown",
    preset: str = "default",
    max_epochs: int | None = None,
    random_state: int = 0,
    device: str = "auto",
    verbose: bool | None = None,
    model_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    key_added: str = "scrae",
    copy: bool = False,
    **settings: Any,
) -> AnnData | None:
    """Train scRAE on raw counts and add the embedding to the AnnData object.

    Parameters
    ----------
    adata
        Cells x genes with raw counts.
    layer
        Layer with raw counts; None: ``adata.X``.
    counts
        ``"raw"``, or ``"round"`` for estimated counts (SoupX, DecontX, CellBender, RSEM, salmon, alevin). These are
        rounded for the model, with a warning that says how many values were changed and by how much at most.
    genes
        Which genes to model. None takes ``adata.var["highly_variable"]`` if it is set, as scanpy's PCA does; then what
        :func:`scrae.pp.select_genes` has selected; and otherwise ``"hvg"``. A method of that function (``"hvg"``,
        ``"seurat_v3"``, ``"m3drop"``, ``"danb"``, ``"scmarker"``, ...) selects genes with it. ``"all"``, names,
        positions or a boolean mask are possible, too.
    n_genes
        How many genes to select, where none are marked.
    feature_types
        Types of features to model, by ``adata.var["feature_types"]`` or ``adata.var["modality"]``. None: gene
        expression alone; other types are left out with a message. Features that ``genes`` names are modelled whatever
        their type.
    batch_key
        Column of ``adata.obs`` with batches. Genes are selected within batches, the decoder explains the batch effect,
        and the embedding is corrected for it.
    categorical_covariate_keys
        Further columns of categories whose effect is explained by the decoder and removed from the embedding.
    continuous_covariate_keys
        Columns of numbers, such as a cell-cycle score, whose effect is explained and removed in the same way.
    keep
        Columns whose differences stay in the embedding, such as the condition of the donors that ``batch_key`` names:
        batches are corrected among the cells that agree in these columns.
    must_link, cannot_link, labels_key, unlabeled_category
        Pairs of cells of one type and of different types, or a column with the types of some cells, as in
        :meth:`scrae.SCRAE.fit`.
    preset, random_state, device, verbose, **settings
        As in :class:`scrae.SCRAE`.
    max_epochs, model_dir, resume, overwrite
        As in :meth:`scrae.SCRAE.fit`.
    key_added
        The embedding goes to ``adata.obsm["X_" + key_added]`` and its description to ``adata.uns[key_added]``. Clusters
        go to ``adata.obs[key_added + "_clusters"]`` if the model makes them itself.
    copy
        Return a changed copy and leave ``adata`` as it is.

    Returns
    -------
    None, or the copy. ``obsm["X_scrae"]`` is the embedding, float32 (n_cells, 30) by default
    (:meth:`scrae.SCRAE.embed`); ``uns["scrae"]`` holds ``params``, ``history`` (a DataFrame), ``summary`` (stop reason,
    seconds, versions, ...), ``genes``, ``call`` (the code that repeats this call) and ``warnings`` (those it gave); a
    selection made here is written to ``adata.var`` as :func:`scrae.pp.select_genes` does. A model that makes clusters
    itself (presets ``"scdeepcluster"`` and ``"sczidesk"``) writes them to ``obs["scrae_clusters"]``, categories "0",
    "1", ...

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> scrae.tl.scrae(adata, max_epochs=3, verbose=False)
    >>> adata.obsm["X_scrae"].shape
    (700, 30)
    """
    categorical_covariate_keys = tuple(column_names(categorical_covariate_keys))
    continuous_covariate_keys = tuple(column_names(continuous_covariate_keys))
    keep = tuple(column_names(keep))
    given = {name: value for name, value in locals().items() if name not in NOT_REPEATED} | settings
    require_anndata(adata, "scrae.tl.scrae")
    refuse_damaged_source(adata)
    model = SCRAE(preset, random_state=random_state, device=device, verbose=verbose, **settings)
    column = f"{key_added}_clusters"
    if model.makes_clusters and column in adata.obs and not made_clusters(adata.uns.get(key_added)):
        raise Refusal(
            f"adata.obs[{column!r}] exists and is not the work of an earlier call: the clusters that preset "
            f"{preset!r} makes would replace it. Rename that column, or choose another key_added.",
            "column_of_user",
            column=column,
        )
    target = adata.copy() if copy else adata
    n_genes = at_least("n_genes", n_genes, 2)
    with warnings_kept() as told:
        features = _features(adata, feature_types) if genes is None or isinstance(genes, str) else None
        chosen: Any
        marking = _marking(adata) if genes is None else None
        if marking is not None:
            origin = f'adata.var["{marking}"]'
            chosen = marked(adata.var[marking], marking)
            chosen = chosen if features is None else chosen & features
        elif isinstance(genes, str) and genes == "all":
            chosen, origin = features, "all"
        elif genes is None or isinstance(genes, str):
            origin = genes or "hvg"
            if origin not in METHODS:
                raise Refusal(
                    f"genes={genes!r} is not a method; choose one of {', '.join(map(repr, METHODS))}, "
                    '"all", or give names',
                    "not_one_of",
                    name="genes",
                    known=[*METHODS, "all"],
                    value=origin,
                )
            with distributed.divided_work():
                select_genes(target, origin, n_genes, layer, batch_key, counts=counts, among=features, verbose=verbose)
            target.uns[SELECTION]["chosen_by"] = "scrae.tl.scrae"  # another call chooses anew
            chosen = target.var[SELECTED].to_numpy()
        else:
            chosen, origin = genes, "given"
        model.fit(
            adata,
            layer=layer,
            counts=counts,
            genes="all" if chosen is None else chosen,
            batch_key=batch_key,
            categorical_covariate_keys=categorical_covariate_keys,
            continuous_covariate_keys=continuous_covariate_keys,
            keep=keep,
            must_link=must_link,
            cannot_link=cannot_link,
            labels_key=labels_key,
            unlabeled_category=unlabeled_category,
            max_epochs=max_epochs,
            resume=resume,
            model_dir=model_dir,
            overwrite=overwrite,
        )
        if made_clusters(target.uns.get(key_added)) and column in target.obs:
            del target.obs[column]  # of the model that this one replaces
        with distributed.divided_work():
            target.obsm[f"X_{key_added}"], clusters = model.embed(), own_clusters(model)
        _mark_older_clusters(target, key_added)
        if clusters is not None:
            target.obs[column] = clusters
    if origin == "given":
        given["genes"] = Expression(f'adata.uns[{as_typed(key_added)}]["genes"]')
    given |= {name: Expression(name) for name in ("must_link", "cannot_link") if given[name] is not None}
    target.uns[key_added] = description(model, layer, origin) | {
        "call": call_text("scrae.tl.scrae", "adata", given, default_arguments(scrae)),
        "warnings": np.asarray(told, dtype=object),
    }
    return target if copy else None


def _marking(adata: AnnData) -> str | None:
    """The column of ``var`` by which somebody has marked the genes to be modelled; None: nobody has."""
    if "highly_variable" in adata.var:
        return "highly_variable"
    how = adata.uns.get(SELECTION)
    by_user = isinstance(how, Mapping) and how.get("chosen_by") == "scrae.pp.select_genes"
    return SELECTED if by_user and SELECTED in adata.var else None


def _features(adata: AnnData, feature_types: str | Sequence[str] | None) -> np.ndarray | None:
    """Boolean per feature that may be modelled, with a message about others; None: all of them."""
    kept, others = of_types(adata.var, feature_types)
    if kept.all():
        return None
    n = int((~kept).sum())
    if feature_types is None:
        warnings.warn(
            Notice(
                f"{n:,} of {len(kept):,} features are not gene expression ({some(others)}) and are left out; "
                "feature_types=[...] asks for them",
                "other_features_left_out",
                n=n,
                n_features=len(kept),
                names=first_few(others),
            ),
            stacklevel=3,
        )
    return kept


def own_clusters(model: SCRAE) -> pd.Categorical | None:
    """Clusters of the training cells, categories "0", "1", ..., where the model makes them itself.

    None where it does not; None and a warning where training ended before there were any.
    """
    if not model.makes_clusters:
        return None
    try:
        found = model.clusters()
    except Refusal as error:
        warnings.warn(Notice(str(error), error.code, **error.fields), stacklevel=3)
        return None
    return pd.Categorical(found.astype(str), categories=np.unique(found).astype(str))


def _mark_older_clusters(adata: AnnData, key: str) -> None:
    """Note with the clusters of an embedding that it was replaced since."""
    for entry in adata.uns.values():
        if isinstance(entry, Mapping) and "tree" in entry and entry.get("params", {}).get("key") == key:
            entry["params"]["replaced"] = True


def made_clusters(described: Any) -> bool:
    """Whether this entry of ``uns`` is the :func:`description` of a model that makes clusters."""
    try:
        return Regulariser.registry[described["params"]["regulariser"]].makes_clusters
    except (KeyError, TypeError, IndexError):
        return False


@dataclass(frozen=True)
class EarlierTraining:
    """What an object says of the training that its embedding is from; None where it says nothing.

    Attributes
    ----------
    layer
        Layer with the counts; None for ``adata.X``, too.
    batch_key
        Column with the batches that it was told of.
    keep
        Columns whose differences were to be kept.
    genes
        Positions of the genes that were modelled, int (n_genes,); None as well where one of them has gone.
    """

    layer: str | None
    batch_key: str | None
    keep: tuple[str, ...]
    genes: np.ndarray | None

    @classmethod
    def of(cls, adata: AnnData, key: str) -> EarlierTraining:
        """Read from ``uns[key]``."""
        described = adata.uns.get(key, {})
        params, genes = described.get("params", {}), described.get("genes")
        layer, batch_key = params.get("layer", "X"), params.get("batch_key")
        known = None if genes is None or not len(genes) else adata.var_names.get_indexer(list(map(str, genes)))
        return cls(
            layer=None if layer == "X" else layer,
            batch_key=None if batch_key in (None, "None") else str(batch_key),  # as text by versions before 0.2
            keep=tuple(map(str, np.atleast_1d(params.get("keep", ())))),
            genes=None if known is None or (known < 0).any() else known,
        )


def description(model: SCRAE, layer: str | None, genes: str) -> dict[str, Any]:
    """What ``adata.uns["scrae"]`` holds of a trained model, for h5ad, too; settings that are None are left out."""
    settings = model.settings_dict() | {"preset": model.preset, "random_state": model.random_state, "genes": genes}
    coding = model.fitted.coding
    kept = list(coding.keep) or None
    return {
        "params": _storable(settings | {"layer": layer or "X", "batch_key": coding.batch_key, "keep": kept}),
        "history": model.history.reset_index(),
        "summary": model.summary,
        "genes": np.asarray([] if model.gene_names is None else model.gene_names, dtype=object),
    }


def _storable(value: Any) -> Any:
    """A setting as every reader of h5ad knows it: sequences as arrays, and no entry for None."""
    if isinstance(value, (tuple, list)):
        return np.asarray(value)
    if isinstance(value, dict):
        return {key: _storable(entry) for key, entry in value.items() if entry is not None}
    return value


def finite_embedding(adata: AnnData, key: str) -> np.ndarray:
    """The embedding of that name, float64 (n_cells, n_dimensions).

    Raises
    ------
    ValueError
        There is none, or it holds values that are not finite.
    """
    if f"X_{key}" not in adata.obsm:
        raise Refusal(
            f"adata.obsm has no 'X_{key}': call scrae.tl.scrae(adata) first, or name the embedding with key=",
            "no_embedding",
            name=key,
        )
    embedding = np.asarray(adata.obsm[f"X_{key}"], dtype=np.float64)
    if not np.isfinite(embedding).all():
        raise Refusal(f"adata.obsm['X_{key}'] holds values that are not finite", "embedding_not_finite", name=key)
    return embedding
