# Seurat objects, version 3 to 5.

#' @rdname RunSCRAE
#' @export
RunSCRAE.Seurat <- function(object, assay = NULL, features = NULL,
    layer = "counts", group.by.vars = NULL, vars.to.regress = NULL,
    n.latent = NULL, max.epochs = NULL, reduction.name = "scrae",
    reduction.key = "scrae_", n.features = 2000, seed.use = 42,
    verbose = TRUE, model.dir = NULL, resume = FALSE, preset = "default",
    round.counts = FALSE, overwrite = FALSE, must.link = NULL, cannot.link = NULL,
    labels = NULL, unlabeled = "Unknown", keep = NULL, ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    assay <- check_assay(object, assay)
    check_reduction_key(reduction.key)
    check_reduction_name(object, reduction.name)
    reduction.key <- free_key(
        object, reduction.name, reduction.key, !missing(reduction.key)
    )
    if (may_cluster(preset, how$settings)) {
        check_columns(object, paste0(reduction.name, "_clusters"))
    }
    source <- seurat_source(object, assay, layer, verbose)
    table <- metadata_of(object, source)
    fit <- train(source,
        features = features %||% variable_features(object, assay, source, verbose),
        n.features = n.features,
        covariates = read_covariates(
            table, group.by.vars, "object@meta.data", vars.to.regress
        ),
        kept = read_kept(table, keep, "object@meta.data"),
        n.latent = n.latent, max.epochs = max.epochs, seed.use = seed.use,
        model.dir = model.dir, resume = resume, preset = preset,
        round.counts = round.counts, overwrite = overwrite,
        must.link = must.link, cannot.link = cannot.link,
        labels = if (!is.null(labels)) {
            label_column(table, labels, "object@meta.data")
        },
        unlabeled = unlabeled, how = how
    )
    for (column in earlier_columns(object, reduction.name)) {
        methods::slot(object, "meta.data")[[column]] <- NULL
    }
    object <- outdated_clusters(object, reduction.name, verbose)
    object[[reduction.name]] <- new_reduction(
        fit$embedding, source, reduction.key, unclass(fit$fit)
    )
    object <- add_columns_to_seurat(
        object, fit$columns, paste0(reduction.name, "_", names(fit$columns)),
        source, note = FALSE
    )
    SeuratObject::LogSeuratCommand(object)
}

check_reduction_key <- function(key) {
    a_name(key, "reduction.key")
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
    if (!is.null(assay)) a_name(assay, "assay")
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
    a_name(layer, "layer")
    if (is_corrected(object[[assay]])) {
        raw <- assay_before_sct(object, assay)
        say(
            verbose, "assay '", assay, "' holds corrected counts; using the ",
            "raw counts of assay '", raw, "'"
        )
        assay <- raw
    }
    source <- assay_source(
        object[[assay]], assay, parts_of(object[[assay]], assay, layer),
        paste0("assay '", assay, "', layer '", layer, "'")
    )
    without <- ncol(object) - length(source$cells)
    if (without > 0L) {
        say(
            verbose, share_of(without, ncol(object), "cell"), " of the object ",
            ngettext(without, "has", "have"), " no counts in ", source$where,
            ": going on with the ", count(length(source$cells)), " that have"
        )
    }
    source
}

#' A [counts_source()] of the layers of an assay
#'
#' An assay may hold some of the cells of its object, and a layer some of the
#' genes and cells of its assay. What has counts is what there is.
#' @param part The assay itself.
#' @param parts Named list of its layers.
#' @noRd
assay_source <- function(part, assay, parts, where) {
    of_parts <- lapply(parts, colnames)
    repeated <- anyDuplicated(unlist(of_parts, use.names = FALSE))
    if (repeated > 0L) {
        cell <- unlist(of_parts, use.names = FALSE)[repeated]
        holding <- names(parts)[vapply(of_parts, function(cells) cell %in% cells, TRUE)]
        fail(
            "cell '", cell, "' and others are in several layers of assay '",
            assay, "' (", quoted(holding), "): name the one with the raw counts: ",
            "layer = \"", holding[1L], "\""
        )
    }
    source <- counts_source(
        parts, in_order_of(rownames(part), lapply(parts, rownames)),
        in_order_of(colnames(part), of_parts), where,
        by_name = TRUE
    )
    c(source, assay = assay)
}

# The source of these cells alone, where it has them all.
only_cells <- function(source, cells) {
    if (all(cells %in% source$cells)) source$cells <- cells
    source
}

