"""What every regulariser of the latent space offers to the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NoReturn

from torch import Tensor, nn

from scrae.data import Minibatch
from scrae.phases import Phase


class Regulariser(nn.Module):
    """divergence( Q(z), P(z) ): how the codes are held to a prior.

    A regulariser acts in up to three ways, each a method with a neutral default: it may make codes random
    (:meth:`draw`), add a penalty to the autoencoder's loss (also :meth:`draw`), or bring phases of its own
    (:meth:`phases`). Subclasses set ``name`` (how settings call them) and take their options, with defaults, as
    keyword arguments of ``__init__``; they are found by both.

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

    registry: ClassVar[dict[str, type[Regulariser]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" in cls.__dict__:
            Regulariser.registry[cls.name] = cls

    def __init__(self, n_latent: int) -> None:
        super().__init__()
        self.n_latent = n_latent

    def codes(self, outputs: Tensor) -> Tensor:
        """The embedding: (n_cells, n_latent) from encoder outputs (n_cells, n_latent * outputs_per_dimension)."""
        return outputs[:, : self.n_latent]

    def draw(self, outputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Codes to reconstruct from in training, and penalties (scalars, by name) to add to the loss."""
        return self.codes(outputs), {}

    def penalty_parameters(self) -> list[nn.Parameter]:
        """Parameters that the penalties of :meth:`draw` train, together with the autoencoder's."""
        return []

    def phases(
        self,
        encode: Callable[[Minibatch], Tensor],
        encoder_parameters: list[nn.Parameter],
        learning_rate: float,
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
        """
        return []

    def sample(self, n: int) -> Tensor:
        """``n`` codes from the prior, (n, n_latent), from torch's random state."""
        self._no_prior()

    def _no_prior(self) -> NoReturn:
        raise ValueError(
            f"regulariser {self.name!r} has no prior to sample from; train with "
            'regulariser="learned_prior" (the default preset) to draw new cells'
        )


class NoRegulariser(Regulariser):
    """No divergence term: a plain (or denoising) autoencoder."""

    name = "none"
