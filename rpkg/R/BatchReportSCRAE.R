#' Are there batches, and are they gone?
#'
#' Before training, the report says whether batches separate cells of the same type,
#' so that `group.by.vars` is worth setting. After training, it says whether the
#' embedding still shows the batches, and whether the correction removed too much.
#' Cell types need not be known.
#'
#' @inheritParams DenoiseSCRAE
#' @param batch.by Name of the column of cell metadata with batches: donors, plates,
#'   protocols.
#' @param keep Names of columns whose differences should be kept, such as a condition.
#'   The report measures how much of the variance they explain. Where the training was
#'   told to keep columns, batches are compared among the cells that agree in these.
#' @param group.by Name of a column with types or clusters, within which batches are
#'   compared. NULL: groups are found on principal components that Harmony has
#'   corrected for the batches.
#' @param reduction.name,name Name of the embedding. If the object has none of that
#'   name, the report is about principal components alone.
#' @param embedding What [RunSCRAE()] returned for a matrix of counts; NULL: the
#'   report is about principal components alone.
#' @param meta.data data.frame with a row per cell and the columns that are named.
#' @param seed.use Seed.
#' @param ... `device`, `threads`, `in.process` or `.options` as in [RunSCRAE()].
#' @return A list that is printed as a report:
#'   \describe{
#'     \item{`measures`}{data.frame with the columns `measure`, `before` (30 principal
#'     components) and `after` (the embedding). `variance`: share of the variance that
#'     the batches explain; `variance_within`: the same within groups; `mixing`: how
#'     well batches mix among a cell's neighbours, 1 if at random; `kbet`: share of
#'     cells around which batches have the shares of the group; `connectivity`:
#'     share of a group's cells that its neighbour graph connects; `groups_kept`: share
#'     of a cell's neighbours in its batch that are of its group there, which falls if
#'     the correction removed too much; and for each column of `keep` the share of the
#'     variance within groups that
#'     it explains.}
#'     \item{`groups`}{data.frame with a row per group: cells, batches, the batch
#'     if all cells are from one, mixing before and after.}
#'     \item{`findings`}{data.frame of what follows: a code, the column that it is
#'     about, and a sentence.}
#'   }
#' @examples
#' counts <- matrix(rpois(40 * 60, 2), 30, 80)
#' cells <- data.frame(donor = rep(c("a", "b"), 40))
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     BatchReportSCRAE(counts, "donor", meta.data = cells, verbose = FALSE)
#' }
#' @export
BatchReportSCRAE <- function(object, ...) {
    call <- check_arguments("BatchReportSCRAE", object, match.call(expand.dots = FALSE))
    if (!is.null(call)) {
        return(eval(call))
    }
    UseMethod("BatchReportSCRAE")
}

#' @rdname BatchReportSCRAE
#' @export
BatchReportSCRAE.default <- function(object, batch.by, keep = NULL,
    group.by = NULL, embedding = NULL, meta.data = NULL, seed.use = 42,
    verbose = TRUE, ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    source <- matrix_source(object)
    report_batches(
        source, embedding, attr(embedding, "scrae"), batch.by, keep, group.by,
        table_of_cells(meta.data, source, "meta.data"), "meta.data", seed.use, how
    )
}

#' @rdname BatchReportSCRAE
#' @export
BatchReportSCRAE.SingleCellExperiment <- function(object, batch.by, keep = NULL,
    group.by = NULL, assay.type = "counts", altexp = NULL, name = "SCRAE",
    seed.use = 42, verbose = TRUE, ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    a_name(name, "name")
    there <- name %in% SingleCellExperiment::reducedDimNames(object)
    report_batches(
        sce_source(object, assay.type, altexp),
        if (there) as.matrix(SingleCellExperiment::reducedDim(object, name)),
        if (there) fit_if_any(object, name), batch.by, keep, group.by,
        SummarizedExperiment::colData(object), "colData(object)", seed.use, how
    )
}

#' @rdname BatchReportSCRAE
#' @export
BatchReportSCRAE.Seurat <- function(object, batch.by, keep = NULL,
    group.by = NULL, assay = NULL, layer = "counts", reduction.name = "scrae",
    seed.use = 42, verbose = TRUE, ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    need_package("SeuratObject", "a Seurat object",
        'install.packages("SeuratObject")'
    )
    a_name(reduction.name, "reduction.name")
    there <- reduction.name %in% names(seurat_reductions(object))
    reduction <- if (there) object[[reduction.name]]
    assay <- check_assay(
        object, assay %||% if (there) methods::slot(reduction, "assay.used")
    )
    source <- seurat_source(object, assay, layer, verbose)
    if (there) source <- only_cells(source, rownames(reduction))
    report_batches(
        source, if (there) SeuratObject::Embeddings(reduction),
        if (there) fit_if_any(object, reduction.name), batch.by, keep, group.by,
        metadata_of(object, source), "object@meta.data", seed.use, how
    )
}

