"""From the encoder to the embedding: learned features beside linear ones, moved towards what surrounds them.

Codes follow curves that a count model finds and a linear one does not, and the hidden layer that they are taken from
keeps what ten of them have no room for; principal components of the scaled genes give each gene the same weight, which
a likelihood of counts does not. Joined, and smoothed over the neighbour graph, they cluster better than any of them
(docs/TRIED.md). A neighbour graph of smoothed axes alone falls into too many communities: cells of one type lie on
curves. The residual axes, which are not smoothed, fill the types with the differences between their cells, as the later
components of a PCA do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from scrae.compute.neighbour_search import NeighbourSearch
from scrae.compute.neighbours import nearest
from scrae.data.count_rows import CountRows
from scrae.data.covariates import Covariates
from scrae.data.minibatches import CountData, Minibatch
from scrae.posthoc.gene_factors import GeneFactors
from scrae.posthoc.integration import without_covariates
from scrae.posthoc.linked_metric import relevant_components
from scrae.posthoc.principal_components import PrincipalComponents

NEIGHBOURS = 15
STEPS = 30  # of the random walk
BLOCK = 1024  # cells in hand at once
CONSTANT = 1e-6  # standard deviation below which a feature does not vary
AVERAGED = 6  # landmarks around a cell with which it moves
SPREAD = 0.45  # standard deviation of a residual axis, over the root mean square of those of the first axes
SPREAD_CORRECTED = 0.05  # the same where batches were taken out: what is left of them lies in the residual axes


@dataclass(frozen=True)
class Readout:
    """The first principal axes of y, as many as there are codes; then axes of what these leave over.

        x    = [(z - mean(z)) / sd(z), (h - mean(h)) / sd(h), (s - mean(s)) V] A
        v(x) = x + mean over the nearest landmarks l of [u_l - x_l]
        y(x) = v(x) + mean over the same landmarks of weight * (P^t u)_l
        e(x) = [(y - mean(y)) U, (v - mean(v)) W]

    z are codes, h the encoder's last hidden layer, s the scaled genes. Over the training cells the learned part and the
    linear part of x without A have mean square norm 1 each, and z and h the same share of it. A is the identity, unless
    pairs of cells are known to belong together: then a metric in which these lie close
    (:mod:`scrae.posthoc.linked_metric`), at the same norm of x. u are the landmarks' x without what batches and other
    covariates add to them, and x where there are none: the linear part of counts that are without the factors of their
    batch (:mod:`scrae.posthoc.gene_factors`), then what is left taken out of both parts
    (:mod:`scrae.posthoc.integration`). P is
    the random walk on the symmetric neighbour graph of u (every landmark its own neighbour, too), V holds the principal
    axes of s of all training cells, U those of the landmarks' y. W are the principal axes of (v - mean(v))(I - U U^T),
    scaled so that each has :data:`SPREAD` times the root mean square spread of the first axes, and
    :data:`SPREAD_CORRECTED` times where covariates were taken out. New cells need no batch: they move as the landmarks
    around them do.

    Attributes
    ----------
    feature_mean, feature_factor
        Of each learned feature: its mean, and the share of the norm that it has over its standard deviation,
        (n_features,).
    landmarks, shift
        x of the landmarks, and y - x there, both (n_landmarks, n_dimensions); none where nothing moves.
    centre
        mean(y), (n_dimensions,).
    axes
        U, (n_dimensions, n_latent).
    correction
        u - x at the landmarks, (n_landmarks, n_dimensions); none where covariates add nothing.
    residual_centre
        mean(v), (n_dimensions,).
    residual_axes
        W, (n_dimensions, n_residual).
    components
        The linear part; None: learned features alone.
    metric
        A, (n_dimensions, n_dimensions), symmetric; None: the identity.
    kept
        Groups of the landmarks between which nothing was corrected, int64 (n_landmarks,); None: all are of one.
    """

    feature_mean: Tensor
    feature_factor: Tensor
    landmarks: Tensor
    shift: Tensor
    centre: Tensor
    axes: Tensor
    correction: Tensor
    residual_centre: Tensor
    residual_axes: Tensor
    components: PrincipalComponents | None = None
    metric: Tensor | None = None
    kept: Tensor | None = None

    @classmethod
    def fit(
        cls,
        data: CountData,
        landmarks: Tensor,
        features: Callable[[Minibatch], Tensor],
        widths: Sequence[int],
        components: PrincipalComponents | None,
        weight: float,
        random_state: int = 0,
        n_residual: int = 0,
        factors: GeneFactors | None = None,
        linked: tuple[Tensor, np.ndarray] | None = None,
    ) -> Readout:
        """Take from the trained encoder what the embedding needs.

        Parameters
        ----------
        data
            The training cells.
        landmarks
            Positions of those that carry the neighbour graph, int64 (n_landmarks,).
        features
            The learned blocks of a minibatch side by side, (n_cells, sum of their widths).
        widths
            Dimensions of each of these blocks; those of the first, the codes z, are those of the embedding.
        components
            Principal components of the scaled genes of the training cells; None: learned features alone.
        weight
            Of the smoothed part; 0: none.
        random_state
            Seed of the correction for covariates.
        n_residual
            Number of residual axes, at most; those that there are dimensions for are taken.
        factors
            What each batch multiplies genes by; None: there are no batches, or they are too small to say.
        linked
            Positions of cells that are known to belong together with others, int64 (n_linked,), and numbers that are
            equal where they do; None: nothing is known.
        """
        with torch.no_grad():
            minibatches = list(data.in_order(BLOCK, landmarks))
            learned = [features(minibatch) for minibatch in minibatches]
            every = torch.cat(learned)
            sd = every.std(0)
            share = torch.cat([every.new_full((width,), 1 / (len(widths) * width)) for width in widths])
            # A feature that is the same in all landmarks says nothing, and must not blow up in a new cell.
            factor = torch.where(sd > CONSTANT, share.sqrt() / sd, 0.0)
            n_dimensions = sum(widths) + (0 if components is None else components.loadings.shape[1])
            none, centre = every.new_zeros(0, n_dimensions), every.new_zeros(n_dimensions)
            axes, no_axes = torch.eye(n_dimensions, widths[0]).to(every), every.new_zeros(n_dimensions, 0)
            still = cls(every.mean(0), factor, none, none, centre, axes, none, centre, no_axes, components)
            parts = list(zip(learned, minibatches, strict=True))
            x = torch.cat([still.coordinates(part, minibatch.counts) for part, minibatch in parts])
            if linked is not None:
                cells, groups = linked
                known = [still.coordinates(features(part), part.counts) for part in data.in_order(BLOCK, cells)]
                still = replace(still, metric=_metric(x, torch.cat(known), groups))
                x = still._measured(x)
            divided = x
            if factors is not None and components is not None:
                divided = torch.cat(
                    [
                        still.coordinates(part, factors.divided_rows(minibatch.counts, minibatch.batch))
                        for part, minibatch in parts
                    ]
                )
            covariates = data.covariates(landmarks)
            shift, correction = _shifts(x, divided, covariates, weight, random_state)
            moving = still if shift is None else replace(still, landmarks=x, shift=shift)
            if shift is not None and covariates.kept is not None:
                moving = replace(moving, kept=torch.as_tensor(covariates.kept, device=x.device))
            if correction is not None:
                moving = replace(moving, correction=correction)
            near = moving._near(x)
            centre, axes = _principal_axes(moving.shifted(x, near), widths[0])
            shown = replace(moving, centre=centre, axes=axes)
            if not n_residual:
                return shown
            residual_centre, residual_axes = shown._residual(x, near, n_residual)
            return replace(shown, residual_centre=residual_centre, residual_axes=residual_axes)

    def coordinates(self, features: Tensor, counts: CountRows) -> Tensor:
        """x, (n_cells, n_dimensions)."""
        learned = (features - self.feature_mean) * self.feature_factor
        return self._measured(learned if self.components is None else torch.cat([learned, self.components(counts)], 1))

    def _measured(self, coordinates: Tensor) -> Tensor:
        return coordinates if self.metric is None else coordinates @ self.metric

    def shifted(self, coordinates: Tensor, near: Tensor | None) -> Tensor:
        """y(x), (n_cells, n_dimensions), of cells and the landmarks around them."""
        return self._moved(coordinates, self.shift, near)

    def __call__(self, features: Tensor, counts: CountRows) -> Tensor:
        """The embedding, (n_cells, n_latent + n_residual)."""
        return self.embedding(self.coordinates(features, counts))

    def embedding(self, coordinates: Tensor) -> Tensor:
        """e(x), (n_cells, n_latent + n_residual)."""
        near = self._near(coordinates)
        shown = (coordinates - self.centre) @ self.axes
        first = self._moved(shown, self.shift @ self.axes, near)
        if not self.residual_axes.shape[1]:
            return first
        shown = (coordinates - self.residual_centre) @ self.residual_axes
        return torch.cat([first, self._moved(shown, self.correction @ self.residual_axes, near)], 1)

    def features(self, coordinates: Tensor) -> Tensor:
        """Codes and hidden layer side by side that have these coordinates, (n_cells, n_latent + n_hidden)."""
        if self.metric is not None:
            coordinates = torch.linalg.solve(self.metric, coordinates, left=False)
        factor = torch.where(self.feature_factor > 0, self.feature_factor, 1.0)  # what never varies is its mean
        return coordinates[:, : len(factor)] / factor + self.feature_mean

    @cached_property
    def without_covariates(self) -> Readout:
        """The same for cells whose x is without what batches add: landmarks stand at u, and move by y - u."""
        if not len(self.correction):
            return self
        none = self.correction.new_zeros(0, self.correction.shape[1])
        landmarks, shift = self.landmarks + self.correction, self.shift - self.correction
        return replace(self, landmarks=landmarks, shift=shift, correction=none)

    def _near(self, coordinates: Tensor) -> Tensor | None:
        """The landmarks around each cell, int64 (n_cells, AVERAGED); None: there are none."""
        n = len(self.landmarks)
        return self._search(coordinates, min(AVERAGED, n)) if n else None

    @cached_property
    def _search(self) -> NeighbourSearch:
        return NeighbourSearch(self.landmarks)

    @staticmethod
    def _moved(coordinates: Tensor, shift: Tensor, near: Tensor | None) -> Tensor:
        return coordinates if near is None or not len(shift) else coordinates + embedding_bag(near, shift, mode="mean")

    def _residual(self, coordinates: Tensor, near: Tensor | None, n_axes: int) -> tuple[Tensor, Tensor]:
        """mean(v) and W, from the landmarks' x and the landmarks around these."""
        v = self._moved(coordinates, self.correction, near).double()
        first = (self.shifted(coordinates, near) - self.centre) @ self.axes
        known = self.axes.double()
        left = v - v.mean(0)
        left -= left @ known @ known.T
        _, axes = _principal_axes(left, min(n_axes, known.shape[0] - known.shape[1]))
        sd = (left @ axes).std(0)
        share = SPREAD_CORRECTED if len(self.correction) else SPREAD
        spread = share * first.double().var(0).mean().sqrt()
        scaled = torch.where(sd > CONSTANT, axes * (spread / sd.clamp(min=CONSTANT)), 0.0)
        return v.mean(0).to(coordinates), scaled.to(coordinates)

    def to(self, device: torch.device) -> Readout:
        """The same on another device."""
        moved = {name: value.to(device) for name, value in self._own_tensors().items()}
        return Readout(**moved, components=None if self.components is None else self.components.to(device))

    def tensors(self) -> dict[str, Tensor]:
        """By name, as they are stored."""
        return self._own_tensors() | ({} if self.components is None else self.components.tensors())

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Readout:
        """What :meth:`tensors` gave; without residual axes where it had none of them, as before 0.1.0.

        Raises
        ------
        ValueError
            Tensors that do not fit together.
        """
        width = tensors["centre"].numel()
        without = {"correction": torch.zeros(0, width), "residual_centre": torch.zeros(width)}
        tensors = without | {"residual_axes": torch.zeros(width, 0)} | tensors
        own = {field.name: tensors[field.name] for field in fields(cls) if field.name in tensors}
        has_components = tensors.get("loadings", torch.zeros(0)).numel() > 0
        components = PrincipalComponents.from_tensors(tensors) if has_components else None
        n_features, n_landmarks = own["feature_mean"].numel(), len(own["landmarks"])
        n_dimensions = n_features + (0 if components is None else components.loadings.shape[1])
        shapes = {
            "feature_mean": (n_features,),
            "feature_factor": (n_features,),
            "landmarks": (n_landmarks, n_dimensions),
            "shift": (n_landmarks, n_dimensions),
            "centre": (n_dimensions,),
            "axes": (n_dimensions, own["axes"].shape[-1]),
            "correction": (n_landmarks if len(own["correction"]) else 0, n_dimensions),
            "residual_centre": (n_dimensions,),
            "residual_axes": (n_dimensions, own["residual_axes"].shape[-1]),
        }
        if "metric" in own:
            shapes["metric"] = (n_dimensions, n_dimensions)
        if "kept" in own:
            shapes["kept"] = (n_landmarks,)
        for name, shape in shapes.items():
            if tuple(own[name].shape) != shape or own[name].is_floating_point() != (name != "kept"):
                raise ValueError(f"{name} of the read-out is {own[name].dtype} of shape {tuple(own[name].shape)}")
        return cls(**own, components=components)

    def _own_tensors(self) -> dict[str, Tensor]:
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "components"}
        return {name: value for name, value in own.items() if value is not None}


