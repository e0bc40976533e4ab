# Cells in four groups: 60 marker genes each of 600.
grouped_counts <- function() {
    set.seed(1)
    group <- rep(1:4, each = 60)
    fold <- matrix(1, 600, 4)
    for (k in 1:4) fold[(k - 1) * 60 + 1:60, k] <- 8
    means <- stats::rgamma(600, 0.4, 0.4)
    counts <- matrix(stats::rpois(600 * 240, means * fold[, group]), 600, 240,
        dimnames = list(paste0("g", 1:600), paste0("c", 1:240))
    )
    Matrix::Matrix(counts, sparse = TRUE)
}

share_of_markers <- function(genes) mean(genes %in% paste0("g", 1:240))

test_that("the core selects genes that vary, and RunSCRAE models the same ones", {
    counts <- grouped_counts()
    genes <- SelectGenes(counts, "hvg", n = 100, verbose = FALSE)
    expect_equal(length(genes), 100L)
    expect_gt(share_of_markers(genes), 0.8)
    embedding <- quick(counts, features = "HVG", n.features = 100)
    expect_setequal(attr(embedding, "scrae")$genes, genes)
})

test_that("it is said how many genes are chosen of how many, and what is done meanwhile", {
    counts <- made_counts()
    messages <- character()
    keep <- function(condition) {
        messages <<- c(messages, cli::ansi_strip(conditionMessage(condition)))
        tryInvokeRestart("muffleMessage")
    }
    withCallingHandlers(
        {
            embedding <- quick(counts, verbose = TRUE)
            PredictSCRAE(counts, embedding, threads = 1)
            quick(counts, n.features = 20, verbose = TRUE)
        },
        message = keep
    )
    said <- paste(messages, collapse = "")
    expect_match(said, "there are 30 genes, no more than the 2,000 that would be chosen: taking all that are seen", fixed = TRUE)
    # One of the thirty is seen in too few cells.
    expect_equal(length(attr(embedding, "scrae")$genes), 29L)
    expect_match(said, "mapping 60 cells", fixed = TRUE)
    expect_match(said, "choosing 20 of 30 genes (hvg)", fixed = TRUE)
})

test_that("M3Drop and DANB select genes natively, whatever their quirks", {
    skip_unless_installed("M3Drop")
    counts <- grouped_counts()
    counts[7, ] <- 0 # an undetected gene, which NBumiFitModel refuses
    danb <- SelectGenes(counts, "DANB", n = 100, verbose = FALSE)
    expect_equal(length(danb), 100L)
    expect_gt(share_of_markers(danb), 0.8)
    m3drop <- expect_silent(SelectGenes(counts, "M3Drop", n = 50, verbose = FALSE))
    expect_lte(length(m3drop), 50L)
    expect_gt(share_of_markers(m3drop), 0.6)
    expect_false(any(is.na(danb)))
    expect_error(
        SelectGenes(counts[, 1:30], "M3Drop", mt_threshold = 1e-300, verbose = FALSE),
        "M3Drop selects 0 gene\\(s\\)"
    )
})

test_that("SCMarker selects genes natively and leaves the session as it was", {
    skip_unless_installed("SCMarker", "callr")
    before <- list(search(), ls(globalenv()))
    genes <- SelectGenes(grouped_counts(), "scmarker", verbose = FALSE)
    expect_true(all(genes %in% paste0("g", 1:600)))
    expect_gt(length(genes), 10L)
    expect_identical(list(search(), ls(globalenv())), before)
    # Of three genes none is left.
    few <- grouped_counts()[1:3, ]
    expect_error(
        SelectGenes(few[, Matrix::colSums(few) > 0], "SCMarker", cutoff = 500, verbose = FALSE),
        "SCMarker selects [01] gene"
    )
})

test_that("a package that is missing is named with how to install it", {
    skip_if(requireNamespace("M3Drop", quietly = TRUE), "M3Drop is installed")
    expect_error(
        SelectGenes(made_counts(), "M3Drop", engine = "native"),
        "needs the package M3Drop, which is not installed: BiocManager::install"
    )
    embedding <- quick(grouped_counts(), features = "M3Drop", n.features = 80)
    expect_gt(share_of_markers(attr(embedding, "scrae")$genes), 0.6)
})

test_that("the core selects by M3Drop, DANB and SCMarker without their packages", {
    counts <- grouped_counts()
    by_core <- function(method) {
        SelectGenes(counts, method, n = 80, engine = "scrae", verbose = FALSE)
    }
    for (method in c("M3Drop", "DANB", "DANB_variance")) {
        expect_gt(share_of_markers(by_core(method)), 0.6)
    }
    # Modes of Poisson counts say little of groups: here it is the set that counts.
    found <- by_core("SCMarker")
    expect_true(length(found) > 10L && length(found) <= 80L && all(found %in% rownames(counts)))
})

