#' Measure how much of a clustering is chance
#'
#' Trains several models with different seeds, clusters each embedding (Leiden) and
#' compares the clusterings. Values near 1 mean that the clusters are a property of
#' the data. If all values are low, use fewer clusters (a lower `resolution`) or more
#' cells before you trust a cluster. No label is used.
#'
#' @inheritParams RunSCRAE
#' @param n.runs Number of trainings, 2 or more; each takes the time of
#'   [RunSCRAE()].
#' @param resolution Of the Leiden clustering.
#' @param seed.use Seed of the first training; the others follow it.
#' @param ... As in [RunSCRAE()]: `device`, `threads`, `in.process`, settings of
#'   the model.
#' @return Adjusted Rand index of every pair of clusterings, a matrix with the
#'   seeds as names and 1 on the diagonal.
#' @examples
#' counts <- matrix(rpois(40 * 30, 2), 30, 40)
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     StabilitySCRAE(counts, n.runs = 2, features = "all", n.latent = 2,
#'         max.epochs = 2, verbose = FALSE)
#' }
#' @export
StabilitySCRAE <- function(object, ...) {
    call <- check_arguments("StabilitySCRAE", object, match.call(expand.dots = FALSE))
    if (!is.null(call)) {
        return(eval(call))
    }
    UseMethod("StabilitySCRAE")
}

#' @rdname StabilitySCRAE
#' @export
StabilitySCRAE.default <- function(object, n.runs = 5, resolution = 1,
    features = NULL, n.features = 2000, group.by.vars = NULL,
    vars.to.regress = NULL, meta.data = NULL, n.latent = NULL, max.epochs = NULL,
    seed.use = 42, verbose = TRUE, preset = "default", keep = NULL, ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    source <- matrix_source(object)
    table <- table_of_cells(meta.data, source, "meta.data")
    compare_seeds(
        source, n.runs, resolution, features, n.features,
        read_covariates(
            table, group.by.vars, "meta.data", vars.to.regress
        ),
        n.latent, max.epochs, seed.use, preset, how, read_kept(table, keep, "meta.data")
    )
}

#' @rdname StabilitySCRAE
#' @export
StabilitySCRAE.SingleCellExperiment <- function(object, n.runs = 5,
    resolution = 1, features = NULL, assay.type = "counts", subset_row = NULL,
    group.by.vars = NULL, vars.to.regress = NULL, altexp = NULL,
    n.features = 2000, n.latent = NULL, max.epochs = NULL, seed.use = 42, verbose = TRUE, preset = "default",
    keep = NULL, ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    table <- SummarizedExperiment::colData(object)
    compare_seeds(
        sce_source(object, assay.type, altexp), n.runs, resolution,
        features %||% subset_row, n.features,
        read_covariates(
            table, group.by.vars, "colData(object)", vars.to.regress
        ),
        n.latent, max.epochs, seed.use, preset, how, read_kept(table, keep, "colData(object)")
    )
}

#' @rdname StabilitySCRAE
#' @export
StabilitySCRAE.Seurat <- function(object, n.runs = 5, resolution = 1,
    assay = NULL, features = NULL, layer = "counts", group.by.vars = NULL,
    vars.to.regress = NULL, n.features = 2000, n.latent = NULL, max.epochs = NULL, seed.use = 42,
    verbose = TRUE, preset = "default", keep = NULL, ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    assay <- check_assay(object, assay)
    source <- seurat_source(object, assay, layer, verbose)
    table <- metadata_of(object, source)
    compare_seeds(
        source, n.runs, resolution,
        features %||% variable_features(object, assay, source, verbose),
        n.features,
        read_covariates(
            table, group.by.vars, "object@meta.data", vars.to.regress
        ),
        n.latent, max.epochs, seed.use, preset, how, read_kept(table, keep, "object@meta.data")
    )
}

compare_seeds <- function(source, n.runs, resolution, features, n.features,
    covariates, n.latent, max.epochs, seed.use, preset, how, kept) {
    at_least(n.runs, 2, "n.runs")
    one_number(resolution, "resolution")
    result <- run_training_job("stability",
        list(n_runs = n.runs, resolution = resolution),
        source, features, n.features, covariates, n.latent, max.epochs, seed.use,
        preset, how, kept
    )
    structure(result$matrix, dimnames = list(result$seeds, result$seeds))
}
