#' Genes that differ between groups of cells
#'
#' Sizes come from the model's means at one library size, error rates from
#' permuting the groups over the cells. A gene has to pass twice, by its denoised
#' means and by its own counts, because denoised values borrow from other genes.
#'
#' @section Not the tool:
#' Groups that were found on the same counts: clusters differ by construction, and
#' p values then rank genes, no more. Few donors: cells are the units here, so use
#' pseudobulk. Groups of fewer than ten cells, and groups that share no batch, are
#' refused.
#'
#' @inheritParams DenoiseSCRAE
#' @param group.by Name of the column of cell metadata that holds the groups.
#' @param ident.1 Groups to compare; NULL: each.
#' @param ident.2 Group to compare with; NULL: all other cells.
#' @param batch.by Name of the column of cell metadata with batches (donors, say):
#'   groups are compared, and permuted, within them.
#' @param meta.data data.frame with a row per cell and the columns that are named.
#' @param ... `device`, `threads`, `in_process` as in [RunSCRAE()].
#' @return data.frame with a row per group and gene of the model, by group, then
#'   by p: `group`; `gene`; `log2fc`, the difference of the mean log2 of denoised
#'   means, and `log2fc_error`, its standard deviation if groups are permuted; `p`
#'   (two-sided, the larger of both tests') and `q` (Benjamini and Hochberg within
#'   the group); `model_p` and `counts_p`, of each test alone; `counts_log2fc`;
#'   `mean` and `reference_mean`, denoised counts per cell.
#' @examples
#' counts <- matrix(rpois(40 * 30, 2), 30, 40)
#' cells <- data.frame(condition = rep(c("control", "treated"), 20))
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     embedding <- RunSCRAE(counts, features = "all", n_latent = 2,
#'         max_epochs = 2, verbose = FALSE)
#'     head(FindMarkersSCRAE(counts, "condition", ident.1 = "treated",
#'         model = embedding, meta.data = cells, verbose = FALSE))
#' }
#' @export
FindMarkersSCRAE <- function(object, ...) {
    check_arguments("FindMarkersSCRAE", object, names(match.call(expand.dots = FALSE)$...))
    UseMethod("FindMarkersSCRAE")
}

#' @rdname FindMarkersSCRAE
#' @export
FindMarkersSCRAE.default <- function(object, group.by, ident.1 = NULL,
    ident.2 = NULL, batch.by = NULL, model, meta.data = NULL,
    verbose = TRUE, ...) {
    how <- run_options(list(...), names(formals()), verbose)
    source <- matrix_source(object)
    compare_groups(
        source, find_model(model), table_of_cells(meta.data, source, "meta.data"),
        "meta.data",
        group.by, ident.1, ident.2, batch.by, how
    )
}

#' @rdname FindMarkersSCRAE
#' @export
FindMarkersSCRAE.SingleCellExperiment <- function(object, group.by,
    ident.1 = NULL, ident.2 = NULL, batch.by = NULL, model = NULL,
    assay.type = "counts", altexp = NULL, verbose = TRUE, ...) {
    how <- run_options(list(...), names(formals()), verbose)
    compare_groups(
        sce_source(object, assay.type, altexp), find_model(model %||% object),
        SummarizedExperiment::colData(object), "colData(object)",
        group.by, ident.1, ident.2, batch.by, how
    )
}

#' @rdname FindMarkersSCRAE
#' @export
FindMarkersSCRAE.Seurat <- function(object, group.by, ident.1 = NULL,
    ident.2 = NULL, batch.by = NULL, model = NULL, assay = NULL,
    layer = "counts", verbose = TRUE, ...) {
    how <- run_options(list(...), names(formals()), verbose)
    assay <- check_assay(object, assay)
    source <- seurat_source(object, assay, layer, verbose)
    compare_groups(
        source, find_model(model %||% object), metadata_of(object, source),
        "object@meta.data",
        group.by, ident.1, ident.2, batch.by, how
    )
}

compare_groups <- function(source, model, table, where, group.by, ident.1,
    ident.2, batch.by, how) {
    refuse_settings(how)
    one_name(group.by, "group.by", where)
    if (!is.null(batch.by)) one_name(batch.by, "batch.by", where)
    facts <- describe_model(model)
    table <- with_layers(table, facts$covariate_levels[[LAYER]], source)
    columns <- c(
        model_covariates(facts, table, where, source),
        read_covariates(table, c(group.by, batch.by), where)
    )
    for (group in c(as.character(ident.1), as.character(ident.2))) {
        known <- sort(unique(columns[[group.by]]))
        if (!group %in% known) {
            fail(
                WORDS$unknown_group(
                    list(column = group.by, group = group, known = known)
                ),
                class = "scrae_unknown_group"
            )
        }
    }
    check_model_genes(source, facts$genes, every = TRUE)
    run_job("differential",
        list(
            device = how$device, groupby = group.by,
            groups = if (!is.null(ident.1)) as.list(as.character(ident.1)),
            reference = as.character(ident.2 %||% "rest"), batch_key = batch.by
        ),
        read_model_genes(source, facts$genes, others = TRUE),
        columns[unique(names(columns))], how, source$where, model
    )$table
}
