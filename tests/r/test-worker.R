# The worker process: interrupts, death, and what it leaves behind.

skip_unless_installed("callr", "ps")

endless <- function(counts, python, report) {
    options(scrae.python = python)
    outcome <- tryCatch(
        scRAE::RunSCRAE(counts, features = "all", n_latent = 2, n_hidden = 8,
            max_epochs = 1e6, early_stopping = FALSE, verbose = report, threads = 1
        ),
        error = function(condition) condition
    )
    list(outcome = outcome, left = list.files(tempdir(), "^scrae-"))
}

start_endless <- function(report = TRUE) {
    callr::r_bg(endless,
        list(made_counts(), getOption("scrae.python"), report),
        stderr = "|", supervise = TRUE
    )
}

workers_of <- function(pid) {
    children <- ps::ps_children(ps::ps_handle(pid))
    Filter(function(child) "scrae.r" %in% ps::ps_cmdline(child), children)
}

pid_of_worker <- function() scRAE:::worker_of_session()$process$get_pid()

# TRUE as soon as the condition holds; FALSE after a while.
eventually <- function(holds, seconds = 90) {
    end <- Sys.time() + seconds
    while (Sys.time() < end) {
        if (isTRUE(holds())) {
            return(TRUE)
        }
        Sys.sleep(0.1)
    }
    FALSE
}

wait_for_training <- function(session) {
    said <- ""
    trains <- function() {
        said <<- paste0(said, session$read_error())
        grepl("epochs, loss", said)
    }
    testthat::expect_true(eventually(trains))
}

test_that("Ctrl-C ends training and gives the best model so far", {
    session <- start_endless()
    on.exit(session$kill_tree())
    wait_for_training(session)
    session$interrupt() # to R alone; the worker is in a group of its own
    session$wait(60000)
    answer <- session$get_result()
    expect_equal(dim(answer$outcome), c(60L, 2L))
    expect_true(all(is.finite(answer$outcome)))
    fit <- attr(answer$outcome, "scrae")
    expect_equal(fit$summary$stop_reason, "interrupted")
    expect_equal(nrow(fit$history), fit$summary$epochs)
    expect_equal(answer$left, character())
})

test_that("a worker that is killed, or its copy that does the job, is an error with the reason, and the session lives", {
    for (killed in c("worker", "copy")) {
        session <- start_endless()
        on.exit(session$kill_tree(), add = TRUE)
        wait_for_training(session)
        worker <- workers_of(session$get_pid())[[1]]
        victim <- if (killed == "copy") ps::ps_children(worker)[[1]] else worker
        ps::ps_send_signal(victim, tools::SIGKILL) # ps_kill() asks politely first
        session$wait(60000)
        answer <- session$get_result()
        expect_s3_class(answer$outcome, "scrae_worker_died")
        expect_match(conditionMessage(answer$outcome), "killed \\(signal 9\\).*memory")
        expect_equal(answer$left, character())
    }
})

test_that("the worker ends when the session is killed", {
    session <- start_endless()
    on.exit(session$kill_tree())
    wait_for_training(session)
    worker <- workers_of(session$get_pid())[[1]]
    copy <- ps::ps_children(worker)[[1]]
    folder <- ps::ps_cwd(copy)
    expect_true(file.exists(file.path(folder, "job.json")))
    session$signal(9L)
    for (process in list(worker, copy)) {
        expect_true(eventually(function() !ps::ps_is_running(process), 30))
    }
    expect_true(eventually(function() !dir.exists(folder), 10))
})

