# What the R side costs, run by `make bench-r`:
# - how long a user waits: for library(scRAE), SCRAEStatus(), PBMCExample(), the first epoch of a session's first call,
#   and what a first and a second RunSCRAE() on 700 cells take beside the training itself. Each session is a new one, and
#   the figures are medians of `sessions`; in parentheses the seconds of processor, which other programs change less.
# - what RunSCRAE() on a large sparse matrix holds above the object, worker and its copies included, and how long
#   everything but the training takes.
# Rscript r_overhead.R [sessions=5] [cells=70000] [genes=20000] [density=0.05]; sessions=0 or cells=0 leave a part out.
arguments <- as.numeric(commandArgs(TRUE))
given <- function(i, otherwise) if (length(arguments) >= i) arguments[i] else otherwise
n_sessions <- given(1, 5)
n_cells <- given(2, 70000)
n_genes <- given(3, 20000)
density <- given(4, 0.05)

# -- how long a user waits -------------------------------------------------------------------------------------------------

# In a new session: named seconds, each with those of the processor (of the session and all that it has started).
one_session <- function() {
    ticks <- function(pid) {
        fields <- tryCatch(readLines(file.path("/proc", pid, "stat"), warn = FALSE), error = function(condition) "")
        as.numeric(strsplit(sub("^.*\\) ", "", fields), " ")[[1]][12:15])
    }
    processor <- function() {
        pids <- ps::ps_children(recursive = TRUE)
        of_children <- vapply(pids, function(process) sum(ticks(ps::ps_pid(process)), na.rm = TRUE), 0)
        (sum(ticks(Sys.getpid())) + sum(of_children)) / 100
    }
    seconds <- list()
    time <- function(name, code) {
        before <- processor()
        start <- proc.time()[["elapsed"]]
        value <- force(code)
        seconds[[name]] <<- c(proc.time()[["elapsed"]] - start, processor() - before)
        invisible(value)
    }
    time("library(scRAE)", suppressPackageStartupMessages(library(scRAE)))
    time("SCRAEStatus()", SCRAEStatus(verbose = FALSE))
    time("library(SingleCellExperiment)", suppressPackageStartupMessages(library(SingleCellExperiment)))
    time("PBMCExample()", cells <- PBMCExample())
    clock <- new.env()
    trace("take_event", where = asNamespace("scRAE"), print = FALSE, tracer = substitute(
        if (event$event == "epoch" && is.null(clock$first)) assign("first", proc.time()[["elapsed"]], clock),
        list(clock = clock)
    )) |> suppressMessages()
    run <- function(seed) RunSCRAE(cells, features = "all", max_epochs = 20, verbose = FALSE, seed.use = seed)
    beside <- function(name, trained) {
        training <- S4Vectors::metadata(trained)$SCRAE$summary$seconds
        seconds[[paste0(name, ", beside the training")]] <<- seconds[[name]] - c(training, NA)
    }
    start <- proc.time()[["elapsed"]]
    trained <- time("first RunSCRAE()", run(1))
    seconds[["to the first epoch of the first call"]] <- c(clock$first - start, NA)
    beside("first RunSCRAE()", trained)
    Sys.sleep(3)
    trained <- time("second RunSCRAE()", run(2))
    beside("second RunSCRAE()", trained)
    trained$type <- cells$cell_type
    trained$half <- rep(c("a", "b"), length.out = ncol(cells))
    turns <- list(
        LabelSCRAE = function() LabelSCRAE(trained, "type", verbose = FALSE),
        FindOutliersSCRAE = function() FindOutliersSCRAE(trained, verbose = FALSE),
        FindMarkersSCRAE = function() FindMarkersSCRAE(trained, group.by = "half", verbose = FALSE),
        PredictSCRAE = function() PredictSCRAE(cells, trained, verbose = FALSE)
    )
    for (name in names(turns)) {
        time(paste0("first ", name, "()"), turns[[name]]())
        Sys.sleep(3)
        time(paste0("second ", name, "()"), turns[[name]]())
        Sys.sleep(1)
    }
    worker <- ps::ps_children()
    held <- function(process, name) {
        lines <- readLines(file.path("/proc", ps::ps_pid(process), "status"))
        as.numeric(gsub("[^0-9]", "", grep(paste0("^", name, ":"), lines, value = TRUE))) / 1024
    }
    if (length(worker)) {
        seconds[["MB of the idle worker (and of them no file's)"]] <- c(held(worker[[1]], "VmRSS"), held(worker[[1]], "RssAnon"))
    }
    seconds
}