def _metric(coordinates: Tensor, linked: Tensor, groups: np.ndarray) -> Tensor | None:
    """A from the x of linked cells, so that those of the landmarks keep their mean square norm; None: the identity."""
    components = relevant_components(linked.cpu().numpy(), groups)
    if components is None:
        return None
    x = coordinates.double()
    metric = torch.as_tensor(components).to(x)
    metric *= x.norm() / (x @ metric).norm()
    return metric.to(coordinates)


def _shifts(
    coordinates: Tensor, divided: Tensor, covariates: Covariates, weight: float, random_state: int
) -> tuple[Tensor | None, Tensor | None]:
    """y - x and u - x of landmarks, (n_landmarks, n_dimensions); None: 0.

    ``divided`` are their coordinates without the factors of batches; the coordinates themselves where there are none.
    """
    x = coordinates.double().cpu().numpy()
    mild = divided is not coordinates
    corrected = without_covariates(divided.double().cpu().numpy(), covariates, random_state, mild)
    correction = corrected - x
    shift = correction + weight * _walked(corrected) if weight else correction

    def moved(values: np.ndarray) -> Tensor | None:
        return torch.as_tensor(values, dtype=coordinates.dtype, device=coordinates.device) if values.any() else None

    return moved(shift), moved(correction)


