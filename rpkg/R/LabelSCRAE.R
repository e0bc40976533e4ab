#' Predict cell types from partial labels
#'
#' Learns cell types from the cells that have a label, and predicts the type of
#' every cell with calibrated probabilities. Cells that are unlike every known type
#' are called unknown. The embedding does not change. The classifier becomes part of
#' the model in the object, so that [PredictSCRAE()] labels new cells with it.
#'
#' @section Columns:
#' \describe{
#'   \item{`scrae_label`}{factor: the type, or `unlabeled` for a cell that is unlike
#'     every type.}
#'   \item{`scrae_label_probability`}{probability of the likeliest of the labelled
#'     types. It does not say whether the cell has one of these types at all.}
#'   \item{`scrae_familiarity`}{share of held-out labelled cells that lie at least as
#'     far from all types. It is at most `unknown.rate` for unknown cells.}
#' }
#' They are named after the reduction (`SCRAE_label`, ... in a
#' SingleCellExperiment). Labelled cells are predicted as well: if prediction and
#' label disagree, check the label.
#'
#' @section When not to use it:
#' Do not use it for a type with one or two labelled cells (it is kept, with a
#' warning), with a single type (refused), or for queries from another protocol.
#' With fewer than 100 labelled cells no cell can be unknown at a rate of 0.01.
#'
#' @inheritParams RunSCRAE
#' @param object The object that [RunSCRAE()] returned; for a matrix, raw counts.
#' @param labels Name of the column of cell metadata that holds the types; for a
#'   matrix one value per cell.
#' @param model As in [PredictSCRAE()].
#' @param unlabeled The entry of cells without a label (a missing value or a blank
#'   means the same). Cells that are called unknown get it, too; NA: they get no
#'   label.
#' @param unknown.rate Share of cells of known types that may be called unknown;
#'   0: every cell gets a type.
#' @param name Name of the reduction with the model, where there are several.
#' @param ... `device`, `threads`, `in.process` or `.options` as in [RunSCRAE()].
#' @return The object with three more columns in its cell metadata. Matrix: a
#'   data.frame with a row per cell and these columns, without the prefix; it
#'   serves as `model` of [PredictSCRAE()].
#' @seealso [PredictSCRAE()]
#' @examples
#' counts <- matrix(rpois(40 * 30, 2), 30, 40)
#' types <- rep(c("B cell", "T cell", NA, NA), 10)
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     embedding <- RunSCRAE(counts, features = "all", n.latent = 2,
#'         max.epochs = 2, verbose = FALSE)
#'     head(LabelSCRAE(counts, types, model = embedding, verbose = FALSE))
#' }
#' @export
LabelSCRAE <- function(object, ...) {
    call <- check_arguments("LabelSCRAE", object, match.call(expand.dots = FALSE))
    if (!is.null(call)) {
        return(eval(call))
    }
    UseMethod("LabelSCRAE")
}

#' @rdname LabelSCRAE
#' @export
LabelSCRAE.default <- function(object, labels, model, unlabeled = "Unknown",
    unknown.rate = 0.01, verbose = TRUE, ...) {
    source <- matrix_source(object)
    how <- run_options(list(...), names(formals()), verbose)
    learned <- learn_labels(
        source, find_model(model), label_of_each(labels, source),
        unlabeled, unknown.rate, how
    )
    rownames(learned$table) <- make.unique(source$cells)
    structure(learned$table, scrae = learned$fit)
}

#' @rdname LabelSCRAE
#' @export
LabelSCRAE.SingleCellExperiment <- function(object, labels,
    unlabeled = "Unknown", unknown.rate = 0.01, assay.type = "counts",
    altexp = NULL, name = NULL, verbose = TRUE, ...) {
    how <- run_options(list(...), names(formals()), verbose)
    name <- fit_name(object, name)
    check_columns(object, paste0(name, "_", TYPE_COLUMNS))
    learned <- learn_labels(
        sce_source(object, assay.type, altexp), find_model(object, name),
        label_column(
            SummarizedExperiment::colData(object), labels, "colData(object)"
        ),
        unlabeled, unknown.rate, how
    )
    S4Vectors::metadata(object)[[name]]$model <- learned$fit$model
    add_columns_to_sce(object, learned$table, paste0(name, "_", names(learned$table)))
}

#' @rdname LabelSCRAE
#' @export
LabelSCRAE.Seurat <- function(object, labels, unlabeled = "Unknown",
    unknown.rate = 0.01, assay = NULL, layer = "counts", name = NULL,
    verbose = TRUE, ...) {
    how <- run_options(list(...), names(formals()), verbose)
    name <- fit_name(object, name)
    check_columns(object, paste0(name, "_", TYPE_COLUMNS))
    assay <- check_assay(object, assay)
    source <- seurat_source(object, assay, layer, verbose)
    learned <- learn_labels(
        source, find_model(object, name),
        label_column(metadata_of(object, source), labels, "object@meta.data"),
        unlabeled, unknown.rate, how
    )
    methods::slot(object@reductions[[name]], "misc")$model <- learned$fit$model
    object <- add_columns_to_seurat(
        object, learned$table, paste0(name, "_", names(learned$table)), source
    )
    SeuratObject::LogSeuratCommand(object)
}

# One value for each cell of a matrix, by the cells' names where the values have some.
label_of_each <- function(labels, source) {
    if (!is.atomic(labels)) {
        fail("labels must be a vector of one value per cell, not ", class(labels)[1L])
    }
    rows <- rows_of_cells(names(labels), length(labels), source, "labels", "value")
    list(labels = as.character(labels[rows]))
}

# The column with the labels, by its name.
label_column <- function(table, labels, where) {
    one_name(labels, "labels", where)
    stats::setNames(list(read_column(table, labels, where)), labels)
}

# `table` (a row per cell) and `fit` (that of the model with its classifier);
# `labels` is a named list of one character vector.
learn_labels <- function(source, model, labels, unlabeled, unknown.rate, how) {
    refuse_settings(how)
    share_of_unknown(unknown.rate)
    known <- known_types(labels, unlabeled, how$verbose)
    labels <- known$labels
    called <- known$called
    check_model_genes(source, describe_model(model)$genes)
    result <- run_job("label",
        list(
            device = how$device, labels_key = names(labels),
            unlabeled_category = called, unknown_rate = unknown.rate
        ),
        read_model_genes(source, describe_model(model)$genes), labels, how,
        source$where, model
    )
    list(
        table = with_missing(result$table, unlabeled, called), fit = new_fit(result)
    )
}

# `labels` without blanks and missing values, and what cells without a type are called.
known_types <- function(labels, unlabeled, verbose) {
    labels[[1L]] <- without_blanks(labels[[1L]], verbose)
    called <- name_of_unknown(unlabeled, c(labels[[1L]], "Unknown"))
    types <- setdiff(labels[[1L]], c(NA, called))
    if (length(types) < 2L) {
        refuse("too_few_types", list(
            column = names(labels), types = types, unlabeled = called,
            n_labelled = sum(labels[[1L]] %in% types)
        ))
    }
    labels[[1L]][is.na(labels[[1L]])] <- called
    list(labels = labels, called = called)
}

share_of_unknown <- function(rate) {
    one_number(rate, "unknown.rate")
    if (rate < 0 || rate >= 1) {
        fail("unknown.rate must be at least 0 and below 1, not ", typed(rate))
    }
}

# A label of blanks is none.
without_blanks <- function(labels, verbose) {
    blank <- !is.na(labels) & !nzchar(trimws(labels))
    if (any(blank)) {
        say(
            verbose, share_of(sum(blank), length(labels), "cell"), " ",
            ngettext(sum(blank), "has", "have"), " a blank label, which counts as none"
        )
        labels[blank] <- NA
    }
    labels
}

#' What Python shall call cells without a type
#'
#' @param unlabeled As the user has it; NA: they have no label, and shall get none.
#' @param taken Names that mean something else.
#' @noRd
name_of_unknown <- function(unlabeled, taken) {
    right <- is.atomic(unlabeled) && length(unlabeled) == 1L
    if (!right) fail("unlabeled must be one value")
    if (!is.na(unlabeled)) {
        return(as.character(unlabeled))
    }
    utils::tail(make.unique(c(unique(taken[!is.na(taken)]), "Unknown")), 1L)
}

# Where unknown cells shall have no label, they have none.
with_missing <- function(table, unlabeled, called) {
    if (is.na(unlabeled) && !is.null(table)) {
        table$label <- factor(table$label, setdiff(levels(table$label), called))
    }
    table
}
