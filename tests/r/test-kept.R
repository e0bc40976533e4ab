# What stands in an object under some name is kept, unless an earlier call has made it.

skip_unless_installed("SeuratObject", "SingleCellExperiment")

refused <- function(code, words) {
    expect_error(code, words, class = "scrae_name_taken")
}

trained_pbmc <- local({
    object <- NULL
    function() {
        if (is.null(object)) object <<- quick(pbmc_small())
        object
    }
})

test_that("assays, reductions, graphs and columns of a Seurat object are not replaced", {
    object <- trained_pbmc()
    graph <- SeuratObject::as.Graph(Matrix::Matrix(diag(80), sparse = TRUE, dimnames = list(colnames(object), colnames(object))))
    SeuratObject::DefaultAssay(graph) <- "RNA"
    object[["RNA_snn"]] <- graph
    refused(DenoiseSCRAE(object, assay.name = "RNA"), "already contains an assay 'RNA' that is not the work")
    refused(DenoiseSCRAE(object, assay.name = "scrae"), "already contains a reduction 'scrae'")
    refused(DenoiseSCRAE(object, assay.name = "RNA_snn"), "already contains a graph 'RNA_snn'")
    refused(RunSCRAE(object, reduction.name = "pca"), "a reduction 'pca' that is not the work of an earlier call")
    refused(RunSCRAE(object, reduction.name = "RNA"), "already contains an assay 'RNA'")
    refused(RunSCRAE(object, reduction.name = "groups"), "a column 'groups' of cell metadata")
    refused(PredictSCRAE(object, object, reduction.name = "tsne"), "a reduction 'tsne' that is not the work")
    refused(FindOutliersSCRAE(object, col.name = "pca"), "a reduction 'pca'")
    refused(RunSCRAE(object, reduction.name = "mine", reduction.key = "PC_"), "is the key of 'pca'")
    of_user <- function(code, column) {
        expect_error(code, paste0("column '", column, "' of object@meta.data exists"), class = "scrae_column_of_user")
    }
    of_user(FindOutliersSCRAE(object, col.name = "groups"), "groups")
    of_user(ClusterSCRAE(object, col.name = "letter.idents"), "letter.idents")
    object$scrae_label <- "mine"
    of_user(LabelSCRAE(object, "groups"), "scrae_label")
    object$scrae_clusters <- "mine"
    of_user(RunSCRAE(object, preset = "scDeepCluster"), "scrae_clusters")
    SeuratObject::Misc(object, "types") <- "mine"
    refused(ClusterSCRAE(object, col.name = "types"), "an entry 'types' of object@misc")
})

test_that("what an earlier call has made is replaced", {
    object <- trained_pbmc()
    again <- expect_silent(quick(object, seed.use = 1))
    expect_equal(again[["scrae"]]@misc$parameters$random_state, 1L)
    object <- FindOutliersSCRAE(FindOutliersSCRAE(object, verbose = FALSE), verbose = FALSE)
    expect_equal(sum(names(object[[]]) == "scrae_outlier"), 1L)
    object <- DenoiseSCRAE(DenoiseSCRAE(object, verbose = FALSE), verbose = FALSE)
    expect_equal(dim(object[["denoised"]]), c(115L, 80L))
    query <- PredictSCRAE(pbmc_small(), object, verbose = FALSE)
    expect_s4_class(PredictSCRAE(query, again, verbose = FALSE)[["scrae"]], "DimReduc")
})

test_that("a second reduction has a key of its own", {
    object <- expect_silent(quick(trained_pbmc(), reduction.name = "second"))
    expect_equal(object[["second"]]@key, "second_")
    expect_equal(object[["scrae"]]@key, "scrae_")
})

test_that("parts of a SingleCellExperiment are not replaced", {
    sce <- made_sce()
    SingleCellExperiment::reducedDim(sce, "PCA") <- matrix(0, 60, 2)
    SingleCellExperiment::altExp(sce, "ADT") <- made_sce(12)
    S4Vectors::metadata(sce)$study <- "mine"
    refused(RunSCRAE(sce, name = "PCA"), "an embedding 'PCA' that is not the work")
    refused(RunSCRAE(sce, name = "study"), "an entry 'study' of metadata")
    refused(DenoiseSCRAE(sce, trained(), name = "ADT"), "an experiment 'ADT' that is not the work")
    expect_error(
        FindOutliersSCRAE(sce, trained(), name = "batch"), "column 'batch' of colData\\(object\\) exists",
        class = "scrae_column_of_user"
    )
    refused(PredictSCRAE(sce, trained(), name = "PCA"), "an embedding 'PCA' that is not the work")
    mapped <- PredictSCRAE(sce, trained(), verbose = FALSE)
    mapped <- PredictSCRAE(mapped, trained(), verbose = FALSE)
    mapped <- FindOutliersSCRAE(mapped, trained(), verbose = FALSE)
    mapped <- FindOutliersSCRAE(mapped, trained(), verbose = FALSE)
    expect_equal(SingleCellExperiment::reducedDimNames(mapped), c("PCA", "SCRAE"))
    mapped <- DenoiseSCRAE(mapped, trained(), verbose = FALSE)
    mapped <- DenoiseSCRAE(mapped, trained(), verbose = FALSE)
    expect_equal(SingleCellExperiment::altExpNames(mapped), c("ADT", "denoised"))
})

