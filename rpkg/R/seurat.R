# Seurat objects, version 3 to 5.

#' @rdname RunSCRAE
#' @export
RunSCRAE.Seurat <- function(object, assay = NULL, features = NULL,
    layer = "counts", group.by.vars = NULL, vars.to.regress = NULL,
    n_latent = NULL, max_epochs = NULL, reduction.name = "scrae",
    reduction.key = "scrae_", n.features = 2000, seed.use = 42,
    verbose = TRUE, model.dir = NULL, resume = FALSE, preset = "default",
    round.counts = FALSE, overwrite = FALSE, ...) {
    how <- run_options(list(...), names(formals()), verbose)
    check_reduction_key(reduction.key)
    assay <- check_assay(object, assay)
    source <- seurat_source(object, assay, layer, verbose)
    fit <- train(source,
        features = features %||% variable_features(object, assay, source, verbose),
        n.features = n.features,
        covariates = read_covariates(
            object[[]], group.by.vars, "object@meta.data", vars.to.regress
        ),
        n_latent = n_latent, max_epochs = max_epochs, seed.use = seed.use,
        model.dir = model.dir, resume = resume, preset = preset,
        round.counts = round.counts, overwrite = overwrite, how = how
    )
    for (column in earlier_columns(object, reduction.name)) {
        methods::slot(object, "meta.data")[[column]] <- NULL
    }
    object[[reduction.name]] <- new_reduction(
        fit$embedding, source, reduction.key, unclass(fit$fit)
    )
    object <- add_columns_to_seurat(object, fit$columns, reduction.name)
    SeuratObject::LogSeuratCommand(object)
}

check_reduction_key <- function(key) {
    if (!grepl("^[a-zA-Z][a-zA-Z0-9]*_$", key)) {
        fail(
            "reduction.key = '", key, "' is not a key: letters and digits, ",
            "then one underscore, as in 'scrae_'"
        )
    }
}

check_assay <- function(object, assay) {
    need_package("SeuratObject", "a Seurat object",
        'install.packages("SeuratObject")'
    )
    assay <- assay %||% SeuratObject::DefaultAssay(object)
    known <- names(Filter(
        function(part) inherits(part, c("Assay", "StdAssay")),
        stats::setNames(lapply(names(object), function(n) object[[n]]),
            names(object)
        )
    ))
    if (!assay %in% known) {
        fail("the object has no assay '", assay, "'; ", hint(assay, known))
    }
    assay
}

#' Where the raw counts of an assay are
#'
#' SCTransform assays hold corrected counts; the raw ones are in the assay that
#' they were made from.
#' @return A [counts_source()] with the `assay` that the counts are from.
#' @noRd
seurat_source <- function(object, assay, layer, verbose) {
    if (inherits(object[[assay]], "SCTAssay")) {
        raw <- assay_before_sct(object, assay)
        say(
            verbose, "assay '", assay, "' holds corrected counts; using the ",
            "raw counts of assay '", raw, "'"
        )
        assay <- raw
    }
    parts <- if (inherits(object[[assay]], "StdAssay")) {
        layers_of(object[[assay]], assay, layer)
    } else {
        list(slot_of(object[[assay]], assay, layer))
    }
    source <- counts_source(
        parts, rownames(object[[assay]]), colnames(object),
        paste0("assay '", assay, "', layer '", layer, "'")
    )
    c(source, assay = assay)
}

assay_before_sct <- function(object, assay) {
    models <- methods::slot(object[[assay]], "SCTModel.list")
    raw <- if (length(models)) methods::slot(models[[1L]], "umi.assay") else "RNA"
    if (!raw %in% names(object)) {
        fail(
            "assay '", assay, "' holds corrected counts, and the assay '", raw,
            "' with the raw ones is not in the object; scRAE needs raw counts"
        )
    }
    raw
}

slot_of <- function(part, assay, layer) {
    if (!layer %in% c("counts", "data", "scale.data")) {
        fail(
            "assay '", assay, "' has no layer '", layer, "'; ",
            hint(layer, c("counts", "data", "scale.data"))
        )
    }
    counts <- methods::slot(part, layer)
    if (length(counts) == 0L) {
        refuse_missing_counts(assay, layer)
    }
    counts
}

# All layers of Seurat v5 that are `layer` or parts of it: "counts.1", ...
layers_of <- function(part, assay, layer) {
    # By name: SeuratObject 4 does not export these.
    of_v5 <- function(name) getExportedValue("SeuratObject", name)
    known <- of_v5("Layers")(part)
    split <- startsWith(known, paste0(layer, "."))
    names <- if (layer %in% known) layer else known[split]
    if (length(names) == 0L) {
        refuse_missing_counts(assay, layer, known)
    }
    lapply(names, function(name) of_v5("LayerData")(part, layer = name))
}

# Which of several layers each cell is in, by number.
layer_of_cells <- function(parts, cells) {
    layer <- rep(paste0("layer", seq_along(parts)), vapply(parts, ncol, 1L))
    names(layer) <- unlist(lapply(parts, colnames))
    unname(layer[cells])
}

refuse_missing_counts <- function(assay, layer, known = character()) {
    fail(
        "assay '", assay, "' has no '", layer, "'",
        if (length(known)) paste0(" (it has ", quoted(known), ")"),
        ": scRAE models raw counts. Add them, or name another assay or layer ",
        "that holds them: RunSCRAE(object, assay = ..., layer = ...)",
        class = "scrae_counts_error"
    )
}

# The variable features of the assay that was asked for, or NULL.
variable_features <- function(object, assay, source, verbose) {
    features <- intersect(
        SeuratObject::VariableFeatures(object[[assay]]), source$names
    )
    if (length(features) < 2L) {
        return(NULL)
    }
    say(
        verbose, "using the ", count(length(features)),
        " variable features of assay '", assay, "'"
    )
    features
}

new_reduction <- function(embedding, source, key, misc = list()) {
    embedding <- name_embedding(embedding, source, key)
    SeuratObject::CreateDimReducObject(
        embeddings = embedding, key = key, assay = source$assay,
        stdev = apply(embedding, 2L, stats::sd), misc = misc
    )
}

# A table of one row per cell, or NULL, as columns of the metadata.
add_columns_to_seurat <- function(object, table, prefix) {
    if (is.null(table)) {
        return(object)
    }
    dimnames(table) <- list(colnames(object), paste0(prefix, "_", names(table)))
    SeuratObject::AddMetaData(object, table)
}

seurat_reductions <- function(object) {
    parts <- stats::setNames(
        lapply(names(object), function(name) object[[name]]), names(object)
    )
    Filter(function(part) inherits(part, "DimReduc"), parts)
}

# Fits in the reductions of an object, by name.
seurat_fits <- function(object) {
    fits <- lapply(seurat_reductions(object), function(part) {
        structure(methods::slot(part, "misc"), class = "scrae_fit")
    })
    Filter(function(fit) inherits(fit$model, "scrae_model"), fits)
}
