"""The thin door to R: a SingleCellExperiment comes in, arrays and plain values go out.

Two ways lead here, with the same jobs behind them:

- ``python -m scrae.r FOLDER`` (``__main__``): the worker of the R package. Python hosts R through rpy2, reads the
  object from ``FOLDER/cells.rds``, converts it with anndata2ri, works, and leaves arrays and ``result.json`` in the
  folder. What happens meanwhile is told on standard output, one JSON object a line.
- :func:`run_in_session`: the same job for an R session that holds this Python through reticulate.

:func:`from_sce` is for Python users who have a SingleCellExperiment in rpy2.

rpy2 and anndata2ri are the extra ``scrae[r]``; they are imported when an object has to be read, and not before.
"""

from scrae.r.conversion import from_sce
from scrae.r.session import run_in_session

__all__ = ["from_sce", "run_in_session"]
