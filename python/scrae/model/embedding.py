"""Where cells lie: embedding, codes, clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from scrae.data.cells import read_cells
from scrae.data.covariates import Covariates
from scrae.model.fitted import Trained


class Embedding(Trained):
    """Coordinates of the training cells and of others."""

    def embed(self, data: Any = None, *, layer: str | None = None) -> np.ndarray:
        """The embedding of cells: the training cells, or others that have all the model's genes.

        Parameters
        ----------
        data
            AnnData or matrix of raw counts; None: the training cells.
        layer
            Layer of the AnnData with raw counts.

        Returns
        -------
        float32 (n_cells, n_latent), cells in their order.
        """
        module = self._fitted()
        counts, covariates = self._cells_or_training(data, layer, with_covariates=False)
        return self._in_batches(counts, covariates, module.embed)

    def codes(self, data: Any = None, *, layer: str | None = None) -> np.ndarray:
        """What the decoder is given, float32 (n_cells, n_latent).

        The embedding is read out of it (:class:`scrae.autoencoder.readout.Readout`), or is the same with ``n_pcs=0,
        smoothing=0``.

        Parameters
        ----------
        data, layer
            As in :meth:`embed`.
        """
        module = self._fitted()
        counts, covariates = self._cells_or_training(data, layer, with_covariates=False)
        return self._in_batches(counts, covariates, module.encode)

    def map(self, query: Any, *, layer: str | None = None) -> np.ndarray:
        """The embedding of new cells, by the trained model as it is; genes are matched by name.

        Genes of the model that the query lacks count as zero, with a warning that says how many; genes that the
        model does not know are left out.

        Parameters
        ----------
        query
            AnnData of raw counts (a matrix must have exactly the model's genes, in order).
        layer
            Layer of the AnnData with raw counts.

        Returns
        -------
        float32 (n_cells, n_latent).

        Raises
        ------
        ValueError
            The query has none of the model's genes.
        """
        module = self._fitted()
        cells = read_cells(query, layer)
        counts = self._match_genes(cells, missing_allowed=True)
        return self._in_batches(counts, Covariates.none(counts.shape[0]), module.embed)

    def clusters(self, data: Any = None, *, layer: str | None = None) -> np.ndarray:
        """Clusters of cells, where the model makes them itself (presets ``"scdeepcluster"`` and ``"sczidesk"``).

        Parameters
        ----------
        data, layer
            As in :meth:`embed`.

        Returns
        -------
        int64 (n_cells,), from 0.

        Raises
        ------
        ValueError
            The model has no clusters, or not yet.
        """
        codes = torch.as_tensor(self.codes(data, layer=layer), device=self.device)
        with torch.inference_mode():
            result: np.ndarray = self._fitted().regulariser.clusters(codes).cpu().numpy()
        return result
