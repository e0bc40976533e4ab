"""What a report tells its reader to call, in the language that the run was made in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Calls:
    """Lines of code, and names of places, for what a report says.

    Attributes
    ----------
    counts
        Where raw counts have to stand, so that they are found again.
    cluster, outliers, name_batch, name_labels, train_with_batch
        Calls that add what is missing.
    umap
        Lines that add a UMAP to the object, with the name of the embedding in ``{key}``.
    batches
        Call that measures batches, with their column in ``{batch}``.
    """

    counts: str
    cluster: str
    outliers: str
    name_batch: str
    name_labels: str
    train_with_batch: str
    umap: str
    batches: str


PYTHON = Calls(
    counts='adata.layers["counts"], with scrae.tl.scrae(adata, layer="counts")',
    cluster="scrae.tl.cluster(adata)",
    outliers='scrae.tl.outliers(adata, model, key_added="scrae_outlier")',
    name_batch='scrae.pl.report(adata, "run.html", batch_key="donor")',
    name_labels='scrae.pl.report(adata, "run.html", labels_key="cell_type")',
    train_with_batch='scrae.tl.scrae(adata, batch_key="donor")',
    umap='sc.pp.neighbors(adata, use_rep="X_{key}"); sc.tl.umap(adata)',
    batches="scrae.tl.batch_report(adata, {batch})",
)
R = Calls(
    counts='the layer (Seurat) or assay (SingleCellExperiment) "counts"',
    cluster="ClusterSCRAE(object)",
    outliers="FindOutliersSCRAE(object)",
    name_batch='ReportSCRAE(object, "run.html", batch.by = "donor")',
    name_labels='ReportSCRAE(object, "run.html", labels = "cell_type")',
    train_with_batch='RunSCRAE(object, group.by.vars = "donor")',
    umap='RunUMAP(object, reduction = "{key}", dims = 1:30)',
    batches="BatchReportSCRAE(object, {batch})",
)
