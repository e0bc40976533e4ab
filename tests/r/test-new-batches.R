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

test_that("a known batch stands in for a new one, and a warning of R names it", {
    cells <- quick_with_batches()
    said <- "column 'donor' has 1 level that the model was not trained on \\('z'\\).* stands in for each \\('[ab]'\\)"
    for (ask in list(
        function(cells, ...) SummarizedExperiment::assay(SingleCellExperiment::altExp(DenoiseSCRAE(cells, ...), "denoised")),
        function(cells, ...) FindOutliersSCRAE(cells, ...)$SCRAE_outlier
    )) {
        told <- NULL
        answer <- withCallingHandlers(
            ask(from_new_donor(cells), verbose = FALSE, threads = 1),
            warning = function(condition) {
                told <<- c(told, conditionMessage(condition))
                invokeRestart("muffleWarning")
            }
        )
        expect_match(told, said)
        taken <- sub(".*\\('([ab])'\\).*", "\\1", told)
        known <- cells
        known$donor <- taken
        expect_identical(answer, ask(known, verbose = FALSE, threads = 1))
    }
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
