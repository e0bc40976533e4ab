# What the tests share: the Python of this folder, small objects, quick settings.

if (nzchar(Sys.getenv("SCRAE_TEST_PYTHON"))) {
    options(scrae.python = Sys.getenv("SCRAE_TEST_PYTHON"))
}
Sys.setenv(OMP_NUM_THREADS = "1")

skip_unless_installed <- function(...) {
    for (name in c(...)) testthat::skip_if_not_installed(name)
}

# 80 real cells of SeuratObject, 230 genes, two groups.
pbmc_small <- function() {
    skip_unless_installed("SeuratObject")
    space <- new.env()
    utils::data("pbmc_small", package = "SeuratObject", envir = space)
    object <- space$pbmc_small
    if (utils::packageVersion("SeuratObject") >= "5") {
        # It says much about the log of commands of this old object.
        object <- suppressWarnings(suppressMessages(SeuratObject::UpdateSeuratObject(object)))
    }
    # In another order than the object's, and enough that no cell is empty in them.
    SeuratObject::VariableFeatures(object) <- rev(rownames(object)[c(TRUE, FALSE)])
    object
}

raw_counts <- function(object, assay = "RNA") {
    if (inherits(object[[assay]], "Assay5")) {
        return(SeuratObject::LayerData(object[[assay]], "counts"))
    }
    methods::slot(object[[assay]], "counts")
}

# 60 made cells x 30 genes, every cell with a count, in two batches.
made_counts <- function(n_genes = 30, n_cells = 60) {
    set.seed(3)
    counts <- matrix(
        stats::rpois(n_genes * n_cells, stats::rgamma(n_genes, 1, 0.6)),
        n_genes, n_cells,
        dimnames = list(
            paste0("gene", seq_len(n_genes)), paste0("cell", seq_len(n_cells))
        )
    )
    counts[1, ] <- counts[1, ] + 1
    Matrix::Matrix(counts, sparse = TRUE)
}

made_sce <- function(...) {
    counts <- made_counts(...)
    SingleCellExperiment::SingleCellExperiment(
        list(counts = counts),
        colData = S4Vectors::DataFrame(
            batch = rep(c("a", "b"), length.out = ncol(counts)),
            row.names = colnames(counts)
        )
    )
}

# RunSCRAE with a model that trains in a blink.
quick <- function(object, ..., n_latent = 3, max_epochs = 2, verbose = FALSE) {
    # Where a Python was named for the tests, nothing may be skipped for lack of one.
    if (!nzchar(Sys.getenv("SCRAE_TEST_PYTHON"))) {
        testthat::skip_if_not(SCRAEStatus(verbose = FALSE)$ready, "no Python with what scRAE needs")
    }
    RunSCRAE(object, ...,
        n_latent = n_latent, n_hidden = 8, batch_size = 16,
        max_epochs = max_epochs, verbose = verbose, threads = 1
    )
}

# One trained embedding for all tests that only use one.
trained <- local({
    embedding <- NULL
    function() {
        if (is.null(embedding)) {
            embedding <<- quick(made_counts(), features = "all")
        }
        embedding
    }
})

python <- function(code, ...) {
    processx::run(getOption("scrae.python"), c("-c", code, ...),
        env = scRAE:::python_environment()
    )
}
