"""What every regulariser of the latent space offers to the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NoReturn

from torch import Tensor, nn

from scrae._errors import Refusal
from scrae.data.minibatches import Minibatch
from scrae.regularisers.phases import Phase


@dataclass(frozen=True)
class Pass:
    """A minibatch on its way through the autoencoder in training, as far as a regulariser may look at it.

    All of its cells are there, also where several processes share them (:mod:`scrae.compute.distributed`): what is wide
    is gathered when it is called for.

    Attributes
    ----------
    minibatch
        The cells.
    inputs
        Gives what the encoder saw, noise and hidden entries included, dense, (n_cells, n_genes).
    codes
        What was decoded, (n_cells, n_latent).
    hidden
        Gives the decoder's last hidden layer, (n_cells, n_hidden).
    target
        Gives what the decoder had to explain, dense, (n_cells, n_genes).
    mean
        Gives the likelihood's mean, (n_cells, n_genes).
    encode
        Codes of a minibatch as the embedding gives them, without noise, differentiable in the encoder.
    """

    minibatch: Minibatch
    inputs: Callable[[], Tensor]
    codes: Tensor
    hidden: Callable[[], Tensor]
    target: Callable[[], Tensor]
    mean: Callable[[], Tensor]
    encode: Callable[[Minibatch], Tensor]


class Regulariser(nn.Module):
    """divergence( Q(z), P(z) ): how the codes are held to a prior.

    A regulariser acts in up to five ways, each a method with a neutral default: it may make codes random
    (:meth:`draw`), add a penalty to the autoencoder's loss (also :meth:`draw`, or :meth:`penalties` where it must see
    more than the encoder's outputs), bring phases of its own (:meth:`phases`), or change with the epochs
    (:meth:`start_epoch`). What decides how training goes on is kept in parameters and buffers, or can be computed from
    them when an epoch starts: so a resume, and a return to the last good state, come to the same bits.

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

    def draw(self, outputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Codes to reconstruct from in training, and penalties (scalars, by name) to add to the loss."""
        return self.codes(outputs), {}

    def penalties(self, passed: Pass) -> dict[str, Tensor]:
        """Further penalties (scalars, by name) to add to the loss, once the codes have been decoded."""
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

    def phases(
        self,
        encode: Callable[[Minibatch], Tensor],
        encoder_parameters: list[nn.Parameter],
        learning_rate: float,
        run: Callable[[Minibatch], Pass] | None = None,
    ) -> list[Phase]:
        """Phases beside the autoencoder's own.

        Parameters
        ----------
        encode
            Codes of a minibatch as the embedding gives them, differentiable in the encoder.
        encoder_parameters
            Parameters of the encoder.
        learning_rate
            The autoencoder's learning rate.
        run
            Takes a minibatch through the autoencoder as in training.
        """
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
