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

test_that("a worker that is killed is an error with the reason, and the session lives", {
    session <- start_endless()
    on.exit(session$kill_tree())
    wait_for_training(session)
    ps::ps_send_signal(workers_of(session$get_pid())[[1]], tools::SIGKILL) # ps_kill() asks politely first
    session$wait(60000)
    answer <- session$get_result()
    expect_s3_class(answer$outcome, "scrae_worker_died")
    expect_match(conditionMessage(answer$outcome), "killed \\(signal 9\\).*memory")
    expect_equal(answer$left, character())
})

test_that("the worker ends when the session is killed", {
    session <- start_endless()
    on.exit(session$kill_tree())
    wait_for_training(session)
    worker <- workers_of(session$get_pid())[[1]]
    expect_true(ps::ps_is_running(worker))
    session$signal(9L)
    expect_true(eventually(function() !ps::ps_is_running(worker), 30))
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
    for (turn in rep(turns, 2)) turn() # what is loaded once, and torch's own store of memory
    before <- traces()
    grown <- memory()
    for (call in seq_len(calls)) {
        turns[[1L + call %% length(turns)]]()
        gc() # garbage that has not been collected yet is no leak
    }
    list(before = before, after = traces(), from = grown, grown = memory() - grown)
}

expect_nothing_left <- function(in_process) {
    testthat::skip_if_not(dir.exists("/proc/self/fd"), "no /proc to count open files")
    calls <- as.integer(Sys.getenv("SCRAE_CALLS", "4"))
    counts <- made_counts(1000, 1000) # 7 MiB, so that copies left behind are seen
    left <- callr::r(repeated_calls, list(counts, getOption("scrae.python"), calls, in_process))
    testthat::expect_equal(left$after, left$before)
    testthat::expect_lt(left$grown, 10)
    if (calls > 4L) {
        message(sprintf("%d calls: %+.1f MiB resident, from %.1f", calls, left$grown, left$from))
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

test_that("counts that are refused leave no worker and no folder behind", {
    answer <- callr::r(
        function(counts, python) {
            options(scrae.python = python)
            counts <- as.matrix(counts)
            counts[3, 2] <- -1
            outcome <- tryCatch(scRAE::RunSCRAE(counts, features = "all"), error = conditionMessage)
            list(
                outcome = outcome, left = list.files(tempdir(), "^scrae-"),
                children = length(ps::ps_children())
            )
        },
        list(made_counts(), getOption("scrae.python"))
    )
    expect_match(answer$outcome, "1 of 1,055 values are negative \\(the first: -1, gene 'gene3', cell 'cell2'\\)")
    expect_equal(answer$left, character())
    expect_equal(answer$children, 0L)
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