# In a session of its own, which shows the second of two trainings that are broken off.
test_that("a second Ctrl-C gives the training up, and the next call of the session works", {
    session <- callr::r_bg(
        function(counts, python) {
            options(scrae.python = python)
            quick <- function(...) {
                scRAE::RunSCRAE(counts, features = "all", n_latent = 2, n_hidden = 8, threads = 1, ...)
            }
            outcome <- tryCatch(
                quick(max_epochs = 1e6, early_stopping = FALSE),
                scrae_error = function(condition) class(condition)[1]
            )
            list(outcome = outcome, dim = dim(quick(max_epochs = 1, verbose = FALSE)))
        },
        list(made_counts(), getOption("scrae.python")),
        stderr = "|", supervise = TRUE
    )
    on.exit(session$kill_tree())
    wait_for_training(session)
    # The copy is held, so that the first request is not fulfilled before the second.
    ps::ps_suspend(ps::ps_children(workers_of(session$get_pid())[[1]])[[1]])
    session$interrupt()
    expect_true(eventually(function() grepl("once more", session$read_error())))
    session$interrupt()
    session$wait(60000)
    expect_equal(session$get_result(), list(outcome = "scrae_interrupted", dim = c(60L, 2L)))
})

test_that("a Python that cannot run is an error with its last words", {
    fake <- tempfile("python")
    writeLines(c("#!/bin/sh", "echo 'no such module' >&2", "exit 4"), fake)
    Sys.chmod(fake)
    before <- options(scrae.python = fake)
    on.exit({
        options(before)
        unlink(fake)
    })
    expect_error(RunSCRAE(made_counts(), features = "all", verbose = FALSE),
        "ended with status 4.*no such module",
        class = "scrae_worker_died"
    )
})

# In a session of its own: training, mapping and sampling in turn, then what is left behind, memory in MiB.
repeated_calls <- function(counts, python, calls, in_process) {
    options(scrae.python = python)
    quiet <- list(threads = 1, verbose = FALSE, in_process = in_process)
    embedding <- NULL
    turns <- list(
        function() {
            embedding <<- do.call(scRAE::RunSCRAE, c(list(counts,
                features = "all", n_latent = 2, n_hidden = 8, max_epochs = 1
            ), quiet))
        },
        function() do.call(scRAE::PredictSCRAE, c(list(counts, model = embedding), quiet)),
        function() do.call(scRAE::SampleSCRAE, c(list(embedding, n = 3), quiet)),
        function() try(scRAE::SampleSCRAE(embedding, n = 3, batch = "none", verbose = FALSE), silent = TRUE)
    )
    traces <- function() {
        gc()
        list(
            files = list.files(tempdir()), children = length(ps::ps_children()),
            open = length(list.files("/proc/self/fd")), random = get0(".Random.seed", globalenv())
        )
    }
    memory <- function() {
        gc()
        ps::ps_memory_info()[["rss"]] / 2^20
    }
    of_worker <- function() {
        worker <- scRAE:::worker_of_session()$process
        if (is.null(worker)) 0 else ps::ps_memory_info(ps::ps_handle(worker$get_pid()))[["rss"]] / 2^20
    }
    # Garbage that has not been collected yet is no leak, and what allocators give back at one call they keep at another
    # (R 4.6 at every second): the most of eight calls is compared.
    memory_after <- function(turn) {
        turn()
        memory()
    }
    most <- function(memories) max(utils::tail(memories, 2 * length(turns)))
    # What is loaded once, and what allocators keep for the next call: that is a step, which a leak goes on from.
    first <- vapply(rep(turns, 5), memory_after, numeric(1))
    Sys.sleep(5) # the worker imports what these have needed, and gives back what it can read again
    before <- traces()
    of_worker_before <- of_worker()
    then <- vapply(turns[1L + seq_len(calls) %% length(turns)], memory_after, numeric(1))
    Sys.sleep(5)
    list(
        before = before, after = traces(), from = most(first), grown = most(then) - most(first),
        of_worker = of_worker_before, worker_grown = of_worker() - of_worker_before
    )
}

