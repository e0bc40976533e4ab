"""What a report is about: the cells, what describes their training, and which of its parts are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scrae._errors import Refusal
from scrae._messages import unknown
from scrae.autoencoder.presets import PRESETS
from scrae.data.cells import refuse_unknown_column
from scrae.data.layers import named_layers
from scrae.pl.embedding import basis_of
from scrae.pl.report_calls import PYTHON, Calls
from scrae.tl.batches import batch_report
from scrae.tl.embedding import EarlierTraining
from scrae.tl.expression import log_expression
from scrae.tl.layout import umap_of
from scrae.tl.profiles import Profiles
from scrae.tl.quality import Quality

if TYPE_CHECKING:
    from anndata import AnnData

MOST_CELLS = 20_000  # whose expression is looked at for markers
MARKERS = 5  # of each cluster


@dataclass
class Run:
    """A trained embedding with its cells.

    Attributes
    ----------
    adata
        An object of its own, which shares the large parts with the user's.
    key
        Name of the embedding.
    layer
        Layer with the counts; None: ``adata.X``.
    clusters, batch, labels, outliers
        Columns of ``adata.obs``; None: there is none.
    batch_gone
        Name of the batches that the training was told of, where the object has no such column any more.
    basis, basis_made
        Entry of ``adata.obsm`` with two axes to draw, and whether it was made for the report.
    random_state
        Seed.
    calls
        What readers are told to call.
    code
        Lines that repeat the run; None: they are put together from what ``adata.uns`` holds.
    """

    adata: AnnData
    key: str
    layer: str | None
    clusters: str | None
    batch: str | None
    batch_gone: str | None
    labels: str | None
    outliers: str | None
    basis: str
    basis_made: bool
    random_state: int
    calls: Calls = PYTHON
    code: str | None = None

    # -- the training ------------------------------------------------------------------------------------------------

    @property
    def described(self) -> Mapping[str, Any]:
        """What the object says of the training."""
        described: Mapping[str, Any] = self.adata.uns[self.key]
        return described

    @property
    def params(self) -> Mapping[str, Any]:
        """Settings, seed, layer and the like."""
        params: Mapping[str, Any] = self.described.get("params", {})
        return params

    @property
    def summary(self) -> Mapping[str, Any]:
        """Facts of the training."""
        summary: Mapping[str, Any] = self.described.get("summary", {})
        return summary

    @property
    def batch_of_training(self) -> str | None:
        """Column with the batches that the training was told of; None: it was told of none."""
        return EarlierTraining.of(self.adata, self.key).batch_key

    @property
    def kept_in_training(self) -> tuple[str, ...]:
        """Columns whose differences the training was told to keep."""
        return EarlierTraining.of(self.adata, self.key).keep

    @property
    def genes(self) -> list[str]:
        """Names of the modelled genes; empty where they are not known."""
        return [str(gene) for gene in self.described.get("genes", [])]

    @property
    def told(self) -> list[str]:
        """What the training warned of."""
        return [str(text) for text in self.described.get("warnings", [])]

    @property
    def changed_settings(self) -> dict[str, Any]:
        """Settings that are not those of the preset."""
        preset = PRESETS.get(str(self.params.get("preset", "default")))
        if preset is None:
            return {}
        usual = {name: getattr(preset, name) for name in preset.names()}
        changed = {}
        for name, default in usual.items():
            if name not in self.params or name == "regulariser_options":
                continue
            value = _plain(self.params[name])
            if value != _plain(default):
                changed[name] = value
        known = {name: _plain(value) for name, value in usual["regulariser_options"].items()}
        given = self.params.get("regulariser_options", {})
        options = {name: _plain(value) for name, value in given.items()} if isinstance(given, Mapping) else {}
        return changed | {name: value for name, value in options.items() if value != known.get(name)}

    # -- the cells ---------------------------------------------------------------------------------------------------

    @cached_property
    def quality(self) -> Quality | None:
        """Counts and genes of each cell; None: there are no raw counts."""
        return Quality.of(self.adata, self.layer)

    @cached_property
    def profiles(self) -> Profiles:
        """What the clusters express, of a sample where there are many cells."""
        rng = np.random.default_rng(self.random_state)
        n = self.adata.n_obs
        cells = np.arange(n) if n <= MOST_CELLS else np.sort(rng.choice(n, MOST_CELLS, replace=False))
        groups = pd.Categorical(self.adata.obs[self.clusters])
        return Profiles.of(
            log_expression(self.adata, self.layer, cells),
            np.asarray(groups.codes, dtype=np.int64)[cells],
            len(groups.categories),
        )

    @property
    def found(self) -> Mapping[str, Any] | None:
        """Tables of the clusters, where :func:`scrae.tl.cluster` has found them; None otherwise."""
        entry = None if self.clusters is None else self.adata.uns.get(self.clusters)
        return entry if isinstance(entry, Mapping) and "clusters" in entry and "tree" in entry else None

    @property
    def confidence(self) -> pd.Series | None:
        """Confidence of each cell; None: not known."""
        column = "" if self.clusters is None else f"{self.clusters.removesuffix('s')}_confidence"
        confidence: pd.Series | None = self.adata.obs.get(column)
        return confidence

    @cached_property
    def batches(self) -> Mapping[str, Any] | str:
        """The report on the batches, or why there is none."""
        there = self.adata.uns.get("scrae_batches")
        if isinstance(there, Mapping) and there.get("params", {}).get("batch_key") == self.batch:
            return there
        try:
            batch_report(
                self.adata, str(self.batch), key=self.key, layer=self.layer, random_state=self.random_state,
                key_added="_report",
            )  # fmt: skip
        except (ValueError, RuntimeError) as error:
            return str(error)
        found: Mapping[str, Any] = self.adata.uns.pop("_report")
        return found


def run_of(
    adata: AnnData,
    *,
    key: str,
    clusters_key: str | None,
    batch_key: str | None,
    labels_key: str | None,
    outliers_key: str | None,
    layer: str | None,
    basis: str | None,
    random_state: int,
    calls: Calls = PYTHON,
    code: str | None = None,
) -> Run:
    """Find the parts of a run in an object, which stays as it is.

    Parameters
    ----------
    adata, key, clusters_key, batch_key, labels_key, outliers_key, layer, basis, random_state
        As for :func:`scrae.pl.report`.
    calls, code
        As for :class:`Run`.

    Raises
    ------
    ValueError
        There is no embedding that describes itself, or no such column, layer or basis.
    """
    described = adata.uns.get(key)
    if f"X_{key}" not in adata.obsm or not isinstance(described, Mapping) or "summary" not in described:
        raise Refusal(
            f"adata has no embedding 'X_{key}' with its description in adata.uns[{key!r}]: call scrae.tl.scrae(adata) "
            "first, or name the embedding with key=",
            "no_embedding",
            name=key,
        )
    trained = EarlierTraining.of(adata, key)
    for column in (clusters_key, batch_key, labels_key, outliers_key):
        if column is not None:
            refuse_unknown_column(adata, column)
    layers = named_layers(adata)
    if layer is not None and layer not in layers:
        raise ValueError(unknown("layer", layer, layers, "adata"))
    if basis is not None:
        basis = basis_of(adata, basis)
    if adata.isbacked:
        adata = adata.to_memory()
    # Of its own, so that nothing is added to the user's: the matrices themselves are shared.
    own = type(adata)(
        adata.X, obs=adata.obs.copy(), var=adata.var, uns=dict(adata.uns), layers=layers,
        obsm=dict(adata.obsm),
    )  # fmt: skip
    clusters = clusters_key or (f"{key}_clusters" if f"{key}_clusters" in own.obs else None)
    if clusters is not None and not isinstance(own.obs[clusters].dtype, pd.CategoricalDtype):
        own.obs[clusters] = own.obs[clusters].astype(str).astype("category")
    batch = batch_key or trained.batch_key
    made = basis is None and "X_umap" not in own.obsm
    if made:
        own.obsm["X_umap"] = umap_of(np.asarray(own.obsm[f"X_{key}"]), random_state)
    return Run(
        adata=own,
        key=key,
        layer=layer if layer is not None else trained.layer,
        clusters=clusters,
        batch=batch if batch in own.obs else None,
        batch_gone=batch if batch is not None and batch not in own.obs else None,
        labels=labels_key,
        outliers=outliers_key or ("scrae_outlier" if "scrae_outlier" in own.obs else None),
        basis=basis or "X_umap",
        basis_made=made,
        random_state=random_state,
        calls=calls,
        code=code,
    )


def _plain(value: Any) -> Any:
    """A setting, as it is or as it comes back from a file, in one form."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return "None" if value is None else value
