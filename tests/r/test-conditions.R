# Conditions that stay in the embedding while the donors within them are taken out.

skip_unless_installed("SeuratObject", "SingleCellExperiment")

experiment <- function() {
    counts <- made_counts(n_cells = 160)
    donor <- rep(c("d1", "d2", "d3", "d4"), 40)
    cells <- data.frame(
        donor = donor, condition = ifelse(donor %in% c("d1", "d2"), "control", "treated"),
        sex = "f", row.names = colnames(counts)
    )
    for (i in 1:4) counts[3 * i + 1:3, donor == paste0("d", i)] <- counts[3 * i + 1:3, donor == paste0("d", i)] * 3
    list(counts = counts, cells = cells)
}

test_that("all objects give the same embedding, which is another one without keep", {
    made <- experiment()
    quickly <- function(...) quick(..., features = "all", group.by.vars = "donor", keep = "condition")
    of_matrix <- quickly(made$counts, meta.data = made$cells)
    sce <- SingleCellExperiment::SingleCellExperiment(list(counts = made$counts), colData = S4Vectors::DataFrame(made$cells))
    of_sce <- SingleCellExperiment::reducedDim(quickly(sce), "SCRAE")
    object <- SeuratObject::CreateSeuratObject(made$counts, meta.data = made$cells)
    of_seurat <- quickly(object)
    expect_identical(unname(of_sce), unname(of_matrix[, ]))
    expect_identical(unname(SeuratObject::Embeddings(of_seurat, "scrae")), unname(of_matrix[, ]))
    without <- quick(made$counts, features = "all", group.by.vars = "donor", meta.data = made$cells)
    expect_false(isTRUE(all.equal(unname(without[, ]), unname(of_matrix[, ]))))
    facts <- scRAE:::describe_model(of_seurat[["scrae"]]@misc$model)
    expect_equal(unlist(facts$keep), "condition")
})

test_that("what cannot be kept is refused in the words of R", {
    made <- experiment()
    quickly <- function(...) quick(made$counts, features = "all", meta.data = made$cells, ...)
    expect_error(quickly(keep = "condition"), "nothing is corrected. Name the batches in group.by.vars", class = "scrae_keep_without_batch")
    expect_error(quickly(group.by.vars = "donor", keep = "donor"), "'donor' is named in keep and to be corrected for", class = "scrae_kept_and_corrected")
    expect_error(quickly(group.by.vars = "donor", keep = "sex"), "'sex' has the same value in all cells", class = "scrae_one_level")
    expect_error(quickly(group.by.vars = "donor", keep = "conditon"), "did you mean 'condition'")
    expect_error(quickly(group.by.vars = "donor", keep = 1), "keep takes names of columns")
    expect_error(quickly(group.by.vars = "condition", keep = "donor"), "has one level of 'condition' alone", class = "scrae_kept_is_batch")
    expect_error(quickly(group.by.vars = "donor", keep = "condition", preset = "scvi"), "preset 'scvi' as it is set cannot keep", class = "scrae_cannot_keep")
})

test_that("a condition of one donor is told", {
    made <- experiment()
    made$cells$condition <- ifelse(made$cells$donor == "d4", "alone", "others")
    expect_warning(
        quick(made$counts, features = "all", meta.data = made$cells, group.by.vars = "donor", keep = "condition"),
        "1 of 2 levels of 'condition' has one level of column 'donor' alone \\('alone'\\)"
    )
})

test_that("the reports know what was kept", {
    made <- experiment()
    object <- SeuratObject::CreateSeuratObject(made$counts, meta.data = made$cells)
    before <- BatchReportSCRAE(object, "donor", keep = "condition", verbose = FALSE)
    expect_true("nested" %in% before$findings$finding)
    expect_match(before$findings$text[before$findings$finding == "nested"], 'group.by.vars = "donor", keep = "condition"', fixed = TRUE)
    object <- quick(object, features = "all", group.by.vars = "donor", keep = "condition")
    after <- BatchReportSCRAE(object, "donor", keep = "condition", verbose = FALSE)
    expect_false("nested" %in% after$findings$finding)
    page <- tempfile(fileext = ".html")
    on.exit(unlink(page))
    ReportSCRAE(object, page, verbose = FALSE)
    text <- paste(readLines(page, warn = FALSE), collapse = " ")
    expect_match(text, "differences kept")
    expect_match(gsub("&quot;|&#34;|&#x27;", "\"", text), 'keep = "condition"', fixed = TRUE)
})

test_that("stability takes it, too", {
    made <- experiment()
    agreement <- StabilitySCRAE(made$counts,
        n.runs = 2, features = "all", meta.data = made$cells, group.by.vars = "donor", keep = "condition",
        n.latent = 3, n.hidden = 8, max.epochs = 1, verbose = FALSE, threads = 1
    )
    expect_equal(dim(agreement), c(2L, 2L))
})

test_that("a new donor is compared with the cells of its condition", {
    made <- experiment()
    reference <- made$cells$donor != "d4"
    object <- SeuratObject::CreateSeuratObject(made$counts, meta.data = made$cells)
    expect_warning(
        known <- quick(object[, reference], features = "all", group.by.vars = "donor", keep = "condition"),
        "'treated'"
    )
    late <- object[, !reference]
    placed <- PredictSCRAE(late, model = known, group.by.vars = "donor", verbose = FALSE)
    late$condition <- NULL
    without <- PredictSCRAE(late, model = known, group.by.vars = "donor", verbose = FALSE)
    expect_false(isTRUE(all.equal(
        SeuratObject::Embeddings(placed, "scrae"), SeuratObject::Embeddings(without, "scrae")
    )))
})
