skip_unless_installed("SeuratObject")

embedded <- quick(pbmc_small())

# All of an object but what RunSCRAE may add.
without_scrae <- function(object) {
    object[["scrae"]] <- NULL
    object@commands <- object@commands[!grepl("SCRAE", names(object@commands))]
    object
}

test_that("a Seurat object comes back with a reduction and is otherwise the same", {
    before <- pbmc_small()
    expect_identical(without_scrae(embedded), before)
    reduction <- embedded[["scrae"]]
    expect_equal(rownames(reduction@cell.embeddings), colnames(before))
    expect_equal(colnames(reduction@cell.embeddings), paste0("scrae_", 1:3))
    expect_equal(reduction@assay.used, "RNA")
    expect_equal(reduction@key, "scrae_")
    expect_equal(reduction@stdev, unname(apply(reduction@cell.embeddings, 2, sd)),
        ignore_attr = TRUE
    )
})

test_that("history, parameters, genes and the model are in misc, the call in commands", {
    misc <- embedded[["scrae"]]@misc
    expect_equal(misc$history$epoch, 1:2)
    expect_equal(misc$parameters$n_latent, 3L)
    expect_equal(misc$parameters$random_state, 42L)
    expect_equal(misc$summary$n_cells, 80L)
    expect_output(print(misc$model), "scRAE model: 115 genes, 3 latent dimensions")
    command <- embedded@commands[["RunSCRAE.RNA"]]
    expect_equal(command@params$n.latent, 3)
    expect_equal(command@params$seed.use, 42)
})

test_that("variable features are used in the order of the object", {
    object <- pbmc_small()
    expect_setequal(
        embedded[["scrae"]]@misc$genes, SeuratObject::VariableFeatures(object)
    )
    expect_false(is.unsorted(match(embedded[["scrae"]]@misc$genes, rownames(object))))
})

test_that("without variable features genes are selected", {
    object <- pbmc_small()
    SeuratObject::VariableFeatures(object) <- character()
    chosen <- quick(object, n.features = 30)[["scrae"]]@misc$genes
    expect_equal(length(chosen), 30L)
    expect_true(all(chosen %in% rownames(object)))
})

test_that("the embedding can be clustered by Seurat, and drawn", {
    skip_unless_installed("Seurat")
    clustered <- Seurat::FindNeighbors(embedded,
        reduction = "scrae", dims = 1:3, verbose = FALSE
    )
    clustered <- Seurat::FindClusters(clustered, verbose = FALSE)
    expect_equal(length(clustered$seurat_clusters), 80L)
    elbow <- Seurat::ElbowPlot(embedded, ndims = 3, reduction = "scrae")
    expect_equal(ggplot2::layer_data(elbow, 1)$y, embedded[["scrae"]]@stdev, ignore_attr = TRUE)
})

test_that("an embedding of default size has thirty axes, for graphs and for ElbowPlot, and maps to as many", {
    skip_unless_installed("Seurat")
    object <- quick(pbmc_small(), n_latent = NULL)
    reduction <- object[["scrae"]]
    expect_equal(dim(reduction), c(80L, 30L))
    expect_equal(colnames(reduction@cell.embeddings), paste0("scrae_", 1:30))
    expect_equal(length(SeuratObject::Stdev(reduction)), 30L)
    elbow <- Seurat::ElbowPlot(object, ndims = 30, reduction = "scrae")
    spread <- apply(reduction@cell.embeddings, 2, sd)
    expect_equal(ggplot2::layer_data(elbow, 1)$y, spread, ignore_attr = TRUE)
    expect_false(is.unsorted(-spread[1:10]))
    expect_equal(unname(spread[12:30]), rep(unname(spread[11]), 19), tolerance = 1e-3)
    for (dims in list(1:30, 1:10)) {
        clustered <- Seurat::FindNeighbors(object, reduction = "scrae", dims = dims, verbose = FALSE)
        clustered <- Seurat::FindClusters(clustered, verbose = FALSE)
        expect_equal(length(clustered$seurat_clusters), 80L)
    }
    mapped <- PredictSCRAE(pbmc_small()[, 11:30], model = object, verbose = FALSE, threads = 1)
    expect_equal(
        mapped[["scrae"]]@cell.embeddings, reduction@cell.embeddings[11:30, ],
        tolerance = 1e-4
    )
    expect_equal(dim(quick(pbmc_small(), n_latent = 10, n_residual = 0)[["scrae"]]), c(80L, 10L))
})

