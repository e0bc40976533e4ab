skip_unless_installed("SingleCellExperiment")

test_that("a SingleCellExperiment comes back with one reducedDim more and is otherwise the same", {
    sce <- made_sce()
    SummarizedExperiment::rowData(sce)$symbol <- rownames(sce)
    S4Vectors::metadata(sce)$study <- list(1, mean)
    SingleCellExperiment::reducedDim(sce, "PCA") <- matrix(0, 60, 2)
    embedded <- quick(sce, features = "all", group.by.vars = "batch")
    expect_equal(SingleCellExperiment::reducedDimNames(embedded), c("PCA", "SCRAE"))
    embedding <- SingleCellExperiment::reducedDim(embedded, "SCRAE")
    expect_equal(dimnames(embedding), list(colnames(sce), paste0("SCRAE_", 1:3)))
    expect_equal(S4Vectors::metadata(embedded)$SCRAE$history$epoch, 1:2)
    S4Vectors::metadata(embedded)$SCRAE <- NULL
    SingleCellExperiment::reducedDim(embedded, "SCRAE") <- NULL
    expect_identical(embedded, sce)
})

test_that("hard columns beside the covariate do not matter", {
    sce <- made_sce()
    columns <- SummarizedExperiment::colData(sce)
    columns$na_factor <- factor(rep(c("u", NA, "v"), 20))
    columns$na_logical <- rep(c(TRUE, NA), 30)
    columns$list <- as.list(1:60)
    columns$nested <- S4Vectors::DataFrame(a = 1:60)
    columns$rle <- S4Vectors::Rle(rep(1:2, each = 30))
    columns$date <- as.Date("2020-01-01") + 1:60
    SummarizedExperiment::colData(sce) <- columns
    embedded <- quick(sce, features = "all", group.by.vars = "rle")
    expect_identical(SummarizedExperiment::colData(embedded), columns)
    numbered <- quick(sce, features = "all", vars.to.regress = "rle")
    facts <- scRAE:::describe_model(S4Vectors::metadata(numbered)$SCRAE$model)
    expect_equal(facts$covariate_scales, list(rle = c(1.5, 0.5)))
    facts <- scRAE:::describe_model(S4Vectors::metadata(embedded)$SCRAE$model)
    expect_equal(facts$covariate_levels, list(rle = c("1", "2")))
    expect_error(quick(sce, group.by.vars = "na_factor"), "20 missing value\\(s\\) in 60 cells")
    expect_error(quick(sce, group.by.vars = "list"), "one value per cell")
    expect_error(quick(sce, group.by.vars = "bach"), "no column 'bach'; did you mean 'batch'")
})

test_that("alternative experiments, other assays and cells without names are read", {
    sce <- made_sce()
    colnames(sce) <- NULL
    SingleCellExperiment::altExp(sce, "ADT") <- SingleCellExperiment::SingleCellExperiment(
        list(umi = unname(as.matrix(made_counts(12))))
    )
    embedded <- quick(sce, altexp = "ADT", assay.type = "umi", features = "all", name = "ADT")
    expect_null(rownames(SingleCellExperiment::reducedDim(embedded, "ADT")))
    expect_equal(S4Vectors::metadata(embedded)$ADT$genes, paste0("gene", 1:12))
    expect_error(quick(sce, altexp = "HTO"), "no alternative experiment 'HTO'")
    expect_error(quick(sce, assay.type = "count"), "no assay 'count'.*did you mean 'counts'")
})

test_that("HDF5-backed counts give the same bits as those in memory", {
    skip_unless_installed("HDF5Array")
    sce <- made_sce()
    backed <- sce
    file <- tempfile(fileext = ".h5")
    on.exit(unlink(file))
    SummarizedExperiment::assay(backed, "counts") <-
        HDF5Array::writeHDF5Array(as.matrix(made_counts()), file, "counts", with.dimnames = TRUE)
    genes <- paste0("gene", 3:20)
    expect_identical(
        SingleCellExperiment::reducedDim(quick(backed, features = genes), "SCRAE"),
        SingleCellExperiment::reducedDim(quick(sce, subset_row = genes), "SCRAE")
    )
})

test_that("prediction, denoising and sampling work on a SingleCellExperiment", {
    sce <- quick(made_sce(), features = "all", group.by.vars = "batch")
    query <- made_sce()[30:1, 10:40]
    mapped <- PredictSCRAE(query, model = sce, verbose = FALSE, threads = 1)
    expect_equal(
        SingleCellExperiment::reducedDim(mapped, "SCRAE"),
        SingleCellExperiment::reducedDim(sce, "SCRAE")[10:40, ],
        tolerance = 1e-5
    )
    denoised <- DenoiseSCRAE(sce, batch = "a", cutoff = 0, verbose = FALSE)
    means <- SummarizedExperiment::assay(SingleCellExperiment::altExp(denoised, "denoised"))
    expect_true(is.matrix(means) && all(means > 0))
    expect_equal(dimnames(means), dimnames(sce))
    cells <- SampleSCRAE(sce, n = 9, batch = "b", verbose = FALSE)
    expect_equal(dim(cells), c(30L, 9L))
    expect_error(SampleSCRAE(sce, n = 9, batch = "c"), "no batch 'c'")
    large <- Matrix::colSums(made_counts()) > median(Matrix::colSums(made_counts()))
    like <- lapply(list(large, !large), function(chosen) {
        SampleSCRAE(trained(), n = 40, like = made_counts()[, chosen], verbose = FALSE)
    })
    expect_gt(median(Matrix::colSums(like[[1]])), median(Matrix::colSums(like[[2]])))
    expect_error(SampleSCRAE(sce, n = 9, like = sce[, 1:3], verbose = FALSE), "10 or more are needed")
})

test_that("a query with missing genes is mapped with a warning; strangers are refused", {
    expect_warning(
        mapped <- PredictSCRAE(made_counts()[1:20, ], model = trained(), threads = 1, verbose = FALSE),
        "10 of the model's 30 genes are not in the matrix"
    )
    expect_equal(dim(mapped), c(60L, 3L))
    strangers <- made_counts()
    rownames(strangers) <- paste0("ENSG", 1:30)
    expect_error(
        PredictSCRAE(strangers, model = trained()),
        "none of the model's 30 genes.*Ensembl"
    )
})

test_that("a SummarizedExperiment is told how to become a SingleCellExperiment", {
    summarized <- SummarizedExperiment::SummarizedExperiment(list(counts = made_counts()))
    expect_error(RunSCRAE(summarized), "as\\(object, \"SingleCellExperiment\"\\)")
})
