# Columns that say which batch, donor, chemistry ... a cell is from.

#' Columns of a table as plain text, and columns of numbers
#'
#' @param table data.frame or DataFrame, one row per cell.
#' @param keys Names of columns of levels; NULL: none.
#' @param where How to call the table in messages: `colData(object)`.
#' @param numbers Names of columns of numbers; NULL: none.
#' @return Named list of character vectors, then numeric ones.
#' @noRd
read_covariates <- function(table, keys, where, numbers = NULL) {
    c(read_levels(table, keys, where), read_numeric(table, numbers, where))
}

check_column_names <- function(keys, name, where) {
    if (!is.null(keys) && !is.character(keys)) {
        fail(
            name, " takes names of columns of ", where, ", not ",
            class(keys)[1L]
        )
    }
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
model_covariates <- function(facts, table, where) {
    keys <- names(facts$covariate_levels)
    numbers <- names(facts$covariate_scales)
    if (length(c(keys, numbers)) > 0L && is.null(table)) {
        fail(
            "the model was trained with ", quoted(c(keys, numbers)), ": give a data.frame ",
            "with these columns as meta.data"
        )
    }
    read_covariates(table, keys, where, numbers)
}

# The argument that names one column.
one_name <- function(value, name, where) {
    if (!is.character(value) || length(value) != 1L || is.na(value)) {
        fail(name, " takes the name of one column of ", where)
    }
}
