"""Types of cells from partial labels: a calibrated linear classifier, and a distance that says "none of these".

The features are the encoder's, which no label has touched: labels come after the embedding, not into it. Probabilities
are calibrated by one temperature (Guo et al. 2017, On calibration of modern neural networks) on labels that the
classifier did not see; a cell is unknown if it lies further from the nearest type (Mahalanobis distance with one
covariance for all types, Lee et al. 2018, A simple unified framework for detecting out-of-distribution samples) than
all but a given share of labelled cells that were held out: a conformal test (Vovk et al. 2005, Algorithmic learning
in a random world).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

FOLDS = 5  # of the labelled cells, each held out once for calibration
PENALTY = 0.1  # inverse strength of the classifier's ridge penalty (scikit-learn's C), features at unit variance
HOTTEST = 20.0  # temperatures from its inverse to this one are looked at


@dataclass(frozen=True)
class CellTypes:
    """A fitted classifier.

    Attributes
    ----------
    types
        Names of the types, sorted, (n_types,).
    centre, scale
        Mean and standard deviation of each feature over the labelled cells, (n_features,).
    weights, offsets
        Of the logits, (n_features, n_types) and (n_types,).
    temperature
        Logits are divided by it.
    centroids
        Mean of the scaled features of each type that has cells, (n_types, n_features).
    whitening
        W with W W' the inverse of the covariance within types, (n_features, n_features).
    distances
        Distances of held-out labelled cells to the nearest type, sorted, (n_held_out,).
    """

    types: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray
    temperature: float
    centroids: np.ndarray
    whitening: np.ndarray
    distances: np.ndarray

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Calibrated probability of each type, (n_cells, n_types), rows sum to 1; features (n_cells, n_features)."""
        from scipy.special import softmax

        logits = self._scaled(features) @ self.weights + self.offsets
        return np.asarray(softmax(logits / self.temperature, axis=1))

    def conformal_p_values(self, features: np.ndarray) -> np.ndarray:
        """Conformal p value of "this cell is of one of the types", (n_cells,), in (0, 1] (Vovk et al. 2005).

        The share of held-out labelled cells, the cell itself among them, that lie as far from all types, or further.
        For cells like the labelled ones it is uniform: calling those of 0.01 or less unknown calls 1 % of them so.
        """
        distance = self._distance(features)
        further = len(self.distances) - np.searchsorted(self.distances, distance, side="left")
        return np.asarray((1 + further) / (1 + len(self.distances)))

    def _scaled(self, features: np.ndarray) -> np.ndarray:
        return np.asarray((features.astype(np.float64) - self.centre) / self.scale)

    def _distance(self, features: np.ndarray) -> np.ndarray:
        from sklearn.metrics import pairwise_distances_argmin_min

        return np.asarray(
            pairwise_distances_argmin_min(self._scaled(features) @ self.whitening, self.centroids @ self.whitening)[1]
        )

    def description(self) -> dict[str, Any]:
        """All of it as plain lists and numbers, for a file."""
        return {f.name: np.asarray(getattr(self, f.name)).tolist() for f in fields(self)}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> CellTypes:
        """What :meth:`description` gave.

        Raises
        ------
        ValueError, TypeError, KeyError
            A part is missing, unknown or not of numbers, or parts do not fit together.
        """
        parts: dict[str, Any] = {
            name: np.asarray(value, dtype=object if name == "types" else np.float64)
            for name, value in description.items()
        }
        found = cls(**parts | {"temperature": float(parts["temperature"])})
        n_types, n_features = len(found.types), found.centre.size
        shapes: dict[str, tuple[int, ...]] = {
            "types": (n_types,),
            "centre": (n_features,),
            "scale": (n_features,),
            "weights": (n_features, n_types),
            "offsets": (n_types,),
            "centroids": (len(found.centroids), n_features),
            "whitening": (n_features, n_features),
            "distances": (found.distances.size,),
        }
        for name, shape in shapes.items():
            if getattr(found, name).shape != shape:
                raise ValueError(f"{name} of the cell types have the shape {getattr(found, name).shape}")
        return found


def fit_cell_types(features: np.ndarray, labels: np.ndarray, random_state: int = 0) -> CellTypes:
    """Fit the classifier, and calibrate it on held-out labels.

    Parameters
    ----------
    features
        (n_cells, n_features), of labelled cells only.
    labels
        Type of each cell, text, (n_cells,); two types or more. A type may have a single cell.
    random_state
        Seed of the folds.
    """
    types, code = np.unique(labels.astype(str), return_inverse=True)
    features = features.astype(np.float64)
    fold = _folds(code, random_state)
    logits, truth, distances = [], [], []
    for held_out in np.unique(fold):
        inside, outside = fold != held_out, fold == held_out
        known = np.isin(code, code[inside])  # a type whose only cell is held out cannot be found
        if len(np.unique(code[inside])) < 2 or not (outside & known).any():
            continue
        part = _fit(features[inside], code[inside], types)
        logits.append(part._scaled(features[outside & known]) @ part.weights + part.offsets)
        truth.append(code[outside & known])
        distances.append(part._distance(features[outside & known]))
    whole = _fit(features, code, types)
    if not truth:
        return whole
    temperature = _temperature(np.concatenate(logits), np.concatenate(truth))
    return replace(whole, temperature=temperature, distances=np.sort(np.concatenate(distances)))


def _folds(code: np.ndarray, random_state: int) -> np.ndarray:
    """Fold of each cell; those of a type are spread over the folds as evenly as can be."""
    shuffled = np.random.default_rng(random_state).permutation(len(code))
    order = shuffled[np.argsort(code[shuffled], kind="stable")]
    fold = np.empty(len(code), dtype=np.int64)
    fold[order] = np.arange(len(code)) % FOLDS
    return fold


def _fit(features: np.ndarray, code: np.ndarray, types: np.ndarray) -> CellTypes:
    """A classifier that is not calibrated; types without a cell get a probability of zero."""
    from sklearn.covariance import LedoitWolf
    from sklearn.linear_model import LogisticRegression

    centre, scale = features.mean(0), features.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    scaled = (features - centre) / scale
    present = np.unique(code)
    classifier = LogisticRegression(C=PENALTY, max_iter=5000).fit(scaled, code)
    weights, offsets = np.zeros((features.shape[1], len(types))), np.full(len(types), -np.inf)
    if len(present) == 2:  # scikit-learn keeps one logit for two types
        weights[:, present] = np.stack([-classifier.coef_[0] / 2, classifier.coef_[0] / 2], 1)
        offsets[present] = np.array([-0.5, 0.5]) * classifier.intercept_[0]
    else:
        weights[:, present], offsets[present] = classifier.coef_.T, classifier.intercept_
    centroids = np.stack([scaled[code == k].mean(0) for k in present])
    within = scaled - centroids[np.searchsorted(present, code)]
    precision = LedoitWolf(assume_centered=True).fit(within).precision_
    value, vector = np.linalg.eigh(precision)
    whitening = vector * np.sqrt(np.maximum(value, 0.0))
    return CellTypes(types.astype(object), centre, scale, weights, offsets, 1.0, centroids, whitening, np.empty(0))


def _temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The temperature that makes the held-out labels most likely."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def loss(log_temperature: float) -> float:
        log_probability = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-log_probability[np.arange(len(truth)), truth].mean())

    best = minimize_scalar(loss, bounds=(-np.log(HOTTEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(best.x))
