# Errors and messages: how the package speaks.

# An error without the call of some inner function in front of it.
fail <- function(..., class = NULL) {
    stop(errorCondition(paste0(...),
        class = c(class, "scrae_error"), call = NULL
    ))
}

say <- function(verbose, ...) {
    text <- paste0(...)
    if (verbose) cli::cli_alert_info("{text}")
}

quoted <- function(names, most = 3L) {
    listed <- paste0("'", utils::head(names, most), "'", collapse = ", ")
    if (length(names) > most) paste0(listed, ", ...") else listed
}

count <- function(n) format(n, big.mark = ",", scientific = FALSE, trim = TRUE)

# "did you mean 'x'?", or what there is.
hint <- function(name, known) {
    if (length(known) == 0L) {
        return("there is none")
    }
    distance <- utils::adist(name, known, ignore.case = TRUE)[1L, ]
    if (min(distance) <= max(2L, nchar(name) %/% 3L)) {
        paste0("did you mean '", known[which.min(distance)], "'?")
    } else {
        paste0("there are: ", quoted(known, 20L))
    }
}

# TRUE where a suggested package is there; otherwise an error that says how to
# get it.
need_package <- function(name, what, install) {
    if (!requireNamespace(name, quietly = TRUE)) {
        fail(
            what, " needs the package ", name, ", which is not installed: ",
            install
        )
    }
}
