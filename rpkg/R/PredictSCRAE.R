#' Map new cells into a trained embedding
#'
#' The trained encoder is applied to the query; nothing is trained. Genes are
#' matched by name (and with `_` for `-`, which Seurat puts into names); genes of
#' the model that the query lacks count as zero, with a warning that says how
#' many. Where the model has learned types of cells with [LabelSCRAE()], the query
#' is labelled, too.
#'
#' If the query comes from batches that the model was not trained on, name their
#' column as `group.by.vars`. What sets each new batch apart is then learned from the
#' cells that are most like training cells, and is taken out: a factor for each gene,
#' then a shift for each group of cells. The model stays as it is, and so does the
#' embedding of the reference. Without `group.by.vars` nothing is taken out, and where
#' the query has the batch column of the training, a warning names the new batches.
#'
#' @inheritParams RunSCRAE
#' @param object Query: Seurat object, SingleCellExperiment or matrix of raw
#'   counts, genes x cells.
#' @param model What [RunSCRAE()] returned for the reference (object or
#'   embedding), or the folder of a model.
#' @param group.by.vars Name of the column of cell metadata with the batches. Batches
#'   of the training are left as they are, if the column has the name that it had
#'   there. New ones need 30 cells. A warning names those that are too small, and
#'   those whose cells are unlike the training cells. Where the training kept the
#'   differences of a column (`keep`) that the query has as well, cells are compared with
#'   the training cells that have the same value. NULL: no batch is taken out.
#' @param meta.data For a matrix: data.frame with a row per cell, for `group.by.vars`.
#' @param unlabeled,unknown.rate As in [LabelSCRAE()], for a model that knows
#'   types of cells.
#' @param ... `device`, `threads`, `in.process` or `.options` as in [RunSCRAE()].
#' @return The query with the embedding; for a matrix the embedding, cells x
#'   axes, as many as the model's. A model that knows types adds the columns of
#'   [LabelSCRAE()], named after `reduction.name` or `name`; for a matrix the
#'   attribute `"labels"`, a data.frame.
#' @examples
#' counts <- matrix(rpois(40 * 30, 2), 30, 40)
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     embedding <- RunSCRAE(counts, features = "all", n.latent = 2,
#'         max.epochs = 2, verbose = FALSE)
#'     dim(PredictSCRAE(counts[, 1:10], model = embedding, verbose = FALSE))
#' }
#' @export
PredictSCRAE <- function(object, ...) {
    call <- check_arguments("PredictSCRAE", object, match.call(expand.dots = FALSE))
    if (!is.null(call)) {
        return(eval(call))
    }
    UseMethod("PredictSCRAE")
}

#' @rdname PredictSCRAE
#' @export
PredictSCRAE.default <- function(object, model, unlabeled = "Unknown",
    unknown.rate = 0.01, group.by.vars = NULL, meta.data = NULL, verbose = TRUE, ...) {
    cells <- matrix_cells(object, meta.data, "meta.data")
    source <- cells$source
    how <- run_options(list(...), names(formals()), verbose)
    mapped <- map_cells(
        source, model, group.by.vars, unlabeled, unknown.rate, how, cells$table, cells$where
    )
    embedding <- name_embedding(mapped$embedding, source, "scrae_")
    attr(embedding, "labels") <- mapped$table
    embedding
}

#' @rdname PredictSCRAE
#' @export
PredictSCRAE.SingleCellExperiment <- function(object, model,
    assay.type = "counts", altexp = NULL, name = "SCRAE", unlabeled = "Unknown",
    unknown.rate = 0.01, group.by.vars = NULL, verbose = TRUE, ...) {
    how <- run_options(list(...), names(formals()), verbose)
    model <- find_model(model)
    check_embedding_name(object, name)
    check_metadata_name(object, name)
    kept <- kept_fit(object, name, model, verbose)
    check_columns(object, paste0(name, "_", columns_of_types(model)))
    source <- sce_source(object, assay.type, altexp)
    mapped <- map_cells(
        source, model, group.by.vars, unlabeled, unknown.rate, how,
        SummarizedExperiment::colData(object), "colData(object)"
    )
    if (is.null(kept)) {
        for (column in earlier_columns(object, name)) {
            SummarizedExperiment::colData(object)[[column]] <- NULL
        }
        object <- outdated_clusters(object, name, verbose)
        object <- set_metadata(object, name, NULL)
    }
    object <- add_columns_to_sce(object, mapped$table, paste0(name, "_", names(mapped$table)))
    object <- note_made(object, "scrae_embeddings", name)
    add_to_sce(object, mapped$embedding, source, name)
}

#' @rdname PredictSCRAE
#' @export
PredictSCRAE.Seurat <- function(object, model, assay = NULL, layer = "counts",
    reduction.name = "scrae", reduction.key = "scrae_", unlabeled = "Unknown",
    unknown.rate = 0.01, group.by.vars = NULL, verbose = TRUE, ...) {
    how <- run_options(list(...), names(formals()), verbose)
    assay <- check_assay(object, assay)
    model <- find_model(model)
    check_reduction_key(reduction.key)
    check_reduction_name(object, reduction.name)
    reduction.key <- free_key(
        object, reduction.name, reduction.key, !missing(reduction.key)
    )
    kept <- kept_fit(object, reduction.name, model, verbose)
    columns <- columns_of_types(model)
    check_columns(object, paste0(reduction.name, "_", columns))
    source <- seurat_source(object, assay, layer, verbose)
    mapped <- map_cells(
        source, model, group.by.vars, unlabeled, unknown.rate, how,
        metadata_of(object, source), "object@meta.data"
    )
    if (is.null(kept)) {
        for (column in earlier_columns(object, reduction.name)) {
            methods::slot(object, "meta.data")[[column]] <- NULL
        }
        object <- outdated_clusters(object, reduction.name, verbose)
    }
    object[[reduction.name]] <- new_reduction(
        mapped$embedding, source, reduction.key,
        kept %||% list(scrae_mapped = TRUE)
    )
    object <- add_columns_to_seurat(
        object, mapped$table, paste0(reduction.name, "_", names(mapped$table)), source
    )
    model <- in_short(model)
    SeuratObject::LogSeuratCommand(object)
}

#' What is kept of a trained embedding whose name a mapped one shall have
#'
#' Its model stays where it is the one that maps. Another one goes, and it is said:
#' it is not that of the new embedding.
#' @return The misc of the reduction, or NULL where no model is kept.
#' @noRd
kept_fit <- function(object, name, model, verbose) {
    fits <- all_fits(object)
    fits <- unname(fits[names(fits) == name])
    same <- vapply(fits, function(fit) {
        identical(unclass(fit$model), unclass(model))
    }, TRUE)
    if (length(fits) > 0L && all(same)) {
        return(unclass(fits[[1L]]))
    }
    if (length(fits) > 0L) {
        say(
            verbose, "the model '", name, "' that these cells were trained with goes, ",
            "as the embedding will be that of the model given"
        )
    }
    NULL
}

# Names of what is told of the type of each cell, where the model knows types.
TYPE_COLUMNS <- c("label", "label_probability", "familiarity")

columns_of_types <- function(model) {
    if (length(describe_model(model)$cell_types)) TYPE_COLUMNS
}

# `embedding`, and `table` with the types where the model knows any.
map_cells <- function(source, model, group.by.vars, unlabeled, unknown.rate, how,
    table, where) {
    refuse_settings(how)
    share_of_unknown(unknown.rate)
    model <- find_model(model)
    facts <- describe_model(model)
    called <- name_of_unknown(unlabeled, unlist(facts$cell_types))
    batches <- batches_of_query(facts, group.by.vars, table, where)
    check_model_genes(source, facts$genes)
    arguments <- list(
        device = how$device, unlabeled_category = called,
        unknown_rate = unknown.rate, batch_key = group.by.vars
    )
    result <- run_job("map", arguments, read_model_genes(source, facts$genes), batches,
        how = how, where = source$where, model = model
    )
    result$table <- with_missing(result$table, unlabeled, called)
    result
}

#' Refuse cells that lack genes of the model
#'
#' Before a worker starts, which it does before counts are read.
#' @param every Whether all genes are needed, as what decodes needs them.
#' @return Positions of the model's genes in the source; NA for those not there.
#' @noRd
check_model_genes <- function(source, genes, every = FALSE) {
    positions <- match_genes(genes, source$names)
    missing <- genes[is.na(positions)]
    if (length(missing) == length(genes)) {
        fail(
            "none of the model's ", count(length(genes)), " genes is in ",
            source$where, " (model: ", quoted(genes), "; there: ",
            quoted(source$names), "): ", why_no_gene(genes, source),
            class = "scrae_no_gene_shared"
        )
    }
    if (every && length(missing) > 0L) {
        refuse(
            "genes_missing",
            list(n = length(missing), n_genes = length(genes), names = missing),
            source$where, capitals_of(missing, source$names)
        )
    }
    positions
}

# Counts of the genes that the model and the source share, by the model's names;
# where the totals of the cells matter, of all genes (`others`).
read_model_genes <- function(source, genes, others = FALSE) {
    positions <- check_model_genes(source, genes)
    found <- !is.na(positions)
    positions <- positions[found]
    if (others) {
        positions <- c(positions, setdiff(seq_along(source$names), positions))
    }
    counts <- read_counts(source, positions)
    rownames(counts)[seq_len(sum(found))] <- genes[found]
    counts
}
