"""A Wasserstein critic between codes and prior: the fixed prior of AAE / WAE and the learned prior of scRAE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from scrae._errors import Refusal
from scrae.data.minibatches import Minibatch
from scrae.regularisers.base import Autoencoder, Regulariser
from scrae.regularisers.critic import Critic, Generator
from scrae.regularisers.phases import Phase

GENERATOR_MEMORY = 0.95  # of the running average: about its last 20 steps


def towards(averages: Sequence[Tensor], weights: Sequence[Tensor], n_averaged: Tensor | int) -> None:
    """Move running averages towards the weights of one more step: torch's own, whose function cannot be pickled."""
    get_ema_multi_avg_fn(GENERATOR_MEMORY)(averages, weights, n_averaged)  # type: ignore[no-untyped-call]


def gradient_penalty(critic: Critic, codes: Tensor, prior: Tensor, mix: Tensor) -> Tensor:
    """mean (||grad C(z_avg)|| - 1)^2 with z_avg = a z + (1 - a) G(n) (Gulrajani et al. 2017).

    Parameters
    ----------
    critic
        C, (n, n_latent) to (n,).
    codes, prior
        z and G(n), both (n, n_latent).
    mix
        a ~ U[0, 1], (n, 1).

    Returns
    -------
    Scalar, differentiable in the critic.
    """
    z_avg = mix * codes + (1.0 - mix) * prior
    slope: Tensor = critic.gradient(z_avg).norm(dim=1)
    return (slope - 1.0).square().mean()


