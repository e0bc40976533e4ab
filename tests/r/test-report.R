# The report of a run: the same page from every kind of object, in words of R, and nothing changed.

page_of <- function(path) paste(readLines(path, encoding = "UTF-8", warn = FALSE), collapse = "\n")

text_of <- function(page) {
    text <- gsub("<style>.*</style>", "", page)
    text <- gsub("<[^>]*>", " ", text)
    for (pair in list(c("&lt;", "<"), c("&gt;", ">"), c("&quot;", "\""), c("&#x27;", "'"), c("&amp;", "&"))) {
        text <- gsub(pair[1L], pair[2L], text, fixed = TRUE)
    }
    gsub("\\s+", " ", text)
}

expect_self_contained <- function(page) {
    expect_no_match(page, "<script|src=\"(?!data:image/png;base64,)|https?://", perl = TRUE)
    expect_match(page, "Content-Security-Policy", fixed = TRUE)
}

test_that("a Seurat object is reported on, in words of R, and stays as it is", {
    object <- pbmc_small()
    object$replicate <- rep(c("r1", "r2"), 40)
    object$letter.idents <- as.character(object$letter.idents)
    object$letter.idents[1:50] <- "<script>alert(1)</script>"
    object <- quick(object, group.by.vars = "replicate", max_epochs = 3)
    object <- ClusterSCRAE(object, level = 2, verbose = FALSE, threads = 1)
    object <- FindOutliersSCRAE(object, verbose = FALSE, threads = 1)
    before <- object
    file <- tempfile(fileext = ".html")
    on.exit(unlink(file))
    expect_identical(ReportSCRAE(object, file, labels = "letter.idents", verbose = FALSE, threads = 1), file)
    expect_identical(object, before)
    page <- page_of(file)
    text <- text_of(page)
    expect_self_contained(page)
    expect_equal(lengths(regmatches(page, gregexpr("<img ", page))), 9L)
    for (said in c(
        "80, all in training", "seed 42", "<script>alert(1)</script>", "computed from the embedding for this report",
        "Training ran for 3 epochs", "2 clusters in the column 'scrae_clusters'", "Histogram", "mixing within groups",
        "object <- RunSCRAE(", "features = object[[\"scrae\"]]@misc$genes", "group.by.vars = \"replicate\"",
        "max.epochs = 3", "n.latent = 3", "object <- ClusterSCRAE(object, level = 2, seed.use = 42)"
    )) {
        where <- if (said == "Histogram") page else text
        expect_match(where, said, fixed = TRUE)
    }
    expect_no_match(text, "adata|scrae\\.tl|scrae\\.pl")
    known <- SeuratObject::Misc(object, "scrae_clusters")$clusters
    for (i in seq_len(nrow(known))) expect_match(text, sprintf(" %.2f ", known$stability[i]), fixed = TRUE)
})

test_that("what a SingleCellExperiment lacks is said with the call of R that adds it", {
    skip_unless_installed("SingleCellExperiment")
    sce <- quick(made_sce(), features = "all")
    file <- tempfile(fileext = ".html")
    on.exit(unlink(file))
    ReportSCRAE(sce, file, verbose = FALSE, threads = 1, title = "mine")
    text <- text_of(page_of(file))
    for (said in c(
        "ClusterSCRAE(object) finds them", "ReportSCRAE(object, \"run.html\", batch.by = \"donor\")",
        "ReportSCRAE(object, \"run.html\", labels = \"cell_type\")", "FindOutliersSCRAE(object)",
        "metadata(object)[[\"SCRAE\"]]$genes", "mine"
    )) {
        expect_match(text, said, fixed = TRUE)
    }
    SingleCellExperiment::reducedDim(sce, "UMAP") <- matrix(stats::rnorm(120), 60, 2)
    sce <- ClusterSCRAE(sce, verbose = FALSE, threads = 1)
    sce$type <- factor(rep(c("x", NA, "y"), 20))
    ReportSCRAE(sce, file, labels = "type", batch.by = "batch", verbose = FALSE, threads = 1)
    text <- text_of(page_of(file))
    expect_match(text, "Cells are drawn at their places in X_UMAP", fixed = TRUE)
    expect_match(text, "type, most frequent", fixed = TRUE)
    retrained <- quick(sce, features = "all", max_epochs = 1)
    ReportSCRAE(retrained, file, verbose = FALSE, threads = 1)
    expect_match(text_of(page_of(file)), "of an embedding that was replaced since", fixed = TRUE)
})

test_that("a matrix is reported on with its embedding, and the lines of code repeat it", {
    counts <- made_counts()
    embedding <- trained()
    file <- tempfile(fileext = ".html")
    on.exit(unlink(file))
    cells <- data.frame(batch = rep(c("a", "b"), 30), mine = rep(c("u", "v", "w"), 20))
    ReportSCRAE(counts, file, embedding, batch.by = "batch", col.name = "mine", meta.data = cells, verbose = FALSE,
        threads = 1
    )
    text <- text_of(page_of(file))
    expect_match(text, "3 clusters in the column 'mine'", fixed = TRUE)
    expect_match(text, "found in another way", fixed = TRUE)
    code <- regmatches(page_of(file), regexpr("embedding &lt;- RunSCRAE.*?</code>", page_of(file), perl = TRUE))
    again <- new.env()
    again$counts <- counts
    again$embedding <- embedding
    eval(parse(text = sub("RunSCRAE(", "RunSCRAE(verbose = FALSE, threads = 1, object = ", text_of(code), fixed = TRUE)), again)
    expect_equal(unclass(again$embedding)[, ], unclass(embedding)[, ])
})

test_that("what a training warned of is kept with it and told in the report", {
    halves <- made_counts() * 0.75
    said <- capture_warnings(embedding <- quick(halves, features = "all", round.counts = TRUE))
    expect_match(said, "rounded")
    expect_identical(attr(embedding, "scrae")$warnings, said)
    file <- tempfile(fileext = ".html")
    on.exit(unlink(file))
    ReportSCRAE(round(halves), file, embedding, verbose = FALSE, threads = 1)
    expect_match(text_of(page_of(file)), gsub("\\s+", " ", said), fixed = TRUE)
})

test_that("what cannot be reported on is refused before Python is asked", {
    counts <- made_counts()
    embedding <- trained()
    cells <- data.frame(batch = rep(c("a", "b"), 30))
    expect_error(ReportSCRAE(counts, "run.html"), "RunSCRAE\\(counts\\), then")
    expect_error(ReportSCRAE(counts, "run.rds", embedding), "ends in .html")
    expect_error(ReportSCRAE(counts, file.path(tempdir(), "nowhere", "run.html"), embedding), "there is no folder")
    expect_error(
        ReportSCRAE(counts, tempfile(fileext = ".html"), embedding, batch.by = "btch", meta.data = cells),
        "no column 'btch'; did you mean 'batch'"
    )
    expect_error(
        ReportSCRAE(counts, tempfile(fileext = ".html"), embedding, outliers = "batch", meta.data = cells),
        "holds no numbers but character values"
    )
    skip_unless_installed("SingleCellExperiment")
    sce <- made_sce()
    expect_error(ReportSCRAE(sce, "run.html"), "no embedding 'SCRAE': call RunSCRAE\\(object\\) first")
    expect_error(ReportSCRAE(quick(sce, features = "all"), "run.html", dimred = "TSNE"), "no reduction 'TSNE'")
})
