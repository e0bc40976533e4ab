# Columns that say which batch, donor, chemistry ... a cell is from.

#' A table that is given beside a matrix, with its rows in the order of the cells
#'
#' @param table data.frame, DataFrame or matrix with a row per cell, or NULL.
#' @param source A [counts_source()].
#' @param name Name of the argument.
#' @return Table with as many rows as there are cells, or NULL.
#' @noRd
table_of_cells <- function(table, source, name) {
    if (is.null(table)) {
        return(NULL)
    }
    if (!is(table, "DataFrame")) {
        if (!is.data.frame(table) && !is.matrix(table)) {
            fail(
                name, " must be a data.frame with a row per cell, not ",
                class(table)[1L]
            )
        }
        table <- as.data.frame(table)
    }
    rows <- rows_of_cells(
        names_of_rows(table, source, name), nrow(table), source, name, "row"
    )
    table[rows, , drop = FALSE]
}

# What says which cell a row is of: the row names, or a column with the names of the
# cells, or nothing.
names_of_rows <- function(table, source, name) {
    names <- rownames(table)
    # R numbers the rows of a table that has no names for them.
    numbered <- is.data.frame(table) && .row_names_info(table) <= 0L
    cells <- make.unique(source$cells)
    if (!source$named || (!numbered && any(names %in% cells))) {
        return(if (!numbered) names)
    }
    for (column in colnames(table)) {
        values <- table[[column]]
        if ((is.character(values) || is.factor(values)) && all(cells %in% values)) {
            return(as.character(values))
        }
    }
    mere_numbers <- !is.null(names) && all(grepl("^[0-9]+$", names))
    if (mere_numbers && is.unsorted(as.numeric(names))) {
        fail(
            "the rows of ", name, " were put into another order (they are numbered ",
            paste(utils::head(names, 3L), collapse = ", "), ", ...), and nothing in it ",
            "says which cell is which. If it is the order of the cells: rownames(",
            name, ") <- colnames(counts)",
            class = "scrae_other_cells"
        )
    }
    if (!numbered) names
}

#' Which entry is that of which cell
#'
#' By name where both sides have names. Names that are mere numbers, and no names
#' of cells, are what R calls the rows of a table that was cut or sorted.
#' @param names Names of the entries, or NULL.
#' @param n Number of entries.
#' @param name,entry How to call the whole, and one of them.
#' @return Positions of the entries, in the order of the cells.
#' @noRd
rows_of_cells <- function(names, n, source, name, entry) {
    cells <- make.unique(source$cells)
    if (!is.null(names) && source$named) {
        rows <- match(cells, names)
        missing <- is.na(rows)
        mere_numbers <- all(missing) && all(grepl("^[0-9]+$", names))
        if (any(missing) && !mere_numbers) {
            fail(
                name, " has no ", entry, " for ", share_of(sum(missing), length(cells), "cell"),
                " of ", source$where, " (", quoted(cells[missing]), "; in ", name,
                ": ", quoted(names), "). They are matched by name: give the ",
                "names of the cells, or none",
                class = "scrae_other_cells"
            )
        }
        repeated <- unique(names[duplicated(names) & names %in% cells])
        if (length(repeated) > 0L) {
            fail(
                name, " has more than one ", entry, " for ",
                how_many(length(repeated), "cell"), " (", quoted(repeated), ")",
                class = "scrae_other_cells"
            )
        }
        if (!mere_numbers) {
            return(rows)
        }
    }
    if (n != length(cells)) {
        fail(
            name, " has ", count(n), " ", entry, "(s); ", source$where, " has ",
            how_many(length(cells), "cell"), ": give one ", entry, " per cell",
            class = "scrae_other_cells"
        )
    }
    seq_len(n)
}

#' Columns of a table as plain text, and columns of numbers
#'
#' @param table data.frame or DataFrame, one row per cell.
#' @param keys Names of columns of levels; NULL: none.
#' @param where How to call the table in messages: `colData(object)`.
#' @param numbers Names of columns of numbers; NULL: none.
#' @return Named list of character vectors, then numeric ones.
#' @noRd
read_covariates <- function(table, keys, where, numbers = NULL) {
    c(
        read_levels(table, unique(keys), where),
        read_numeric(table, unique(numbers), where)
    )
}

