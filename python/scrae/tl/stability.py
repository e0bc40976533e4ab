"""How much of a clustering is chance: the same cells, trained again with other seeds."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import adjusted_rand_score

from scrae._errors import Refusal
from scrae.compute.progress import progress_bar
from scrae.compute.whole_numbers import at_least, seed
from scrae.data.cells import refuse_damaged_source, require_anndata
from scrae.data.layers import named_layers
from scrae.metrics import leiden
from scrae.tl.embedding import scrae

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def stability(
    adata: AnnData,
    n_runs: int = 5,
    *,
    resolution: float = 1.0,
    random_state: int = 0,
    verbose: bool | None = None,
    **arguments: Any,
) -> pd.DataFrame:
    """Train several times with different seeds and compare the clusters. No label is used.

    Values near 1 mean that the clusters are a property of the data. If one row is far below the others, that seed found
    something else. If all values are low, use fewer clusters (a lower ``resolution``) or more cells before you trust a
    cluster.

    Parameters
    ----------
    adata
        Cells x genes with raw counts; nothing is written to it.
    n_runs
        Number of trainings, at least 2; each takes the time of :func:`scrae.tl.scrae`.
    resolution
        Resolution of the Leiden clustering, see :func:`scrae.metrics.leiden`.
    random_state
        Seed of the first run; each further run takes the next number.
    verbose
        Progress over the runs, as in :class:`scrae.SCRAE`.
    **arguments
        Arguments of :func:`scrae.tl.scrae`: ``layer``, ``genes``, ``batch_key``, ``max_epochs``, settings of the model.

    Returns
    -------
    Adjusted Rand index of every pair of runs, DataFrame (n_runs, n_runs) with the seeds as names, 1 on the diagonal.

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> scrae.tl.stability(adata, 2, max_epochs=2, verbose=False).shape
    (2, 2)
    """
    import anndata
    import pandas as pd

    n_runs = at_least("n_runs", n_runs, 0)
    if n_runs < 2:
        raise Refusal(
            f"n_runs={n_runs}: clusterings are compared with each other, so at least 2 runs are needed",
            "below_least",
            name="n_runs",
            least=2,
            value=n_runs,
        )
    require_anndata(adata, "scrae.tl.stability")
    refuse_damaged_source(adata)
    # Shares the counts with the user's object, but not the tables that a run writes to.
    cells = anndata.AnnData(adata.X, obs=adata.obs.copy(), var=adata.var.copy(), layers=named_layers(adata))
    first = seed(random_state)
    seeds = range(first, first + n_runs)
    clusters = []
    with progress_bar(n_runs, "stability", "run", verbose) as bar:
        for of_run in seeds:
            scrae(cells, random_state=of_run, verbose=False, **arguments)
            clusters.append(leiden(cells.obsm["X_scrae"], resolution, random_state=of_run))
            bar.update()
    agreement = np.eye(n_runs)
    for i, j in combinations(range(n_runs), 2):
        agreement[i, j] = agreement[j, i] = adjusted_rand_score(clusters[i], clusters[j])
    names = pd.Index(seeds, name="random_state")
    return pd.DataFrame(agreement, index=names, columns=names)
