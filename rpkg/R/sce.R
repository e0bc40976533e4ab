# SingleCellExperiment and SummarizedExperiment.

#' @rdname RunSCRAE
#' @export
RunSCRAE.SingleCellExperiment <- function(object, features = NULL,
    assay.type = "counts", subset_row = NULL, group.by.vars = NULL,
    vars.to.regress = NULL, n.latent = NULL, max.epochs = NULL, altexp = NULL, name = "SCRAE",
    n.features = 2000, seed.use = 42, verbose = TRUE, model.dir = NULL,
    resume = FALSE, preset = "default", round.counts = FALSE,
    overwrite = FALSE, must.link = NULL, cannot.link = NULL,
    labels = NULL, unlabeled = "Unknown", keep = NULL, ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    check_embedding_name(object, name)
    check_metadata_name(object, name)
    if (may_cluster(preset, how$settings)) {
        check_columns(object, paste0(name, "_clusters"))
    }
    source <- sce_source(object, assay.type, altexp)
    table <- SummarizedExperiment::colData(object)
    fit <- train(source,
        features = features %||% subset_row, n.features = n.features,
        covariates = read_covariates(
            table, group.by.vars, "colData(object)", vars.to.regress
        ),
        kept = read_kept(table, keep, "colData(object)"),
        n.latent = n.latent, max.epochs = max.epochs, seed.use = seed.use,
        model.dir = model.dir, resume = resume, preset = preset,
        round.counts = round.counts, overwrite = overwrite,
        must.link = must.link, cannot.link = cannot.link,
        labels = if (!is.null(labels)) {
            label_column(table, labels, "colData(object)")
        },
        unlabeled = unlabeled, how = how
    )
    for (column in earlier_columns(object, name)) {
        SummarizedExperiment::colData(object)[[column]] <- NULL
    }
    object <- outdated_clusters(object, name, verbose)
    object <- set_metadata(object, name, fit$fit)
    object <- add_columns_to_sce(
        object, fit$columns, paste0(name, "_", names(fit$columns)), note = FALSE
    )
    add_to_sce(object, fit$embedding, source, name)
}

sce_source <- function(object, assay.type = "counts", altexp = NULL) {
    if (!is.null(altexp)) {
        altexp <- name_or_number(
            altexp, SingleCellExperiment::altExpNames(object), "altexp"
        )
    }
    where <- paste0("assay '", assay.type, "'")
    if (identical(altexp %||% SingleCellExperiment::mainExpName(object), "SCT")) {
        others <- setdiff(SingleCellExperiment::altExpNames(object), "SCT")
        raw <- intersect(c("RNA", others), others)[1L]
        fail(
            "the experiment 'SCT' holds counts that SCTransform() has corrected; ",
            "scRAE needs raw counts: ",
            if (is.na(raw)) {
                "make the object anew from them"
            } else {
                paste0("name the experiment with them: altexp = \"", raw, "\"")
            },
            class = "scrae_counts_error"
        )
    }
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
    if (is.numeric(assay.type)) {
        n <- length(SummarizedExperiment::assays(object, withDimnames = FALSE))
        numbered <- as.character(seq_len(n))
        number <- name_or_number(assay.type, numbered, "assay.type")
        counts <- SummarizedExperiment::assay(object, as.integer(number),
            withDimnames = FALSE
        )
        return(counts_source(list(counts), rownames(object), colnames(object), where))
    }
    a_name(assay.type, "assay.type")
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

# Bioconductor takes an assay or experiment by its number, too.
name_or_number <- function(value, known, argument) {
    if (!is.numeric(value)) {
        a_name(value, argument)
        return(value)
    }
    right <- length(value) == 1L && value %in% seq_along(known)
    if (!right) {
        fail(
            argument, " = ", typed(value), ": there ", ngettext(length(known), "is ", "are "),
            count(length(known)), ngettext(length(known), " entry", " entries"),
            " to choose from"
        )
    }
    known[value]
}

add_to_sce <- function(object, embedding, source, name) {
    embedding <- name_embedding(embedding, source, paste0(name, "_"))
    if (is.null(colnames(object))) rownames(embedding) <- NULL
    SingleCellExperiment::reducedDim(object, name) <- embedding
    object
}

# A table of one row per cell, or NULL, as columns of colData().
add_columns_to_sce <- function(object, table, columns, note = TRUE) {
    for (i in seq_along(table)) {
        SummarizedExperiment::colData(object)[[columns[i]]] <- table[[i]]
    }
    if (note && length(table)) note_made(object, MADE_COLUMNS, columns) else object
}