# What any of `held` holds, in the order of `known`.
in_order_of <- function(known, held) {
    if (length(held) == 1L && identical(held[[1L]], known)) {
        return(known)
    }
    held <- unique(unlist(held, use.names = FALSE))
    c(known[known %in% held], setdiff(held, known))
}

# The layers of an assay of any version, as matrices, by their names.
parts_of <- function(part, assay, layer) {
    if (inherits(part, "StdAssay")) {
        return(layers_of(part, assay, layer))
    }
    stats::setNames(list(slot_of(part, assay, layer)), layer)
}

# What the metadata say of the cells that have counts.
metadata_of <- function(object, source) {
    table <- object[[]]
    if (identical(rownames(table), source$cells)) {
        return(table)
    }
    table[match(source$cells, rownames(table)), , drop = FALSE]
}

# Whether an assay is of SCTransform(): also where it lost its class when it was
# split or converted. Its counts are whole numbers, but no raw ones.
is_corrected <- function(part) {
    inherits(part, "SCTAssay") || identical(methods::slot(part, "key"), "sct_")
}

assay_before_sct <- function(object, assay) {
    part <- object[[assay]]
    raw <- if (inherits(part, "SCTAssay")) {
        models <- methods::slot(part, "SCTModel.list")
        unique(unlist(lapply(models, methods::slot, "umi.assay")))
    } else {
        methods::slot(part, "misc")$umi.assay
    }
    raw <- setdiff(raw %||% "RNA", "")
    if (length(raw) > 1L) {
        fail(
            "assay '", assay, "' holds corrected counts, made from several assays (",
            quoted(raw), "): name the one with the raw counts: DefaultAssay(object) ",
            "<- \"", raw[1L], "\"",
            class = "scrae_counts_error"
        )
    }
    if (!length(raw) || !raw %in% names(methods::slot(object, "assays"))) {
        fail(
            "assay '", assay, "' holds corrected counts, and the assay '", raw,
            "' with the raw ones is not in the object; scRAE needs raw counts",
            class = "scrae_counts_error"
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
    stats::setNames(lapply(names, function(name) {
        stored <- methods::slot(part, "layers")[[name]]
        if (!is.null(dim(stored))) {
            return(of_v5("LayerData")(part, layer = name))
        }
        # What Seurat leaves of a layer of which a subset has one cell.
        matrix(stored, ncol = 1L, dimnames = list(
            of_v5("Features")(part, layer = name),
            SeuratObject::Cells(part, layer = name)
        ))
    }), names)
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

# A table of one row per cell of `source`, or NULL, as columns of the metadata;
# missing for the other cells of the object.
add_columns_to_seurat <- function(object, table, columns, source, note = TRUE) {
    if (is.null(table)) {
        return(object)
    }
    table <- table[match(colnames(object), source$cells), , drop = FALSE]
    dimnames(table) <- list(colnames(object), columns)
    object <- SeuratObject::AddMetaData(object, table)
    if (note) note_made(object, MADE_COLUMNS, columns) else object
}

seurat_reductions <- function(object) {
    parts <- stats::setNames(
        lapply(names(object), function(name) object[[name]]), names(object)
    )
    Filter(function(part) inherits(part, "DimReduc"), parts)
}

# The reduction of an embedding, its assay, and the counts of its cells.
seurat_embedding <- function(object, reduction.name, assay, layer, verbose) {
    reduction <- object[[reduction.name]]
    assay <- check_assay(object, assay %||% methods::slot(reduction, "assay.used"))
    source <- only_cells(
        seurat_source(object, assay, layer, verbose), rownames(reduction)
    )
    list(reduction = reduction, assay = assay, source = source)
}

# Names of the reductions, of which one must be the embedding that is asked for.
known_reductions <- function(object, reduction.name) {
    need_package("SeuratObject", "a Seurat object",
        'install.packages("SeuratObject")'
    )
    a_name(reduction.name, "reduction.name")
    known <- names(seurat_reductions(object))
    if (!reduction.name %in% known) {
        refuse_missing_embedding(reduction.name, "reduction.name", known)
    }
    known
}

# Fits in the reductions of an object, by name.
seurat_fits <- function(object) {
    fits <- lapply(seurat_reductions(object), function(part) {
        structure(methods::slot(part, "misc"), class = "scrae_fit")
    })
    Filter(function(fit) inherits(fit$model, "scrae_model"), fits)
}