def _walked(coordinates: np.ndarray) -> np.ndarray:
    """P^t u, (n_landmarks, n_dimensions) from the same."""
    n = len(coordinates)
    points = torch.as_tensor(coordinates)
    near = nearest(points, points, min(NEIGHBOURS, max(2, n // 5), n - 1) + 1).numpy()
    graph = sp.csr_array((np.ones(near.size), near.ravel(), np.arange(0, near.size + 1, near.shape[1])), shape=(n, n))
    graph = graph + graph.T + sp.eye_array(n)
    graph.data[:] = 1.0
    walk = sp.diags_array(1.0 / graph.sum(1)) @ graph
    for _ in range(STEPS):
        coordinates = walk @ coordinates
    return coordinates


def _principal_axes(points: Tensor, n_axes: int) -> tuple[Tensor, Tensor]:
    """Mean and first principal axes of points, signs so that the largest entry of an axis is positive.

    In double precision, since an eigenvector turns where two eigenvalues are close.
    """
    values = points.double().cpu().numpy()
    mean = values.mean(0)
    _, axes = np.linalg.eigh((values - mean).T @ (values - mean))
    axes = axes[:, ::-1][:, :n_axes]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    return torch.as_tensor(mean).to(points), torch.as_tensor(axes.copy()).to(points)
