"""The regulariser family: how codes are held to a prior. One idea a file."""

from scrae.regularisers.adversarial import FixedPrior, LearnedPrior, gradient_penalty
from scrae.regularisers.base import NoRegulariser, Pass, Regulariser
from scrae.regularisers.mmd import MMDPrior, mmd
from scrae.regularisers.variational import MixturePrior, NormalPrior, SpikeAndSlab, spike_and_slab_kl

__all__ = [
    "FixedPrior",
    "LearnedPrior",
    "MMDPrior",
    "MixturePrior",
    "NoRegulariser",
    "NormalPrior",
    "Pass",
    "Regulariser",
    "SpikeAndSlab",
    "gradient_penalty",
    "mmd",
    "spike_and_slab_kl",
]