# Columns whose differences stay in the embedding, as text.
read_kept <- function(table, keep, where) {
    check_column_names(keep, "keep", where)
    read_levels(table, unique(keep), where)
}

check_column_names <- function(keys, name, where) {
    if (!is.null(keys) && !is.character(keys)) {
        fail(
            name, " takes names of columns of ", where, ", not ",
            class(keys)[1L]
        )
    }
    if (anyNA(keys)) fail(name, " has a missing name of a column of ", where)
}

read_numeric <- function(table, keys, where) {
    check_column_names(keys, "vars.to.regress", where)
    numbers <- lapply(keys, function(key) {
        read_column(table, key, where)
        values <- as.vector(table[[key]])
        if (!is.numeric(values)) {
            fail(
                "column '", key, "' of ", where, " holds no numbers but ",
                class(values)[1L], " values: name it in group.by.vars"
            )
        }
        bad <- sum(!is.finite(values))
        if (bad > 0L) {
            fail(
                "column '", key, "' of ", where, " has ", count(bad),
                " missing or infinite value(s) in ", count(length(values)),
                " cells; fill them or drop those cells"
            )
        }
        as.double(values)
    })
    stats::setNames(numbers, keys)
}

read_levels <- function(table, keys, where) {
    check_column_names(keys, "group.by.vars", where)
    covariates <- lapply(keys, function(key) {
        values <- read_column(table, key, where)
        missing <- sum(is.na(values))
        if (missing > 0L) {
            fail(
                "column '", key, "' of ", where, " has ", count(missing),
                " missing value(s) in ", count(length(values)), " cells; ",
                "give them a level of their own or drop those cells"
            )
        }
        values
    })
    stats::setNames(covariates, keys)
}

# One column as text, NA where it says nothing.
read_column <- function(table, key, where) {
    if (is.null(table)) {
        fail(
            "'", key, "' is to be a column of ", where, ": give a data.frame with ",
            "a row per cell as ", where
        )
    }
    if (sum(colnames(table) == key) > 1L) {
        fail(
            where, " has ", sum(colnames(table) == key), " columns '", key,
            "'. Leave one, or rename them."
        )
    }
    if (!key %in% colnames(table)) {
        fail(where, " has no column '", key, "'; ", hint(key, colnames(table)))
    }
    values <- table[[key]]
    if (is.list(values) || !is.null(dim(values))) {
        fail(
            "column '", key, "' of ", where, " is a ", class(values)[1L],
            "; a covariate has one value per cell"
        )
    }
    as.character(values)
}

# The columns that a model was trained with, as the decoder needs them.
model_covariates <- function(facts, table, where, source) {
    keys <- names(facts$covariate_levels)
    numbers <- names(facts$covariate_scales)
    if (length(c(keys, numbers)) > 0L && is.null(table)) {
        fail(
            "the model was trained with ", quoted(c(keys, numbers)), ": give a data.frame ",
            "with these columns as meta.data"
        )
    }
    table <- with_layers(table, facts$covariate_levels[[LAYER]], source)
    if (LAYER %in% setdiff(keys, colnames(table))) {
        fail(
            "the model was trained with layers as batches (",
            quoted(facts$covariate_levels[[LAYER]]), "), and no column of ", where,
            " says which cell is from which: add a column 'layer' with these names",
            class = "scrae_unknown_column"
        )
    }
    read_covariates(table, keys, where, numbers)
}

# The batches of cells that are mapped: the column that is named, or that of the
# training, where it is there. No batch is needed then, but it is said which ones the
# model does not know.
batches_of_query <- function(facts, group.by.vars, table, where) {
    if (!is.null(group.by.vars)) {
        one_name(group.by.vars, "group.by.vars", where)
        kept <- intersect(unlist(facts$keep), colnames(table))
        return(read_covariates(table, c(group.by.vars, kept), where))
    }
    key <- facts$batch_key
    if (is.null(key) || is.null(table)) {
        return(list())
    }
    values <- if (sum(colnames(table) == key) == 1L) table[[key]]
    if (is.null(values) || !is.atomic(values) || !is.null(dim(values)) || anyNA(values)) {
        return(list())
    }
    stats::setNames(list(as.character(values)), key)
}

# The argument that names one column.
one_name <- function(value, name, where) {
    if (!is.character(value) || length(value) != 1L || is.na(value)) {
        fail(name, " takes the name of one column of ", where)
    }
}
