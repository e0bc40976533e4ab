# What `...` of RunSCRAE() and its relatives may hold.

#' How Python is run, and the settings that go to it as they are
#'
#' @param dots The list of further arguments.
#' @param formals Names of the arguments of the function that the user called,
#'   to find the one that was meant.
#' @param verbose TRUE or FALSE.
#' @return List of `threads`, `in_process`, `device`, `verbose` and `settings`.
#' @noRd
run_options <- function(dots, formals, verbose) {
    own <- c("device", "threads", "in_process")
    names(dots) <- names(dots) %||% rep("", length(dots))
    if (any(names(dots) == "")) {
        fail("every argument after the first needs a name: name = value")
    }
    settings <- dots[setdiff(names(dots), own)]
    known <- c(setdiff(formals, c("object", "...")), own)
    for (name in names(settings)) refuse_near_miss(name, known)
    if (!is.null(dots$threads)) at_least(dots$threads, 1, "threads")
    list(
        threads = dots$threads, in_process = isTRUE(dots$in_process),
        device = dots$device, verbose = isTRUE(verbose), settings = settings
    )
}

# "reduction.nmae" is an argument of ours, misspelt; what is far from all of
# them is for Python, which knows its own settings and their neighbours.
refuse_near_miss <- function(name, known) {
    distance <- utils::adist(name, known, ignore.case = TRUE)[1L, ]
    if (min(distance) <= 2L) {
        fail(
            "there is no argument '", name, "'; did you mean '",
            known[which.min(distance)], "'?"
        )
    }
}

refuse_settings <- function(how) {
    if (length(how$settings) > 0L) {
        fail("there is no argument ", quoted(names(how$settings)))
    }
}

at_least <- function(value, least, name) {
    right <- is.numeric(value) && length(value) == 1L && is.finite(value) &&
        value == trunc(value) && value >= least
    if (!right) {
        fail(name, " must be a whole number of at least ", least)
    }
}

# Here, and not in Python, which would be asked with several values or with text.
one_number <- function(value, name) {
    right <- is.numeric(value) && length(value) == 1L && is.finite(value)
    if (!right) fail(name, " must be one number")
}

yes_or_no <- function(value, name) {
    if (!is.logical(value) || length(value) != 1L || is.na(value)) {
        fail(name, " must be TRUE or FALSE")
    }
}

one_value <- function(value, name) {
    if (!is.atomic(value) || length(value) != 1L || is.na(value)) {
        fail(name, " must be one value")
    }
}

`%||%` <- function(value, otherwise) if (is.null(value)) otherwise else value