test_that("the model survives saveRDS and maps the same cells to the same place", {
    file <- tempfile(fileext = ".rds")
    on.exit(unlink(file))
    saveRDS(embedded, file)
    query <- pbmc_small()[, 11:30]
    mapped <- PredictSCRAE(query, model = readRDS(file), verbose = FALSE, threads = 1)
    expect_equal(
        mapped[["scrae"]]@cell.embeddings,
        embedded[["scrae"]]@cell.embeddings[11:30, ],
        tolerance = 1e-5
    )
    expect_identical(without_scrae(mapped), query)
})

test_that("denoised counts are a new assay of the model's genes", {
    denoised <- expect_silent(
        DenoiseSCRAE(embedded, verbose = FALSE, library.size = "observed")
    )
    expect_equal(rownames(denoised[["denoised"]]), embedded[["scrae"]]@misc$genes)
    means <- SeuratObject::GetAssayData(denoised[["denoised"]], "data")
    expect_s4_class(means, "dgCMatrix")
    expect_true(all(means@x >= 0.01))
    counts <- raw_counts(embedded)[rownames(means), ]
    expect_gt(cor(Matrix::colSums(means), Matrix::colSums(counts)), 0.9)
    denoised[["denoised"]] <- NULL
    expect_identical(denoised[["RNA"]], embedded[["RNA"]])
    # Why it has not the name of the reduction.
    expect_error(
        DenoiseSCRAE(embedded, verbose = FALSE, assay.name = "scrae"), "already (contains|exists)"
    )
})

test_that("synthetic cells are a Seurat object of whole counts", {
    cells <- SampleSCRAE(embedded, n = 25)
    expect_s4_class(cells, "Seurat")
    counts <- raw_counts(cells)
    expect_equal(dim(counts), c(115L, 25L))
    expect_true(all(counts@x == trunc(counts@x) & counts@x > 0))
    expect_identical(raw_counts(SampleSCRAE(embedded, n = 25)), counts)
    expect_false(identical(raw_counts(SampleSCRAE(embedded, n = 25, codes = "prior")), counts))
})

test_that("batches are read from factors, and have an effect", {
    object <- pbmc_small()
    object$donor <- factor(rep(c("x", "y"), 40), levels = c("unused", "y", "x"))
    batched <- quick(object, group.by.vars = c("donor", "groups"))
    facts <- scRAE:::describe_model(batched[["scrae"]]@misc$model)
    expect_equal(facts$batch_key, "donor")
    expect_equal(facts$covariate_levels, list(donor = c("x", "y"), groups = c("g1", "g2")))
    expect_false(isTRUE(all.equal(
        batched[["scrae"]]@cell.embeddings, embedded[["scrae"]]@cell.embeddings
    )))
})

test_that("numbers are taken out beside batches, and are needed again to decode", {
    object <- pbmc_small()
    object$donor <- rep(c("x", "y"), 40)
    object$score <- seq(-1, 3, length.out = 80)
    corrected <- quick(object, group.by.vars = "donor", vars.to.regress = "score")
    facts <- scRAE:::describe_model(corrected[["scrae"]]@misc$model)
    expect_equal(facts$batch_key, "donor")
    expect_equal(facts$covariate_levels, list(donor = c("x", "y")))
    expect_equal(names(facts$covariate_scales), "score")
    population_sd <- sqrt(mean((object$score - mean(object$score))^2))
    expect_equal(facts$covariate_scales$score, c(mean(object$score), population_sd))
    expect_false(isTRUE(all.equal(
        corrected[["scrae"]]@cell.embeddings,
        quick(object, group.by.vars = "donor")[["scrae"]]@cell.embeddings
    )))
    denoised <- DenoiseSCRAE(corrected, verbose = FALSE)
    expect_true("denoised" %in% names(denoised))
    object$score[3] <- NA
    expect_error(quick(object, vars.to.regress = "score"), "1 missing or infinite value\\(s\\) in 80 cells")
    expect_error(quick(object, vars.to.regress = "groups"), "holds no numbers but character values")
    expect_error(quick(object, vars.to.regress = "scor"), "no column 'scor'; did you mean 'score'")
    expect_error(DenoiseSCRAE(raw_counts(object), model = corrected, verbose = FALSE), "trained with 'donor', 'score'")
})

