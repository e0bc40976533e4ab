"""The reconstruction family: how counts arise from the decoder. One distribution a file."""

from scrae.likelihoods.base import Likelihood
from scrae.likelihoods.gaussian import Gaussian, log_prob_gaussian
from scrae.likelihoods.negative_binomial import NegativeBinomial, log_prob_negative_binomial
from scrae.likelihoods.none import NoLikelihood
from scrae.likelihoods.poisson import Poisson, log_prob_poisson
from scrae.likelihoods.squared_error import SquaredError, log_prob_squared_error
from scrae.likelihoods.zero_inflated_cross_entropy import ZeroInflatedCrossEntropy
from scrae.likelihoods.zinb import ZeroInflatedNegativeBinomial, log_prob_zinb

__all__ = [
    "Gaussian",
    "Likelihood",
    "NegativeBinomial",
    "NoLikelihood",
    "Poisson",
    "SquaredError",
    "ZeroInflatedCrossEntropy",
    "ZeroInflatedNegativeBinomial",
    "log_prob_gaussian",
    "log_prob_negative_binomial",
    "log_prob_poisson",
    "log_prob_squared_error",
    "log_prob_zinb",
]
