# Names under which something is put into an object: what may be a name, and
# whether something else has it. Only what an earlier call has made is replaced.

MADE_COLUMNS <- "scrae_columns" # where names of columns are kept: misc, metadata()
MADE_GRAPHS <- "scrae_graphs" # and those of graphs

# One word that can be a name.
a_name <- function(value, argument) {
    right <- is.character(value) && length(value) == 1L && !is.na(value) &&
        nzchar(trimws(value))
    if (!right) {
        fail(argument, " must be one name, not ", typed(value), class = "scrae_no_name")
    }
}

refuse_taken <- function(argument, name, what, cure) {
    fail(
        argument, " = \"", name, "\": the object already contains ", what,
        ". ", cure,
        class = "scrae_name_taken"
    )
}

# `what` has the name and is not ours; `how` is its place, if it can be taken away.
refuse_foreign <- function(argument, name, what, how = NULL) {
    refuse_taken(
        argument, name,
        paste0(what, " that is not the work of an earlier call"),
        paste0(
            "Choose another name",
            if (!is.null(how)) paste0(", or take that away first: ", how, " <- NULL") else "."
        )
    )
}

# -- Seurat --------------------------------------------------------------------

PARTS_OF_SEURAT <- c(
    assays = "an assay", graphs = "a graph", neighbors = "a graph of neighbours",
    reductions = "a reduction", images = "an image"
)

# The slot of a Seurat object in which something has this name, or NULL.
slot_with <- function(object, name) {
    slots <- intersect(names(PARTS_OF_SEURAT), methods::slotNames(object))
    Find(function(slot) name %in% names(methods::slot(object, slot)), slots)
}

# A name for a new part that goes into `slot`; `is_ours` says whether what has it
# there is the work of an earlier call.
check_part_name <- function(object, name, argument, slot, is_ours) {
    a_name(name, argument)
    if (utils::packageVersion("SeuratObject") < "5" && make.names(name) != name) {
        fail(
            argument, " = \"", name, "\" cannot be a name in a Seurat object; \"",
            make.names(name), "\" can",
            class = "scrae_no_name"
        )
    }
    taken <- slot_with(object, name)
    if (is.null(taken) && name %in% colnames(object[[]])) {
        refuse_taken(argument, name, paste0("a column '", name, "' of cell metadata"),
            "A part of a Seurat object needs a name of its own."
        )
    }
    if (!is.null(taken) && taken != slot) {
        refuse_taken(argument, name, paste0(PARTS_OF_SEURAT[[taken]], " '", name, "'"),
            "A part of a Seurat object needs a name of its own."
        )
    }
    if (!is.null(taken) && !is_ours(methods::slot(object, slot)[[name]])) {
        refuse_foreign(
            argument, name, paste0(PARTS_OF_SEURAT[[taken]], " '", name, "'"),
            paste0("object[[\"", name, "\"]]")
        )
    }
}

check_reduction_name <- function(object, name, argument = "reduction.name") {
    check_part_name(object, name, argument, "reductions", function(part) {
        misc <- methods::slot(part, "misc")
        inherits(misc$model, "scrae_model") || isTRUE(misc$scrae_mapped) ||
            named_by_us(methods::slot(part, "cell.embeddings"))
    })
}

# Axes that only this package names so: what is left of it after a merge or a
# conversion.
named_by_us <- function(embedding) {
    length(colnames(embedding)) > 0L &&
        all(grepl("^scrae_[0-9]+$", colnames(embedding), ignore.case = TRUE))
}

check_assay_name <- function(object, name) {
    check_part_name(object, name, "assay.name", "assays", function(part) {
        isTRUE(methods::slot(part, "misc")$scrae_denoised)
    })
    if (!grepl("[A-Za-z0-9]", name)) {
        fail("assay.name = \"", name, "\" has no letter", class = "scrae_no_name")
    }
}

check_graph_name <- function(object, name) {
    check_part_name(object, name, "graph.name", "graphs", function(part) {
        name %in% made(object, MADE_GRAPHS)
    })
}

#' The key of a new part, which no other part may have
#'
#' @param key What was asked for, or NULL: one that goes with the name.
#' @param given Whether the user asked for it.
#' @noRd
free_key <- function(object, name, key = NULL, given = FALSE) {
    known <- unlist(SeuratObject::Key(object))
    taken <- known[names(known) != name]
    if (!is.null(key) && !key %in% taken) {
        return(key)
    }
    if (given) {
        fail(
            "reduction.key = \"", key, "\" is the key of '",
            names(taken)[taken == key][1L], "': each part of a Seurat object ",
            "needs a key of its own, such as \"", free_key(object, name), "\"",
            class = "scrae_name_taken"
        )
    }
    stem <- gsub("[^A-Za-z0-9]", "", name)
    if (!grepl("^[A-Za-z]", stem)) stem <- paste0("scrae", stem)
    keys <- paste0(stem, c("", seq_len(length(taken) + 1L)), "_")
    keys[!tolower(keys) %in% tolower(taken)][1L]
}

# -- SingleCellExperiment ------------------------------------------------------

check_embedding_name <- function(object, name) {
    a_name(name, "name")
    if (name %in% SingleCellExperiment::reducedDimNames(object)) {
        embedding <- SingleCellExperiment::reducedDim(object, name)
        ours <- name %in% names(all_fits(object)) || named_by_us(embedding) ||
            name %in% made(object, "scrae_embeddings")
        if (!ours) {
            refuse_foreign(
                "name", name, paste0("an embedding '", name, "'"),
                paste0("reducedDim(object, \"", name, "\")")
            )
        }
    }
}