expect_nothing_left <- function(in_process) {
    testthat::skip_if_not(dir.exists("/proc/self/fd"), "no /proc to count open files")
    calls <- as.integer(Sys.getenv("SCRAE_CALLS", "12"))
    counts <- made_counts(1000, 1000) # 7 MiB, so that copies left behind are seen
    left <- callr::r(repeated_calls, list(counts, getOption("scrae.python"), calls, in_process))
    testthat::expect_equal(left$after, left$before)
    testthat::expect_lt(left$grown, 10)
    testthat::expect_lt(left$worker_grown, 10)
    testthat::expect_lt(left$of_worker, 400)
    if (calls > 12L) {
        message(sprintf(
            "%d calls: %+.1f MiB resident, from %.1f; the worker: %+.1f, from %.1f",
            calls, left$grown, left$from, left$worker_grown, left$of_worker
        ))
    }
}

test_that("calls leave no process, file, connection, memory or random state behind", {
    expect_nothing_left(in_process = FALSE)
})

test_that("calls inside the session leave nothing behind either", {
    skip_unless_installed("reticulate")
    skip_if(utils::packageVersion("reticulate") < "1.31", "needs reticulate 1.31")
    expect_nothing_left(in_process = TRUE)
})

test_that("a process that Python is started in has a name of its own, and random numbers go on", {
    set.seed(1)
    before <- .Random.seed
    drawn <- replicate(2, scRAE:::without_drawing(stats::runif(1)))
    expect_identical(.Random.seed, before)
    expect_false(drawn[1] == drawn[2])
    rm(".Random.seed", envir = globalenv())
    on.exit(set.seed(1))
    expect_silent(scRAE:::without_drawing(NULL))
    scRAE:::without_drawing(stats::runif(1))
    expect_false(exists(".Random.seed", globalenv(), inherits = FALSE))
})

test_that("a Python that reticulate has started is not disturbed", {
    skip_unless_installed("reticulate")
    skip_if_not(file.exists("/usr/bin/python3"), "no second Python")
    answer <- callr::r(function(counts, python) {
        Sys.unsetenv("RETICULATE_PYTHON")
        reticulate::use_python("/usr/bin/python3", required = TRUE)
        reticulate::py_run_string("x = 41")
        options(scrae.python = python)
        embedding <- scRAE::RunSCRAE(counts, features = "all", n_latent = 2,
            n_hidden = 8, max_epochs = 1, verbose = FALSE, threads = 1
        )
        reticulate::py_run_string("import sys; x += 1; modules = list(sys.modules)")
        list(
            x = reticulate::py_eval("x"), dim = dim(embedding),
            torch = "torch" %in% reticulate::py_eval("modules")
        )
    }, list(made_counts(), getOption("scrae.python")))
    expect_equal(answer, list(x = 42L, dim = c(60L, 2L), torch = FALSE))
})

test_that("in_process refuses a reticulate that would crash the session", {
    skip_unless_installed("reticulate")
    skip_if(utils::packageVersion("reticulate") >= "1.31", "this reticulate is new enough")
    expect_error(
        quick(made_counts(), features = "all", in_process = TRUE),
        "in.process = TRUE needs reticulate 1.31 or newer"
    )
})

test_that("training goes on where a checkpoint left off, to the same bits", {
    folder <- tempfile("model")
    on.exit(unlink(folder, recursive = TRUE))
    counts <- made_counts()
    whole <- quick(counts, features = "all", max_epochs = 4)
    quick(counts, features = "all", max_epochs = 2, model.dir = folder)
    resumed <- quick(counts, features = "all", max_epochs = 4, model.dir = folder, resume = TRUE)
    expect_identical(resumed[, ], whole[, ])
    mapped <- PredictSCRAE(counts, model = folder, verbose = FALSE, threads = 1)
    expect_equal(mapped[, ], whole[, ], tolerance = 1e-5)
})