test_that("cells that are mapped by their own model keep it; by another, theirs goes, and it is said", {
    object <- trained_pbmc()
    mapped <- PredictSCRAE(object, model = object, verbose = FALSE)
    expect_identical(mapped[["scrae"]]@misc, object[["scrae"]]@misc)
    expect_equal(
        SeuratObject::Embeddings(mapped, "scrae"), SeuratObject::Embeddings(object, "scrae"), tolerance = 1e-4
    )
    expect_equal(dim(SampleSCRAE(mapped, n = 3, verbose = FALSE)), c(115L, 3L))
    # What was given is not kept a second time in the log of commands.
    log <- mapped@commands[[grep("^PredictSCRAE", names(mapped@commands), value = TRUE)]]
    expect_equal(log@params$model, "a model of 115 genes")
    expect_lt(utils::object.size(log), 20000)
    other <- quick(pbmc_small(), seed.use = 3)
    expect_message(
        mapped <- PredictSCRAE(object, model = other),
        "the model 'scrae' that these cells were trained with goes"
    )
    expect_error(SampleSCRAE(mapped, n = 3), "holds no trained scRAE model")
    sce <- quick(made_sce(), features = "all", seed.use = 3)
    mapped <- PredictSCRAE(sce, model = trained(), verbose = FALSE)
    expect_null(S4Vectors::metadata(mapped)$SCRAE)
    expect_equal(
        unname(SingleCellExperiment::reducedDim(mapped, "SCRAE")), unname(trained()[, ]), tolerance = 1e-4
    )
    expect_identical(S4Vectors::metadata(PredictSCRAE(sce, sce, verbose = FALSE))$SCRAE, S4Vectors::metadata(sce)$SCRAE)
})

test_that("of several models that were put together none is taken for all cells", {
    first <- quick(made_sce(), features = "all")
    second <- made_sce()
    colnames(second) <- paste0("other", 1:60)
    second <- quick(second[, 1:50], features = "all", seed.use = 3)
    both <- BiocGenerics::cbind(first, second)
    words <- "2 models 'SCRAE' that were trained apart \\(on cells 1 to 60, on cells 61 to 110\\)"
    for (call in list(
        function() FindOutliersSCRAE(both), function() DenoiseSCRAE(both), function() SampleSCRAE(both, n = 2),
        function() PredictSCRAE(made_counts(), both), function() ClusterSCRAE(both), function() SaveSCRAE(both, tempfile()),
        function() plotSCRAEHistory(both)
    )) {
        expect_error(call(), words, class = "scrae_several_models")
    }
    trained_anew <- quick(both, features = "all")
    expect_equal(sum(names(S4Vectors::metadata(trained_anew)) == "SCRAE"), 1L)
    expect_equal(scRAE:::find_fit(trained_anew)$summary$n_cells, 110L)
    # Two parts of one object have one model.
    parts <- BiocGenerics::cbind(first[, 1:20], first[, 41:60])
    expect_equal(scRAE:::find_fit(parts), S4Vectors::metadata(first)$SCRAE)
})

test_that("an object that has lost its model in a conversion says so", {
    skip_unless_installed("Seurat")
    sce <- Seurat::as.SingleCellExperiment(trained_pbmc())
    expect_error(FindOutliersSCRAE(sce), "a model does not go with it through .*as.SingleCellExperiment\\(\\)")
    back <- suppressWarnings(Seurat::as.Seurat(sce))
    expect_error(FindOutliersSCRAE(back), "a model does not go with it through .*as.Seurat\\(\\)")
    # What is left can be trained again.
    expect_s3_class(scRAE:::find_fit(quick(sce, features = "all")), "scrae_fit")
})

test_that("clusters of an embedding that is replaced are said to be those of before", {
    object <- ClusterSCRAE(trained_pbmc(), verbose = FALSE)
    before <- object$scrae_clusters
    expect_message(
        again <- quick(object, seed.use = 1, verbose = TRUE),
        "clusters in column 'scrae_clusters' are those of the embedding that was replaced"
    )
    expect_identical(again$scrae_clusters, before)
    expect_true(SeuratObject::Misc(again, "scrae_clusters")$params$replaced)
    again <- ClusterSCRAE(again, verbose = FALSE)
    expect_null(SeuratObject::Misc(again, "scrae_clusters")$params$replaced)
})
