#' scRAE as a method of Seurat's `IntegrateLayers()`
#'
#' For Seurat v5. Each layer of counts (for example one per sample) is a batch, whose
#' effect is explained by the decoder and removed from the embedding. The names of the
#' layers are the levels of the batch, which the model calls `layer`. Functions that
#' need the batch later ([DenoiseSCRAE()], [FindMarkersSCRAE()], ...) find it in the
#' layers, or in the column of cell metadata by which the layers were split.
#'
#' @param object Assay of Seurat v5 with split layers, as `IntegrateLayers()`
#'   hands it over.
#' @param assay Name of the assay.
#' @param features Genes to model, as `IntegrateLayers()` chose them.
#' @param new.reduction Name of the new reduction.
#' @param key Key of the new reduction.
#' @param layers Names of the layers to integrate; those of normalised values stand
#'   for the counts of the same cells. NULL: all.
#' @param orig,scale.layer,groups What `IntegrateLayers()` also passes; not used:
#'   scRAE reads raw counts.
#' @inheritParams RunSCRAE
#' @param ... As in [RunSCRAE()].
#' @return List with the reduction, named `new.reduction`.
#' @examples
#' # With Seurat 5 and an object whose counts are split into layers:
#' # IntegrateLayers(object, method = SCRAEIntegration,
#' #     new.reduction = "integrated.scrae")
#' attr(SCRAEIntegration, "Seurat.method")
#' @export
SCRAEIntegration <- function(object, orig = NULL, assay = "RNA", layers = NULL,
    scale.layer = NULL, groups = NULL, features = NULL,
    new.reduction = "integrated.scrae", key = "integratedscrae_",
    n.features = 2000, n.latent = NULL, max.epochs = NULL, seed.use = 42,
    verbose = TRUE, preset = "default", ...) {
    call <- match.call(expand.dots = FALSE)
    batches <- intersect(
        names_in_dots(call),
        c("group.by", "group.by.vars", "split.by", "batch", "batch_key")
    )
    if (length(batches) > 0L) {
        fail(
            "there is no argument '", batches[1L], "': the layers of counts are the ",
            "batches. Split them by the column, object[[\"", assay,
            "\"]] <- split(object[[\"", assay, "\"]], f = object$batch), or leave ",
            "them whole and call RunSCRAE(object, group.by.vars = )",
            class = "scrae_unknown_argument"
        )
    }
    call <- in_our_names(
        "SCRAEIntegration", call,
        known_names("SCRAEIntegration", names_in_dots(call), names(formals()))
    )
    if (!is.null(call)) {
        return(eval(call))
    }
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    a_name(new.reduction, "new.reduction")
    check_reduction_key(key)
    if (is_corrected(object)) {
        fail(
            "assay '", assay, "' holds counts that SCTransform() has corrected, and ",
            "IntegrateLayers() hands over this assay alone. Make the one with the ",
            "raw counts the default first: DefaultAssay(object) <- \"RNA\", with its ",
            "counts split into layers",
            class = "scrae_counts_error"
        )
    }
    parts <- meant_layers(layers_of(object, assay, "counts"), layers)
    if (length(parts) < 2L) {
        fail(
            if (length(layers) > 0L && !all(layers %in% c("counts", "data"))) {
                paste0("layers = ", typed(layers), " of ")
            },
            "assay '", assay, "' has one layer of counts, so there is nothing ",
            "to integrate: object[[\"", assay, "\"]] <- split(object[[\"", assay,
            "\"]], f = object$batch) makes one per batch"
        )
    }
    source <- assay_source(
        object, assay, parts, paste0("assay '", assay, "', layers 'counts'")
    )
    fit <- train(source,
        features = features, n.features = n.features,
        covariates = list(layer = layer_of_cells(parts, source$cells)), n.latent = n.latent,
        max.epochs = max.epochs, seed.use = seed.use, model.dir = NULL,
        resume = FALSE, preset = preset, how = how
    )
    reduction <- new_reduction(fit$embedding, source, key, unclass(fit$fit))
    stats::setNames(list(reduction), new.reduction)
}
attr(SCRAEIntegration, "Seurat.method") <- "integration"
