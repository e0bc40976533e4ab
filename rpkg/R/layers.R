# Split layers of Seurat v5 as batches, and where to look for them later.

LAYER <- "layer" # what SCRAEIntegration() calls the column of its batches

# The names of the split: "a" of the layer "counts.a".
split_names <- function(layers, layer = "counts") {
    sub(paste0(layer, "."), "", layers, fixed = TRUE)
}

# Which layer each cell is in, by the name of the split.
layer_of_cells <- function(parts, cells) {
    layer <- rep(split_names(names(parts)), vapply(parts, ncol, 1L))
    names(layer) <- unlist(lapply(parts, colnames))
    unname(layer[cells])
}

#' The layers of counts that are meant by layers of any kind
#'
#' @param parts Named list of the layers of counts.
#' @param layers Names of layers, as `IntegrateLayers()` hands them over: "data.a"
#'   and "counts.a" both mean "counts.a", "data" means all. NULL: all.
#' @return The parts that are meant.
#' @noRd
meant_layers <- function(parts, layers) {
    if (is.null(layers)) {
        return(parts)
    }
    if (!is.character(layers) || anyNA(layers) || length(layers) == 0L) {
        fail("layers takes names of layers, not ", typed(layers))
    }
    splits <- split_names(names(parts))
    meant <- lapply(layers, function(layer) {
        if (layer %in% c("counts", "data")) {
            return(seq_along(splits))
        }
        which(layer == splits | endsWith(layer, paste0(".", splits)))
    })
    unknown <- layers[lengths(meant) == 0L]
    if (length(unknown) > 0L) {
        fail(
            "layers: no layer of counts goes with '", unknown[1L], "'; there are: ",
            quoted(names(parts), 20L)
        )
    }
    parts[sort(unique(unlist(meant)))]
}

#' Cell metadata with the layers that a model was trained on
#'
#' A model of [SCRAEIntegration()] knows its batches as "layer", which is no column
#' of the object. They are the layers where these are split still, and otherwise a
#' column that says the same.
#' @param table data.frame or DataFrame, a row per cell.
#' @param levels The layers that the model knows; NULL: it knows no "layer".
#' @param source A [counts_source()].
#' @return The table, with a column "layer" where one was found.
#' @noRd
with_layers <- function(table, levels, source) {
    if (is.null(levels) || is.null(table) || only_of(table[[LAYER]], levels)) {
        return(table)
    }
    if (length(source$parts) > 1L) {
        layer <- layer_of_cells(source$parts, source$cells)
        if (only_of(layer, levels)) {
            table[[LAYER]] <- layer
            return(table)
        }
    }
    found <- Filter(Negate(is.null), lapply(
        stats::setNames(nm = setdiff(colnames(table), LAYER)),
        function(column) as_levels(table[[column]], levels)
    ))
    different <- found[!duplicated(unname(found))]
    if (length(different) > 1L) {
        fail(
            "the model was trained on layers (", quoted(levels), "), and columns ",
            quoted(names(different)), " say different things of which cell is from ",
            "which: object$layer <- object$", names(different)[1L], " chooses one",
            class = "scrae_unknown_column"
        )
    }
    if (length(found) > 0L) table[[LAYER]] <- found[[1L]]
    table
}

only_of <- function(values, levels) {
    plain <- is.atomic(values) && is.null(dim(values)) && length(values) > 0L
    plain && all(as.character(values) %in% levels)
}

# Values as the layers that split() makes of them, or NULL where they are others.
as_levels <- function(values, levels) {
    if (!is.character(values) && !is.factor(values) && !is.numeric(values) && !is.logical(values)) {
        return(NULL)
    }
    tidy <- function(names) gsub("[^[:alnum:]]+", ".", as.character(names))
    values <- as.character(values)
    values[is.na(values)] <- "na"
    position <- match(tidy(values), tidy(levels))
    if (anyNA(position)) NULL else levels[position]
}
