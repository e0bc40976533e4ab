#' Find cells that the model explains badly
#'
#' Scores each cell by how much worse the model explains its counts than those of
#' other cells with about as many counts. High scores are doublets, debris, damaged
#' cells, and types that the model was not trained on. No label is used. Ordinary
#' cells score like a standard normal variable, so few of them are above 3.
#'
#' Cells of a batch that the model was not trained on are taken as if from the average
#' of the known batches, as by [DenoiseSCRAE()].
#'
#' To find doublets, use a tool that was made for that purpose: a high score here
#' can have other causes.
#'
#' @inheritParams DenoiseSCRAE
#' @param object The object that [RunSCRAE()] returned, or other cells with all
#'   the model's genes; for a matrix, raw counts.
#' @param reference Cells to compare with, an object of the same kind (the cells
#'   that the model was trained on, say); NULL: the cells of `object`. They must
#'   be 50 or more.
#' @param reference.meta.data As `meta.data`, for the reference.
#' @param col.name,name Name of the new column of cell metadata.
#' @param ... `device`, `threads`, `in.process` or `.options` as in [RunSCRAE()].
#' @return The object with the score in its cell metadata. Matrix: a data.frame with a
#'   row per cell: `surprise` (-log p of the counts, nats), `expected` (the median of
#'   compared cells with as many counts) and `score`, the difference divided by the
#'   spread of these cells.
#' @examples
#' counts <- matrix(rpois(60 * 30, 2), 30, 60)
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     embedding <- RunSCRAE(counts, features = "all", n.latent = 2,
#'         max.epochs = 2, verbose = FALSE)
#'     head(FindOutliersSCRAE(counts, model = embedding, verbose = FALSE))
#' }
#' @export
FindOutliersSCRAE <- function(object, ...) {
    call <- check_arguments("FindOutliersSCRAE", object, match.call(expand.dots = FALSE))
    if (!is.null(call)) {
        return(eval(call))
    }
    UseMethod("FindOutliersSCRAE")
}

#' @rdname FindOutliersSCRAE
#' @export
FindOutliersSCRAE.default <- function(object, model, reference = NULL,
    meta.data = NULL, reference.meta.data = NULL, verbose = TRUE, ...) {
    how <- run_options(list(...), names(formals()), verbose)
    cells <- matrix_cells(object, meta.data, "meta.data")
    reference <- if (!is.null(reference)) {
        matrix_cells(reference, reference.meta.data, "reference.meta.data")
    }
    table <- score_outliers(cells, reference, find_model(model), how)
    rownames(table) <- make.unique(cells$source$cells)
    table
}

#' @rdname FindOutliersSCRAE
#' @export
FindOutliersSCRAE.SingleCellExperiment <- function(object, model = NULL,
    reference = NULL, assay.type = "counts", altexp = NULL,
    name = "SCRAE_outlier", verbose = TRUE, ...) {
    how <- run_options(list(...), names(formals()), verbose)
    refuse_other_kind(reference, "SingleCellExperiment")
    a_name(name, "name")
    check_columns(object, name)
    cells <- function(sce, where) {
        list(
            source = sce_source(sce, assay.type, altexp),
            table = SummarizedExperiment::colData(sce), where = where
        )
    }
    table <- score_outliers(
        cells(object, "colData(object)"),
        if (!is.null(reference)) cells(reference, "colData(reference)"),
        find_model(model %||% object), how
    )
    add_columns_to_sce(object, table["score"], name)
}

#' @rdname FindOutliersSCRAE
#' @export
FindOutliersSCRAE.Seurat <- function(object, model = NULL, reference = NULL,
    assay = NULL, layer = "counts", col.name = "scrae_outlier", verbose = TRUE,
    ...) {
    how <- run_options(list(...), names(formals()), verbose)
    refuse_other_kind(reference, "Seurat")
    a_name(col.name, "col.name")
    check_columns(object, col.name)
    assay <- check_assay(object, assay)
    cells <- function(seurat, where) {
        source <- seurat_source(seurat, check_assay(seurat, assay), layer, verbose)
        list(
            source = source, table = metadata_of(seurat, source), where = where
        )
    }
    scored <- cells(object, "object@meta.data")
    table <- score_outliers(
        scored, if (!is.null(reference)) cells(reference, "reference@meta.data"),
        find_model(model %||% object), how
    )
    object <- add_columns_to_seurat(object, table["score"], col.name, scored$source)
    model <- if (!is.null(model)) in_short(find_model(model))
    reference <- in_short(reference)
    SeuratObject::LogSeuratCommand(object)
}

matrix_cells <- function(counts, table, where) {
    source <- matrix_source(counts)
    list(source = source, table = table_of_cells(table, source, where), where = where)
}

refuse_other_kind <- function(reference, kind) {
    if (!is.null(reference) && !is(reference, kind)) {
        fail(
            "reference must be a ", kind, " object, as the cells to score are, ",
            "not ", class(reference)[1L]
        )
    }
}

# `cells` and `reference` (or NULL): where counts are, a table with covariates,
# and how to call that.
score_outliers <- function(cells, reference, model, how) {
    refuse_settings(how)
    facts <- describe_model(model)
    parts <- c(list(cells), if (!is.null(reference)) list(reference))
    for (part in parts) check_model_genes(part$source, facts$genes, every = TRUE)
    covariates <- lapply(parts, function(part) {
        model_covariates(facts, part$table, part$where, part$source)
    })
    counts <- lapply(parts, function(part) {
        read_model_genes(part$source, facts$genes, others = TRUE)
    })
    arguments <- list(device = how$device)
    if (!is.null(reference)) {
        arguments$n_reference <- ncol(counts[[2L]])
        counts <- list(side_by_side(counts, facts$genes))
        covariates <- list(do.call(Map, c(list(c), covariates)))
    }
    run_job("outliers", arguments, counts[[1L]], covariates[[1L]], how,
        cells$source$where, model
    )$table
}

# Matrices of different other genes in one, with the sum of those as one row.
side_by_side <- function(counts, genes) {
    parts <- lapply(counts, function(part) {
        modelled <- rownames(part) %in% genes
        others <- matrix(colSums(part[!modelled, , drop = FALSE]), 1L)
        rownames(others) <- OTHER_GENES
        rbind(part[modelled, , drop = FALSE], as_sparse(others))
    })
    shared <- Reduce(intersect, lapply(parts, rownames))
    joined <- do.call(cbind, lapply(parts, function(part) part[shared, ]))
    colnames(joined) <- make.unique(colnames(joined))
    joined
}
