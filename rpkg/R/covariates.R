# Columns that say which batch, donor, chemistry ... a cell is from.

#' Columns of a table as plain text
#'
#' @param table data.frame or DataFrame, one row per cell.
#' @param keys Names of columns; NULL: none.
#' @param where How to call the table in messages: `colData(object)`.
#' @return Named list of character vectors.
#' @noRd
read_covariates <- function(table, keys, where) {
    if (!is.null(keys) && !is.character(keys)) {
        fail(
            "group.by.vars takes names of columns of ", where, ", not ",
            class(keys)[1L]
        )
    }
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
    if (length(keys) > 0L && is.null(table)) {
        fail(
            "the model was trained with ", quoted(keys), ": give a data.frame ",
            "with these columns as meta.data"
        )
    }
    read_covariates(table, keys, where)
}

# The argument that names one column.
one_name <- function(value, name, where) {
    if (!is.character(value) || length(value) != 1L || is.na(value)) {
        fail(name, " takes the name of one column of ", where)
    }
}
