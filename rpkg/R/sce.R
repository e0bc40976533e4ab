# SingleCellExperiment and SummarizedExperiment.

#' @rdname RunSCRAE
#' @export
RunSCRAE.SingleCellExperiment <- function(object, features = NULL,
    assay.type = "counts", subset_row = NULL, group.by.vars = NULL,
    vars.to.regress = NULL, n_latent = NULL, max_epochs = NULL, altexp = NULL, name = "SCRAE",
    n.features = 2000, seed.use = 42, verbose = TRUE, model.dir = NULL,
    resume = FALSE, preset = "default", round.counts = FALSE,
    overwrite = FALSE, ...) {
    how <- run_options(list(...), names(formals()), verbose)
    source <- sce_source(object, assay.type, altexp)
    table <- SummarizedExperiment::colData(object)
    fit <- train(source,
        features = features %||% subset_row, n.features = n.features,
        covariates = read_covariates(
            table, group.by.vars, "colData(object)", vars.to.regress
        ),
        n_latent = n_latent, max_epochs = max_epochs, seed.use = seed.use,
        model.dir = model.dir, resume = resume, preset = preset,
        round.counts = round.counts, overwrite = overwrite, how = how
    )
    for (column in earlier_columns(object, name)) {
        SummarizedExperiment::colData(object)[[column]] <- NULL
    }
    S4Vectors::metadata(object)[[name]] <- fit$fit
    object <- add_columns_to_sce(object, fit$columns, name)
    add_to_sce(object, fit$embedding, source, name)
}

#' @rdname RunSCRAE
#' @export
RunSCRAE.SummarizedExperiment <- function(object, ...) {
    fail(
        "a SummarizedExperiment has no place for an embedding; make it a ",
        "SingleCellExperiment first: object <- as(object, ",
        "\"SingleCellExperiment\")"
    )
}

sce_source <- function(object, assay.type = "counts", altexp = NULL) {
    where <- paste0("assay '", assay.type, "'")
    if (!is.null(altexp)) {
        known <- SingleCellExperiment::altExpNames(object)
        if (!altexp %in% known) {
            fail(
                "the object has no alternative experiment '", altexp, "'; ",
                hint(altexp, known)
            )
        }
        # Cells are named by the object, which may know names that this lacks.
        cells <- colnames(object)
        object <- SingleCellExperiment::altExp(object, altexp)
        colnames(object) <- cells
        where <- paste0(where, " of altExp '", altexp, "'")
    }
    names <- SummarizedExperiment::assayNames(object)
    if (!assay.type %in% names) {
        fail(
            "the object has no ", where, " with raw counts; ",
            if (is.null(names)) {
                paste0(
                    "its assays have no names: assayNames(object)[1] <- \"",
                    assay.type, "\""
                )
            } else {
                hint(assay.type, names)
            },
            class = "scrae_counts_error"
        )
    }
    counts <- SummarizedExperiment::assay(object, assay.type,
        withDimnames = FALSE
    )
    counts_source(list(counts), rownames(object), colnames(object), where)
}

add_to_sce <- function(object, embedding, source, name) {
    embedding <- name_embedding(embedding, source, paste0(name, "_"))
    if (is.null(colnames(object))) rownames(embedding) <- NULL
    SingleCellExperiment::reducedDim(object, name) <- embedding
    object
}

# A table of one row per cell, or NULL, as columns of colData().
add_columns_to_sce <- function(object, table, prefix) {
    for (name in names(table)) {
        SummarizedExperiment::colData(object)[[paste0(prefix, "_", name)]] <-
            table[[name]]
    }
    object
}