test_that("counts that are refused leave no folder behind, and no worker that does anything", {
    answer <- callr::r(
        function(counts, python) {
            options(scrae.python = python)
            counts <- as.matrix(counts)
            counts[3, 2] <- -1
            outcome <- tryCatch(scRAE::RunSCRAE(counts, features = "all"), error = conditionMessage)
            working <- length(ps::ps_children(recursive = TRUE)) - 1L # but for the one that stays
            list(outcome = outcome, left = list.files(tempdir(), "^scrae-"), working = working)
        },
        list(made_counts(), getOption("scrae.python"))
    )
    expect_match(answer$outcome, "1 of 1,055 values are negative \\(the first: -1, gene 'gene3', cell 'cell2'\\)")
    expect_equal(answer$left, character())
    expect_equal(answer$working, 0L)
})

test_that("one worker serves the calls of a session, each to the bits of a worker that has done nothing before", {
    counts <- made_counts()
    StopSCRAE()
    first <- quick(counts, features = "all")
    pid <- pid_of_worker()
    other <- made_counts(50, 200)
    set.seed(4)
    PredictSCRAE(counts, model = first, verbose = FALSE, threads = 1)
    SampleSCRAE(first, n = 5, verbose = FALSE)
    FindOutliersSCRAE(counts, first, verbose = FALSE, threads = 1)
    quick(other, preset = "scVI", features = "all")
    expect_error(quick(counts, features = "all", batch_size = 1), "batch_size")
    again <- quick(counts, features = "all")
    drawn <- stats::runif(1)
    expect_equal(pid_of_worker(), pid)
    expect_identical(again[, ], first[, ])
    of_losses <- function(fit) fit$history[setdiff(names(fit$history), "seconds")]
    expect_identical(of_losses(attr(again, "scrae")), of_losses(attr(first, "scrae")))
    set.seed(4)
    expect_equal(stats::runif(1), drawn)
})

test_that("StopSCRAE ends the worker, an option has each call start its own, and the next call works", {
    counts <- made_counts()
    quick(counts, features = "all", max_epochs = 1)
    process <- ps::ps_handle(pid_of_worker())
    expect_true(StopSCRAE())
    expect_false(ps::ps_is_running(process))
    expect_false(StopSCRAE())
    before <- options(scrae.keep.worker = FALSE)
    on.exit(options(before))
    children <- length(ps::ps_children())
    quick(counts, features = "all", max_epochs = 1)
    expect_null(scRAE:::worker_of_session())
    expect_equal(length(ps::ps_children()), children)
    options(before)
    quick(counts, features = "all", max_epochs = 1)
    quick(counts, features = "all", max_epochs = 1)
    expect_equal(length(ps::ps_children()), children + 1L)
})

test_that("a worker that has gone between calls, or leaves as a call begins, is replaced without a word", {
    counts <- made_counts()
    model <- scRAE:::find_model(trained())
    quick(counts, features = "all", max_epochs = 1)
    first <- pid_of_worker()
    ps::ps_send_signal(ps::ps_handle(first), tools::SIGKILL)
    expect_silent(quick(counts, features = "all", max_epochs = 1))
    second <- pid_of_worker()
    expect_false(second == first)
    # It leaves when the call has looked whether it is there.
    worker <- scRAE:::take_worker()
    ps::ps_send_signal(ps::ps_handle(second), tools::SIGTERM)
    worker$process$wait(10000)
    folder <- tempfile("scrae-")
    dir.create(folder)
    on.exit(unlink(folder, recursive = TRUE))
    scRAE:::write_json(
        list(action = "sample", arguments = list(
            model = scRAE:::give_model_to_job(model, file.path(folder, "given")), n = 2L, random_state = 1L
        )),
        file.path(folder, "job.json")
    )
    expect_silent(scRAE:::do_job(worker, folder, list(verbose = FALSE), "the counts"))
    expect_true(file.exists(file.path(folder, "result.json")))
    expect_false(pid_of_worker() == second)
})

