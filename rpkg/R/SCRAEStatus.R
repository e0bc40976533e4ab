#' Which Python is used, and does it work?
#'
#' Starts the Python that [RunSCRAE()] would use, checks that everything scRAE needs
#' is there, and says what is missing and how to get it. The answer is remembered for
#' the session. After a Python process has died it imports everything, which takes
#' some seconds, to find out what is wrong.
#'
#' @param verbose Print the findings.
#' @param refresh Look again instead of using what was remembered, and import
#'   everything.
#' @return Invisibly a list: `ready` (TRUE or FALSE), `python` (path or NULL),
#'   `chosen_by`, `findings` (named character vector: versions, device, memory, R)
#'   and `problems` (what is wrong, each with what to do).
#' @seealso [InstallSCRAE()]
#' @examples
#' SCRAEStatus()
#' @export
SCRAEStatus <- function(verbose = TRUE, refresh = FALSE) {
    found <- look_for_python()
    key <- found$path %||% "none"
    thorough <- refresh || isTRUE(remembered[[DOUBT]])
    if (thorough || is.null(remembered[[key]])) {
        remembered[[key]] <- examine(found, thorough)
        remembered[[DOUBT]] <- FALSE
    }
    status <- remembered[[key]]
    if (verbose) show_status(status)
    invisible(status)
}

remembered <- new.env()

# After the death of a worker a quick look is not enough.
DOUBT <- "(doubt)"

doubt_status <- function() remembered[[DOUBT]] <- TRUE

forget_status <- function() rm(list = ls(remembered), envir = remembered)

examine <- function(found, thorough = FALSE) {
    status <- list(
        ready = FALSE, python = found$path, chosen_by = found$chosen_by,
        findings = character(), problems = character()
    )
    if (is.null(found)) {
        status$problems <- "no Python with the packages is set up: InstallSCRAE()"
        return(status)
    }
    answer <- tryCatch(
        run_python(found$path,
            c("-m", "scrae.r", if (thorough) "--check" else "--look"),
            timeout = 300
        ),
        error = function(condition) {
            list(status = 1L, stdout = "", stderr = conditionMessage(condition))
        }
    )
    if (!identical(answer$status, 0L)) {
        words <- utils::tail(strsplit(trimws(answer$stderr), "\n")[[1L]], 1L)
        status$problems <- paste0(
            found$path, " (chosen by ", found$chosen_by, ") does not work: ",
            words, "; InstallSCRAE() makes one that does"
        )
        return(status)
    }
    told <- jsonlite::parse_json(answer$stdout, simplifyVector = TRUE)
    status$findings <- unlist(told$findings)
    status$problems <- as.character(told$problems)
    status$ready <- length(status$problems) == 0L
    status
}

show_status <- function(status) {
    cli::cli_text("scRAE {utils::packageVersion('scRAE')}")
    if (!is.null(status$python)) {
        cli::cli_text("Python: {status$python} (chosen by {status$chosen_by})")
    }
    for (name in names(status$findings)) {
        value <- status$findings[[name]]
        cli::cli_bullets(c(" " = "{name}: {value}"))
    }
    for (problem in status$problems) cli::cli_alert_danger("{problem}")
    if (status$ready) cli::cli_alert_success("ready")
}