# The place in metadata() that a training takes.
check_metadata_name <- function(object, name) {
    stored <- S4Vectors::metadata(object)
    of_name <- stored[names(stored) %in% name]
    if (!all(vapply(of_name, inherits, TRUE, "scrae_fit"))) {
        refuse_foreign(
            "name", name, paste0("an entry '", name, "' of metadata()"),
            paste0("metadata(object)[[\"", name, "\"]]")
        )
    }
}

check_altexp_name <- function(object, name) {
    a_name(name, "name")
    taken <- identical(name, SingleCellExperiment::mainExpName(object))
    if (name %in% SingleCellExperiment::altExpNames(object)) {
        held <- SingleCellExperiment::altExp(object, name)
        taken <- !isTRUE(S4Vectors::metadata(held)$scrae_denoised)
    }
    if (taken) {
        refuse_foreign("name", name, paste0("an experiment '", name, "'"))
    }
}

check_pair_name <- function(object, name) {
    a_name(name, "graph.name")
    ours <- name %in% made(object, MADE_GRAPHS)
    if (name %in% SingleCellExperiment::colPairNames(object) && !ours) {
        refuse_foreign(
            "graph.name", name, paste0("pairs of cells '", name, "'"),
            paste0("colPair(object, \"", name, "\")")
        )
    }
}

# One entry of that name, whatever an object that was put together holds.
set_metadata <- function(object, name, value) {
    stored <- S4Vectors::metadata(object)
    stored <- stored[!names(stored) %in% name]
    stored[[name]] <- value
    S4Vectors::metadata(object) <- stored
    object
}

# -- columns of cell metadata --------------------------------------------------

# Places for what has no place in an object: misc of Seurat, metadata() of others.
stored_tables <- function(object) {
    if (inherits(object, "Seurat")) {
        return(methods::slot(object, "misc"))
    }
    S4Vectors::metadata(object)
}

# Names that earlier calls have noted; an object that was put together may have
# several such notes.
made <- function(object, kind) {
    stored <- stored_tables(object)
    as.character(unlist(stored[names(stored) %in% kind], use.names = FALSE))
}

note_made <- function(object, kind, names) {
    names <- union(made(object, kind), names)
    if (!inherits(object, "Seurat")) {
        return(set_metadata(object, kind, names))
    }
    methods::slot(object, "misc")[[kind]] <- names
    object
}

# Whether an entry of misc or metadata() is the tables of ClusterSCRAE().
is_clustering <- function(told) {
    is.list(told) && all(c("clusters", "tree", "params") %in% names(told))
}

# Names of all columns that calls of this package have made.
our_columns <- function(object) {
    fits <- names(all_fits(object))
    of_models <- lapply(unique(fits), function(name) earlier_columns(object, name))
    clustered <- names(Filter(is_clustering, stored_tables(object)))
    c(
        made(object, MADE_COLUMNS), unlist(of_models), clustered,
        vapply(clustered, confidence_of, "", USE.NAMES = FALSE)
    )
}

# The place of the tables of clusters in misc or metadata().
check_tables <- function(object, name) {
    stored <- stored_tables(object)
    if (!all(vapply(stored[names(stored) %in% name], is_clustering, TRUE))) {
        where <- if (inherits(object, "Seurat")) "object@misc" else "metadata(object)"
        refuse_foreign("col.name", name, paste0("an entry '", name, "' of ", where))
    }
}

confidence_of <- function(column) paste0(sub("s$", "", column), "_confidence")

#' Refuse to replace columns of the user
#'
#' @param columns Names of the columns that will be written.
#' @noRd
check_columns <- function(object, columns) {
    seurat <- inherits(object, "Seurat")
    table <- if (seurat) object[[]] else SummarizedExperiment::colData(object)
    where <- if (seurat) "object@meta.data" else "colData(object)"
    taken <- setdiff(intersect(columns, colnames(table)), our_columns(object))
    if (length(taken)) {
        fail(
            "column '", taken[1L], "' of ", where, " exists and is not the work ",
            "of an earlier call: this one would replace it. Rename that column, ",
            "or choose another name",
            class = "scrae_column_of_user"
        )
    }
    for (column in if (seurat) columns) {
        slot <- slot_with(object, column)
        if (!is.null(slot)) {
            refuse_taken("column", column, paste0(PARTS_OF_SEURAT[[slot]], " '", column, "'"),
                "A column of cell metadata needs a name of its own."
            )
        }
    }
}

# -- what belongs to an embedding that is replaced ------------------------------

#' Say which graph and columns describe an embedding that is no more, and mark these
#'
#' They stay, as Seurat leaves its own; `params$replaced` of their tables is TRUE.
#' @noRd
outdated_clusters <- function(object, name, verbose) {
    graph <- paste0(tolower(name), "_snn")
    if (graph %in% made(object, MADE_GRAPHS)) {
        say(
            verbose, "the graph '", graph, "' is that of the embedding that was ",
            "replaced: call NeighborsSCRAE(object) for a new one"
        )
    }
    stored <- stored_tables(object)
    outdated <- names(Filter(function(told) {
        is_clustering(told) && identical(told$params$embedding, name)
    }, stored))
    if (length(outdated) == 0L) {
        return(object)
    }
    say(
        verbose, "clusters in ", ngettext(length(outdated), "column ", "columns "),
        quoted(outdated), " are those of the embedding that was replaced: call ",
        "ClusterSCRAE(object) for new ones"
    )
    for (column in outdated) {
        told <- stored[[column]]
        told$params$replaced <- TRUE
        if (inherits(object, "Seurat")) {
            methods::slot(object, "misc")[[column]] <- told
        } else {
            object <- set_metadata(object, column, told)
        }
    }
    object
}