class FixedPrior(Regulariser):
    """AAE / WAE: Wasserstein distance between the codes and N(0, I), as a critic sees it.

    Written for any G, so that a learned prior is this class with another G. The phases beside the autoencoder's
    (Mondal et al. 2021, equations for L_critic, L_enc, L_gen):

        L_critic = mean C(G(n)) - mean C(E(x)) + gradient_penalty_weight * mean (||grad C(z_avg)|| - 1)^2
        L_enc    = mean C(E(x))
        L_gen    = -mean C(G(n))

    In ``adversarial_every - 1`` of ``adversarial_every`` iterations the critic steps, in the other one the encoder and
    (where G has parameters) the generator: the published schedule (4 of 5, 1 of 5).

    Parameters
    ----------
    n_latent
        Number of latent dimensions; also that of the noise n ~ N(0, I).
    critic_hidden
        Widths of the critic's hidden layers.
    pull
        Learning rate of the encoder's adversarial step, as a multiple of the autoencoder's. The published code uses
        1e-3: the prior chases the codes far more than the codes are drawn to the prior. With 0 the encoder has no
        adversarial step.
    adversarial_learning_rate
        Learning rate of critic and generator.
    adversarial_every
        Length of the schedule, at least 2.
    gradient_penalty_weight
        Weight of the gradient penalty.
    """

    name = "fixed_prior"
    steps_alike = True
    generator: nn.Module

    def __init__(
        self,
        n_latent: int,
        *,
        critic_hidden: Sequence[int] = (64, 64),
        pull: float = 1e-3,
        adversarial_learning_rate: float = 3e-3,
        adversarial_every: int = 5,
        gradient_penalty_weight: float = 10.0,
    ) -> None:
        super().__init__(n_latent)
        if adversarial_every < 2:
            raise Refusal(
                f"adversarial_every must be at least 2, not {adversarial_every}",
                "below_least",
                name="adversarial_every",
                least=2,
                value=adversarial_every,
            )
        self.generator = nn.Identity()
        self.critic = Critic(n_latent, critic_hidden)
        self.pull = pull
        self.adversarial_learning_rate = adversarial_learning_rate
        self.adversarial_every = adversarial_every
        self.gradient_penalty_weight = gradient_penalty_weight

    def prior(self, n: int) -> Tensor:
        """G(n), n ~ N(0, I), as training sees it."""
        result: Tensor = self.generator(self._noise(n))
        return result

    def sample(self, n: int) -> Tensor:
        return self.prior(n)

    def _noise(self, n: int) -> Tensor:
        return torch.randn(n, self.n_latent, device=next(self.critic.parameters()).device)

    def critic_loss(self, codes: Tensor) -> dict[str, Tensor]:
        """L_critic for codes (n, n_latent); also the gap C(E(x)) - C(G(n)), the critic's estimate of the distance."""
        with torch.no_grad():
            prior = self.prior(len(codes))
        mix = torch.rand(len(codes), 1, device=codes.device)
        of_codes, of_prior = self.critic(torch.cat([codes, prior])).split(len(codes))
        gap = of_codes.mean() - of_prior.mean()
        penalty = gradient_penalty(self.critic, codes, prior, mix)
        loss = -gap + self.gradient_penalty_weight * penalty
        return {"critic": loss, "critic_gap": gap, "gradient_penalty": penalty}

    def generator_loss(self, n: int) -> Tensor:
        """L_gen for ``n`` draws."""
        loss: Tensor = -self.critic(self.prior(n)).mean()
        return loss

    def phases(self, model: Autoencoder) -> list[Phase]:
        betas = (0.0, 0.9)
        every = self.adversarial_every

        def pulls(iteration: int) -> bool:
            return iteration % every == 0

        def critic_steps(iteration: int) -> bool:
            return iteration % every != 0

        def critic(minibatch: Minibatch) -> dict[str, Tensor]:
            with torch.no_grad():
                codes = model.encode(minibatch)
            return self.critic_loss(codes)

        def encoder_adversarial(minibatch: Minibatch) -> dict[str, Tensor]:
            return {"encoder_adversarial": self.critic(model.encode(minibatch)).mean()}

        def prior(minibatch: Minibatch) -> dict[str, Tensor]:
            return {"prior": self.generator_loss(minibatch.n_cells)}

        rate, pull_rate = self.adversarial_learning_rate, model.learning_rate * self.pull
        encoder, generator, critics = (
            model.encoder_parameters(),
            list(self.generator.parameters()),
            list(self.critic.parameters()),
        )
        table = [
            Phase("encoder_adversarial", encoder, pull_rate, betas, pulls, encoder_adversarial) if self.pull else None,
            Phase("prior", generator, rate, betas, pulls, prior) if generator else None,
            Phase("critic", critics, rate, betas, critic_steps, critic),
        ]
        return [phase for phase in table if phase is not None]


class LearnedPrior(FixedPrior):
    """scRAE: the prior is learned with the codes, G a small network (Mondal et al. 2021).

    Generator and critic circle around their balance and never come to rest, so new codes are sampled from a running
    average of the generator's weights over its last steps, which lies closer to the codes than the last of them.

    Parameters
    ----------
    n_latent
        Number of latent dimensions.
    prior_hidden
        Widths of the generator's hidden layers.
    **options
        As for :class:`FixedPrior`.
    """

    name = "learned_prior"

    def __init__(self, n_latent: int, *, prior_hidden: Sequence[int] = (32, 32), **options: Any) -> None:
        super().__init__(n_latent, **options)
        self.generator = Generator(n_latent, prior_hidden)
        self.averaged_generator = AveragedModel(self.generator, multi_avg_fn=towards)
        self.averaged_generator.requires_grad_(False)

    def generator_loss(self, n: int) -> Tensor:
        # The loss is asked for once before each of the generator's steps: the average is of the weights up to here. It
        # begins as a copy of the first ones. AveragedModel.update_parameters would ask a GPU whether this is the first.
        averages, weights = self.averaged_generator.module.parameters(), self.generator.parameters()
        with torch.no_grad():
            towards(list(averages), list(weights), self.averaged_generator.n_averaged)
            self.averaged_generator.n_averaged += 1
        return super().generator_loss(n)

    def sample(self, n: int) -> Tensor:
        result: Tensor = self.averaged_generator(self._noise(n))
        return result
