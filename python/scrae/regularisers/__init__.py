"""The regulariser family: how codes are held to a prior. One idea a file."""

from scrae.regularisers.adversarial import FixedPrior, LearnedPrior, gradient_penalty
from scrae.regularisers.base import NoRegulariser, Regulariser

__all__ = [
    "FixedPrior",
    "LearnedPrior",
    "NoRegulariser",
    "Regulariser",
    "gradient_penalty",
]
