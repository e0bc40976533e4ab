#' Real counts to try scRAE on
#'
#' 700 peripheral blood mononuclear cells x 765 genes (Zheng and others 2017, 10x
#' Genomics), as they ship inside the Python package scanpy. They are part of this
#' package: nothing is downloaded, and no Python is needed.
#'
#' @return SingleCellExperiment with the assay `"counts"` (raw counts) and the
#'   published `cell_type` in `colData()`.
#' @references Zheng GXY and others (2017) Massively parallel digital
#'   transcriptional profiling of single cells. Nature Communications.
#' @examples
#' PBMCExample()
#' @export
PBMCExample <- function() {
    pbmc <- readRDS(system.file("extdata", "pbmc.rds", package = "scRAE"))
    counts <- methods::new("dgCMatrix",
        i = pbmc$i, p = pbmc$p, x = as.double(pbmc$x), Dim = lengths(pbmc$names),
        Dimnames = pbmc$names
    )
    SingleCellExperiment::SingleCellExperiment(
        list(counts = counts),
        colData = S4Vectors::DataFrame(
            cell_type = pbmc$cell_type, row.names = pbmc$names[[2L]]
        )
    )
}
