"""What a trained model is asked, a file for each kind of question; :class:`scrae.SCRAE` is all of them with a fit."""

from scrae.trained.base import NotFittedError, Trained
from scrae.trained.embedding import Embedding
from scrae.trained.expression import Expression
from scrae.trained.labelling import Labelling
from scrae.trained.sampling import Sampling

__all__ = ["Embedding", "Expression", "Labelling", "NotFittedError", "Sampling", "Trained"]
