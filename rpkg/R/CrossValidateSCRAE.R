#' Test whether denoising helps on these data
#'
#' Molecular cross-validation splits the molecules of each cell in two at random. A
#' model is trained on one side, and its denoised means are compared with the other
#' side. A model that fits noise does worse. No label is used.
#'
#' @inheritParams RunSCRAE
#' @param share Share of the molecules to train on.
#' @param seed.use Seed of the split and of the model.
#' @param ... As in [RunSCRAE()]: `device`, `threads`, `in.process`, settings of
#'   the model.
#' @return data.frame with a row for each `predictor` of the other side: `"denoised"`
#'   (the model's means), `"counts"` (the training side itself) and `"mean"` (the
#'   gene's mean at the cell's library size); and its scores: `poisson` (deviance per
#'   gene, nats; infinite where a predictor says zero and a molecule is there),
#'   `squared_error` and `correlation` (of log counts). Lower is better, except for
#'   the correlation.
#' @references Batson J, Royer L, Webber J (2019) Molecular cross-validation for
#'   single-cell RNA-seq. bioRxiv.
#' @seealso [DenoiseSCRAE()]
#' @examples
#' counts <- matrix(rpois(40 * 30, 2), 30, 40)
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     CrossValidateSCRAE(counts, features = "all", n.latent = 2, max.epochs = 2,
#'         verbose = FALSE)
#' }
#' @export
CrossValidateSCRAE <- function(object, ...) {
    call <- check_arguments("CrossValidateSCRAE", object, match.call(expand.dots = FALSE))
    if (!is.null(call)) {
        return(eval(call))
    }
    UseMethod("CrossValidateSCRAE")
}

#' @rdname CrossValidateSCRAE
#' @export
CrossValidateSCRAE.default <- function(object, features = NULL,
    n.features = 2000, share = 0.5, n.latent = NULL, max.epochs = NULL,
    seed.use = 42, verbose = TRUE, preset = "default", ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    cross_validate(
        matrix_source(object), features, n.features, share, n.latent, max.epochs,
        seed.use, preset, how
    )
}

#' @rdname CrossValidateSCRAE
#' @export
CrossValidateSCRAE.SingleCellExperiment <- function(object, features = NULL,
    assay.type = "counts", subset_row = NULL, altexp = NULL, n.features = 2000,
    share = 0.5, n.latent = NULL, max.epochs = NULL, seed.use = 42,
    verbose = TRUE, preset = "default", ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    cross_validate(
        sce_source(object, assay.type, altexp), features %||% subset_row,
        n.features, share, n.latent, max.epochs, seed.use, preset, how
    )
}

#' @rdname CrossValidateSCRAE
#' @export
CrossValidateSCRAE.Seurat <- function(object, assay = NULL, features = NULL,
    layer = "counts", n.features = 2000, share = 0.5, n.latent = NULL,
    max.epochs = NULL, seed.use = 42, verbose = TRUE, preset = "default", ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    assay <- check_assay(object, assay)
    source <- seurat_source(object, assay, layer, verbose)
    cross_validate(
        source, features %||% variable_features(object, assay, source, verbose),
        n.features, share, n.latent, max.epochs, seed.use, preset, how
    )
}

cross_validate <- function(source, features, n.features, share, n.latent,
    max.epochs, seed.use, preset, how) {
    one_number(share, "share")
    run_training_job("cross_validate", list(share = share),
        source, features, n.features, list(), n.latent, max.epochs, seed.use,
        preset, how
    )$table
}
