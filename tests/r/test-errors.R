test_that("what is not raw counts is refused, with how many and where", {
    counts <- made_counts()
    expect_error(RunSCRAE(log1p(counts)),
        "the matrix does not hold raw counts: [0-9,]+ of [0-9,]+ values are not whole \\(the first: .*, gene 'gene[0-9]+', cell 'cell1'\\)",
        class = "scrae_counts_error"
    )
    negative <- counts
    negative[7, 3] <- -2
    expect_error(RunSCRAE(negative), "1 of .* values are negative \\(the first: -2, gene 'gene7', cell 'cell3'\\)")
    missing <- counts
    missing[7, 3] <- NA
    expect_error(RunSCRAE(missing), "gene 'gene7', cell 'cell3'")
})

test_that("the cell of a wrong value is named in an on-disk matrix, too", {
    skip_unless_installed("DelayedArray")
    counts <- made_counts()
    counts[7, 33] <- 0.5
    source <- scRAE:::matrix_source(DelayedArray::DelayedArray(counts))
    expect_error(
        scRAE:::read_counts(source, block_entries = 30 * 8),
        "gene 'gene7', cell 'cell33'"
    )
})

test_that("cells of zero counts are refused with their number and the cure", {
    counts <- made_counts()
    counts[, c(4, 9)] <- 0
    expect_error(RunSCRAE(counts),
        "2 of 60 cells in the matrix have no count at all \\('cell4', 'cell9'\\)"
    )
})

test_that("an object without counts says what to name", {
    skip_unless_installed("SeuratObject")
    object <- pbmc_small()
    normalised <- SeuratObject::CreateAssayObject(data = SeuratObject::GetAssayData(object))
    # SeuratObject 5 counts each new assay, and warns where it finds no counts.
    suppressWarnings(object[["norm"]] <- normalised)
    expect_error(RunSCRAE(object, assay = "norm"), "assay 'norm' has no 'counts'.*layer = ...")
    expect_error(RunSCRAE(object, layer = "data"), "assay 'RNA', layer 'data' does not hold raw counts")
})

test_that("unknown arguments name the nearest, in R and in Python", {
    counts <- made_counts()
    expect_error(RunSCRAE(counts, featurs = "all"), "no argument 'featurs'; did you mean 'features'")
    expect_error(RunSCRAE(counts, treads = 1), "did you mean 'threads'")
    expect_error(quick(counts, features = "all", mask_rat = 0.3), "did you mean 'mask.rate'")
    expect_error(
        RunSCRAE(counts, "all", 20, NULL, NULL, NULL, 2, 2, 1, FALSE, NULL, FALSE, "default",
            FALSE, FALSE, NULL, NULL, NULL, "Unknown", NULL, 7
        ), "needs a name"
    )
    expect_error(PredictSCRAE(counts, trained(), n_hidden = 8), "no argument 'n_hidden'")
})

test_that("impossible values are refused before anything is started", {
    counts <- made_counts()
    expect_error(RunSCRAE(counts, n_latent = 0), "n.latent must be a whole number of at least 1")
    expect_error(RunSCRAE(counts, seed.use = -1), "seed.use")
    expect_error(RunSCRAE(counts, max_epochs = 1.5), "max.epochs")
    expect_error(RunSCRAE(counts[1, , drop = FALSE]), "1 gene\\(s\\) and 60 cell\\(s\\)")
    expect_error(RunSCRAE("counts"), "not an object of class 'character'")
    expect_error(RunSCRAE(matrix("a", 3, 3)), "holds character values")
})

test_that("unknown genes and methods are named", {
    counts <- made_counts()
    expect_error(RunSCRAE(counts, features = "M3Dropp"), "did you mean 'M3Drop'")
    expect_error(RunSCRAE(counts, features = c("TP53", "GAPDH")), "none of the 2 chosen genes is in the matrix")
    source <- scRAE:::matrix_source(counts)
    expect_warning(
        expect_equal(scRAE:::gene_positions(c("gene4", "gene2", "TP53"), source), c(2L, 4L)),
        "1 of 3 chosen genes are not in the matrix \\('TP53'\\)"
    )
})

test_that("an object without a model is told to run RunSCRAE", {
    expect_error(PredictSCRAE(made_counts(), made_counts()), "call RunSCRAE\\(object\\) first")
    expect_error(PredictSCRAE(made_counts(), "nowhere"), "no folder 'nowhere'")
    expect_error(PredictSCRAE(made_counts(), tempdir()), "is not the folder of a scRAE model")
})

test_that("errors of the core speak of R's places", {
    counts <- made_counts()
    batch <- data.frame(donor = c("alone", rep("b", 59)))
    expect_error(
        quick(counts, features = "all", meta.data = batch, group.by.vars = "donor"),
        "1 level of column 'donor' has a single cell",
        class = "scrae_python_error"
    )
})
