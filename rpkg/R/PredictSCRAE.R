#' Map new cells into a trained embedding
#'
#' The trained encoder is applied to the query; nothing is trained. Genes are
#' matched by name (and with `_` for `-`, which Seurat puts into names); genes of
#' the model that the query lacks count as zero, with a warning that says how
#' many.
#'
#' @inheritParams RunSCRAE
#' @param object Query: Seurat object, SingleCellExperiment or matrix of raw
#'   counts, genes x cells.
#' @param model What [RunSCRAE()] returned for the reference (object or
#'   embedding), or the folder of a model.
#' @param ... `device`, `threads`, `in_process` as in [RunSCRAE()].
#' @return The query with the embedding; for a matrix the embedding, cells x
#'   latent dimensions.
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
PredictSCRAE.default <- function(object, model, verbose = TRUE, ...) {
    source <- matrix_source(object)
    how <- run_options(list(...), names(formals()), verbose)
    name_embedding(map_cells(source, model, how), source, "scrae_")
}

#' @rdname PredictSCRAE
#' @export
PredictSCRAE.SingleCellExperiment <- function(object, model,
    assay.type = "counts", altexp = NULL, name = "SCRAE", verbose = TRUE, ...) {
    source <- sce_source(object, assay.type, altexp)
    how <- run_options(list(...), names(formals()), verbose)
    add_to_sce(object, map_cells(source, model, how), source, name)
}

#' @rdname PredictSCRAE
#' @export
PredictSCRAE.Seurat <- function(object, model, assay = NULL, layer = "counts",
    reduction.name = "scrae", reduction.key = "scrae_", verbose = TRUE, ...) {
    check_reduction_key(reduction.key)
    how <- run_options(list(...), names(formals()), verbose)
    assay <- check_assay(object, assay)
    source <- seurat_source(object, assay, layer, verbose)
    embedding <- map_cells(source, model, how)
    object[[reduction.name]] <- new_reduction(embedding, source, reduction.key)
    SeuratObject::LogSeuratCommand(object)
}

map_cells <- function(source, model, how) {
    refuse_settings(how)
    model <- find_model(model)
    counts <- read_model_genes(source, describe_model(model)$genes)
    run_job("map", list(device = how$device), counts,
        how = how, where = source$where, model = model
    )$embedding
}

# Counts of the genes that the model and the source share, by the model's names.
read_model_genes <- function(source, genes) {
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
    counts <- read_counts(source, positions[found])
    rownames(counts)[seq_len(sum(found))] <- genes[found]
    counts
}
