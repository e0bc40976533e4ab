# What Python tells of errors and warnings, in words of R. It comes with a code and
# fields (scrae._errors); the words of each code (words_of_*.R) speak of columns, assays
# and arguments by the names that R users know. tests/python/test_errors.py compares the
# codes. What R finds out itself is said in the same words.

#' Say what went wrong in a job
#'
#' The same for both doors to Python: a process of its own, or the session's.
#' @param events Lists as `scrae.r.events` describes warnings and errors.
#' @param where How to call the place of the counts.
#' @return The warnings in words, which are passed on as well; an error is an R error of the classes
#'   `scrae_<code>`, Python's, `scrae_python_error` and `scrae_error`.
#' @noRd
pass_on <- function(events, where) {
    kind <- vapply(events, `[[`, "", "event")
    warnings <- lapply(events[kind == "warning"], in_words, where = where)
    for (words in unique(warnings)) warning(words, call. = FALSE)
    for (event in events[kind == "error"]) {
        fail(in_words(event, where),
            class = c(
                paste0("scrae_", event$code), event$kinds, "scrae_python_error"
            )
        )
    }
    invisible(as.character(unique(warnings)))
}

in_words <- function(event, where) {
    fields <- event$fields
    said <- words_of(event$code, fields, where)
    if (is.null(said)) {
        return(paste0(
            "Python says something that this version of scRAE has no words of ",
            "its own for (", event$kinds[1L], "): ", event$text
        ))
    }
    if (!is.null(fields$batch_column)) {
        said <- paste0(
            "in the cells with '", fields$batch, "' in column '",
            fields$batch_column, "': ", said
        )
    }
    said
}

# NULL: there are no words for this code.
words_of <- function(code, fields, where = "") {
    words <- c(
        WORDS_OF_COUNTS, WORDS_OF_COLUMNS, WORDS_OF_MODELS, WORDS_OF_SETTINGS,
        WORDS_OF_RUNS
    )[[code]]
    if (!is.null(words)) words(fields, where)
}

#' Refuse what Python would refuse, with the same words and class
#'
#' @param code Of the refusal.
#' @param fields What its words speak of, by name.
#' @param where How to call the place of the counts.
#' @param ... Words that follow.
#' @param class A further class of the error.
#' @noRd
refuse <- function(code, fields, where = "", ..., class = NULL) {
    fail(words_of(code, fields, where), ..., class = c(paste0("scrae_", code), class))
}
