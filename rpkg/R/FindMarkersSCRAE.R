#' Genes that differ between groups of cells, or between conditions
#'
#' Cell by cell, fold changes come from the model's denoised means at one library
#' size, and p values from permuting the groups over the cells. A gene has to pass two
#' tests, of its denoised means and of its own counts, because denoised values borrow
#' from other genes. Donor by donor, with `sample.by`, raw counts are compared as bulk
#' samples are.
#'
#' With `sample.by`, raw counts of all genes are summed over the cells of each donor
#' in each group, and these sums are compared as bulk samples are (pseudobulk). No
#' model is needed. Donors that are on one side only are independent samples. Donors
#' that are on both sides (a cluster and the other cells, or a treatment of the same
#' donors' cells) are pairs.
#'
#' @section Which of the two:
#' Between conditions (treated and control, patients and healthy donors) the question
#' is whether other donors would differ, too: name the donors with `sample.by`. Cells
#' of one donor are alike, so a test that treats cells as samples finds genes between
#' any two sets of donors. Compare one cell type at a time, `object[, object$cell_type
#' == "B cell"]`; otherwise a difference in the composition of the samples looks like
#' one in expression. Markers of types within one sample are found cell by cell.
#'
#' Groups that were found on the same counts, as clusters are, differ by construction:
#' their p values can rank genes but mean nothing else, whichever way you choose.
#'
#' @section Groups that are left out:
#' Groups of fewer than ten cells, or that share no batch with the others, are left
#' out with a warning, and so are groups with fewer than two donors on either side.
#' It is an error where none is left. Sums over fewer than ten cells are left out,
#' too. Of donors of which some are on both sides, the pairs are compared if they
#' are at least as many as the others, and otherwise nothing is.
#'
#' @inheritParams DenoiseSCRAE
#' @param object The object that [RunSCRAE()] returned, or other cells with all
#'   the model's genes; for a matrix, raw counts. With `sample.by` any object with
#'   raw counts.
#' @param group.by Name of the column of cell metadata that holds the groups. NULL:
#'   `Idents(object)` of a Seurat object; `colLabels(object)` or, where there are
#'   none, the clusters of [ClusterSCRAE()] of a SingleCellExperiment.
#' @param ident.1 Group to compare; several are taken together; NULL: each group in
#'   turn. Names of cells are taken as a group, too.
#' @param ident.2 Group to compare with; several are taken together; NULL: all other
#'   cells.
#' @param batch.by Name of the column of cell metadata with batches (donors, say):
#'   groups are compared, and permuted, within them. With `sample.by` the batch is a
#'   term of the design, and each donor has to be from one batch.
#' @param sample.by Name of the column of cell metadata with donors or other
#'   replicates: these are compared, not cells.
#' @param test.use With `sample.by`: `"edgeR"` (quasi-likelihood), `"DESeq2"`, or
#'   `"pydeseq2"`, DESeq2's method in Python; NULL: the first that is installed.
#' @param format `"scrae"`, or `"Seurat"` for the columns and row names of
#'   `Seurat::FindMarkers()`, of `Seurat::FindAllMarkers()` where `ident.1` is NULL.
#' @param meta.data data.frame with a row per cell and the columns that are named.
#' @param ... `device`, `threads`, `in.process` or `.options` as in [RunSCRAE()].
#' @return data.frame with a row per group and gene of the model, by group, then
#'   by p: `group`; `gene`; `log2fc`, the difference of the mean log2 of denoised
#'   means, and `log2fc_error`, its standard deviation if groups are permuted; `p`
#'   (two-sided, the larger of both tests') and `q` (Benjamini and Hochberg within
#'   the group); `model_p` and `counts_p`, of each test alone; `counts_log2fc`;
#'   `mean` and `reference_mean`, denoised counts per cell; `detected` and
#'   `reference_detected`, shares of the cells with a count.
#'
#'   With `sample.by` a row per group and gene with enough counts to be tested:
#'   `group`, `gene`, `log2fc`, `p`, `q`, `mean` and `reference_mean` (counts per
#'   million), `detected`, `reference_detected`, and `samples` and
#'   `reference_samples`, how many donors were compared.
#'
#'   `format = "Seurat"`: `p_val`, `avg_log2FC` (`log2fc`), `pct.1`, `pct.2` (shares
#'   of cells with a count) and `p_val_adj` (Bonferroni over all genes of the assay,
#'   as in Seurat), by p; genes are row names, or `cluster` and `gene` are further
#'   columns.
#' @examples
#' set.seed(1)
#' counts <- matrix(rpois(60 * 200, 5), 60, 200)
#' cells <- data.frame(
#'     donor = rep(paste0("d", 1:4), 50),
#'     condition = rep(c("control", "control", "treated", "treated"), 50)
#' )
#' if (requireNamespace("edgeR", quietly = TRUE)) {
#'     head(FindMarkersSCRAE(counts, "condition", ident.1 = "treated",
#'         sample.by = "donor", meta.data = cells, verbose = FALSE))
#' }
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     embedding <- RunSCRAE(counts, features = "all", n.latent = 2,
#'         max.epochs = 2, verbose = FALSE)
#'     head(FindMarkersSCRAE(counts, "condition", ident.1 = "treated",
#'         model = embedding, meta.data = cells, verbose = FALSE))
#' }
#' @export
FindMarkersSCRAE <- function(object, ...) {
    call <- check_arguments("FindMarkersSCRAE", object, match.call(expand.dots = FALSE))
    if (!is.null(call)) {
        return(eval(call))
    }
    UseMethod("FindMarkersSCRAE")
}

#' @rdname FindMarkersSCRAE
#' @export
FindMarkersSCRAE.default <- function(object, group.by, ident.1 = NULL,
    ident.2 = NULL, batch.by = NULL, model = NULL, meta.data = NULL,
    sample.by = NULL, test.use = NULL, format = "scrae", verbose = TRUE, ...) {
    how <- run_options(list(...), names(formals()), verbose)
    source <- matrix_source(object)
    if (missing(group.by) || is.null(group.by)) {
        fail("group.by takes the name of one column of meta.data")
    }
    find_markers(
        source, model, table_of_cells(meta.data, source, "meta.data"), "meta.data",
        group.by, ident.1, ident.2, batch.by, sample.by, test.use, format, how
    )
}

#' @rdname FindMarkersSCRAE
#' @export
FindMarkersSCRAE.SingleCellExperiment <- function(object, group.by = NULL,
    ident.1 = NULL, ident.2 = NULL, batch.by = NULL, model = NULL,
    assay.type = "counts", altexp = NULL, sample.by = NULL, test.use = NULL,
    format = "scrae", verbose = TRUE, ...) {
    how <- run_options(list(...), names(formals()), verbose)
    group.by <- group.by %||% groups_of_sce(object)
    say_if_clusters(object, group.by, verbose)
    find_markers(
        sce_source(object, assay.type, altexp),
        model %||% if (is.null(sample.by)) object,
        SummarizedExperiment::colData(object), "colData(object)",
        group.by, ident.1, ident.2, batch.by, sample.by, test.use, format, how
    )
}

#' @rdname FindMarkersSCRAE
#' @export
FindMarkersSCRAE.Seurat <- function(object, group.by = NULL, ident.1 = NULL,
    ident.2 = NULL, batch.by = NULL, model = NULL, assay = NULL,
    layer = "counts", sample.by = NULL, test.use = NULL, format = "scrae",
    verbose = TRUE, ...) {
    how <- run_options(list(...), names(formals()), verbose)
    assay <- check_assay(object, assay)
    source <- seurat_source(object, assay, layer, verbose)
    table <- metadata_of(object, source)
    idents <- SeuratObject::Idents(object)
    group.by <- group.by %||% IDENTS
    if (identical(group.by, IDENTS) && !IDENTS %in% colnames(table)) {
        table[[IDENTS]] <- as.character(idents)[match(source$cells, colnames(object))]
        say_if_clusters(object, clusters_in_idents(object, idents), verbose)
    } else if (is.character(group.by) && length(group.by) == 1L &&
        !group.by %in% colnames(table) && group.by %in% levels(idents)) {
        fail(
            "group.by takes the name of one column of object@meta.data; '", group.by,
            "' is one of Idents(object): ident.1 = \"", group.by, "\""
        )
    } else {
        say_if_clusters(object, group.by, verbose)
    }
    find_markers(
        source, model %||% if (is.null(sample.by)) object, table, "object@meta.data",
        group.by, ident.1, ident.2, batch.by, sample.by, test.use, format, how
    )
}

IDENTS <- "ident" # what Seurat calls the column of Idents()

# The column with the groups of a SingleCellExperiment, where none is named.
groups_of_sce <- function(object) {
    columns <- colnames(SummarizedExperiment::colData(object))
    ours <- names(Filter(is_clustering, S4Vectors::metadata(object)))
    known <- c(intersect("label", columns), intersect(rev(ours), columns))
    if (length(known) == 0L) {
        fail(
            "group.by takes the name of one column of colData(object): there are ",
            "neither labels (colLabels(object)) nor clusters of ClusterSCRAE(object) ",
            "to go by"
        )
    }
    known[1L]
}

# The column of our clusters that Idents() repeat, or NULL.
clusters_in_idents <- function(object, idents) {
    ours <- names(Filter(is_clustering, stored_tables(object)))
    Find(function(column) {
        identical(as.character(object[[]][[column]]), as.character(idents))
    }, intersect(ours, colnames(object[[]])))
}

say_if_clusters <- function(object, group.by, verbose) {
    if (is.character(group.by) && any(group.by %in% our_columns(object))) {
        say(
            verbose, "the groups (", group.by[1L], ") were found on the same counts, ",
            "so they differ by construction: p values rank genes, no more"
        )
    }
}

find_markers <- function(source, model, table, where, group.by, ident.1, ident.2,
    batch.by, sample.by, test.use, format, how) {
    refuse_settings(how)
    one_name(group.by, "group.by", where)
    if (!is.null(batch.by)) one_name(batch.by, "batch.by", where)
    if (!is.null(sample.by)) one_name(sample.by, "sample.by", where)
    a_name(format, "format")
    format <- one_of(tolower(format), c("scrae", "seurat"), "format", format)
    if (!is.null(test.use) && is.null(sample.by)) {
        fail(
            "test.use says how donors are compared: name them with sample.by. Cells ",
            "are compared in one way"
        )
    }
    if (is.null(sample.by)) {
        if (is.null(model)) {
            fail(
                "cells are compared by a trained model: model = RunSCRAE(counts). To ",
                "compare donors, which needs none, name them with sample.by"
            )
        }
        model <- find_model(model)
        layers <- describe_model(model)$covariate_levels[[LAYER]]
        table <- with_layers(table, layers, source)
    }
    groups <- compared_groups(
        read_levels(table, group.by, where)[[1L]], group.by, ident.1, ident.2,
        source$cells
    )
    found <- if (!is.null(sample.by)) {
        compare_samples(
            source, read_covariates(table, c(sample.by, batch.by), where), groups,
            sample.by, batch.by, test.use, how
        )
    } else {
        compare_cells(source, model, table, where, groups, batch.by, how)
    }
    if (format == "scrae") {
        attr(found, "of_object") <- NULL
        return(found)
    }
    as_seurat_has_it(found, length(source$names), each = is.null(ident.1))
}

#' Which groups are compared
#'
#' @param of_cell Group of each cell.
#' @param column Where they are from.
#' @param cells Names of the cells, of which groups may be made.
#' @return List of `of_cell`, `column`, `names` (NULL: each) and `reference`, where
#'   groups that are taken together have one name.
#' @noRd
compared_groups <- function(of_cell, column, ident.1, ident.2, cells) {
    known <- sort(unique(of_cell))
    given <- list(as.character(ident.1), as.character(ident.2))
    for (side in seq_along(given)) {
        of_cells <- length(given[[side]]) > 0L && !any(given[[side]] %in% known) &&
            all(given[[side]] %in% cells)
        if (of_cells) {
            called <- paste0("ident.", side)
            of_cell[cells %in% given[[side]]] <- called
            given[[side]] <- called
            known <- sort(unique(of_cell))
        }
    }
    for (group in unlist(given)) {
        if (!group %in% known) {
            refuse("unknown_group", list(column = column, group = group, known = known))
        }
    }
    shared <- intersect(given[[1L]], given[[2L]])
    if (length(shared) > 0L) {
        fail("group '", shared[1L], "' is in ident.1 and in ident.2: nothing differs from itself")
    }
    for (side in which(lengths(given) > 1L)) {
        together <- paste(given[[side]], collapse = " + ")
        of_cell[of_cell %in% given[[side]]] <- together
        given[[side]] <- together
    }
    list(
        of_cell = of_cell, column = column,
        names = if (length(given[[1L]])) given[[1L]],
        reference = if (length(given[[2L]])) given[[2L]] else "rest"
    )
}

compare_cells <- function(source, model, table, where, groups, batch.by, how) {
    facts <- describe_model(model)
    columns <- c(
        model_covariates(facts, table, where, source),
        read_covariates(table, batch.by, where)
    )
    # Of one name with a column that the model was trained with, whose levels it has.
    groupby <- make.unique(c(names(columns), groups$column))[length(columns) + 1L]
    positions <- check_model_genes(source, facts$genes, every = TRUE)
    found <- run_job("differential",
        list(
            device = how$device, groupby = groupby,
            groups = if (!is.null(groups$names)) as.list(groups$names),
            reference = groups$reference, batch_key = batch.by
        ),
        read_model_genes(source, facts$genes, others = TRUE),
        c(
            columns[unique(names(columns))],
            stats::setNames(list(groups$of_cell), groupby)
        ),
        how, source$where, model
    )$table
    attr(found, "of_object") <- source$names[positions[match(found$gene, facts$genes)]]
    found
}

# Columns and row names of Seurat::FindMarkers(), or of FindAllMarkers().
as_seurat_has_it <- function(found, n_genes, each) {
    genes <- attr(found, "of_object") %||% found$gene
    table <- data.frame(
        p_val = found$p, avg_log2FC = found$log2fc, pct.1 = round(found$detected, 3L),
        pct.2 = round(found$reference_detected, 3L),
        p_val_adj = pmin(1, found$p * n_genes)
    )
    if (each) {
        table$cluster <- factor(found$group, unique(found$group))
        table$gene <- genes
    }
    rownames(table) <- make.unique(genes)
    table
}
