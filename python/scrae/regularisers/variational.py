"""A Gaussian posterior for each cell, and its Kullback-Leibler divergence to a prior: the variational family."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from scrae._errors import Refusal
from scrae.regularisers.base import ForwardPass, Regulariser

LOG_VARIANCE_RANGE = (-15.0, 15.0)  # beyond, exp() of an untrained network's output would leave float32


class VariationalPosterior(Regulariser):
    """q(z|x) = N(m, diag(v)), m and log v outputs of the encoder; subclasses say how far it is from their prior.

        loss = -E_q log p(x|z) + w KL(q(z|x) || p(z)),    z = m + sqrt(v) e, e ~ N(0, I)

    (Kingma & Welling 2013; with w = ``weight`` beyond 1, Higgins et al. 2017.) The embedding is m. The KL sets the
    scale of the codes, so they are not standardised.

    Parameters
    ----------
    n_latent
        Number of latent dimensions.
    weight
        w, at least 0; 1 is the evidence lower bound.
    warmup_steps, warmup_epochs
        Steps, or epochs, over which w rises linearly from 0: a decoder that knows nothing yet would let every posterior
        collapse onto the prior.
    smallest_variance
        Added to v.
    """

    outputs_per_dimension = 2
    sets_scale = True
    steps_alike = True
    steps: Tensor
    warmed_up: Tensor

    def __init__(
        self,
        n_latent: int,
        *,
        weight: float = 1.0,
        warmup_steps: int = 0,
        warmup_epochs: int = 0,
        smallest_variance: float = 0.0,
    ) -> None:
        super().__init__(n_latent)
        if weight < 0 or warmup_steps < 0:
            raise Refusal(
                f"weight and warmup_steps must not be negative, not {weight} and {warmup_steps}",
                "negative",
                names=["weight", "warmup_steps"],
                values=[weight, warmup_steps],
            )
        if warmup_epochs < 0 or smallest_variance < 0:
            raise Refusal(
                f"warmup_epochs and smallest_variance must not be negative, not {warmup_epochs} and "
                f"{smallest_variance}",
                "negative",
                names=["warmup_epochs", "smallest_variance"],
                values=[warmup_epochs, smallest_variance],
            )
        self.weight = weight
        self.warmup_steps = warmup_steps
        self.warmup_epochs = warmup_epochs
        self.smallest_variance = smallest_variance
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("warmed_up", torch.zeros(()), persistent=False)  # share of the warm-up's epochs

    def posterior(self, outputs: Tensor) -> tuple[Tensor, ...]:
        """m and log v, both (n_cells, n_latent)."""
        mean, log_variance = outputs[:, : 2 * self.n_latent].chunk(2, dim=1)
        log_variance = log_variance.clamp(*LOG_VARIANCE_RANGE)
        if self.smallest_variance:
            log_variance = torch.log(log_variance.exp() + self.smallest_variance)
        return mean, log_variance

    def start_epoch(self, epoch: int, codes: Callable[[], tuple[Tensor, Tensor]]) -> bool:
        if self.warmup_epochs:
            self.warmed_up.fill_(min(epoch / self.warmup_epochs, 1.0))
        return False

    def sample_codes(self, posterior: tuple[Tensor, ...]) -> Tensor:
        mean, log_variance = posterior
        return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)

    def penalties(self, passed: ForwardPass) -> dict[str, Tensor]:
        penalty = self.weight * self.kl(passed.codes, *passed.posterior).mean()
        if self.warmup_steps:
            penalty = (self.steps / self.warmup_steps).clamp_max(1.0) * penalty
            self.steps += 1
        if self.warmup_epochs:
            penalty = self.warmed_up * penalty
        return {"kl": penalty}

    def kl(self, codes: Tensor, *posterior: Tensor) -> Tensor:
        """KL(q(z|x) || p(z)) per cell, (n_cells,), in nats: exact, or unbiased by the one draw ``codes``.

        Parameters
        ----------
        codes
            Drawn from q(z|x), (n_cells, n_latent).
        *posterior
            The parameters of q(z|x), each (n_cells, n_latent).
        """
        raise NotImplementedError


def log_normal(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(x; mean, diag(variance)), summed over the last dimension."""
    squared = (x - mean).square() * torch.exp(-log_variance)
    return -0.5 * (math.log(2 * math.pi) + log_variance + squared).sum(-1)


class NormalPrior(VariationalPosterior):
    """p(z) = N(0, I): VAE, beta-VAE (``weight=beta``), scVI (Lopez et al. 2018).

    KL = 1/2 sum_j (m_j^2 + v_j - 1 - log v_j)
    """

    name = "kl_normal"

    def kl(self, codes: Tensor, *posterior: Tensor) -> Tensor:
        mean, log_variance = posterior
        return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1)

    def sample(self, n: int) -> Tensor:
        return torch.randn(n, self.n_latent, device=self.steps.device)


