#' Find clusters of cells; their number need not be known
#'
#' The communities of the neighbour graph are joined step by step, the two that lie
#' least apart first. Two groups remain two clusters if they lie further apart than
#' the two halves of a single homogeneous group would: at least 1.25 times as far by
#' default, 1.6 times with `level = "broad"` and 1.1 times with `level = "fine"`.
#' All levels are cuts of one tree, so each fine cluster lies within one broad
#' cluster. The same object and seed give the same clusters in R and in Python.
#'
#' @section What is added:
#' The columns `scrae_clusters` (a factor) and `scrae_cluster_confidence` of the cell
#' metadata, or others as `col.name` says. Seurat: `Idents()` are the clusters, and
#' tables are in `Misc(object, "scrae_clusters")`. SingleCellExperiment: tables are
#' in `metadata(object)$scrae_clusters`. A column of that name that is not the work
#' of an earlier call is not replaced.
#'
#' The levels of the clusters, "0", "1", ..., are in the order of the tree, so that
#' similar clusters have neighbouring numbers. The confidence is the share of
#' resamplings of the cells in which a cell came to its cluster again, from 0 to 1.
#'
#' The tables are a list. `clusters` has a row for each cluster: its number of
#' cells, its stability from 0 to 1, the nearest cluster, the separation from it,
#' genes that are higher than there, and the batch if nearly all of its cells are of
#' one; with `rare = TRUE` also `found_by`, `"neighbours"` or `"genes"` of its own.
#' `tree` has a row for each pair of groups that was judged: their numbers
#' of cells, their separation, whether they were kept apart, and why. `factors` has
#' a row for each difference that several clusters share: these clusters, the number
#' of their cells on either side, and the genes that are higher there in all of
#' them. `params` has the arguments.
#'
#' A difference that several clusters share is a batch, a treatment or a state of
#' the cells rather than a cell type. Groups that differ only in this way are joined,
#' and a warning names the genes. `level = "fine"` keeps them apart, and
#' `group.by.vars` removes a batch.
#'
#' @inheritParams RunSCRAE
#' @param object The object that [RunSCRAE()] returned; for a matrix, raw counts,
#'   genes x cells.
#' @param embedding What [RunSCRAE()] returned for these counts: cells x axes.
#' @param level `"default"`, `"broad"` or `"fine"`; or the number of clusters, where
#'   it is known.
#' @param resolution Above 1 gives more clusters than the level, below 1 fewer.
#' @param rare Look for types of 8 to 40 cells as well, which are too few for the
#'   neighbour graph: cells with genes of their own that other genes find again. Some
#'   of the clusters that come with it are parts of a type.
#' @param group.by.vars Name of the column of cell metadata with batches; NULL: the
#'   first of those that the embedding was trained with. Differences between batches
#'   then do not separate clusters, and clusters that consist of one batch are
#'   marked.
#' @param assay Assay with raw counts; NULL: the one that the reduction was computed
#'   on.
#' @param reduction.name Name of the reduction to cluster.
#' @param name Name of the entry of `reducedDims()` to cluster.
#' @param col.name Name of the column for the clusters, by which several clusterings
#'   can stand side by side; NULL: `reduction.name`, or `name` in small letters, with
#'   `_clusters`.
#' @param ... `threads`, `in.process` as in [RunSCRAE()].
#' @return The object with the clusters. Matrix: a data.frame with a row per cell,
#'   `clusters` and `confidence`; the tables are its attribute `"scrae_clusters"`.
#' @seealso [plotClustersSCRAE()], [StabilitySCRAE()], [FindMarkersSCRAE()]; for Leiden or
#'   Louvain, [NeighborsSCRAE()]
#' @examples
#' counts <- matrix(rpois(40 * 30, 2), 30, 40)
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     embedding <- RunSCRAE(counts, features = "all", n.latent = 2,
#'         max.epochs = 2, verbose = FALSE)
#'     found <- ClusterSCRAE(counts, embedding, verbose = FALSE)
#'     table(found$clusters)
#' }
#' @export
ClusterSCRAE <- function(object, ...) {
    call <- check_arguments("ClusterSCRAE", object, match.call(expand.dots = FALSE))
    if (!is.null(call)) {
        return(eval(call))
    }
    UseMethod("ClusterSCRAE")
}

#' @rdname ClusterSCRAE
#' @export
ClusterSCRAE.default <- function(object, embedding, level = "default",
    resolution = 1, rare = FALSE, group.by.vars = NULL, meta.data = NULL,
    seed.use = 42, verbose = TRUE, ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    source <- matrix_source(object)
    if (missing(embedding) || !is.matrix(embedding)) {
        fail(
            "clusters are looked for in an embedding: embedding <- ",
            "RunSCRAE(counts), then ClusterSCRAE(counts, embedding)"
        )
    }
    found <- find_clusters(
        source, embedding, attr(embedding, "scrae"), NULL,
        level, resolution, rare, table_of_cells(meta.data, source, "meta.data"),
        "meta.data", group.by.vars, seed.use, how
    )
    rownames(found$table) <- make.unique(source$cells)
    structure(found$table, scrae_clusters = found$told)
}

#' @rdname ClusterSCRAE
#' @export
ClusterSCRAE.SingleCellExperiment <- function(object, level = "default",
    resolution = 1, rare = FALSE, group.by.vars = NULL, assay.type = "counts",
    altexp = NULL,
    name = "SCRAE", col.name = NULL, seed.use = 42, verbose = TRUE, ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    a_name(name, "name")
    known <- SingleCellExperiment::reducedDimNames(object)
    if (!name %in% known) refuse_missing_embedding(name, "name", known)
    columns <- cluster_columns(col.name, tolower(name))
    table <- SummarizedExperiment::colData(object)
    check_columns(object, columns)
    check_tables(object, columns[1L])
    found <- find_clusters(
        sce_source(object, assay.type, altexp),
        as.matrix(SingleCellExperiment::reducedDim(object, name)),
        fit_if_any(object, name), name,
        level, resolution, rare, table, "colData(object)", group.by.vars, seed.use, how
    )
    object <- add_columns_to_sce(object, found$table, columns, note = FALSE)
    set_metadata(object, columns[1L], found$told)
}

#' @rdname ClusterSCRAE
#' @export
ClusterSCRAE.Seurat <- function(object, level = "default", resolution = 1,
    rare = FALSE, group.by.vars = NULL, assay = NULL, layer = "counts",
    reduction.name = "scrae", col.name = NULL, seed.use = 42, verbose = TRUE,
    ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    known_reductions(object, reduction.name)
    columns <- cluster_columns(col.name, reduction.name)
    check_columns(object, columns)
    check_tables(object, columns[1L])
    trained <- seurat_embedding(object, reduction.name, assay, layer, verbose)
    assay <- trained$assay # by this name it goes into Seurat's log of commands
    source <- trained$source
    found <- find_clusters(
        source, SeuratObject::Embeddings(trained$reduction),
        fit_if_any(object, reduction.name), reduction.name, level,
        resolution, rare, metadata_of(object, source), "object@meta.data",
        group.by.vars, seed.use, how
    )
    object <- add_columns_to_seurat(object, found$table, columns, source, note = FALSE)
    SeuratObject::Idents(object) <- columns[1L]
    methods::slot(object, "misc")[[columns[1L]]] <- found$told
    SeuratObject::LogSeuratCommand(object)
}

# Names of the columns with the clusters and with the confidence.
cluster_columns <- function(col.name, name) {
    if (!is.null(col.name)) one_name(col.name, "col.name", "the cell metadata")
    if (!is.null(col.name)) a_name(col.name, "col.name")
    column <- col.name %||% paste0(name, "_clusters")
    c(column, confidence_of(column))
}

refuse_missing_embedding <- function(name, argument, known) {
    fail(
        "the object has no embedding '", name, "': call RunSCRAE(object) first",
        if (length(known)) {
            paste0(
                ", or name another with ", argument, " (there are: ",
                quoted(known, 20L), ")"
            )
        },
        class = "scrae_no_embedding"
    )
}

# `table`, a row per cell, and `told`, a list of tables. `fit` says what the
# embedding of that name was trained on and with; NULL where nobody knows.
find_clusters <- function(source, embedding, fit, name, level, resolution, rare,
    table, where, group.by.vars, seed.use, how) {
    refuse_settings(how)
    level <- known_level(level)
    one_number(resolution, "resolution")
    if (resolution <= 0) fail("resolution must be above 0, not ", resolution)
    yes_or_no(rare, "rare")
    refuse_other_cells(embedding, source, paste(
        c("the embedding", if (!is.null(name)) paste0("'", name, "'")),
        collapse = " "
    ))
    if (!is.null(fit)) {
        table <- with_layers(
            table, describe_model(fit$model)$covariate_levels[[LAYER]], source
        )
    }
    if (is.null(fit) && is.null(group.by.vars)) {
        say(
            how$verbose, "no model says which batches the embedding was trained ",
            "with: if there are any, name them with group.by.vars"
        )
    }
    batch <- batch_of_clusters(group.by.vars, fit, table, where)
    columns <- read_covariates(table, batch, where)
    genes <- match_genes(as.character(fit$genes), source$names)
    storage.mode(embedding) <- "double"
    result <- run_job("cluster",
        list(
            level = level, resolution = resolution, rare = rare, batch_key = batch,
            random_state = seed.use,
            genes = as.list(if (!anyNA(genes)) source$names[genes])
        ),
        read_counts(source), columns, how, source$where,
        embedding = unname(embedding[, , drop = FALSE])
    )
    result$tree$kept_apart <- result$tree$kept_apart == 1L
    list(
        table = result$table,
        told = list(
            clusters = result$clusters, tree = result$tree,
            factors = result$factors,
            params = list(
                level = level, resolution = resolution,
                rare = rare, separation = result$separation, embedding = name,
                group.by.vars = batch, seed.use = seed.use
            )
        )
    )
}

# The column that was asked for, or the batch of the model, or NULL.
batch_of_clusters <- function(group.by.vars, fit, table, where) {
    if (!is.null(group.by.vars)) {
        one_name(group.by.vars, "group.by.vars", where)
        return(group.by.vars)
    }
    batch <- if (!is.null(fit)) describe_model(fit$model)$batch_key
    if (!is.null(batch) && !batch %in% colnames(table)) {
        fail(
            "the embedding was trained with batches in column '", batch,
            "', which ", where, " does not have: put it back, or name a column ",
            "with batches: ClusterSCRAE(..., group.by.vars = )",
            class = "scrae_unknown_column"
        )
    }
    batch
}

known_level <- function(level) {
    if (is.character(level)) level <- tolower(level)
    known <- c("broad", "default", "fine")
    named <- is.character(level) && length(level) == 1L && level %in% known
    counted <- is.numeric(level) && length(level) == 1L && is.finite(level) &&
        level == trunc(level) && level >= 1
    if (!named && !counted) {
        fail(
            "level must be ", paste0("\"", known, "\"", collapse = ", "),
            " or a number of clusters, a whole number of at least 1, not ",
            typed(level)
        )
    }
    level
}

refuse_other_cells <- function(embedding, source, called) {
    n <- length(source$cells)
    if (nrow(embedding) != n) {
        fail(
            called, " has ", how_many(nrow(embedding), "cell"), ", and ",
            source$where, " has ", count(n), ": give those of the same cells"
        )
    }
    cells <- rownames(embedding)
    if (!is.null(cells) && !identical(cells, source$cells)) {
        fail(
            "the cells of ", called, " are not those of ", source$where,
            " in the same order (the first that differs: '",
            cells[cells != source$cells][1L], "', there '",
            source$cells[cells != source$cells][1L], "')"
        )
    }
    refuse_not_finite(embedding, called)
}

refuse_not_finite <- function(embedding, called) {
    wrong <- sum(rowSums(!is.finite(embedding)) > 0)
    if (wrong > 0L) {
        fail(
            called, " has missing or infinite values in ",
            share_of(wrong, nrow(embedding), "cell"), ": call RunSCRAE(object) ",
            "again, or drop those cells",
            class = "scrae_embedding_not_finite"
        )
    }
}