test_that("the native and the core's choice are the same genes", {
    skip_unless_installed("M3Drop")
    counts <- grouped_counts()
    native <- SelectGenes(counts, "DANB", n = 100, engine = "native", verbose = FALSE)
    core <- SelectGenes(counts, "DANB", n = 100, engine = "scrae", verbose = FALSE)
    expect_gt(length(intersect(native, core)), 97L)
})

test_that("a dense copy that would not fit is refused with figures", {
    skip_if(is.na(scRAE:::free_gigabytes()), "this system does not tell its free memory")
    huge <- Matrix::sparseMatrix(i = 1, j = 1, x = 1, dims = c(1e6, 1e7))
    expect_error(
        scRAE:::refuse_dense_copies(huge, "DANB"),
        "DANB needs 3 dense copies of the counts, about 223,?517 GiB",
        class = "scrae_memory_error"
    )
    expect_silent(scRAE:::refuse_dense_copies(made_counts(), "DANB"))
})

test_that("methods, engines and numbers that are not known are refused", {
    counts <- made_counts()
    expect_error(SelectGenes(counts, "SCMaker"), "did you mean 'SCMarker'")
    expect_error(SelectGenes(counts, engine = "python"), "\"native\" or \"scrae\"")
    expect_error(SelectGenes(counts, "HVG", engine = "native"), "use engine = \"scrae\"")
    expect_error(SelectGenes(counts, n = 1), "n must be a whole number of at least 2")
})

test_that("the history is drawn with the curves that there are", {
    history <- attr(trained(), "scrae")$history
    plot <- plotSCRAEHistory(trained())
    drawn <- ggplot2::ggplot_build(plot)
    lines <- ggplot2::layer_data(plot, 1)
    expect_equal(lines$y[lines$colour == "#0072B2"], history$reconstruction)
    expect_equal(lines$y[lines$colour == "#555555"], history$critic_gap)
    expect_equal(lines$x, rep(history$epoch, 2))
    expect_equal(as.character(drawn$layout$layout$panel), c(
        "reconstruction loss (nats per cell)", "distance of codes and prior"
    ))
    expect_equal(plot$labels$x, "epoch")
    file <- tempfile(fileext = ".png")
    on.exit(unlink(file))
    ggplot2::ggsave(file, plot, width = 5, height = 3, dpi = 100)
    # Width and height stand in bytes 17 to 24 of a PNG file.
    expect_equal(readBin(readBin(file, "raw", 24)[17:24], "integer", 2, endian = "big"), c(500L, 300L))
    expect_error(plotSCRAEHistory(made_counts()), "holds no trained scRAE model")
})

test_that("a model without a decoder shows its contrastive loss", {
    model <- quick(made_counts(), features = "all", preset = "contrastive_sc")
    lines <- ggplot2::layer_data(plotSCRAEHistory(model), 1)
    expect_equal(lines$y, attr(model, "scrae")$history$contrast)
    expect_true(all(lines$y > 0))
})

test_that("a saved model is read by Python", {
    folder <- tempfile("model")
    on.exit(unlink(folder, recursive = TRUE))
    expect_equal(SaveSCRAE(trained(), folder), normalizePath(folder))
    said <- python("
import sys, scrae
print(scrae.SCRAE.load(sys.argv[1]))
", folder)$stdout
    expect_match(said, "fitted on 60 cells x 30 genes in 2 epochs")
})

test_that("the example is real counts with types", {
    cells <- PBMCExample()
    expect_equal(dim(cells), c(765L, 700L))
    counts <- SummarizedExperiment::assay(cells, "counts")
    expect_s4_class(counts, "dgCMatrix")
    expect_true(all(counts@x == trunc(counts@x)))
    expect_true("Dendritic" %in% cells$cell_type)
})

test_that("a matrix is denoised without covariates, and asks for those that the model has", {
    means <- DenoiseSCRAE(made_counts(), model = trained(), cutoff = 0, verbose = FALSE)
    expect_equal(dimnames(means), dimnames(made_counts()))
    expect_true(all(means > 0))
    batch <- data.frame(batch = rep(c("a", "b"), 30))
    batched <- quick(made_counts(), features = "all", meta.data = batch, group.by.vars = "batch")
    expect_error(DenoiseSCRAE(made_counts(), model = batched), "trained with 'batch': give a data.frame")
})