class MixturePrior(VariationalPosterior):
    """p(z) = sum_k pi_k N(mu_k, diag(s_k)), learned with the codes: the mixture prior of scVAE (Groenbech et al. 2020).

        KL = E_q [ log q(z|x) - log p(z) ], by one draw of z

    scVAE has a posterior over the components as an output of the encoder and decodes once for each; here the sum over
    components is taken in closed form inside log p(z), which is the same prior and a tighter bound.

    Parameters
    ----------
    n_latent
        Number of latent dimensions.
    n_components
        K, at least 1.
    **options
        As for :class:`VariationalPosterior`.
    """

    name = "kl_mixture"

    def __init__(self, n_latent: int, *, n_components: int = 10, **options: Any) -> None:
        super().__init__(n_latent, **options)
        if n_components < 1:
            raise Refusal(
                f"n_components must be at least 1, not {n_components}",
                "below_least",
                name="n_components",
                least=1,
                value=n_components,
            )
        self.logits = nn.Parameter(torch.zeros(n_components))
        self.means = nn.Parameter(torch.randn(n_components, n_latent))
        self.log_variances = nn.Parameter(torch.zeros(n_components, n_latent))

    def penalty_parameters(self) -> list[nn.Parameter]:
        return list(self.parameters())

    def log_prior(self, codes: Tensor) -> Tensor:
        """log p(z), (n,), of codes (n, n_latent)."""
        each = log_normal(codes[:, None, :], self.means, self.log_variances)
        return torch.logsumexp(torch.log_softmax(self.logits, 0) + each, dim=1)

    def kl(self, codes: Tensor, *posterior: Tensor) -> Tensor:
        mean, log_variance = posterior
        return log_normal(codes, mean, log_variance) - self.log_prior(codes)

    def sample(self, n: int) -> Tensor:
        component = torch.multinomial(torch.softmax(self.logits, 0), n, replacement=True)
        means, sds = self.means[component], torch.exp(0.5 * self.log_variances[component])
        return means + sds * torch.randn_like(means)


class SpikeAndSlab(VariationalPosterior):
    """Each latent dimension of a cell is either used (slab) or exactly zero (spike): beta-VSC (Tonolini et al. 2019).

        q(z_j|x) = g_j N(m_j, v_j) + (1 - g_j) delta(z_j),    p(z_j) = a N(0, 1) + (1 - a) delta(z_j)

        KL = sum_j  g_j/2 (m_j^2 + v_j - 1 - log v_j) + g_j log(g_j / a) + (1 - g_j) log((1 - g_j) / (1 - a))

    The slab probability g is a third output of the encoder. Draws use a steep sigmoid in place of the step function,
    z = sigmoid(slope (g - 1 + u)) (m + sqrt(v) e) with u ~ U[0, 1]. The embedding is the posterior's mean, g m.

    Parameters
    ----------
    n_latent
        Number of latent dimensions.
    slab_probability
        a, in (0, 1).
    slope
        Of the sigmoid.
    **options
        As for :class:`VariationalPosterior`.
    """

    name = "kl_spike_and_slab"
    outputs_per_dimension = 3

    def __init__(self, n_latent: int, *, slab_probability: float = 0.5, slope: float = 50.0, **options: Any) -> None:
        super().__init__(n_latent, **options)
        if not 0.0 < slab_probability < 1.0:
            raise Refusal(
                f"slab_probability must be between 0 and 1, not {slab_probability}",
                "not_between",
                name="slab_probability",
                low=0,
                high=1,
                value=slab_probability,
            )
        self.slab_probability = slab_probability
        self.slope = slope

    def slab_logit(self, outputs: Tensor) -> Tensor:
        """log(g / (1 - g)), (n_cells, n_latent)."""
        return outputs[:, 2 * self.n_latent :]

    def codes(self, outputs: Tensor) -> Tensor:
        return torch.sigmoid(self.slab_logit(outputs)) * super().codes(outputs)

    def posterior(self, outputs: Tensor) -> tuple[Tensor, ...]:
        """m, log v and log(g / (1 - g)), each (n_cells, n_latent)."""
        return *super().posterior(outputs), self.slab_logit(outputs)

    def sample_codes(self, posterior: tuple[Tensor, ...]) -> Tensor:
        mean, log_variance, logit = posterior
        slab = torch.sigmoid(logit)
        used = torch.sigmoid(self.slope * (slab - 1.0 + torch.rand_like(mean)))
        return used * (mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean))

    def kl(self, codes: Tensor, *posterior: Tensor) -> Tensor:
        mean, log_variance, logit = posterior
        return spike_and_slab_kl(mean, log_variance, logit, self.slab_probability)

    def sample(self, n: int) -> Tensor:
        slab = torch.randn(n, self.n_latent, device=self.steps.device)
        return slab * (torch.rand_like(slab) < self.slab_probability)


def spike_and_slab_kl(mean: Tensor, log_variance: Tensor, logit: Tensor, slab_probability: float) -> Tensor:
    """The closed form in :class:`SpikeAndSlab`, (n_cells,); g as its logit, finite near 0 and 1."""
    g, log_g, log_rest = torch.sigmoid(logit), nn.functional.logsigmoid(logit), nn.functional.logsigmoid(-logit)
    slab = 0.5 * g * (mean.square() + log_variance.exp() - 1.0 - log_variance)
    used = g * (log_g - math.log(slab_probability))
    unused = (1.0 - g) * (log_rest - math.log1p(-slab_probability))
    return (slab + used + unused).sum(1)
