# Pairs of cells that belong together, or that do not.

#' Pairs of cells as users give them, as positions that count from 0
#'
#' @param pairs data.frame or matrix of two columns with names of cells, or with
#'   their numbers where the cells have no names; NULL: none.
#' @param source A [counts_source()].
#' @param name Name of the argument.
#' @return The positions pair by pair, in one vector, or NULL.
#' @noRd
read_links <- function(pairs, source, name) {
    if (is.null(pairs) || NROW(pairs) == 0L) {
        return(NULL)
    }
    if (!(is.data.frame(pairs) || is.matrix(pairs) || is(pairs, "DataFrame")) ||
        ncol(pairs) != 2L) {
        refuse("no_pairs", list(name = name))
    }
    given <- c(rbind(plain_column(pairs[, 1L]), plain_column(pairs[, 2L])))
    positions <- if (is.numeric(given) && !source$named) {
        match(given, seq_along(source$cells))
    } else {
        match(as.character(given), source$cells)
    }
    unknown <- unique(given[is.na(positions)])
    if (length(unknown) > 0L) {
        refuse_pairs("unknown_cells", name, unknown, n_cells = length(source$cells))
    }
    repeated <- intersect(source$cells[duplicated(source$cells)], given)
    if (length(repeated) > 0L) refuse_pairs("repeated_cells", name, repeated)
    pairs <- matrix(positions, 2L)
    alone <- pairs[1L, pairs[1L, ] == pairs[2L, ]]
    if (length(alone) > 0L) refuse_pairs("paired_with_itself", name, source$cells[alone])
    as.integer(positions - 1L)
}

plain_column <- function(values) if (is.numeric(values)) values else as.character(values)

refuse_pairs <- function(code, name, cells, ...) {
    fields <- list(name = name, n = length(cells), names = as.character(cells), ...)
    refuse(code, fields)
}
