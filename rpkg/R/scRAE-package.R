#' scRAE: deep embedding of single-cell counts
#'
#' One call adds an embedding to the object that holds the counts:
#' [RunSCRAE()] for Seurat objects, SingleCellExperiments and matrices.
#' [ClusterSCRAE()] finds its clusters, without a number of clusters, and
#' [plotClustersSCRAE()] draws them. [NeighborsSCRAE()] makes a graph for
#' `FindClusters()` and igraph. [plotSCRAE()] draws the cells by any column or gene,
#' and [ReportSCRAE()] writes all of it on one page.
#' [PredictSCRAE()] maps new cells into a trained embedding, [DenoiseSCRAE()]
#' gives expected counts, [SampleSCRAE()] draws synthetic cells,
#' [SelectGenes()] chooses genes, [BatchReportSCRAE()] says whether there are
#' batches and whether they are gone. A trained model answers questions:
#' [LabelSCRAE()] (types of cells from partial labels), [FindMarkersSCRAE()]
#' (genes that differ between groups), [FindOutliersSCRAE()] (cells that
#' the model explains badly), [SampleReportSCRAE()], [CrossValidateSCRAE()] and [StabilitySCRAE()]
#' (how far it can be trusted). The work is done by the Python package
#' `scrae`, which travels inside this one, in a process of its own;
#' [InstallSCRAE()] sets up what it needs, [SCRAEStatus()] says what is
#' there and what is missing, and [StopSCRAE()] ends the process, which
#' otherwise stays for the next call.
#'
#' @references Mondal AK, Asnani H, Singla P, Prathosh AP (2021). scRAE:
#'   Deterministic Regularized Autoencoders with Flexible Priors for Clustering
#'   Single-cell Gene Expression Data. IEEE/ACM Transactions on Computational
#'   Biology and Bioinformatics. \doi{10.1109/TCBB.2021.3098394}
#' @keywords internal
#' @importFrom methods as is
#' @importFrom Matrix colSums drop0 rowSums sparseMatrix
"_PACKAGE"

# What ggplot2 calls the data of a plot. Imported from there, ggplot2 would be loaded
# whenever this package is.
.data <- NULL