report_batches <- function(source, embedding, fit, batch.by, keep, group.by, table,
    where, seed.use, how) {
    refuse_settings(how)
    one_name(batch.by, "batch.by", where)
    if (!is.null(group.by)) one_name(group.by, "group.by", where)
    check_column_names(keep, "keep", where)
    facts <- if (!is.null(fit)) describe_model(fit$model)
    table <- with_layers(table, facts$covariate_levels[[LAYER]], source)
    kept <- setdiff(intersect(unlist(facts$keep), colnames(table)), batch.by)
    columns <- read_covariates(table, c(batch.by, keep, kept, group.by), where)
    for (column in unique(c(batch.by, keep))) {
        if (length(unique(columns[[column]])) < 2L) {
            refuse("one_level", list(column = column))
        }
    }
    if (!is.null(embedding)) {
        refuse_other_cells(embedding, source, "the embedding")
        storage.mode(embedding) <- "double"
        embedding <- unname(embedding[, , drop = FALSE])
    }
    genes <- match_genes(as.character(fit$genes), source$names)
    result <- run_job("batch_report",
        list(
            batch_key = batch.by, keep = as.list(as.character(keep)), groupby = group.by,
            random_state = seed.use, told = facts$batch_key, kept = as.list(kept),
            genes = as.list(if (!anyNA(genes)) source$names[genes])
        ),
        read_counts(source), columns, how, source$where,
        embedding = embedding
    )
    report <- list(
        measures = result$measures, groups = result$groups,
        findings = data.frame(
            finding = result$findings$finding, column = result$findings$column
        )
    )
    report$findings$text <- words_of_findings(report, batch.by)
    structure(report, class = "scrae_batch_report", batch.by = batch.by)
}

# What each finding says, in R's terms. `f` has mixing and groups_kept, before and
# after, and the names of what it is about.
FINDINGS <- list(
    batches_apart = function(f) {
        paste0(
            "no group of cells holds several batches of '", f$batch, "'. If the ",
            "batches hold the same types, call RunSCRAE(object, group.by.vars = \"",
            f$batch, "\"); a column of types as group.by tells whether they do"
        )
    },
    batches_are_groups = function(f) {
        paste0(
            "every group is of one batch alone: nothing can tell what is a batch in '",
            f$batch, "' and what is a type. Correct nothing, and compare within batches"
        )
    },
    no_batches = function(f) {
        paste0(
            "the batches of '", f$batch, "' mix as if they were dealt out at random (",
            "mixing ", f$mixing[1L], "): no group.by.vars is needed"
        )
    },
    batches = function(f) {
        paste0(
            "batches part cells of one group (mixing ", f$mixing[1L], ", 1 is random): ",
            "call RunSCRAE(object, group.by.vars = \"", f$batch, "\")"
        )
    },
    batches_not_named = function(f) {
        paste0(
            "batches part cells of one group (mixing ", f$mixing[1L], " before, ",
            f$mixing[2L], " in the embedding), and the training was not told of them: ",
            "call RunSCRAE(object, group.by.vars = \"", f$batch, "\")"
        )
    },
    batches_left = function(f) {
        paste0(
            "the embedding still parts batches within groups (mixing ", f$mixing[1L],
            " before, ", f$mixing[2L], " after): look at the groups with the lowest ",
            "mixing_after"
        )
    },
    batches_gone = function(f) {
        paste0(
            "batches mix within groups (mixing ", f$mixing[1L], " before, ",
            f$mixing[2L], " after)"
        )
    },
    too_much_taken = function(f) {
        paste0(
            "groups that a batch has on its own lie less apart than before (",
            f$kept[1L], " before, ", f$kept[2L], " after): too much may have been ",
            "taken out. Compare with an embedding without group.by.vars"
        )
    },
    groups_of_one_batch = function(f) {
        paste0(
            "groups of one batch alone: ", paste(f$alone, collapse = ", "), ". They may ",
            "be types that other batches lack, or what is left of a batch: look at ",
            "their genes"
        )
    },
    nested = function(f) {
        paste0(
            "each batch of '", f$batch, "' has one level of '", f$column, "' alone: to ",
            "take the batches out takes the differences of '", f$column, "' with them. ",
            "Find types in the embedding, and compare '", f$column, "' on the counts; or call RunSCRAE(object, ",
            "group.by.vars = \"", f$batch, "\", keep = \"", f$column, "\"), which leaves these differences in"
        )
    }
)

words_of_findings <- function(report, batch) {
    of <- function(measure) {
        row <- report$measures[report$measures$measure == measure, ]
        sprintf("%.2f", c(row$before, row$after))
    }
    facts <- list(
        batch = batch, mixing = of("mixing"), kept = of("groups_kept"),
        alone = report$groups$group[report$groups$alone != ""]
    )
    unlist(Map(function(finding, column) {
        FINDINGS[[finding]](c(facts, list(column = column)))
    }, report$findings$finding, report$findings$column), use.names = FALSE)
}

#' @export
print.scrae_batch_report <- function(x, ...) {
    cat("Batches in '", attr(x, "batch.by"), "'\n", sep = "")
    for (text in x$findings$text) {
        cat(strwrap(paste0(text, "."), prefix = "  ", initial = "* "), sep = "\n")
    }
    shown <- x$measures
    if (all(is.na(shown$after))) shown$after <- NULL
    print(shown, digits = 2L, row.names = FALSE)
    invisible(x)
}
