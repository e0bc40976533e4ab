"""What every regulariser of the latent space offers to the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NoReturn, Protocol

from torch import Tensor, nn

from scrae._errors import Refusal
from scrae.data.minibatches import Minibatch
from scrae.regularisers.phases import Phase


class ForwardPass(Protocol):
    """A minibatch on its way through the autoencoder in training, as far as a regulariser may look at it.

    All of its cells are there, also where several processes share them (:mod:`scrae.compute.distributed`). What is wide
    is computed, and gathered, when it is first asked for.
    """

    @property
    def minibatch(self) -> Minibatch:
        """The cells."""

    @property
    def posterior(self) -> tuple[Tensor, ...]:
        """Parameters of q(z|x), as :meth:`Regulariser.posterior` gave them."""

    @property
    def codes(self) -> Tensor:
        """What was decoded, (n_cells, n_latent)."""

    @property
    def codes_without_noise(self) -> Tensor:
        """Codes as the embedding takes them, (n_cells, n_latent), differentiable in the encoder."""

    @property
    def inputs(self) -> Tensor:
        """What the encoder saw, noise and hidden entries included, dense, (n_cells, n_genes)."""

    @property
    def hidden(self) -> Tensor:
        """The decoder's last hidden layer, (n_cells, n_hidden)."""

    @property
    def target(self) -> Tensor:
        """What the decoder had to explain, dense, (n_cells, n_genes)."""

    @property
    def mean(self) -> Tensor:
        """The likelihood's mean, (n_cells, n_genes)."""


class Autoencoder(Protocol):
    """The model, as far as phases beside its own need it."""

    @property
    def learning_rate(self) -> float:
        """Of its own phase."""

    def encoder_parameters(self) -> list[nn.Parameter]:
        """What moves the codes."""

    def encode(self, minibatch: Minibatch) -> Tensor:
        """Codes as the embedding takes them, (n_cells, n_latent), differentiable in the encoder."""

    def forward_pass(self, minibatch: Minibatch) -> ForwardPass:
        """A minibatch through the autoencoder as in training."""


class Regulariser(nn.Module):
    """divergence( Q(z), P(z) ): how the codes are held to a prior.

    A regulariser acts in up to four ways, each a method with a neutral default: it may make codes random
    (:meth:`sample_codes`), add penalties to the autoencoder's loss (:meth:`penalties`), bring phases of its own
    (:meth:`phases`), or change with the epochs (:meth:`start_epoch`). What decides how training goes on is kept in
    parameters and buffers, or can be computed from them when an epoch starts: so a resume, and a return to the last
    good state, come to the same bits.

    Subclasses set ``name`` (how settings call them) and take their options, with defaults, as keyword arguments of
    ``__init__``; they are found by both.

    Parameters
    ----------
    n_latent
        Number of latent dimensions.
    """

    name: ClassVar[str]
    outputs_per_dimension: ClassVar[int] = 1
    """Encoder outputs per latent dimension: 1 for a code, 2 for the mean and spread of a posterior."""
    sets_scale: ClassVar[bool] = False
    """Whether the penalty gives the codes their scale, so that they must not be standardised."""
    makes_clusters: ClassVar[bool] = False
    """Whether cells are clustered in training, so that :meth:`clusters` gives them."""
    compares_batches: ClassVar[bool] = False
    """Whether the penalty draws all batches together in training."""

    steps_alike: bool = False
    """Whether steps differ by what is in parameters and buffers alone, each of them changed in place, and in no epoch
    by what the processor knows: then a GPU may replay them (:mod:`scrae.training.recordings`)."""

    registry: ClassVar[dict[str, type[Regulariser]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" in cls.__dict__:
            Regulariser.registry[cls.name] = cls

    def __init__(self, n_latent: int) -> None:
        super().__init__()
        self.n_latent = n_latent

    def connect(self, n_genes: int, n_hidden: int) -> None:
        """Make what depends on the numbers of genes and of units in the decoder's last hidden layer. Called once."""

    def codes(self, outputs: Tensor) -> Tensor:
        """The embedding: (n_cells, n_latent) from encoder outputs (n_cells, n_latent * outputs_per_dimension)."""
        return outputs[:, : self.n_latent]

    def posterior(self, outputs: Tensor) -> tuple[Tensor, ...]:
        """Parameters of q(z|x) from the same outputs, each (n_cells, n_latent): here the code alone."""
        return (self.codes(outputs),)

    def sample_codes(self, posterior: tuple[Tensor, ...]) -> Tensor:
        """Codes to reconstruct from in training, (n_cells, n_latent), drawn from q(z|x)."""
        return posterior[0]

    def penalties(self, passed: ForwardPass) -> dict[str, Tensor]:
        """Penalties (scalars, by name) to add to the loss, once the codes have been decoded."""
        return {}

    def penalty_parameters(self) -> list[nn.Parameter]:
        """Parameters that the penalties train, together with the autoencoder's."""
        return []

    @property
    def preparing(self) -> bool:
        """Whether training is still in a stage before its real objective: no epoch of it can be the best one."""
        return False

    def start_epoch(self, epoch: int, codes: Callable[[], tuple[Tensor, Tensor]]) -> bool:
        """Called before each epoch.

        Parameters
        ----------
        epoch
            Number of epochs done.
        codes
            Gives the positions of all training cells, int64 (n_cells,), and their codes as the embedding has them,
            (n_cells, n_latent).

        Returns
        -------
        Whether training has come to its end, so that this epoch is not to be.
        """
        return False

    def together(self, codes: Tensor, others: Tensor) -> Tensor:
        """Probability that two cells are of one type, by their codes: (n_pairs,) from (n_pairs, n_latent) of each.

        1 / (1 + |z - z'|^2 / n_latent): Student's t, as in DEC, of distances on the scale of a dimension.
        """
        return 1.0 / (1.0 + (codes - others).square().mean(1))

    def phases(self, model: Autoencoder) -> list[Phase]:
        """Phases beside the autoencoder's own."""
        return []

    def clusters(self, codes: Tensor) -> Tensor:
        """Cluster of each cell, int64 (n_cells,), from codes (n_cells, n_latent), where the model has clusters."""
        raise Refusal(
            f"regulariser {self.name!r} makes no clusters; cluster the embedding, with Leiden for example",
            "makes_no_clusters",
            regulariser=self.name,
        )

    def sample(self, n: int) -> Tensor:
        """``n`` codes from the prior, (n, n_latent), from torch's random state."""
        self._no_prior()

    def _no_prior(self) -> NoReturn:
        raise Refusal(
            f"regulariser {self.name!r} has no prior to sample from; train with "
            'regulariser="learned_prior" (the default preset) to draw new cells',
            "no_prior",
            regulariser=self.name,
        )


class NoRegulariser(Regulariser):
    """No divergence term: a plain (or denoising) autoencoder."""

    name = "none"
    steps_alike = True
