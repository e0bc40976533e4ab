"""Every setting of the model, checked when it is made."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from numbers import Integral, Real
from typing import Any

import numpy as np

from scrae._errors import Refusal, UnknownName
from scrae._messages import shown, unknown
from scrae.compute.whole_numbers import at_least, is_number
from scrae.data.transforms import CountTransform
from scrae.likelihoods import Likelihood
from scrae.networks.layers import ACTIVATIONS, NORMALISATIONS
from scrae.networks.library_size import LIBRARIES
from scrae.regularisers import Regulariser

KINDS: dict[str, tuple[Any, str]] = {  # of settings, by the beginning of their annotation
    "str": (str, "text"),
    "bool": (Integral | np.bool_, "True or False"),
    "int": (Real, "a number"),
    "float": (Real, "a number"),
}
WHOLE = {  # settings that are whole numbers, and the least that each may be
    "n_latent": 1,
    "batch_size": 2,
    "n_steps": 1,
    "max_epochs": 1,
    "patience": 1,
    "n_pcs": 0,
    "n_residual": 0,
    "dispersion_steps": 0,
}


@dataclass(frozen=True)
class Settings:
    """What a model is and how it is trained. Defaults are those of the preset ``"default"``.

    Attributes
    ----------
    likelihood
        Reconstruction: ``"zinb"``, ``"nb"``, ``"poisson"``, ``"gaussian"``, ``"mse"``,
        ``"zi_cross_entropy"`` (VASC), or ``"none"``, where the contrastive term alone makes the codes.
    regulariser
        ``"learned_prior"`` (scRAE), ``"fixed_prior"`` (AAE / WAE), ``"mmd"`` (WAE without a critic), ``"kl_normal"``
        (VAE, beta-VAE), ``"kl_mixture"`` (scVAE), ``"kl_spike_and_slab"`` (VSC), ``"dec"`` (scDeepCluster),
        ``"soft_kmeans"`` (scziDesk), ``"information_dimension"`` (SAUCIE), ``"dual_matching"`` (DR-A), ``"sphere"``
        (codes of length 1) or ``"none"``.
    per_gene
        Minimise the mean of the reconstruction over genes instead of its sum, as some published codes do: penalties
        then weigh more, by the number of genes.
    regulariser_options
        Options of that regulariser: the keyword arguments of its class (``pull``, ``critic_hidden``, ...).
    n_latent
        Dimensions of the embedding.
    n_hidden
        Widths of the encoder's hidden layers.
    decoder_hidden
        Widths of the decoder's hidden layers; None: the encoder's, mirrored.
    normalisation, activation, dropout_rate
        Of the hidden layers, see :class:`scrae.networks.layers.HiddenLayers`.
    decoder_dropout_rate
        Of the decoder's hidden layers; None: ``dropout_rate``.
    noise_sd
        Standard deviation of the noise added in training to the encoder's input and to its hidden layers.
    standardise_codes
        Give each latent dimension mean 0 and variance 1 over a minibatch. The decoder can undo any scale, so the
        likelihood leaves it free; k-means, neighbour graphs and the critic do not. The ``kl_`` regularisers set the
        scale themselves: with them this is off.
    input_transform
        What the encoder sees, see :class:`scrae.data.transforms.CountTransform`.
    target
        What the decoder explains; None takes what the likelihood is made for.
    mask_rate
        Share of the encoder's input entries hidden in each training step; the target is always whole.
    contrast_weight
        Weight of :func:`scrae.autoencoder.contrast.contrastive_loss` between two masked views of each cell; 0: one view
        only, as where nothing is masked.
    contrast_temperature
        Its temperature.
    contrast_own_view
        Whether a cell is told from the others of its own view as well (NT-Xent,
        :func:`scrae.autoencoder.contrast.nt_xent`).
    must_link_weight, cannot_link_weight
        Weights of the penalties on pairs of cells that are linked (:mod:`scrae.autoencoder.linking`), where
        :meth:`scrae.SCRAE.fit` is told of some.
    n_pcs
        Principal components of the scaled genes that join the codes and the encoder's last hidden layer in the
        embedding (:class:`scrae.posthoc.readout.Readout`); what a batch or another covariate adds is taken out of all.
    smoothing
        How far the embedding is moved towards what surrounds a cell (:class:`scrae.posthoc.readout.Readout`); 0:
        not at all. With both 0 the embedding is the codes.
    n_residual
        Further axes of the embedding, of what the first ``n_latent`` leave over: neighbour graphs want them, and
        k-means can do without (:class:`scrae.posthoc.readout.Readout`). None: 20, but none where ``n_latent`` is below
        10, since whoever asks for two dimensions wants two.
    library
        ``"observed"`` (total counts of the cell) or ``"learned"`` (an output of the encoder).
    library_weight
        Weight of the KL term of a learned library size.
    dispersion
        ``"gene"``, or ``"gene-batch"`` for one dispersion per gene and batch.
    dispersion_steps
        Steps that bring the likelihood's dispersions to where they belong once the codes are finished
        (:func:`scrae.posthoc.dispersion.fit_dispersions`); 0: as training left them. The embedding does not change.
    learning_rate
        Adam's, for the autoencoder.
    adam_eps, weight_decay
        Further settings of that Adam.
    clip_gradient
        Largest size of an entry of the autoencoder's gradient; None: no limit.
    batch_size
        Cells per minibatch, at least 2; sizes differ by at most one within an epoch.
    bfloat16
        Round the factors of the widest matrix products of training to bfloat16 where the processor multiplies these in
        hardware (Intel's AMX, :mod:`scrae.compute.bfloat16`); elsewhere nothing changes.
    n_steps
        About how many minibatches training takes, but ten epochs at least; with fewer than 1,000 one epoch at least for
        each 100. The least counts from about 13,000 cells on. Fewer are for a first look: docs/SCALE.md says what they
        cost.
    max_epochs
        Passes over the training cells; None: :func:`epochs_for`, by ``n_steps``.
    early_stopping
        Stop when the held-out reconstruction has not improved for ``patience`` epochs, keep the best weights.
    patience
        In epochs; None: :func:`patience_for`.
    validation_size
        Share of the cells held out where ``early_stopping`` is on.
    """

    likelihood: str = "zinb"
    regulariser: str = "learned_prior"
    regulariser_options: Mapping[str, Any] = field(default_factory=dict)
    per_gene: bool = False
    n_latent: int = 10
    n_hidden: tuple[int, ...] = (256, 128)
    decoder_hidden: tuple[int, ...] | None = None
    normalisation: str = "batch"
    activation: str = "leaky_relu"
    dropout_rate: float = 0.0
    decoder_dropout_rate: float | None = None
    noise_sd: float = 0.0
    standardise_codes: bool = True
    input_transform: str = "scaled"
    target: str | None = None
    mask_rate: float = 0.7
    contrast_weight: float = 3.0
    contrast_temperature: float = 0.5
    contrast_own_view: bool = False
    must_link_weight: float = 1.0
    cannot_link_weight: float = 1.0
    n_pcs: int = 30
    smoothing: float = 2.0
    n_residual: int | None = None
    library: str = "observed"
    library_weight: float = 1.0
    dispersion: str = "gene"
    dispersion_steps: int = 50
    learning_rate: float = 1e-3
    adam_eps: float = 1e-8
    weight_decay: float = 0.0
    clip_gradient: float | None = None
    batch_size: int = 128
    bfloat16: bool = True
    n_steps: int = 1000
    max_epochs: int | None = None
    early_stopping: bool = True
    patience: int | None = None
    validation_size: float = 0.1

    def __post_init__(self) -> None:
        for setting in fields(self):
            _of_kind(setting.name, getattr(self, setting.name), str(setting.type))
        object.__setattr__(self, "n_hidden", _widths("n_hidden", self.n_hidden))
        if self.decoder_hidden is not None:
            object.__setattr__(self, "decoder_hidden", _widths("decoder_hidden", self.decoder_hidden))
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in self.regulariser_options.items()}
        object.__setattr__(self, "regulariser_options", options)
        _one_of("likelihood", self.likelihood, Likelihood.registry)
        _one_of("regulariser", self.regulariser, Regulariser.registry)
        _one_of("normalisation", self.normalisation, NORMALISATIONS)
        _one_of("activation", self.activation, ACTIVATIONS)
        _one_of("input_transform", self.input_transform, CountTransform.KINDS)
        _one_of("library", self.library, LIBRARIES)
        _one_of("dispersion", self.dispersion, ("gene", "gene-batch"))
        likelihood = Likelihood.registry[self.likelihood]
        if self.target is not None:
            _one_of("target", self.target, CountTransform.KINDS)
            if self.target == "scaled" and not likelihood.explains_scaled:
                raise Refusal(
                    f'target="scaled" has negative values, which likelihood={self.likelihood!r} does not allow; '
                    'use "mse"',
                    "scaled_target",
                    likelihood=self.likelihood,
                )
            if not likelihood.explains_others and self.target != likelihood.target:
                raise Refusal(
                    f'likelihood={self.likelihood!r} explains target="{likelihood.target}" alone, not {self.target!r}',
                    "other_target",
                    likelihood=self.likelihood,
                    target=likelihood.target,
                    value=self.target,
                )
        for name, least in WHOLE.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, at_least(name, getattr(self, name), least))
        _within("mask_rate", self.mask_rate, 0.0, 1.0)
        _within("dropout_rate", self.dropout_rate, 0.0, 1.0)
        _within("decoder_dropout_rate", self.decoder_dropout_rate or 0.0, 0.0, 1.0)
        _within("validation_size", self.validation_size, 0.0, 1.0)
        for name in ("learning_rate", "adam_eps", "clip_gradient", "contrast_temperature"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                value = getattr(self, name)
                raise Refusal(f"{name} must be positive, not {value}", "not_positive", name=name, value=value)
        for name in (
            "noise_sd",
            "weight_decay",
            "contrast_weight",
            "must_link_weight",
            "cannot_link_weight",
            "smoothing",
        ):
            if not getattr(self, name) >= 0:
                value = getattr(self, name)
                raise Refusal(f"{name} must not be negative, not {value}", "negative", names=[name], values=[value])
        if not likelihood.reconstructs:
            self._refuse_nothing_to_learn()
        known = _options_of(self.regulariser)
        for name, value in options.items():
            if name not in known:
                raise UnknownName(
                    unknown("option", name, known, f"regulariser {self.regulariser!r}"),
                    "unknown_option",
                    name=name,
                    known=list(known),
                    of=self.regulariser,
                )
            if known[name].startswith("Sequence"):
                options[name] = _widths(name, value, least=0)  # a generator or critic may be linear
            _of_kind(name, value, known[name])

    def _refuse_nothing_to_learn(self) -> None:
        """Refuse what leaves a training without reconstruction no loss, or none to stop by."""
        if not (self.contrast_weight and self.mask_rate) or self.early_stopping:
            raise Refusal(
                f"likelihood={self.likelihood!r} reconstructs nothing: contrast_weight and mask_rate must be positive "
                "and early_stopping False",
                "nothing_to_learn",
                likelihood=self.likelihood,
            )

    @property
    def residual_axes(self) -> int:
        """How many residual axes the embedding has."""
        if self.n_residual is not None:
            return self.n_residual
        return 20 if self.n_latent >= 10 else 0

    @classmethod
    def names(cls) -> list[str]:
        """Names of all settings."""
        return [f.name for f in fields(cls)]

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """These settings with some changed.

        ``changes`` may name settings and options of the regulariser alike. A change of regulariser drops the options of
        the old one that the new one does not have.
        """
        values = asdict(self)
        values |= {name: value for name, value in changes.items() if name in self.names()}
        _of_kind("regulariser", values["regulariser"], "str")
        _one_of("regulariser", values["regulariser"], Regulariser.registry)
        known = regulariser_option_names(values["regulariser"])
        options = dict(values["regulariser_options"])
        if "regulariser_options" not in changes:
            options = {name: value for name, value in options.items() if name in known}
        for name, value in changes.items():
            if name in known:
                options[name] = value
            elif name not in self.names():
                every = [*self.names(), *known]
                raise UnknownName(unknown("setting", name, every, "SCRAE"), "unknown_setting", name=name, known=every)
        return Settings(**values | {"regulariser_options": options})


def regulariser_option_names(regulariser: str) -> list[str]:
    """Names of the options that a regulariser takes: the keyword-only arguments of its class and of its parents."""
    return list(_options_of(regulariser))


def _options_of(regulariser: str) -> dict[str, str]:
    """The same with their annotations."""
    options: dict[str, str] = {}
    for parent in Regulariser.registry[regulariser].__mro__:
        if "__init__" in parent.__dict__:
            parameters = inspect.signature(parent.__dict__["__init__"]).parameters.values()
            options |= {p.name: str(p.annotation) for p in parameters if p.kind is p.KEYWORD_ONLY}
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
    return options


def _of_kind(name: str, value: Any, kind: str) -> None:
    """Refuse text where a number is meant, several values where one is meant, and the like; ``kind`` as annotated."""
    if value is None and "None" in kind:
        return
    for start, (known, said) in KINDS.items():
        if kind.startswith(start) and not isinstance(value, known):
            raise Refusal(
                f"{name} must be {said}, not {shown(value)}", "other_kind", name=name, kind=start, value=value
            )


def _widths(name: str, widths: Any, least: int = 1) -> tuple[int, ...]:
    """As whole numbers; refuse fewer than ``least`` of them."""
    listed = list(widths) if isinstance(widths, Iterable) and not isinstance(widths, str) else [widths]
    whole = all(is_number(width) and float(width).is_integer() and width >= 1 for width in listed)
    if len(listed) < least or not whole:
        raise Refusal(
            f"{name} must be one or more positive widths, not {widths!r}", "no_widths", name=name, value=widths
        )
    return tuple(int(width) for width in listed)


def _one_of(name: str, value: str, allowed: Iterable[str]) -> None:
    if value not in allowed:
        raise Refusal(
            f"{name}={value!r} is not known; choose one of {', '.join(map(repr, allowed))}",
            "not_one_of",
            name=name,
            known=list(allowed),
            value=value,
        )


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value < high:
        raise Refusal(
            f"{name} must be in [{low:g}, {high:g}), not {shown(value)}",
            "not_within",
            name=name,
            low=low,
            high=high,
            value=value,
        )


def epochs_for(n_cells: int, batch_size: int, n_steps: int = Settings.n_steps) -> int:
    """Epochs that give about ``n_steps`` steps, at most 400 and at least 10.

    With fewer than 1,000 steps the least is one epoch for each 100: a first look at many cells is short, too.
    """
    least = min(10, max(1, round(n_steps / 100)))
    return min(400, max(least, round(n_steps * batch_size / n_cells)))


def patience_for(n_cells: int, batch_size: int, n_steps: int = Settings.n_steps) -> int:
    """Epochs without improvement before stopping: a tenth of :func:`epochs_for`, at least 15."""
    return max(15, epochs_for(n_cells, batch_size, n_steps) // 10)
