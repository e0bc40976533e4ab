"""Two critics, one of codes and one of cells: the dual matching of DR-A (Lin et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from scrae._errors import Refusal
from scrae.data.minibatches import Minibatch
from scrae.regularisers.base import Autoencoder, ForwardPass
from scrae.regularisers.critic import Critic
from scrae.regularisers.phases import Phase, always
from scrae.regularisers.variational import NormalPrior


def bhattacharyya(real: Tensor, made: Tensor) -> Tensor:
    """-log sum_i sqrt( r_i / sum r * m_i / sum m ): distance of two distributions over a minibatch, scalar, at least 0.

    Parameters
    ----------
    real, made
        What a critic says of real and of made samples, positive, (n,).
    """
    return -torch.log(torch.sqrt(real / real.sum() * made / made.sum()).sum())


def spread(made: Tensor) -> Tensor:
    """-log sum_i sqrt( m_i / sum m ), scalar: least where the critic says the same of all made samples."""
    return -torch.log(torch.sqrt(made / made.sum()).sum())


class DualMatching(NormalPrior):
    """DR-A: a critic between codes and N(0, I), and a critic between cells and reconstructions.

        L_D1 = bhattacharyya(D1(n), D1(z)),  n ~ N(0, I)      in 1 of 3 iterations
        L_E  = spread(D1(z))                                  the encoder alone, in the 2 others
        L_D2 = bhattacharyya(D2(x), D2(mean of p(x|z)))       in every iteration
        L_AE gains data_weight * spread(D2(mean of p(x|z)))

    Codes are drawn from a Gaussian posterior without a KL term (``weight=0``). Two things differ from the public code.
    Its critics' outputs have either sign and enter as |r / sum r|, which has no lower bound: here they pass a softplus.
    Its second critic sees an output layer that nothing trains, and acts on nothing (``data_weight=0``): here it sees
    the decoder's means, and they are drawn to the cells. Both are compared on the scale of the target.

    Parameters
    ----------
    n_latent
        Number of latent dimensions.
    critic_hidden
        Widths of the hidden layers of both critics.
    critic_learning_rate
        Of both critics and the encoder's adversarial step; None: the autoencoder's.
    data_weight
        See above.
    weight
        Of a KL to N(0, I).
    **options
        As for :class:`VariationalPosterior`.
    """

    name = "dual_matching"

    def __init__(
        self,
        n_latent: int,
        *,
        critic_hidden: Sequence[int] = (512,),
        critic_learning_rate: float | None = None,
        data_weight: float = 1.0,
        weight: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(n_latent, weight=weight, **options)
        if data_weight < 0:
            raise Refusal(
                f"data_weight must not be negative, not {data_weight}",
                "negative",
                names=["data_weight"],
                values=[data_weight],
            )
        self.critic_hidden = critic_hidden
        self.critic_learning_rate = critic_learning_rate
        self.data_weight = data_weight
        self.code_critic = Critic(n_latent, critic_hidden)

    def connect(self, n_genes: int, n_hidden: int) -> None:
        self.data_critic = Critic(n_genes, self.critic_hidden)

    def penalties(self, passed: ForwardPass) -> dict[str, Tensor]:
        data_matching = self.data_weight * spread(softplus(self.data_critic(passed.mean)))
        return super().penalties(passed) | {"data_matching": data_matching}

    def code_critic_loss(self, codes: Tensor) -> Tensor:
        """L_D1 for codes (n, n_latent)."""
        prior = torch.randn_like(codes)
        return bhattacharyya(softplus(self.code_critic(prior)), softplus(self.code_critic(codes)))

    def data_critic_loss(self, cells: Tensor, means: Tensor) -> Tensor:
        """L_D2 for cells and reconstructions, both (n, n_genes)."""
        return bhattacharyya(softplus(self.data_critic(cells)), softplus(self.data_critic(means)))

    def phases(self, model: Autoencoder) -> list[Phase]:
        def first_of_three(iteration: int) -> bool:
            return iteration % 3 == 0

        def others(iteration: int) -> bool:
            return iteration % 3 != 0

        def code_critic(minibatch: Minibatch) -> dict[str, Tensor]:
            with torch.no_grad():
                codes = model.forward_pass(minibatch).codes
            return {"code_critic": self.code_critic_loss(codes)}

        def encoder_adversarial(minibatch: Minibatch) -> dict[str, Tensor]:
            return {"encoder_adversarial": spread(softplus(self.code_critic(model.forward_pass(minibatch).codes)))}

        def data_critic(minibatch: Minibatch) -> dict[str, Tensor]:
            with torch.no_grad():
                passed = model.forward_pass(minibatch)
                means = passed.mean
            return {"data_critic": self.data_critic_loss(passed.target, means)}

        rate, betas = self.critic_learning_rate or model.learning_rate, (0.9, 0.999)
        encoder = model.encoder_parameters()
        return [
            Phase("code_critic", list(self.code_critic.parameters()), rate, betas, first_of_three, code_critic),
            Phase("encoder_adversarial", encoder, rate, betas, others, encoder_adversarial),
            Phase("data_critic", list(self.data_critic.parameters()), rate, betas, always, data_critic),
        ]
