"""A minibatch on its way through the autoencoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from scrae.data.count_rows import CountRows
from scrae.data.minibatches import Minibatch
from scrae.likelihoods import Likelihood


@dataclass(frozen=True)
class ForwardPass:
    """What losses and regularisers see of a pass in training (:class:`scrae.regularisers.ForwardPass`).

    Parts whose names begin with ``own`` are of the rows of this process; all others are of the whole minibatch. What is
    wide is computed, and gathered from all processes, when it is first asked for.

    Attributes
    ----------
    likelihood
        That of the model.
    encode
        Gives codes of a minibatch as the embedding takes them.
    minibatch
        The cells.
    own_inputs
        What the encoder saw, noise and hidden entries included, (n_own, n_genes).
    outputs
        What the encoder gave, (n_cells, n_latent * outputs_per_dimension).
    posterior
        Parameters of q(z|x), each (n_cells, n_latent).
    codes
        What was decoded, (n_cells, n_latent).
    own_hidden
        The decoder's last hidden layer, (n_own, n_hidden).
    own_log_library
        log library size that the decoder was told, (n_own,).
    library_kl
        Penalty of a learned library size, scalar; None: it is observed.
    own_target
        What the decoder had to explain, (n_own, n_genes).
    """

    likelihood: Likelihood
    encode: Callable[[Minibatch], Tensor]
    minibatch: Minibatch
    own_inputs: CountRows | Tensor
    outputs: Tensor
    posterior: tuple[Tensor, ...]
    codes: Tensor
    own_hidden: Tensor
    own_log_library: Tensor
    library_kl: Tensor | None
    own_target: CountRows

    @cached_property
    def log_prob(self) -> Tensor:
        """log p(x | z), summed over genes, (n_cells,)."""
        own = self.likelihood.log_prob(self.own_hidden, self.own_log_library, self._own_batch, self.own_target)
        return self.minibatch.rows.gather(own)

    @cached_property
    def codes_without_noise(self) -> Tensor:
        """Codes as the embedding takes them, (n_cells, n_latent), differentiable in the encoder."""
        return self.encode(self.minibatch)

    @cached_property
    def inputs(self) -> Tensor:
        """What the encoder saw, dense, (n_cells, n_genes)."""
        own = self.own_inputs
        return self.minibatch.rows.gather(own.dense() if isinstance(own, CountRows) else own)

    @cached_property
    def hidden(self) -> Tensor:
        """The decoder's last hidden layer, (n_cells, n_hidden)."""
        return self.minibatch.rows.gather(self.own_hidden)

    @cached_property
    def target(self) -> Tensor:
        """What the decoder had to explain, dense, (n_cells, n_genes)."""
        return self.minibatch.rows.gather(self.own_target.dense())

    @cached_property
    def mean(self) -> Tensor:
        """The likelihood's mean, (n_cells, n_genes)."""
        parameters = self.likelihood(self.own_hidden, self.own_log_library, self._own_batch)
        return self.minibatch.rows.gather(self.likelihood.mean(parameters))

    @property
    def _own_batch(self) -> Tensor:
        return self.minibatch.rows.own(self.minibatch.batch)
