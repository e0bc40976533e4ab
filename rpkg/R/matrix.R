# Counts as a matrix, genes x cells: in memory, sparse, delayed, on disk.

#' @rdname RunSCRAE
#' @export
RunSCRAE.default <- function(object, features = NULL, n.features = 2000,
    group.by.vars = NULL, vars.to.regress = NULL, meta.data = NULL,
    n.latent = NULL, max.epochs = NULL, seed.use = 42, verbose = TRUE,
    model.dir = NULL, resume = FALSE, preset = "default", round.counts = FALSE,
    overwrite = FALSE, must.link = NULL, cannot.link = NULL,
    labels = NULL, unlabeled = "Unknown", keep = NULL, ...) {
    seed.use <- known_seed(seed.use)
    source <- matrix_source(object)
    table <- table_of_cells(meta.data, source, "meta.data")
    fit <- train(source,
        features = features, n.features = n.features,
        covariates = read_covariates(
            table, group.by.vars, "meta.data", vars.to.regress
        ),
        kept = read_kept(table, keep, "meta.data"),
        n.latent = n.latent, max.epochs = max.epochs, seed.use = seed.use,
        model.dir = model.dir, resume = resume, preset = preset,
        round.counts = round.counts, overwrite = overwrite,
        must.link = must.link, cannot.link = cannot.link,
        labels = if (!is.null(labels)) {
            label_of_each(labels, source)
        },
        unlabeled = unlabeled,
        how = run_options(list(...), names(formals()), verbose)
    )
    embedding <- name_embedding(fit$embedding, source, "scrae_")
    attr(embedding, "scrae") <- fit$fit
    attr(embedding, "clusters") <- fit$columns$clusters
    embedding
}

matrix_source <- function(object) {
    if (is.data.frame(object)) object <- as.matrix(object)
    refuse_other_objects(object)
    if (is.matrix(object) && !is.numeric(object)) {
        fail("the matrix holds ", typeof(object), " values, not counts")
    }
    counts_source(
        list(object), rownames(object), colnames(object), "the matrix"
    )
}