if (n_sessions > 0) {
    sessions <- lapply(seq_len(n_sessions), function(i) callr::r(one_session))
    median_of <- function(name, part) stats::median(vapply(sessions, function(session) session[[name]][part], 0))
    cat("| what | seconds | of processor |\n| --- | ---: | ---: |\n")
    for (name in names(sessions[[1]])) {
        cat(sprintf("| %s | %.2f | %.2f |\n", name, median_of(name, 1), median_of(name, 2)))
    }
}

# -- a large matrix --------------------------------------------------------------------------------------------------------

if (n_cells > 0) {
    suppressPackageStartupMessages(library(scRAE))
    set.seed(1)
    per_cell <- round(n_genes * density)
    counts <- methods::new("dgCMatrix",
        i = unlist(lapply(seq_len(n_cells), function(cell) sort(sample.int(n_genes, per_cell)) - 1L)),
        p = as.integer(seq(0, by = per_cell, length.out = n_cells + 1)),
        x = as.numeric(1 + stats::rpois(n_cells * per_cell, 0.4)), Dim = as.integer(c(n_genes, n_cells))
    )
    dimnames(counts) <- list(paste0("gene", seq_len(n_genes)), paste0("cell", seq_len(n_cells)))
    invisible(loadNamespace("SingleCellExperiment"))
    cat(sprintf("\ncounts: %d genes x %d cells, %.0f million entries, %.2f GB sparse, %.1f GB were it dense\n",
        n_genes, n_cells, length(counts@x) / 1e6, as.numeric(object.size(counts)) / 1e9, 8 * n_genes * n_cells / 1e9
    ))
    for (features in list("HVG", paste0("gene", 1:2000))) {
        if ("StopSCRAE" %in% getNamespaceExports("scRAE")) StopSCRAE()
        invisible(gc())
        file <- tempfile()
        watcher <- callr::r_bg(watch_memory <- function(pid, file) {
            # Memory of the session and of all that it has started, in MB: of its own (no file's), and its share of all,
            # in which pages that several processes have in common count once.
            of <- function(pid) {
                lines <- tryCatch(readLines(file.path("/proc", pid, "smaps_rollup"), warn = FALSE), error = function(e) "")
                of_kind <- function(kind) {
                    sum(as.numeric(gsub("[^0-9]", "", grep(paste0("^", kind, ":"), lines, value = TRUE)))) / 1000
                }
                c(of_kind("Pss_Anon"), of_kind("Pss"))
            }
            repeat {
                pids <- c(pid, tryCatch(
                    vapply(ps::ps_children(ps::ps_handle(pid), recursive = TRUE), ps::ps_pid, 0L),
                    error = function(e) integer()
                ))
                held <- Reduce(`+`, lapply(setdiff(pids, Sys.getpid()), of))
                cat(as.numeric(Sys.time()), held, "\n", file = file, append = TRUE)
                Sys.sleep(0.1)
            }
        }, list(Sys.getpid(), file))
        Sys.sleep(3)
        called <- as.numeric(Sys.time())
        elapsed <- system.time(
            embedding <- RunSCRAE(counts, features = features, max_epochs = 2, threads = 1, verbose = FALSE)
        )[["elapsed"]]
        watcher$kill()
        held <- utils::read.table(file, fill = TRUE)
        before <- apply(held[held[[1]] < called, 2:3], 2, max)
        peak <- apply(held[held[[1]] >= called, 2:3], 2, max, na.rm = TRUE) - before
        fit <- attr(embedding, "scrae")$summary$seconds
        default_epochs <- min(400, max(10, round(1000 * 128 / n_cells))) # scrae.autoencoder.settings.epochs_for
        default_run <- mean(attr(embedding, "scrae")$history$seconds) * default_epochs
        cat(sprintf(
            "%s: %.0f MB above the object (%.0f MB with files that are mapped); outside training %.1f s, of a default training (%d epochs, about %.0f s) %.1f %%\n",
            if (length(features) == 1) "2,000 genes chosen by the worker" else "2,000 genes given", peak[1], peak[2],
            elapsed - fit, default_epochs, default_run, 100 * (elapsed - fit) / default_run
        ))
    }
}
