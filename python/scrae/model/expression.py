"""What cells express: denoised means, and how well the model explains the counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from scrae.data.minibatches import Minibatch
from scrae.model.fitted import Trained


class Expression(Trained):
    """Expected counts, and the surprise at those that were observed."""

    def denoise(
        self,
        data: Any = None,
        *,
        layer: str | None = None,
        library_size: str | float = "common",
        batch: str | None = None,
    ) -> np.ndarray:
        """Decoder means: expected counts without counting noise and technical zeros.

        Parameters
        ----------
        data, layer
            As in :meth:`embed`.
        library_size
            ``"common"`` (every cell at the median of the training cells, so cells can be compared), ``"observed"``
            (each at its own), or a number.
        batch
            Decode all cells as if they came from this batch; None: each from its own.

        Returns
        -------
        float32 (n_cells, n_genes), dense, columns as :attr:`gene_names`.
        """
        module = self._fitted()
        counts, covariates = self._cells_or_training(data, layer, with_covariates=True)
        if batch is not None:
            covariates = self._as_if_from(batch, covariates)
        common = self._common_library(library_size)

        def means(minibatch: Minibatch) -> Tensor:
            codes = module.encode(minibatch)
            log_library = module.log_library(minibatch) if common is None else torch.full_like(codes[:, 0], common)
            parameters = module.decode(codes, minibatch.covariates, log_library, minibatch.batch)
            return module.to_counts(module.likelihood.mean(parameters))

        return self._in_batches(counts, covariates, means)

    def surprise(self, data: Any = None, *, layer: str | None = None) -> np.ndarray:
        """-log p(x | E(x)) of each cell in nats, summed over genes: how badly the model explains the cell.

        It grows with the cell's library size; :func:`scrae.tl.outliers` compares cells with others of their size.

        Parameters
        ----------
        data, layer
            As in :meth:`embed`.

        Returns
        -------
        float32 (n_cells,).
        """
        module = self._fitted()
        counts, covariates = self._cells_or_training(data, layer, with_covariates=True)
        return self._in_batches(counts, covariates, module.surprise)

    def _common_library(self, library_size: str | float) -> float | None:
        """log library size for all cells, or None for each cell's own."""
        if library_size == "observed":
            return None
        if library_size == "common":
            return float(np.median(self._fitted_population().log_library_quantiles))
        if isinstance(library_size, str) or not library_size > 0:
            raise ValueError(f'library_size is "common", "observed" or a positive number, not {library_size!r}')
        return float(np.log(library_size))
