# Python in a process of its own: what goes wrong there cannot hurt the session.

POLL_MS <- 200L
LAST_WORDS <- 15L # lines of the worker's stderr in the error when it dies

#' Start `python -m scrae.r` on a folder with a job
#'
#' @return The process.
#' @noRd
start_worker <- function(folder) {
    python <- find_python()
    without_drawing(processx::process$new(
        python$path, c("-m", "scrae.r", folder),
        stdin = "|", stdout = "|", stderr = file.path(folder, "stderr.txt"),
        env = python_environment(folder), wd = folder, cleanup_tree = TRUE
    ))
}

#' See a worker through to the end of its job
#'
#' Shows its progress, passes its warnings on, and turns Ctrl-C into a request
#' to stop after the step in hand, so that the best model so far comes back.
#' @return Nothing; the results are in the folder.
#' @noRd
follow_worker <- function(worker, folder, how, where) {
    watched <- watch(worker, how$verbose)
    pass_on(Filter(function(event) event$event == "warning", watched$told), where)
    if (file.exists(file.path(folder, "result.json"))) {
        return(invisible())
    }
    if (watched$given_up) {
        fail(
            "stopped before there was anything to keep; the object is as it was",
            class = "scrae_interrupted"
        )
    }
    pass_on(Filter(function(event) event$event == "error", watched$told), where)
    fail(cause_of_death(worker, folder), class = "scrae_worker_died")
}

# processx draws a name for its process; the user's random numbers shall go on
# as if it had not. It draws from a fresh state: of two processes with one name,
# the end of the first would be the end of the second.
without_drawing <- function(code) {
    seed <- get0(".Random.seed", globalenv(), inherits = FALSE)
    forget <- function() {
        rm(list = intersect(".Random.seed", ls(globalenv(), all.names = TRUE)),
            envir = globalenv()
        )
    }
    forget()
    on.exit(if (is.null(seed)) {
        forget()
    } else {
        assign(".Random.seed", seed, envir = globalenv())
    })
    code
}

end_worker <- function(worker) {
    if (worker$is_alive()) {
        worker$kill_tree()
        worker$wait(10000L) # until the system is rid of it, too
    }
    close(worker$get_input_connection())
    close(worker$get_output_connection())
}

# Read events until the worker's output ends. Interrupts are let in only while
# waiting, so that no event is lost to one.
watch <- function(worker, verbose) {
    seen <- list(
        training = FALSE, told = list(), stops = 0L, given_up = FALSE
    )
    progress <- new_progress(verbose)
    on.exit(progress$done())
    suspendInterrupts({
        while (worker$is_incomplete_output()) {
            stopped <- tryCatch(
                {
                    allowInterrupts(worker$poll_io(POLL_MS))
                    FALSE
                },
                interrupt = function(condition) TRUE
            )
            for (line in worker$read_output_lines()) {
                seen <- take_event(read_event(line), seen, progress)
            }
            if (stopped) seen <- take_interrupt(worker, seen, progress)
            # Again and again: Python ignores it until training has begun.
            if (seen$stops > 0L && !seen$given_up) worker$interrupt()
        }
        worker$wait(10000L)
    })
    seen
}

take_event <- function(event, seen, progress) {
    switch(event$event,
        stage = progress$stage(event$text),
        start = {
            progress$start(event)
            seen$training <- TRUE
        },
        epoch = progress$epoch(event),
        warning = ,
        error = seen$told <- c(seen$told, list(event))
    )
    seen
}

read_event <- function(line) {
    jsonlite::parse_json(line, simplifyVector = TRUE, simplifyMatrix = FALSE)
}

take_interrupt <- function(worker, seen, progress) {
    seen$stops <- seen$stops + 1L
    if (!seen$training || seen$stops > 1L) {
        seen$given_up <- TRUE
        worker$kill_tree()
    } else {
        progress$stage("stopping; once more to give up the model, too")
    }
    seen
}

cause_of_death <- function(worker, folder) {
    status <- worker$get_exit_status()
    words <- readLines(file.path(folder, "stderr.txt"), warn = FALSE)
    how <- if (identical(status, -9L)) {
        paste0(
            "was killed (signal 9). Most often the machine ran out of memory: ",
            "use fewer cells or genes, or a machine with more memory"
        )
    } else {
        paste0("ended with status ", status)
    }
    paste0(
        "the Python process of scRAE ", how, ". Your object is as it was. ",
        "Python: ", find_python()$path, "; SCRAEStatus() looks for problems.",
        if (length(words) > 0L) "\nIts last words:\n",
        paste(utils::tail(words, LAST_WORDS), collapse = "\n")
    )
}

# -- progress ------------------------------------------------------------------

# Four functions that show events, or nothing where the user wants quiet.
new_progress <- function(verbose) {
    if (!verbose) {
        nothing <- function(...) NULL
        return(list(
            stage = nothing, start = nothing, epoch = nothing, done = nothing
        ))
    }
    bar <- NULL
    frame <- environment()
    list(
        stage = function(text) say(TRUE, text),
        start = function(event) {
            say(
                TRUE, "training on ", count(event$n_cells), " cells x ",
                count(event$n_genes), " genes (", event$device, ")"
            )
        },
        epoch = function(event) {
            if (is.null(bar)) {
                bar <<- cli::cli_progress_bar("scRAE",
                    total = event$max_epochs, .envir = frame,
                    format = paste(
                        "{cli::pb_name}{cli::pb_bar} {cli::pb_current}/",
                        "{cli::pb_total} epochs, {cli::pb_status}",
                        sep = ""
                    )
                )
            }
            cli::cli_progress_update(
                id = bar, set = event$epoch, .envir = frame,
                status = sprintf("loss %.4g", event$reconstruction)
            )
        },
        done = function() {
            if (!is.null(bar)) cli::cli_progress_done(id = bar, .envir = frame)
        }
    )
}
