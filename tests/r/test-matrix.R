test_that("a matrix gives an embedding with the cells in order, and its history", {
    counts <- made_counts()
    embedding <- trained()
    expect_equal(dim(embedding), c(60L, 3L))
    expect_equal(dimnames(embedding), list(colnames(counts), paste0("scrae_", 1:3)))
    expect_true(all(is.finite(embedding)))
    fit <- attr(embedding, "scrae")
    expect_equal(fit$history$epoch, 1:2)
    expect_true(all(fit$history$reconstruction > 0))
    expect_equal(fit$genes, rownames(counts))
    expect_equal(fit$summary$stop_reason, "max_epochs")
    expect_output(print(fit), "trained on 60 cells")
})

test_that("a call that names no setting trains the default model", {
    embedding <- RunSCRAE(made_counts(), features = "all", max_epochs = 1, verbose = FALSE)
    expect_equal(dim(embedding), c(60L, 30L))
})

test_that("dense, sparse, triplet and on-disk counts give the same bits", {
    expected <- trained()
    attr(expected, "scrae") <- NULL
    counts <- made_counts()
    same <- function(object) {
        embedding <- quick(object, features = "all")
        attr(embedding, "scrae") <- NULL
        expect_identical(embedding, expected)
    }
    dense <- as.matrix(counts)
    storage.mode(dense) <- "integer"
    same(dense)
    same(methods::as(counts, "TsparseMatrix"))
    skip_unless_installed("HDF5Array")
    file <- tempfile(fileext = ".h5")
    on.exit(unlink(file))
    same(HDF5Array::writeHDF5Array(dense, file, "counts", with.dimnames = TRUE))
})

test_that("on-disk counts are read in blocks, without a dense copy", {
    skip_unless_installed("DelayedArray")
    counts <- made_counts(40, 50)
    delayed <- DelayedArray::DelayedArray(counts)
    source <- scRAE:::matrix_source(delayed)
    read <- scRAE:::read_counts(source, c(5L, 2L, 30L), block_entries = 40 * 7)
    expect_s4_class(read, "dgCMatrix")
    expect_equal(as.matrix(read)[1:3, ], as.matrix(counts)[c(5, 2, 30), ])
})

test_that("seed, genes and names have an effect, and nothing else has", {
    counts <- made_counts()
    unnamed <- counts
    dimnames(unnamed) <- list(NULL, NULL)
    embedding <- quick(unnamed, features = "all")
    expect_equal(unclass(embedding)[, ], trained()[, ], ignore_attr = TRUE)
    expect_false(isTRUE(all.equal(
        quick(counts, features = "all", seed.use = 7)[, ], trained()[, ]
    )))
})

test_that("genes in any order, by name, position or mask, are the same genes", {
    source <- scRAE:::matrix_source(made_counts())
    expected <- c(2L, 5L, 9L)
    expect_equal(scRAE:::gene_positions(c("gene9", "gene2", "gene5"), source), expected)
    expect_equal(scRAE:::gene_positions(c(9, 5, 2), source), expected)
    expect_equal(scRAE:::gene_positions(seq_len(30) %in% expected, source), expected)
})

test_that("duplicate gene names are told apart and said", {
    counts <- made_counts()
    rownames(counts)[2] <- "gene1"
    expect_message(
        embedding <- quick(counts, features = "all", verbose = TRUE),
        "1 gene name\\(s\\) stand more than once.*'gene1.1'"
    )
    expect_equal(attr(embedding, "scrae")$genes[1:2], c("gene1", "gene1.1"))
})

test_that("quiet means quiet", {
    expect_silent(quick(made_counts(), features = "all"))
})

test_that("cells whose counts all lie in other genes are kept, with a warning", {
    counts <- made_counts()
    counts[2:4, 1:5] <- 0
    expect_warning(
        embedding <- quick(counts, features = c("gene2", "gene3", "gene4"), n_latent = 2),
        "of 60 cells have no count in the 3 modelled genes"
    )
    expect_equal(nrow(embedding), 60L)
    expect_equal(attr(embedding, "scrae")$genes, c("gene2", "gene3", "gene4"))
})
