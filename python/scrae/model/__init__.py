"""The estimator, what it holds once it is fitted, what is asked of that, and the folder it is kept in."""

from scrae.model.estimator import SCRAE
from scrae.model.fitted import NotFittedError
from scrae.model.stored import ModelFolderError

__all__ = ["SCRAE", "ModelFolderError", "NotFittedError"]
