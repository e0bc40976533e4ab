# Cells of batches that the model was not trained on.

quick_with_batches <- function() {
    cells <- made_sce(30, 60)
    cells$donor <- rep(c("a", "b"), 30)
    quick(cells, features = "all", group.by.vars = "donor")
}

from_new_donor <- function(cells) {
    cells$donor <- "z"
    cells
}

test_that("cells of a new batch are decoded as from the average, and a warning of R says so", {
    cells <- quick_with_batches()
    said <- "column 'donor' has 1 level that the model was not trained on \\('z'\\).* the average of the 2 known levels"
    means <- function(cells, ...) {
        denoised <- DenoiseSCRAE(cells, verbose = FALSE, threads = 1, cutoff = 0, ...)
        as.matrix(SummarizedExperiment::assay(SingleCellExperiment::altExp(denoised, "denoised")))
    }
    expect_warning(found <- means(from_new_donor(cells)), said)
    # Beside those of each batch, whose shares are the same.
    a <- means(cells, batch = "a")
    b <- means(cells, batch = "b")
    expect_lt(mean(abs(found - (a + b) / 2)), mean(abs(a - b)) / 2)
    expect_identical(means(from_new_donor(cells), batch = "a"), a)
    expect_warning(
        scored <- FindOutliersSCRAE(from_new_donor(cells), verbose = FALSE, threads = 1), said
    )
    expect_true(all(is.finite(scored$SCRAE_outlier)))
})

test_that("new batches are mapped as without a batch, and a warning of R names them", {
    cells <- quick_with_batches()
    model <- cells
    query <- made_sce(30, 60)
    plain <- SingleCellExperiment::reducedDim(PredictSCRAE(query, model = model, verbose = FALSE, threads = 1), "SCRAE")
    said <- "column 'donor' has 1 batch that the model was not trained on \\('z'\\). Their 60 cells are placed"
    expect_warning(
        mapped <- PredictSCRAE(from_new_donor(query), model = model, verbose = FALSE, threads = 1),
        said
    )
    expect_identical(SingleCellExperiment::reducedDim(mapped, "SCRAE"), plain)
    query$donor <- NA
    expect_no_warning(PredictSCRAE(query, model = model, verbose = FALSE, threads = 1))
    object <- SeuratObject::CreateSeuratObject(SingleCellExperiment::counts(query))
    object$donor <- rep(c("a", "y"), 30)
    expect_warning(PredictSCRAE(object, model = model, verbose = FALSE, threads = 1), "\\('y'\\). Their 30 cells are")
})

test_that("what sets a new batch apart is taken out of every kind of object", {
    cells <- made_sce(30, 60)
    cells$type <- rep(c("x", "y"), 30)
    model <- LabelSCRAE(
        quick(cells, features = "all"), labels = "type", verbose = FALSE, threads = 1
    )
    query <- made_sce(30, 60)
    # Every other gene is caught three times as often.
    counts <- as.matrix(SingleCellExperiment::counts(query))
    counts[c(TRUE, FALSE), ] <- counts[c(TRUE, FALSE), ] * 3
    SingleCellExperiment::counts(query) <- counts
    query$donor <- "z"
    place <- function(object, ...) {
        suppressWarnings(PredictSCRAE(object, model = model, verbose = FALSE, threads = 1, ...))
    }
    plain <- SingleCellExperiment::reducedDim(place(query), "SCRAE")
    found <- place(query, group.by.vars = "donor")
    placed <- SingleCellExperiment::reducedDim(found, "SCRAE")
    expect_false(isTRUE(all.equal(placed, plain)))
    matrix <- place(counts, group.by.vars = "donor", meta.data = data.frame(donor = query$donor))
    expect_equal(unname(matrix[, ]), unname(placed), tolerance = 1e-6)
    expect_equal(attr(matrix, "labels")$label, found$SCRAE_label)
    object <- SeuratObject::CreateSeuratObject(methods::as(counts, "CsparseMatrix"))
    object$donor <- "z"
    seurat <- place(object, group.by.vars = "donor")
    expect_equal(unname(SeuratObject::Embeddings(seurat, "scrae")[, ]), unname(placed), tolerance = 1e-6)
})

test_that("batches that are too small, and columns that are not there, are said in R's words", {
    cells <- quick_with_batches()
    query <- made_sce(30, 60)
    query$donor <- rep(c("a", "z"), c(40, 20))
    said <- "1 batch of column 'donor' has fewer than 30 cells, or hardly any that is like a training cell \\('z'\\)"
    expect_warning(
        PredictSCRAE(query, model = cells, group.by.vars = "donor", verbose = FALSE, threads = 1), said
    )
    expect_error(PredictSCRAE(query, model = cells, group.by.vars = "plate"), "no column 'plate'")
    expect_error(PredictSCRAE(query, model = cells, group.by.vars = c("a", "b")), "takes the name of one column")
    expect_error(
        PredictSCRAE(SingleCellExperiment::counts(query), model = cells, group.by.vars = "donor"),
        "give a data.frame with a row per cell as meta.data"
    )
})
