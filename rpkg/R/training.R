# Jobs that choose genes and train on them: what the methods of all objects share.

#' From counts to an embedding
#'
#' @param source A [counts_source()].
#' @param covariates From [read_covariates()].
#' @param how From [run_options()].
#' @return List of `embedding` (matrix, cells x axes), `fit`, and `columns`
#'   for the cell metadata (data.frame or NULL).
#' @noRd
train <- function(source, features, n.features, covariates, n_latent, max_epochs,
    seed.use, model.dir, resume, preset, how, round.counts = FALSE,
    overwrite = FALSE) {
    yes_or_no(round.counts, "round.counts")
    yes_or_no(overwrite, "overwrite")
    source$rounded <- round.counts
    result <- run_training_job("train",
        list(
            model_dir = if (!is.null(model.dir)) {
                normalizePath(model.dir, mustWork = FALSE)
            },
            resume = isTRUE(resume), overwrite = overwrite,
            counts = if (round.counts) "round"
        ),
        source, features, n.features, covariates, n_latent, max_epochs, seed.use,
        preset, how
    )
    if (result$summary$stop_reason %in% c("interrupted", "terminated")) {
        say(
            how$verbose, "stopped in epoch ", result$summary$epochs + 1L,
            "; this is the model of epoch ", result$summary$best_epoch
        )
    }
    list(
        embedding = result$embedding, fit = new_fit(result),
        columns = result$table
    )
}

# A job that chooses genes and trains on them, once or more often; `arguments` are
# those of this job alone.
run_training_job <- function(action, arguments, source, features, n.features,
    covariates, n_latent, max_epochs, seed.use, preset, how) {
    if (!is.null(n_latent)) at_least(n_latent, 1, "n_latent")
    at_least(seed.use, 0, "seed.use")
    if (!is.null(max_epochs)) at_least(max_epochs, 1, "max_epochs")
    say_duplicates(source, how$verbose)
    levels <- Filter(is.character, covariates)
    genes <- choose_genes(features, source, n.features, levels, how)
    common <- list(
        preset = preset, random_state = seed.use, device = how$device,
        select = genes$select, max_epochs = max_epochs,
        batch_key = names(levels)[1L],
        categorical_covariate_keys = as.list(names(levels)[-1L]),
        continuous_covariate_keys = as.list(
            names(Filter(is.numeric, covariates))
        ),
        settings = named_list(c(
            if (!is.null(n_latent)) list(n_latent = n_latent), how$settings
        ))
    )
    run_job(
        action, c(common, arguments), read_counts(source, genes$positions),
        covariates, how, source$where
    )
}

# An empty list without names would be [] in JSON, and not {}.
named_list <- function(values) {
    if (length(values)) values else structure(list(), names = character())
}

name_embedding <- function(embedding, source, key) {
    dimnames(embedding) <- list(
        source$cells, paste0(key, seq_len(ncol(embedding)))
    )
    embedding
}