test_that("an SCT assay is read from the counts that it was made from, and it is said", {
    skip_unless_installed("Seurat")
    object <- pbmc_small()
    object <- suppressWarnings(Seurat::SCTransform(object, verbose = FALSE))
    expect_equal(SeuratObject::DefaultAssay(object), "SCT")
    expect_message(
        embedded <- quick(object, verbose = TRUE),
        "using the raw counts of assay 'RNA'"
    )
    expect_equal(embedded[["scrae"]]@assay.used, "RNA")
    expect_identical(embedded[["SCT"]], object[["SCT"]])
    # The same numbers as from the assay itself, also where the class of the other is lost.
    genes <- embedded[["scrae"]]@misc$genes
    expected <- quick(object, assay = "RNA", features = genes)[["scrae"]]@cell.embeddings
    expect_identical(embedded[["scrae"]]@cell.embeddings, expected)
    plain <- object
    corrected <- SeuratObject::CreateAssayObject(raw_counts(object, "SCT"))
    SeuratObject::Key(corrected) <- "sct_"
    SeuratObject::DefaultAssay(plain) <- "RNA"
    plain[["SCT"]] <- NULL
    plain[["SCT"]] <- corrected
    SeuratObject::DefaultAssay(plain) <- "SCT"
    expect_identical(scRAE:::seurat_source(plain, "SCT", "counts", FALSE)$assay, "RNA")
    scored <- FindOutliersSCRAE(embedded, verbose = FALSE, threads = 1)
    SeuratObject::DefaultAssay(embedded) <- "RNA"
    expect_identical(scored$scrae_outlier, FindOutliersSCRAE(embedded, verbose = FALSE, threads = 1)$scrae_outlier)
    SeuratObject::DefaultAssay(plain) <- "SCT"
    plain[["RNA"]] <- NULL
    expect_error(RunSCRAE(plain), "the assay 'RNA' with the raw ones is not in the object")
    sce <- Seurat::as.SingleCellExperiment(object)
    expect_error(RunSCRAE(sce), "SCTransform\\(\\) has corrected.*altexp = \"RNA\"", class = "scrae_counts_error")
})

test_that("another assay can be named, and a wrong one names the nearest", {
    object <- pbmc_small()
    proteins <- raw_counts(object)[1:40, ]
    proteins[1, ] <- proteins[1, ] + 1
    object[["ADT"]] <- SeuratObject::CreateAssayObject(proteins)
    adt <- quick(object, assay = "ADT", features = "all", reduction.name = "adt.scrae",
        reduction.key = "adtscrae_"
    )
    expect_equal(adt[["adt.scrae"]]@assay.used, "ADT")
    expect_equal(length(adt[["adt.scrae"]]@misc$genes), 40L)
    expect_error(RunSCRAE(object, assay = "ATD"), "no assay 'ATD'; did you mean 'ADT'")
})

test_that("gene names that Seurat has rewritten are found", {
    counts <- made_counts()
    rownames(counts) <- sub("gene", "gene_", rownames(counts))
    object <- suppressWarnings(SeuratObject::CreateSeuratObject(counts))
    expect_equal(rownames(object)[1], "gene-1")
    chosen <- quick(object, features = paste0("gene_", 1:12))
    expect_equal(chosen[["scrae"]]@misc$genes, paste0("gene-", 1:12))
    # A query that still has the old names is matched to them.
    mapped <- PredictSCRAE(counts, model = chosen, verbose = FALSE, threads = 1)
    expect_equal(mapped[, ], chosen[["scrae"]]@cell.embeddings[, ], tolerance = 1e-5)
})
