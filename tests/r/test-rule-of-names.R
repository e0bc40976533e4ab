# How arguments are called (rpkg/R/aliases.R has the rule): Seurat's way, the core's names for the same things, and one
# object for what is set rarely.

functions_of_package <- function() {
    space <- asNamespace("scRAE")
    exported <- getNamespaceExports("scRAE")
    methods <- Filter(function(name) sub("[.].*", "", name) %in% exported, ls(space))
    found <- Filter(is.function, mget(union(exported, methods), envir = space, inherits = FALSE))
    lapply(found, function(one) setdiff(names(formals(one)), "..."))
}

test_that("arguments are written in small letters with dots between words, but for those of Bioconductor", {
    for (name in names(functions_of_package())) {
        arguments <- functions_of_package()[[name]]
        others <- arguments[!grepl("^[a-z]+[0-9]*([.][a-z0-9]+)*$", arguments)]
        expect_true(all(others %in% scRAE:::OF_BIOCONDUCTOR), info = paste(c(name, others), collapse = " "))
    }
})

test_that("every argument with a dot is taken under the core's name of it, by every function", {
    taken <- function(name, given, formals) scRAE:::known_names(name, given, formals)
    for (name in names(functions_of_package())) {
        formals <- functions_of_package()[[name]]
        for (argument in grep(".", formals, fixed = TRUE, value = TRUE)) {
            expect_equal(taken(name, gsub(".", "_", argument, fixed = TRUE), formals), argument)
        }
        for (core in names(scRAE:::CORE_NAMES)) {
            meant <- intersect(scRAE:::CORE_NAMES[[core]], formals)
            if (length(meant)) expect_equal(taken(name, core, formals), meant[1], info = paste(name, core))
        }
    }
})

test_that("the core's names are those that its functions have", {
    said <- python("
import inspect, json, scrae
functions = [scrae.SCRAE.fit, scrae.SCRAE.fit_labels, scrae.SCRAE.predict, scrae.SCRAE.sample, scrae.SCRAE.__init__,
             scrae.tl.scrae, scrae.tl.cluster, scrae.tl.neighbors, scrae.tl.differential_expression, scrae.tl.stability,
             scrae.pp.select_genes]
print(json.dumps(sorted({name for one in functions for name in inspect.signature(one).parameters} | {'n_runs'})))
")$stdout
    expect_equal(setdiff(names(scRAE:::CORE_NAMES), unlist(jsonlite::parse_json(said))), character())
})

test_that("settings are taken with dots and with underscores, and options once", {
    settings <- c(scRAE:::RARE_SETTINGS, unlist(scRAE:::REGULARISER_OPTIONS, use.names = FALSE))
    for (name in settings) {
        for (given in c(name, scRAE:::dotted(name))) {
            expect_equal(scRAE:::known_names("RunSCRAE", given, "object"), name)
        }
    }
    options <- SCRAEOptions(n.hidden = 8, batch_size = 16, threads = 1, in.process = FALSE)
    expect_equal(names(options), c("n_hidden", "batch_size", "threads", "in.process"))
    expect_output(print(options), "n.hidden = 8\n  batch.size = 16\n  threads = 1")
    expect_output(print(SCRAEOptions()), "none")
    counts <- made_counts()
    expect_error(SCRAEOptions(n.hiden = 8), "no option 'n.hiden'; did you mean 'n.hidden'")
    expect_error(SCRAEOptions(n.latent = 8), "'n.latent' is an argument of its own")
    expect_error(SCRAEOptions(8), "every option needs a name")
    expect_error(SCRAEOptions(mask.rate = "high"), "mask.rate must be one number")
    expect_error(SCRAEOptions(n.hidden = 8, n_hidden = 9), "'n.hidden' is given twice, also as 'n_hidden'")
    expect_error(SCRAEOptions(threads = 0), "threads must be a whole number")
    expect_error(SCRAEOptions(device = "gpu"), "device = \"gpu\" is not known")
    expect_error(RunSCRAE(counts, .options = list(n.hidden = 8)), "takes what SCRAEOptions\\(\\) returns, not list")
    expect_error(RunSCRAE(counts, .options = options, n.hidden = 8), "'n.hidden' is given twice, also in .options")
    expect_error(RunSCRAE(counts, n.latent = 2, n_latent = 3), "'n.latent' is given twice, also as 'n_latent'")
    expect_error(
        RunSCRAE(counts, .options = SCRAEOptions(n.clusters = 3)), "'n.clusters' of preset \"default\""
    )
})

test_that("a call in the core's words is the call in ours, and the object is made once", {
    made <- 0
    cells <- function() {
        made <<- made + 1
        made_sce()
    }
    options <- SCRAEOptions(n.hidden = 8, batch.size = 16, threads = 1)
    ours <- RunSCRAE(made_sce(), features = "all", group.by.vars = "batch", n.latent = 3, max.epochs = 2, seed.use = 5,
        verbose = FALSE, .options = options
    )
    forwarded <- function(...) RunSCRAE(cells(), genes = "all", ...)
    theirs <- forwarded(batch_key = "batch", n_latent = 3, max_epochs = 2, random_state = 5, verbose = FALSE,
        n_hidden = 8, batch_size = 16, threads = 1, in_process = FALSE
    )
    expect_equal(made, 1)
    expect_equal(
        SingleCellExperiment::reducedDim(theirs, "SCRAE"), SingleCellExperiment::reducedDim(ours, "SCRAE")
    )
    # Options for training are no mistake where a model is asked.
    drawn <- SampleSCRAE(ours, n = 4, random_state = 3, .options = options)
    expect_equal(
        SingleCellExperiment::counts(drawn),
        SingleCellExperiment::counts(SampleSCRAE(ours, n = 4, seed.use = 3, verbose = FALSE))
    )
    expect_error(SampleSCRAE(ours, n = 4, n.hidden = 3), "no argument 'n.hidden'")
    skip_unless_installed("SeuratObject")
    object <- quick(pbmc_small(), features = "all", random_state = 5)
    command <- object@commands[["RunSCRAE.RNA"]]
    expect_equal(command@params$seed.use, 5)
    expect_lt(as.numeric(object.size(command)), 1e5)
})
