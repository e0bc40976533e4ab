# Python in a process of its own: what goes wrong there cannot hurt the session.

POLL_MS <- 200L
LAST_WORDS <- 15L # lines of the worker's stderr in the error when it dies

#' A worker for a job
#'
#' The session's, which has all loaded, or a new one: where there is none yet, where
#' another Python or other environment variables are wanted, and where the session's
#' is in the middle of a job, from which this one was asked for.
#' @return An environment with the `process`, what it was started as (`wanted`), its
#'   `home`, whether it `stays` for the session, is `busy`, and was `used` before.
#' @noRd
take_worker <- function() {
    wanted <- wanted_worker()
    stays <- !isFALSE(getOption("scrae.keep.worker"))
    worker <- worker_of_session()
    if (!is.null(worker)) {
        if (worker$busy) {
            return(start_worker(wanted, stays = FALSE))
        }
        if (stays && worker$process$is_alive() && identical(worker$wanted, wanted)) {
            return(worker)
        }
        end_worker(worker)
    }
    start_worker(wanted, stays)
}

# Where a job is done: a worker that stays goes on waiting, unless the job was broken
# off, and the end of another is now.
leave_worker <- function(worker) {
    if (worker$busy || !worker$stays) end_worker(worker)
}

# By the session's process: a fork of it (parallel::mclapply) has workers of its own,
# and leaves those of its parent alone.
workers <- new.env()

this_session <- function() as.character(Sys.getpid())

worker_of_session <- function() workers[[this_session()]]

# What R and its packages set for themselves is nothing to a worker, and changes.
OF_R <- "^(_?R_|RSTUDIO|RETICULATE_|TESTTHAT|NOT_CRAN$|COLUMNS$|LINES$)"

wanted_worker <- function() {
    variables <- python_environment()
    list(
        python = find_python()$path,
        environment = variables[!grepl(OF_R, names(variables))]
    )
}

start_worker <- function(wanted, stays) {
    home <- tempfile("worker-of-scrae-")
    dir.create(home)
    worker <- new.env()
    worker$wanted <- wanted
    worker$home <- home
    worker$stays <- stays
    worker$busy <- FALSE
    worker$used <- FALSE
    worker$process <- without_drawing(processx::process$new(
        wanted$python, c("-m", "scrae.r"),
        stdin = "|", stdout = "|", stderr = file.path(home, "stderr.txt"),
        env = wanted$environment, wd = home, cleanup_tree = TRUE
    ))
    if (stays) workers[[this_session()]] <- worker
    worker
}

end_worker <- function(worker) {
    if (identical(worker_of_session(), worker)) {
        rm(list = this_session(), envir = workers)
    }
    process <- worker$process
    if (process$is_alive()) {
        process$kill_tree(close_connections = FALSE)
        process$wait(10000L) # until the system is rid of it, too
    }
    close(process$get_input_connection())
    close(process$get_output_connection())
    unlink(worker$home, recursive = TRUE)
}

#' Stop the Python process of the session
#'
#' The first call that needs Python starts a process that stays for the session. It
#' keeps packages and recently used models loaded, so that the next call begins at
#' once. It holds no counts between calls. It ends with the session, after ten minutes
#' without a call, or by `StopSCRAE()`; the next call starts another. With
#' `options(scrae.keep.worker = FALSE)` each call has a process of its own.
#'
#' Each session has its own, and so has each process of `parallel::mclapply()`. Another
#' Python (`options(scrae.python = path)`) or other environment variables
#' (`OMP_NUM_THREADS`, `CUDA_VISIBLE_DEVICES`, ...) take effect at the next call.
#'
#' @return TRUE if there was one, otherwise FALSE, invisibly.
#' @seealso [RunSCRAE()], [SCRAEStatus()]
#' @examples
#' StopSCRAE()
#' @export
StopSCRAE <- function() {
    worker <- worker_of_session()
    if (!is.null(worker)) end_worker(worker)
    invisible(!is.null(worker))
}

.onUnload <- function(libpath) StopSCRAE()

