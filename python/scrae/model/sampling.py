"""Synthetic cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from scrae.data.cells import read_cells
from scrae.data.covariates import Covariates
from scrae.data.minibatches import EVALUATION_CELLS
from scrae.model.fitted import Trained
from scrae.posthoc.density import LEAST_CELLS, CellDensity
from scrae.posthoc.population import Population


class Sampling(Trained):
    """Cells drawn from the model."""

    def sample(
        self,
        n: int,
        *,
        like: Any = None,
        codes: str = "cells",
        layer: str | None = None,
        random_state: int | None = None,
        batch: str | None = None,
    ) -> np.ndarray:
        """Synthetic cells: a code and a library size for each, then counts from the likelihood.

        Parameters
        ----------
        n
            Number of cells.
        like
            Cells to draw others like, :data:`scrae.posthoc.density.LEAST_CELLS` or more (an AnnData or a matrix with
            the model's genes): of one type, say. None: the training cells.
        codes
            ``"cells"``: codes and library sizes together from a mixture fitted to those of the cells
            (:mod:`scrae.posthoc.density`). ``"prior"``: codes from the regulariser's prior, library sizes from the
            training cells: what the model has learned to take for cells, less like real ones (docs/USES.md).
        layer
            Layer of ``like`` with raw counts; None: its ``X``.
        random_state
            Seed; None: the model's.
        batch
            Batch to draw from; None: batches (and further covariates) in the shares of the training cells. Continuous
            covariates are drawn one by one, each as among the training cells.

        Returns
        -------
        float32 (n, n_genes), whole counts, columns as :attr:`gene_names`. Their expected total is the library size.
        """
        module, population = self._fitted(), self._fitted_population()
        if n < 1:
            raise ValueError(f"n must be at least 1, not {n}")
        if codes not in ("cells", "prior"):
            raise ValueError(f'codes is "cells" or "prior", not {codes!r}')
        if codes == "prior" and like is not None:
            raise ValueError('a prior knows no single cells: give like=..., or codes="prior"')
        if module.target_transform.kind not in ("counts", "lognorm", "scaled"):
            raise ValueError(
                f"the likelihood of this model describes {module.target_transform.kind} values, of which it can draw "
                'no counts; train with target="counts"'
            )
        rng = np.random.default_rng(self.random_state if random_state is None else random_state)
        covariates = population.draw_covariates(n, tuple(map(len, self._coding.levels.values())), rng)
        if batch is not None:
            covariates = self._as_if_from(batch, covariates)
        if codes == "prior":
            log_library = population.draw_log_library(n, rng)
            latent = self.sample_codes(n, random_state=int(rng.integers(2**31)))
        else:
            latent, log_library = self._density_of(like, layer, population).draw(n, rng)
        return self._drawn_counts(latent, log_library, covariates, int(rng.integers(2**31)))

    def sample_codes(self, n: int, *, random_state: int | None = None) -> np.ndarray:
        """Codes from the regulariser's prior, float32 (n, n_latent)."""
        module = self._fitted()
        with torch.inference_mode(), self._own_random_state():
            torch.manual_seed(self.random_state if random_state is None else random_state)
            return module.regulariser.sample(n).cpu().numpy()

    def _density_of(self, like: Any, layer: str | None, population: Population) -> CellDensity:
        """That of the training cells, or of the cells that are given."""
        if like is None:
            if population.density is None:
                raise ValueError(
                    "this model has no density of its cells (scikit-learn was missing, or it is of an older version): "
                    'train anew, or sample(n, codes="prior")'
                )
            return population.density
        counts = self._match_genes(read_cells(like, layer), missing_allowed=False)
        if counts.shape[0] < LEAST_CELLS:
            raise ValueError(
                f"like has {counts.shape[0]:,} cell(s); what cells are like is told from {LEAST_CELLS} or more"
            )
        module = self._fitted()
        codes = self._in_batches(counts, Covariates.none(counts.shape[0]), module.encode)
        return CellDensity.fit(codes, module.log_libraries(counts), self.random_state)

    def _drawn_counts(
        self, codes: np.ndarray, log_library: np.ndarray, covariates: Covariates, seed: int
    ) -> np.ndarray:
        """Counts of cells with these codes (n, n_latent), log library sizes (n,) and covariates, float32 (n, n_genes).

        The likelihood's means add up to the library size without technical dropout; they are scaled up so that what is
        drawn adds up to it.
        """
        module, n = self._fitted(), len(codes)
        nothing = sp.csr_array(np.zeros((n, self._n_genes), dtype=np.float32))
        parts = []
        with torch.inference_mode(), self._own_random_state():
            torch.manual_seed(seed)
            start = 0
            for minibatch in self._data(nothing, covariates).in_order(EVALUATION_CELLS):
                part = slice(start, start := start + minibatch.n_cells)
                latent = torch.as_tensor(codes[part], device=self.device)
                size = torch.as_tensor(log_library[part], dtype=torch.float32, device=self.device)
                parameters = module.decode(latent, minibatch.covariates, size, minibatch.batch)
                total = module.likelihood.expected(parameters).sum(1)
                size = torch.where(
                    total > 0, size + (size - total.log()), size
                )  # a likelihood of logs may expect nothing
                parameters = module.decode(latent, minibatch.covariates, size, minibatch.batch)
                parts.append(module.likelihood.sample(parameters).cpu().numpy())
        return np.concatenate(parts)
