#' Cells that the model does not explain
#'
#' Scores each cell by how much worse the model explains its counts than those of
#' the other cells with as many: doublets, debris, damaged cells, types that were
#' not trained on. No label is used. Ordinary cells score like a standard normal
#' variable; few of them are above 3.
#'
#' For doublets in earnest use a tool made for them; this one also finds what is
#' no doublet.
#'
#' @inheritParams DenoiseSCRAE
#' @param object The object that [RunSCRAE()] returned, or other cells with all
#'   the model's genes, 50 or more; for a matrix, raw counts.
#' @param col.name,name Name of the new column of cell metadata.
#' @param ... `device`, `threads`, `in_process` as in [RunSCRAE()].
#' @return The object with the score in its cell metadata. Matrix: a data.frame
#'   with a row per cell: `surprise` (-log p of the counts, nats), `expected` (the
#'   median of cells with as many counts) and `score`, their difference over its
#'   spread.
#' @examples
#' counts <- matrix(rpois(60 * 30, 2), 30, 60)
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     embedding <- RunSCRAE(counts, features = "all", n_latent = 2,
#'         max_epochs = 2, verbose = FALSE)
#'     head(FindOutliersSCRAE(counts, model = embedding, verbose = FALSE))
#' }
#' @export
FindOutliersSCRAE <- function(object, ...) UseMethod("FindOutliersSCRAE")

#' @rdname FindOutliersSCRAE
#' @export
FindOutliersSCRAE.default <- function(object, model, meta.data = NULL,
    verbose = TRUE, ...) {
    how <- run_options(list(...), names(formals()), verbose)
    source <- matrix_source(object)
    table <- score_outliers(source, find_model(model), meta.data, "meta.data", how)
    rownames(table) <- make.unique(source$cells)
    table
}

#' @rdname FindOutliersSCRAE
#' @export
FindOutliersSCRAE.SingleCellExperiment <- function(object, model = NULL,
    assay.type = "counts", altexp = NULL, name = "SCRAE_outlier", verbose = TRUE,
    ...) {
    how <- run_options(list(...), names(formals()), verbose)
    table <- score_outliers(
        sce_source(object, assay.type, altexp), find_model(model %||% object),
        SummarizedExperiment::colData(object), "colData(object)", how
    )
    SummarizedExperiment::colData(object)[[name]] <- table$score
    object
}

#' @rdname FindOutliersSCRAE
#' @export
FindOutliersSCRAE.Seurat <- function(object, model = NULL, assay = NULL,
    layer = "counts", col.name = "scrae_outlier", verbose = TRUE, ...) {
    how <- run_options(list(...), names(formals()), verbose)
    assay <- check_assay(object, assay)
    table <- score_outliers(
        seurat_source(object, assay, layer, verbose),
        find_model(model %||% object), object[[]], "object@meta.data", how
    )
    object <- SeuratObject::AddMetaData(object, table$score, col.name)
    SeuratObject::LogSeuratCommand(object)
}

score_outliers <- function(source, model, table, where, how) {
    refuse_settings(how)
    facts <- describe_model(model)
    run_job("outliers", list(device = how$device),
        read_model_genes(source, facts$genes, others = TRUE),
        model_covariates(facts, table, where), how, source$where, model
    )$table
}