#' See a job through to its end
#'
#' Shows its progress, passes its warnings on, and turns Ctrl-C into a request
#' to stop after the step in hand, so that the best model so far comes back.
#' @return What was warned of, in words; the results are in the folder.
#' @noRd
do_job <- function(worker, folder, how, where) {
    waited <- worker$used
    watched <- give_job(worker, folder, how$verbose)
    if (waited && !watched$begun && !watched$given_up) {
        # It had waited long enough, or was killed, just before.
        other <- start_worker(worker$wanted, worker$stays)
        on.exit(leave_worker(other))
        worker <- other
        watched <- give_job(worker, folder, how$verbose)
    }
    warned <- pass_on(
        Filter(function(event) event$event == "warning", watched$told), where
    )
    if (file.exists(file.path(folder, "result.json"))) {
        return(invisible(warned))
    }
    if (watched$given_up) {
        fail(
            "stopped before there was anything to keep; the object is as it was",
            class = "scrae_interrupted"
        )
    }
    pass_on(Filter(function(event) event$event == "error", watched$told), where)
    doubt_status()
    fail(cause_of_death(watched$status, worker, folder), class = "scrae_worker_died")
}

give_job <- function(worker, folder, verbose) {
    worker$busy <- TRUE
    line <- paste0(to_json(list(folder = folder)), "\n")
    # What has gone cannot be written to; the watch finds its end.
    tryCatch(worker$process$write_input(line), error = function(condition) NULL)
    watched <- watch(worker$process, verbose)
    worker$used <- worker$used || watched$begun
    if (watched$ended) worker$busy <- FALSE
    if (watched$ended && !watched$stays) renew_worker(worker)
    if (!watched$ended) watched$status <- worker$process$get_exit_status()
    watched
}

# One that ends after its job has its successor load while the user looks at what came
# of it.
renew_worker <- function(worker) {
    stays <- worker$stays
    wanted <- worker$wanted
    worker$process$wait(10000L)
    if (stays) {
        end_worker(worker)
        start_worker(wanted, stays)
    }
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

# Read events until the job has ended, or the worker. Interrupts are let in only
# while waiting, so that no event is lost to one.
watch <- function(worker, verbose) {
    seen <- list(
        begun = FALSE, training = FALSE, told = list(), stops = 0L, given_up = FALSE,
        ended = FALSE, stays = TRUE, status = NULL
    )
    progress <- new_progress(verbose)
    on.exit(progress$done())
    suspendInterrupts({
        while (!seen$ended && worker$is_incomplete_output()) {
            stopped <- tryCatch(
                {
                    allowInterrupts(worker$poll_io(POLL_MS))
                    FALSE
                },
                interrupt = function(condition) TRUE
            )
            for (line in worker$read_output_lines()) {
                seen <- take_event(read_event_if_whole(line), seen, progress)
            }
            if (stopped) seen <- take_interrupt(worker, seen, progress)
            # Again and again: Python ignores it until training has begun.
            if (seen$stops > 0L && !seen$given_up) worker$interrupt()
        }
        if (!seen$ended) worker$wait(10000L)
    })
    seen
}

take_event <- function(event, seen, progress) {
    switch(event$event,
        begun = seen$begun <- TRUE,
        ended = seen[c("ended", "stays", "status")] <- list(TRUE, event$stays, event$status),
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

# A line that was cut off by the end of who wrote it is no event.
read_event_if_whole <- function(line) {
    tryCatch(read_event(line), error = function(condition) list(event = "none"))
}

take_interrupt <- function(worker, seen, progress) {
    seen$stops <- seen$stops + 1L
    if (!seen$training || seen$stops > 1L) {
        seen$given_up <- TRUE
        worker$kill_tree(close_connections = FALSE)
    } else {
        progress$stage("stopping; once more to give up the model, too")
    }
    seen
}

cause_of_death <- function(status, worker, folder) {
    said <- c(file.path(worker$home, "stderr.txt"), file.path(folder, "stderr.txt"))
    words <- unlist(lapply(said[file.exists(said)], readLines, warn = FALSE))
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
                status = sprintf("loss %.4g", if (event$reconstruction == 0) {
                    event$autoencoder # the whole loss, where nothing is reconstructed
                } else {
                    event$reconstruction
                })
            )
        },
        done = function() {
            if (!is.null(bar)) cli::cli_progress_done(id = bar, .envir = frame)
        }
    )
}