test_that("another Python, other variables and other threads take effect at the next call", {
    counts <- made_counts()
    threads <- function(...) {
        attr(RunSCRAE(counts, features = "all", n_latent = 2, n_hidden = 8, max_epochs = 1, verbose = FALSE, ...),
            "scrae"
        )$summary$threads
    }
    expect_equal(threads(), 1L)
    pid <- pid_of_worker()
    expect_equal(threads(threads = 2), 2L)
    expect_equal(threads(), 1L)
    expect_equal(pid_of_worker(), pid)
    # torch asks MKL where it has it, and `make test` sets both.
    Sys.setenv(OMP_NUM_THREADS = "2", MKL_NUM_THREADS = "2")
    on.exit(Sys.setenv(OMP_NUM_THREADS = "1", MKL_NUM_THREADS = "1"))
    expect_equal(threads(), 2L)
    expect_false(pid_of_worker() == pid)
    Sys.setenv(OMP_NUM_THREADS = "1", MKL_NUM_THREADS = "1")
    other <- tempfile("python")
    writeLines(c("#!/bin/sh", paste0("exec '", getOption("scrae.python"), "' \"$@\"")), other)
    Sys.chmod(other)
    before <- options(scrae.python = other)
    on.exit({
        options(before)
        unlink(other)
    }, add = TRUE)
    expect_equal(threads(), 1L)
    expect_equal(scRAE:::worker_of_session()$wanted$python, other)
})

test_that("a call from within another has a worker of its own", {
    counts <- made_counts()
    expected <- quick(counts, features = "all")[, ]
    pid <- pid_of_worker()
    inner <- NULL
    outer <- suppressMessages(withCallingHandlers(
        quick(counts, features = "all", verbose = TRUE),
        message = function(condition) {
            if (is.null(inner)) inner <<- quick(counts, features = "all")
        }
    ))
    expect_identical(inner[, ], expected)
    expect_identical(outer[, ], expected)
    expect_equal(pid_of_worker(), pid)
    expect_equal(length(workers_of(Sys.getpid())), 1L)
})

test_that("forks of the session have workers of their own and leave its alone", {
    skip_on_os("windows")
    counts <- made_counts()
    expected <- quick(counts, features = "all")[, ]
    pid <- pid_of_worker()
    forks <- parallel::mclapply(1:2, function(i) {
        embedding <- scRAE::RunSCRAE(counts, features = "all", n_latent = 3, n_hidden = 8, batch_size = 16,
            max_epochs = 2, verbose = FALSE, threads = 1
        )
        gc()
        list(embedding = embedding[, ], worker = pid_of_worker())
    }, mc.cores = 2)
    expect_equal(pid_of_worker(), pid)
    expect_true(ps::ps_is_running(ps::ps_handle(pid)))
    for (fork in forks) {
        expect_identical(fork$embedding, expected)
        expect_false(fork$worker == pid)
        expect_true(eventually(function() !fork$worker %in% ps::ps_pids(), 20))
    }
    expect_identical(quick(counts, features = "all")[, ], expected)
    expect_equal(pid_of_worker(), pid)
})

test_that("where a process cannot be copied, each job has a worker of its own, which is started ahead", {
    counts <- made_counts()
    expected <- quick(counts, features = "all")[, ]
    folder <- tempfile("path")
    dir.create(folder)
    writeLines("import scrae.r.worker; scrae.r.worker.CAN_FORK = False", file.path(folder, "sitecustomize.py"))
    before <- options(scrae.pythonpath = folder)
    on.exit({
        options(before)
        unlink(folder, recursive = TRUE)
    })
    pids <- integer()
    for (i in 1:2) {
        expect_identical(quick(counts, features = "all")[, ], expected)
        pids[i] <- pid_of_worker()
        expect_true(ps::ps_is_running(ps::ps_handle(pids[i])))
    }
    expect_false(pids[1] == pids[2])
    expect_equal(length(workers_of(Sys.getpid())), 1L)
})

