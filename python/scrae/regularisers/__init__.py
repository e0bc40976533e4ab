"""The regulariser family: how codes are held to a prior. One idea a file."""

from scrae.regularisers.adversarial import AdversarialPrior, FixedPrior, LearnedPrior, gradient_penalty
from scrae.regularisers.base import NoRegulariser, Regulariser

__all__ = [
    "AdversarialPrior",
    "FixedPrior",
    "LearnedPrior",
    "NoRegulariser",
    "Regulariser",
    "gradient_penalty",
]
