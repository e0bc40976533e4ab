#' Draw synthetic cells
#'
#' Codes are drawn from the learned prior, library sizes from those of the
#' training cells, counts from the likelihood that the decoder describes.
#'
#' @param object What [RunSCRAE()] returned, or the folder of a model.
#' @param n Number of cells.
#' @param batch Level of the first of `group.by.vars` to draw from; NULL: levels in
#'   the shares of the training cells.
#' @param seed.use Seed.
#' @param name Name of the reduction with the model, where there are several.
#' @param verbose Show messages.
#' @param ... `device`, `threads`, `in_process` as in [RunSCRAE()].
#' @return Whole counts of the model's genes in `n` cells: an object of the class
#'   of `object` (Seurat or SingleCellExperiment), else a sparse matrix, genes x
#'   cells.
#' @examples
#' counts <- matrix(rpois(40 * 30, 2), 30, 40)
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     embedding <- RunSCRAE(counts, features = "all", n_latent = 2,
#'         max_epochs = 2, verbose = FALSE)
#'     dim(SampleSCRAE(embedding, n = 5))
#' }
#' @export
SampleSCRAE <- function(object, n, batch = NULL, seed.use = 42, name = NULL,
    verbose = TRUE, ...) {
    at_least(n, 1, "n")
    at_least(seed.use, 0, "seed.use")
    how <- run_options(list(...), names(formals()), verbose)
    refuse_settings(how)
    result <- run_job("sample",
        list(n = n, random_state = seed.use, batch = batch, device = how$device),
        how = how, model = find_model(object, name)
    )
    counts <- result$matrix
    dimnames(counts) <- list(result$genes, paste0("synthetic", seq_len(n)))
    if (inherits(object, "Seurat")) {
        return(SeuratObject::CreateSeuratObject(counts, project = "scRAE"))
    }
    if (is(object, "SingleCellExperiment")) {
        return(SingleCellExperiment::SingleCellExperiment(list(counts = counts)))
    }
    counts
}
