#' Compare synthetic cells with real ones
#'
#' Draws cells as [SampleSCRAE()] does and compares them with real cells: gene by
#' gene, by pairs of genes, and by a classifier that tries to tell them apart. Use
#' real cells that the model was not trained on.
#'
#' @inheritParams DenoiseSCRAE
#' @param object Real cells with all the model's genes, 30 or more; for a matrix,
#'   raw counts.
#' @param n Number of synthetic cells; NULL: as many as real ones.
#' @param seed.use Seed.
#' @param ... `device`, `threads`, `in.process` or `.options` as in [RunSCRAE()].
#' @return data.frame with the columns `measure` and `value`. `mean`, `variance`
#'   and `zero_fraction` over genes, `correlation` over pairs of the 200 genes of
#'   highest mean and `library_size` over deciles are concordances of real and
#'   synthetic cells (Lin 1989): 1 for equal values. `classifier_auc` is that of a
#'   random forest: 0.5 if it cannot tell them apart, 1 if it always can.
#' @examples
#' counts <- matrix(rpois(40 * 30, 2), 30, 40)
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     embedding <- RunSCRAE(counts, features = "all", n.latent = 2,
#'         max.epochs = 2, verbose = FALSE)
#'     SampleReportSCRAE(counts, model = embedding, verbose = FALSE)
#' }
#' @export
SampleReportSCRAE <- function(object, ...) {
    call <- check_arguments("SampleReportSCRAE", object, match.call(expand.dots = FALSE))
    if (!is.null(call)) {
        return(eval(call))
    }
    UseMethod("SampleReportSCRAE")
}

#' @rdname SampleReportSCRAE
#' @export
SampleReportSCRAE.default <- function(object, model, n = NULL, seed.use = 42,
    verbose = TRUE, ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    report_samples(matrix_source(object), find_model(model), n, seed.use, how)
}

#' @rdname SampleReportSCRAE
#' @export
SampleReportSCRAE.SingleCellExperiment <- function(object, model = NULL, n = NULL,
    seed.use = 42, assay.type = "counts", altexp = NULL, verbose = TRUE, ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    report_samples(
        sce_source(object, assay.type, altexp), find_model(model %||% object), n,
        seed.use, how
    )
}

#' @rdname SampleReportSCRAE
#' @export
SampleReportSCRAE.Seurat <- function(object, model = NULL, n = NULL,
    seed.use = 42, assay = NULL, layer = "counts", verbose = TRUE, ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    assay <- check_assay(object, assay)
    report_samples(
        seurat_source(object, assay, layer, verbose),
        find_model(model %||% object), n, seed.use, how
    )
}

report_samples <- function(source, model, n, seed.use, how) {
    if (!is.null(n)) at_least(n, 1, "n")
    refuse_settings(how)
    facts <- describe_model(model)
    check_model_genes(source, facts$genes, every = TRUE)
    run_job("sample_report",
        list(n = n, random_state = seed.use, device = how$device),
        read_model_genes(source, facts$genes),
        how = how, where = source$where, model = model
    )$table
}
