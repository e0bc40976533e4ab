#' Map new cells into a trained embedding
#'
#' The trained encoder is applied to the query; nothing is trained. Genes are
#' matched by name (and with `_` for `-`, which Seurat puts into names); genes of
#' the model that the query lacks count as zero, with a warning that says how
#' many. Where the model has learned types of cells with [LabelSCRAE()], the query
#' is labelled, too.
#'
#' @inheritParams RunSCRAE
#' @param object Query: Seurat object, SingleCellExperiment or matrix of raw
#'   counts, genes x cells.
#' @param model What [RunSCRAE()] returned for the reference (object or
#'   embedding), or the folder of a model.
#' @param unlabeled,unknown.rate As in [LabelSCRAE()], for a model that knows
#'   types of cells.
#' @param ... `device`, `threads`, `in_process` as in [RunSCRAE()].
#' @return The query with the embedding; for a matrix the embedding, cells x
#'   axes, as many as the model's. A model that knows types adds the columns of
#'   [LabelSCRAE()], named after `reduction.name` or `name`; for a matrix the
#'   attribute `"labels"`, a data.frame.
#' @examples
#' counts <- matrix(rpois(40 * 30, 2), 30, 40)
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     embedding <- RunSCRAE(counts, features = "all", n_latent = 2,
#'         max_epochs = 2, verbose = FALSE)
#'     dim(PredictSCRAE(counts[, 1:10], model = embedding, verbose = FALSE))
#' }
#' @export
PredictSCRAE <- function(object, ...) UseMethod("PredictSCRAE")

#' @rdname PredictSCRAE
#' @export
PredictSCRAE.default <- function(object, model, unlabeled = "Unknown",
    unknown.rate = 0.01, verbose = TRUE, ...) {
    source <- matrix_source(object)
    how <- run_options(list(...), names(formals()), verbose)
    mapped <- map_cells(source, model, unlabeled, unknown.rate, how)
    embedding <- name_embedding(mapped$embedding, source, "scrae_")
    attr(embedding, "labels") <- mapped$table
    embedding
}

#' @rdname PredictSCRAE
#' @export
PredictSCRAE.SingleCellExperiment <- function(object, model,
    assay.type = "counts", altexp = NULL, name = "SCRAE", unlabeled = "Unknown",
    unknown.rate = 0.01, verbose = TRUE, ...) {
    source <- sce_source(object, assay.type, altexp)
    how <- run_options(list(...), names(formals()), verbose)
    mapped <- map_cells(source, model, unlabeled, unknown.rate, how)
    object <- add_columns_to_sce(object, mapped$table, name)
    add_to_sce(object, mapped$embedding, source, name)
}

#' @rdname PredictSCRAE
#' @export
PredictSCRAE.Seurat <- function(object, model, assay = NULL, layer = "counts",
    reduction.name = "scrae", reduction.key = "scrae_", unlabeled = "Unknown",
    unknown.rate = 0.01, verbose = TRUE, ...) {
    check_reduction_key(reduction.key)
    how <- run_options(list(...), names(formals()), verbose)
    assay <- check_assay(object, assay)
    source <- seurat_source(object, assay, layer, verbose)
    mapped <- map_cells(source, model, unlabeled, unknown.rate, how)
    object[[reduction.name]] <- new_reduction(
        mapped$embedding, source, reduction.key
    )
    object <- add_columns_to_seurat(
        object, mapped$table, paste0(reduction.name, "_", names(mapped$table)), source
    )
    SeuratObject::LogSeuratCommand(object)
}

# `embedding`, and `table` with the types where the model knows any.
map_cells <- function(source, model, unlabeled, unknown.rate, how) {
    refuse_settings(how)
    one_value(unlabeled, "unlabeled")
    one_number(unknown.rate, "unknown.rate")
    model <- find_model(model)
    counts <- read_model_genes(source, describe_model(model)$genes)
    arguments <- list(
        device = how$device, unlabeled_category = unlabeled,
        unknown_rate = unknown.rate
    )
    run_job("map", arguments, counts,
        how = how, where = source$where, model = model
    )
}

# Counts of the genes that the model and the source share, by the model's names;
# where the totals of the cells matter, of all genes (`others`).
read_model_genes <- function(source, genes, others = FALSE) {
    positions <- match_genes(genes, source$names)
    found <- !is.na(positions)
    if (!any(found)) {
        fail(
            "none of the model's ", count(length(genes)), " genes is in ",
            source$where, " (model: ", quoted(genes), "; there: ",
            quoted(source$names), "): are they symbols on one side and Ensembl ",
            "ids on the other?"
        )
    }
    positions <- positions[found]
    if (others) {
        positions <- c(positions, setdiff(seq_along(source$names), positions))
    }
    counts <- read_counts(source, positions)
    rownames(counts)[seq_len(sum(found))] <- genes[found]
    counts
}
