#' Report of a run: one page for a lab meeting
#'
#' Writes an HTML file that needs no network. It says what was done, what stood out,
#' how many counts and genes the cells have, how training went and why it stopped. It
#' shows the cells by cluster, by known type and by batch, the clusters with their
#' stability, confidence and genes, how batches mix, outliers, and the lines of code
#' that repeat the run. Where something is missing, it names the call that adds it.
#'
#' @inheritParams DenoiseSCRAE
#' @param object The object that [RunSCRAE()] returned; for a matrix, raw counts, genes
#'   x cells. Clusters of [ClusterSCRAE()] and scores of [FindOutliersSCRAE()] are
#'   found in a Seurat object or a SingleCellExperiment.
#' @param path File to write, ending in `.html`. One that is there is replaced.
#' @param batch.by Name of the column of cell metadata with batches, which are compared
#'   by [BatchReportSCRAE()]; NULL: the first of those that the training was told of.
#' @param labels Name of the column with known types of cells, to stand beside the
#'   clusters.
#' @param col.name Name of the column with the clusters; NULL: `scrae_clusters`, if
#'   there is such a column.
#' @param outliers Name of the column with the scores of [FindOutliersSCRAE()]; NULL:
#'   that function's column, if there is one.
#' @param reduction.name,name Name of the embedding.
#' @param reduction,dimred Name of the reduction that the cells are drawn in; NULL:
#'   `"umap"`, in capitals or not. Where there is none, a UMAP is computed for the
#'   report alone.
#' @param embedding What [RunSCRAE()] gave for these counts.
#' @param meta.data data.frame with a row per cell and the columns that are named.
#' @param title Title of the page.
#' @param seed.use Seed of the UMAP, and of samples where there are many cells.
#' @param ... `device`, `threads`, `in.process` or `.options` as in [RunSCRAE()].
#' @return The path, invisibly.
#' @seealso [plotClustersSCRAE()], [plotSCRAEHistory()], [BatchReportSCRAE()]
#' @examples
#' counts <- matrix(rpois(40 * 60, 2), 40, 60)
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     embedding <- RunSCRAE(counts, features = "all", n.latent = 2,
#'         max.epochs = 2, verbose = FALSE)
#'     file <- tempfile(fileext = ".html")
#'     ReportSCRAE(counts, file, embedding = embedding, verbose = FALSE)
#' }
#' @export
ReportSCRAE <- function(object, ...) {
    call <- check_arguments("ReportSCRAE", object, match.call(expand.dots = FALSE))
    if (!is.null(call)) {
        return(eval(call))
    }
    UseMethod("ReportSCRAE")
}

#' @rdname ReportSCRAE
#' @export
ReportSCRAE.default <- function(object, path, embedding, batch.by = NULL,
    labels = NULL, col.name = NULL, outliers = NULL, meta.data = NULL, title = NULL,
    seed.use = 42, verbose = TRUE, ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    source <- matrix_source(object)
    if (missing(embedding) || !is.matrix(embedding)) {
        fail(
            "a report describes a training: embedding <- RunSCRAE(counts), then ",
            "ReportSCRAE(counts, path, embedding)"
        )
    }
    write_report(
        source, path, embedding, find_fit(embedding),
        list(
            clusters = col.name, labels = labels, outliers = outliers, batch = batch.by
        ),
        table_of_cells(meta.data, source, "meta.data"), "meta.data", NULL, NULL, title,
        list(
            object = "counts", training = "embedding <- RunSCRAE",
            features = "attr(embedding, \"scrae\")$genes",
            clustering = "found <- ClusterSCRAE", embedding = "embedding"
        ),
        seed.use, how
    )
}

#' @rdname ReportSCRAE
#' @export
ReportSCRAE.SingleCellExperiment <- function(object, path, batch.by = NULL,
    labels = NULL, col.name = NULL, outliers = NULL, assay.type = "counts",
    altexp = NULL, name = "SCRAE", dimred = NULL, title = NULL, seed.use = 42,
    verbose = TRUE, ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    a_name(name, "name")
    known <- SingleCellExperiment::reducedDimNames(object)
    if (!name %in% known) refuse_missing_embedding(name, "name", known)
    table <- SummarizedExperiment::colData(object)
    clusters <- col.name %||% first_of(paste0(tolower(name), "_clusters"), table)
    drawn <- axes_to_draw(known, dimred, "dimred", function(name) {
        SingleCellExperiment::reducedDim(object, name)
    })
    write_report(
        sce_source(object, assay.type, altexp), path,
        as.matrix(SingleCellExperiment::reducedDim(object, name)),
        find_fit(object, name),
        list(
            clusters = clusters, labels = labels,
            outliers = outliers %||% first_of("SCRAE_outlier", table), batch = batch.by
        ),
        table, "colData(object)", drawn, S4Vectors::metadata(object)[[clusters %||% ""]],
        title,
        list(
            object = "object", training = "object <- RunSCRAE",
            features = sprintf("metadata(object)[[\"%s\"]]$genes", name),
            clustering = "object <- ClusterSCRAE",
            named = if (name != "SCRAE") list(name = name)
        ),
        seed.use, how
    )
}

#' @rdname ReportSCRAE
#' @export
ReportSCRAE.Seurat <- function(object, path, batch.by = NULL, labels = NULL,
    col.name = NULL, outliers = NULL, assay = NULL, layer = "counts",
    reduction.name = "scrae", reduction = NULL, title = NULL, seed.use = 42,
    verbose = TRUE, ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    known <- known_reductions(object, reduction.name)
    trained <- seurat_embedding(object, reduction.name, assay, layer, verbose)
    source <- trained$source
    table <- metadata_of(object, source)
    clusters <- col.name %||% first_of(paste0(reduction.name, "_clusters"), table)
    drawn <- axes_to_draw(known, reduction, "reduction", function(name) {
        axes <- SeuratObject::Embeddings(object, name)
        axes[match(source$cells, rownames(axes)), , drop = FALSE]
    })
    write_report(
        source, path, SeuratObject::Embeddings(trained$reduction),
        find_fit(object, reduction.name),
        list(
            clusters = clusters, labels = labels,
            outliers = outliers %||% first_of("scrae_outlier", table), batch = batch.by
        ),
        table, "object@meta.data", drawn, methods::slot(object, "misc")[[clusters %||% ""]],
        title,
        list(
            object = "object", training = "object <- RunSCRAE",
            features = sprintf("object[[\"%s\"]]@misc$genes", reduction.name),
            clustering = "object <- ClusterSCRAE",
            named = if (reduction.name != "scrae") {
                list(reduction.name = reduction.name)
            }
        ),
        seed.use, how
    )
}

# A column if the table has it, or NULL.
first_of <- function(column, table) if (column %in% colnames(table)) column

# Two axes of the reduction that was named, or of a UMAP, or NULL.
axes_to_draw <- function(known, name, argument, axes_of) {
    if (!is.null(name)) {
        a_name(name, argument)
        if (!name %in% known) {
            fail("the object has no reduction '", name, "'; ", hint(name, known))
        }
    }
    name <- c(name, known[tolower(known) == "umap"])[1L]
    if (is.na(name)) {
        return(NULL)
    }
    axes <- as.matrix(axes_of(name))
    if (ncol(axes) < 2L) fail(argument, " = \"", name, "\" has one axis; two are drawn")
    list(name = name, axes = unname(axes[, 1:2, drop = FALSE]))
}

page_to_write <- function(path) {
    one_value(path, "path")
    if (!is.character(path) || !grepl("[.]html?$", path, ignore.case = TRUE)) {
        fail("path must be the name of a file that ends in .html, not ", typed(path))
    }
    path <- absolute(path)
    if (!dir.exists(dirname(path))) {
        fail("there is no folder '", dirname(path), "' to write the report to")
    }
    path
}

#' Have Python write the page
#'
#' @param columns List of names of columns: clusters, labels, outliers, batch.
#' @param drawn [axes_to_draw()].
#' @param told Tables of [ClusterSCRAE()], or NULL.
#' @param call How the object and the calls are written: for the lines of code.
#' @noRd
write_report <- function(source, path, embedding, fit, columns, table, where, drawn,
    told, title, call, seed.use, how) {
    refuse_settings(how)
    path <- page_to_write(path)
    if (!is.null(title)) one_value(title, "title")
    for (name in names(columns)) {
        argument <- c(clusters = "col.name", batch = "batch.by")[name]
        argument <- if (is.na(argument)) name else argument
        if (!is.null(columns[[name]])) one_name(columns[[name]], argument, where)
    }
    facts <- describe_model(fit$model)
    table <- with_layers(table, facts$covariate_levels[[LAYER]], source)
    batch <- columns$batch %||% facts$batch_key
    gone <- is.null(columns$batch) && !is.null(batch) && !batch %in% colnames(table)
    if (gone) batch <- NULL
    refuse_other_cells(embedding, source, "the embedding")
    levels <- unique(c(columns$clusters, columns$labels, batch))
    values <- lapply(stats::setNames(levels, levels), function(column) {
        read_column(table, column, where)
    })
    numbers <- c(
        if (!is.null(columns$outliers)) columns$outliers,
        intersect(if (!is.null(columns$clusters)) confidence_of(columns$clusters), colnames(table))
    )
    scores <- lapply(stats::setNames(numbers, numbers), function(column) {
        read_column(table, column, where)
        scores_of_cells(table[[column]], column, where)
    })
    if (!is.null(drawn)) {
        scores[c(AXIS_1, AXIS_2)] <- list(drawn$axes[, 1L], drawn$axes[, 2L])
    }
    told <- if (is_clustering(told)) told
    batches <- if (!is.null(batch)) {
        tryCatch(
            report_batches(
                source, embedding, fit, batch, NULL, NULL, table, where, seed.use, how
            ),
            scrae_error = function(condition) conditionMessage(condition)
        )
    }
    genes <- match_genes(as.character(fit$genes), source$names)
    storage.mode(embedding) <- "double"
    run_job("report",
        list(
            path = path, title = title, counts_from = source$where, random_state = seed.use,
            clusters = columns$clusters, labels = columns$labels, batch = batch,
            outliers = columns$outliers, basis = drawn$name,
            told = if (!is.null(told)) {
                c(
                    lapply(told[c("clusters", "tree", "factors")], plain_columns),
                    list(replaced = isTRUE(told$params$replaced), separation = told$params$separation)
                )
            },
            batches = if (is.character(batches)) {
                batches
            } else if (!is.null(batches)) {
                lapply(unclass(batches)[c("measures", "groups", "findings")], plain_columns)
            },
            fit = list(
                summary = fit$summary, parameters = fit$parameters,
                history = plain_columns(fit$history),
                genes = as.list(if (!anyNA(genes)) source$names[genes]),
                warnings = as.list(fit$warnings), batch_key = facts$batch_key,
                keep = as.list(unlist(facts$keep))
            ),
            code = code_of_run(fit, facts, columns$clusters, told, call)
        ),
        read_counts(source), c(values, scores), how, source$where,
        embedding = unname(embedding[, , drop = FALSE])
    )
    say(how$verbose, "the report is in ", path)
    invisible(path)
}

AXIS_1 <- ".scrae_axis_1" # names of no user's columns
AXIS_2 <- ".scrae_axis_2"

scores_of_cells <- function(values, column, where) {
    if (!is.numeric(values)) {
        fail("column '", column, "' of ", where, " holds no numbers but ",
            class(values)[1L], " values")
    }
    as.double(values)
}

# Columns as lists, so that one row is still a column in JSON, and what is missing null.
plain_columns <- function(table) {
    lapply(as.list(table), function(values) {
        if (is.factor(values)) values <- as.character(values)
        lapply(unname(values), function(value) if (is.na(value)) NULL else value)
    })
}

# Arguments that are too long to be typed: the user's own objects of these names.
as_given <- function(names) stats::setNames(as.list(dotted(names)), dotted(names))

# What Python makes the lines of code of: names of functions, and arguments as typed.
code_of_run <- function(fit, facts, clusters, told, call) {
    levels <- setdiff(names(facts$covariate_levels), LAYER)
    training <- c(
        list(features = call$features),
        typed_if_any("group.by.vars", levels),
        typed_if_any("vars.to.regress", names(facts$covariate_scales)),
        typed_if_any("keep", unlist(facts$keep)),
        as_given(intersect(c("must_link", "cannot_link"), names(fit$history))),
        list(seed.use = typed(fit$parameters$random_state)),
        if (fit$parameters$preset != "default") {
            list(preset = typed(fit$parameters$preset))
        },
        lapply(call$named, typed)
    )
    clustering <- if (!is.null(told)) {
        c(
            if (!identical(told$params$level, "default")) {
                list(level = typed(told$params$level))
            },
            if (told$params$resolution != 1) {
                list(resolution = typed(told$params$resolution))
            },
            list(seed.use = typed(told$params$seed.use)), lapply(call$named, typed),
            if (!endsWith(clusters, "scrae_clusters")) list(col.name = typed(clusters))
        )
    }
    list(
        object = call$object, training = call$training, embedding = call$embedding,
        clustering = if (!is.null(told)) call$clustering,
        arguments = training, of_clustering = clustering
    )
}

typed_if_any <- function(name, values) {
    if (length(values)) stats::setNames(list(typed(values)), name)
}
