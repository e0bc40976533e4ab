"""Made cells whose types all differ in the same way between two treatments."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

import scrae


def treated_cells() -> anndata.AnnData:
    """Counts of three types, half of the cells of each treated: ten genes for each type, and five for the treatment."""
    rng = np.random.default_rng(0)
    of_type, is_treated = np.repeat(np.arange(3), 120), np.tile([False, True], 180)
    means = np.ones((360, 40))
    for name in range(3):
        means[of_type == name, 10 * name : 10 * name + 10] = 12
    means[is_treated, 30:35] = 10
    adata = anndata.AnnData(
        sp.csr_matrix(rng.poisson(means).astype(np.float32)),
        obs=pd.DataFrame({"type": of_type.astype(str), "treated": is_treated}, index=[f"cell{i}" for i in range(360)]),
        var=pd.DataFrame(index=[f"gene{i}" for i in range(40)]),
    )
    adata.obsm["X_scrae"] = scrae.metrics.scaled_pca(adata, 10, 0)
    return adata
