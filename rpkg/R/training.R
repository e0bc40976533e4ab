# Jobs that choose genes and train on them: what the methods of all objects share.

#' From counts to an embedding
#'
#' @param source A [counts_source()].
#' @param covariates From [read_covariates()].
#' @param kept Columns whose differences stay in the embedding, from [read_kept()].
#' @param how From [run_options()].
#' @return List of `embedding` (matrix, cells x axes), `fit`, and `columns`
#'   for the cell metadata (data.frame or NULL).
#' @noRd
train <- function(source, features, n.features, covariates, n.latent, max.epochs,
    seed.use, model.dir, resume, preset, how, round.counts = FALSE,
    overwrite = FALSE, must.link = NULL, cannot.link = NULL, labels = NULL,
    unlabeled = "Unknown", kept = list()) {
    yes_or_no(round.counts, "round.counts")
    yes_or_no(overwrite, "overwrite")
    check_resume(resume, model.dir)
    source$rounded <- round.counts
    known <- if (!is.null(labels)) known_types(labels, unlabeled, how$verbose)
    result <- run_training_job("train",
        list(
            model_dir = if (!is.null(model.dir)) {
                normalizePath(absolute(model.dir), mustWork = FALSE)
            },
            resume = resume, overwrite = overwrite,
            must_link = read_links(must.link, source, "must.link"),
            cannot_link = read_links(cannot.link, source, "cannot.link"),
            labels_key = names(known$labels), unlabeled_category = known$called,
            counts = if (round.counts) "round"
        ),
        source, features, n.features, covariates, n.latent, max.epochs, seed.use,
        preset, how, kept, known$labels
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

# A job that chooses genes and trains on them, once or more often; `arguments` and
# `columns` (beside the covariates) are those of this job alone.
run_training_job <- function(action, arguments, source, features, n.features,
    covariates, n.latent, max.epochs, seed.use, preset, how, kept = list(), columns = NULL) {
    if (!is.null(n.latent)) at_least(n.latent, 1, "n.latent")
    if (!is.null(max.epochs)) at_least(max.epochs, 1, "max.epochs")
    preset <- known_preset(preset)
    settings <- known_settings(how$settings, preset)
    refuse_constant(covariates)
    refuse_kept(kept, covariates)
    levels <- Filter(is.character, covariates)
    check_features(features, source)
    say_duplicates(source, how$verbose)
    genes <- choose_genes(features, source, n.features, levels, how)
    refuse_too_many_axes(n.latent, genes, source)
    common <- list(
        preset = preset, random_state = seed.use, device = how$device,
        select = genes$select, max_epochs = max.epochs,
        batch_key = names(levels)[1L],
        categorical_covariate_keys = as.list(names(levels)[-1L]),
        continuous_covariate_keys = as.list(
            names(Filter(is.numeric, covariates))
        ),
        keep = as.list(names(kept)),
        settings = named_list(c(
            if (!is.null(n.latent)) list(n_latent = n.latent), settings
        ))
    )
    told <- c(covariates, kept)
    run_job(
        action, c(common, arguments), read_counts(source, genes$positions),
        c(told, columns[setdiff(names(columns), names(told))]), how,
        source$where
    )
}

# What is corrected cannot be kept, and where nothing is corrected nothing need be.
refuse_kept <- function(kept, covariates) {
    if (!length(kept)) {
        return(invisible())
    }
    if (!length(covariates)) refuse("keep_without_batch", list(names = names(kept)))
    both <- intersect(names(kept), names(covariates))
    if (length(both)) refuse("kept_and_corrected", list(names = both))
    for (name in names(kept)) {
        if (length(unique(kept[[name]])) < 2L) refuse("one_level", list(column = name))
    }
}

# Whether a training may leave clusters beside the embedding.
may_cluster <- function(preset, settings) {
    PRESETS[[known_preset(preset)]] %in% c("dec", "soft_kmeans") ||
        "regulariser" %in% names(settings)
}

# A training that goes on needs what it goes on from.
check_resume <- function(resume, model.dir) {
    yes_or_no(resume, "resume")
    if (!is.null(model.dir)) a_name(model.dir, "model.dir")
    if (!resume) {
        return(invisible())
    }
    if (is.null(model.dir)) {
        fail(
            "resume = TRUE goes on from the checkpoint in a folder: name it with ",
            "model.dir, as in the call that began the training",
            class = "scrae_nothing_to_resume"
        )
    }
    if (!file.exists(file.path(model.dir, CHECKPOINT))) {
        fail(
            "there is no checkpoint in '", model.dir, "' to go on from: call without ",
            "resume = TRUE to begin",
            class = "scrae_nothing_to_resume"
        )
    }
}

# What says the same of every cell explains nothing.
refuse_constant <- function(covariates) {
    both <- intersect(
        names(Filter(is.character, covariates)), names(Filter(is.numeric, covariates))
    )
    if (length(both) > 0L) {
        refuse("categorical_and_continuous", list(names = both))
    }
    for (name in names(covariates)) {
        values <- covariates[[name]]
        if (length(unique(values)) == 1L) {
            fail(
                "column '", name, "' is ", typed(values[1L]), " in all ",
                how_many(length(values), "cell"), ". There is nothing to correct ",
                "for: leave it out of ",
                if (is.character(values)) "group.by.vars" else "vars.to.regress", ".",
                class = "scrae_constant_column"
            )
        }
    }
}

# Where it is known already how many genes there will be.
refuse_too_many_axes <- function(n.latent, genes, source) {
    n_genes <- if (!is.null(genes$positions)) {
        length(genes$positions)
    } else {
        min(length(source$genes), genes$select$n_top)
    }
    if (!is.null(n.latent) && n.latent > n_genes) {
        refuse(
            "too_many_dimensions",
            list(n_latent = n.latent, n_genes = n_genes, fewer = n_genes)
        )
    }
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
