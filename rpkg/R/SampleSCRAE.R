#' Draw synthetic cells
#'
#' Codes and library sizes are drawn together from a mixture that is fitted to those
#' of the training cells, or of the cells given as `like`. Counts are then drawn from
#' the likelihood that the decoder describes.
#'
#' @param object What [RunSCRAE()] returned, or the folder of a model.
#' @param n Number of cells.
#' @param like Ten or more cells that the synthetic ones should resemble: a Seurat
#'   object, a SingleCellExperiment or raw counts (genes x cells) with the model's
#'   genes, such as `object[, object$cell_type == "B"]`; NULL: the training cells.
#' @param codes `"cells"`, as above, or `"prior"`: codes from the prior that was learned
#'   in training, which gives cells that are less like real ones.
#' @param batch Level of the first of `group.by.vars` to draw from; NULL: levels in
#'   the shares of the training cells.
#' @param seed.use Seed.
#' @param name Name of the reduction with the model, where there are several.
#' @param verbose Show messages.
#' @param ... `device`, `threads`, `in.process` or `.options` as in [RunSCRAE()].
#' @return Whole counts of the model's genes in `n` cells: an object of the class
#'   of `object` (Seurat or SingleCellExperiment), else a sparse matrix, genes x
#'   cells.
#' @examples
#' counts <- matrix(rpois(40 * 30, 2), 30, 40)
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     embedding <- RunSCRAE(counts, features = "all", n.latent = 2,
#'         max.epochs = 2, verbose = FALSE)
#'     dim(SampleSCRAE(embedding, n = 5))
#'     dim(SampleSCRAE(embedding, n = 5, like = counts[, 1:12]))
#' }
#' @export
SampleSCRAE <- function(object, n, like = NULL, codes = c("cells", "prior"),
    batch = NULL, seed.use = 42, name = NULL, verbose = TRUE, ...) {
    call <- check_typed(
        "SampleSCRAE", sys.call(), match.call(expand.dots = FALSE), names(formals())
    )
    if (!is.null(call)) {
        return(eval(call))
    }
    at_least(n, 1, "n")
    seed.use <- known_seed(seed.use)
    if (missing(codes)) codes <- "cells"
    a_name(codes, "codes")
    codes <- one_of(tolower(codes), c("cells", "prior"), "codes", codes)
    how <- run_options(list(...), names(formals()), verbose)
    refuse_settings(how)
    model <- find_model(object, name)
    facts <- describe_model(model)
    known_batch(batch, facts)
    source <- if (!is.null(like)) any_source(like, verbose)
    if (!is.null(like)) check_model_genes(source, facts$genes, every = TRUE)
    result <- run_job("sample",
        list(
            n = n, random_state = seed.use, batch = batch, codes = codes,
            like = !is.null(like), device = how$device
        ),
        if (!is.null(like)) read_model_genes(source, facts$genes),
        how = how, where = source$where %||% "the counts", model = model
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

# Raw counts of cells of any class, where they usually are.
any_source <- function(cells, verbose) {
    if (inherits(cells, "Seurat")) {
        return(seurat_source(cells, check_assay(cells, NULL), "counts", verbose))
    }
    if (is(cells, "SummarizedExperiment")) {
        return(sce_source(cells))
    }
    matrix_source(cells)
}
