#' Real counts to try scRAE on
#'
#' 700 peripheral blood mononuclear cells x 765 genes (Zheng and others 2017, 10x
#' Genomics), as they ship inside the Python package scanpy: nothing is
#' downloaded.
#'
#' @return SingleCellExperiment with the assay `"counts"` (raw counts) and the
#'   published `cell_type` in `colData()`.
#' @references Zheng GXY and others (2017) Massively parallel digital
#'   transcriptional profiling of single cells. Nature Communications.
#' @examples
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     PBMCExample()
#' }
#' @export
PBMCExample <- function() {
    result <- run_job("example", list(), how = run_options(list(), "", FALSE))
    counts <- result$matrix
    dimnames(counts) <- list(result$genes, result$cells)
    SingleCellExperiment::SingleCellExperiment(
        list(counts = counts),
        colData = S4Vectors::DataFrame(
            cell_type = result$cell_type, row.names = result$cells
        )
    )
}