test_that("the worker follows the session to another working directory", {
    folder <- tempfile("elsewhere")
    dir.create(folder)
    quick(made_counts(), features = "all", max_epochs = 1)
    pid <- pid_of_worker()
    before <- setwd(folder)
    on.exit({
        setwd(before)
        unlink(folder, recursive = TRUE)
    })
    quick(made_counts(), features = "all", max_epochs = 1, model.dir = "model")
    expect_true(file.exists(file.path(folder, "model", "scrae.json")))
    expect_equal(pid_of_worker(), pid)
})

test_that("a Seurat object is embedded without Bioconductor being loaded", {
    skip_unless_installed("SeuratObject")
    loaded <- callr::r(
        function(object, python) {
            options(scrae.python = python)
            object <- scRAE::RunSCRAE(object,
                n_latent = 2, n_hidden = 8, max_epochs = 1, verbose = FALSE, threads = 1
            )
            stopifnot("scrae" %in% names(object@reductions))
            loadedNamespaces()
        },
        list(pbmc_small(), getOption("scrae.python"))
    )
    expect_false("SummarizedExperiment" %in% loaded)
})

test_that("estimated counts are refused with the way on, and rounded when asked", {
    counts <- made_counts()
    estimated <- counts
    estimated@x <- estimated@x + 0.25
    expect_error(
        quick(estimated, features = "all"),
        "are not whole .* RunSCRAE\\(object, round.counts = TRUE\\)"
    )
    how_many_moved <- paste0(
        format(length(estimated@x), big.mark = ","), " of .* were rounded to whole ",
        "counts, by 0.25 at most"
    )
    expect_warning(
        rounded <- quick(estimated, features = "all", round.counts = TRUE), how_many_moved
    )
    expect_identical(rounded[, ], quick(counts, features = "all")[, ])
    expect_warning(
        selected <- quick(estimated, features = "HVG", n.features = 20, round.counts = TRUE),
        how_many_moved
    )
    whole <- quick(counts, features = "HVG", n.features = 20)
    expect_identical(selected[, ], whole[, ])
    expect_error(quick(counts, round.counts = NA), "round.counts must be TRUE or FALSE")
})

test_that("a cell that rounding empties in the chosen genes is told from one without counts", {
    counts <- made_counts()
    counts[1:10, 1] <- 0
    counts[1, 1] <- 0.25
    warnings <- capture_warnings(
        fit <- quick(counts, features = rownames(counts)[1:10], n_latent = 2, round.counts = TRUE)
    )
    expect_true(any(grepl("has no count in the 10 modelled genes", warnings)))
    expect_identical(nrow(fit), ncol(counts))
})

test_that("the model of another training is replaced only when asked", {
    folder <- tempfile("model")
    on.exit(unlink(folder, recursive = TRUE))
    counts <- made_counts()
    quick(counts, features = "all", model.dir = folder)
    again <- function(...) quick(counts, features = "all", model.dir = folder, seed.use = 7, ...)
    expect_error(again(), "replace that model with overwrite = TRUE", class = "scrae_another_model")
    expect_error(again(overwrite = "yes"), "overwrite must be TRUE or FALSE")
    fit <- again(overwrite = TRUE)
    mapped <- PredictSCRAE(counts, model = folder, verbose = FALSE, threads = 1)
    expect_equal(mapped[, ], fit[, ], tolerance = 1e-5)
})

test_that("objects of all kinds pass both arguments on", {
    skip_unless_installed("SingleCellExperiment")
    skip_unless_installed("SeuratObject")
    estimated <- made_counts()
    estimated@x <- estimated@x + 0.25
    objects <- list(
        SingleCellExperiment::SingleCellExperiment(list(counts = estimated)),
        SeuratObject::CreateSeuratObject(estimated)
    )
    folder <- tempfile("model")
    on.exit(unlink(folder, recursive = TRUE))
    for (object in objects) {
        run <- function(...) quick(object, features = "all", model.dir = folder, ...)
        expect_warning(run(round.counts = TRUE, overwrite = TRUE, seed.use = 3), "were rounded")
        expect_error(suppressWarnings(run(round.counts = TRUE, seed.use = 4)), "overwrite = TRUE")
    }
})
