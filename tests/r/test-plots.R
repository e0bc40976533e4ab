# Pictures of cells by the functions that users of each kind of object know.

drawn_by <- function(plot) ggplot2::layer_data(plot, 1)

umap_seurat <- function() {
    object <- pbmc_small()
    axes <- matrix(seq_len(160) / 10, 80, 2, dimnames = list(colnames(object), c("UMAP_1", "UMAP_2")))
    object[["umap"]] <- SeuratObject::CreateDimReducObject(axes, key = "UMAP_", assay = "RNA")
    object$depth <- as.numeric(seq_len(80))
    object$plate <- factor(seq_len(80) %% 24)
    object
}

test_that("a Seurat object is drawn by DimPlot and FeaturePlot", {
    skip_unless_installed("Seurat", "patchwork")
    object <- umap_seurat()
    drawn <- plotSCRAE(object, "letter.idents")
    axes <- SeuratObject::Embeddings(object, "umap")
    expect_equal(nrow(drawn_by(drawn)), 80)
    expect_setequal(drawn_by(drawn)$x, axes[, 1])
    expect_equal(length(unique(drawn_by(drawn)$colour)), 2)
    expect_equal(length(unique(drawn_by(plotSCRAE(object, "plate", label = FALSE))$colour)), 24)
    numbers <- plotSCRAE(object, "depth")
    expect_s3_class(numbers$scales$get_scales("colour"), "ScaleContinuous")
    several <- plotSCRAE(object, c("letter.idents", "depth"), features = c("MS4A1", "CD79B"), ncol = 2)
    expect_s3_class(several, "patchwork")
    for (i in seq_len(4)) expect_equal(nrow(drawn_by(several[[i]])), 80)
    expect_error(plotSCRAE(object, "letter"), "object@meta.data has no column 'letter'")
    expect_error(plotSCRAE(object, features = "MS4A"), "no gene 'MS4A'; did you mean 'MS4A1'")
    expect_error(plotSCRAE(object, reduction = "tsn"), "no reduction 'tsn'")
    object[["umap"]] <- NULL
    expect_error(plotSCRAE(object, reduction = "umap"), 'RunUMAP\\(object, reduction = "scrae", dims = 1:30\\) adds it')
})

test_that("a SingleCellExperiment is drawn by scater, and clusters are what is drawn where nothing is named", {
    skip_unless_installed("scater", "SingleCellExperiment")
    sce <- quick(made_sce(), features = "all")
    embedding <- SingleCellExperiment::reducedDim(sce, "SCRAE")
    drawn <- plotSCRAE(sce, "batch")
    expect_equal(drawn_by(drawn)[c("x", "y")], data.frame(x = embedding[, 1], y = embedding[, 2]), ignore_attr = TRUE)
    expect_equal(length(unique(drawn_by(drawn)$colour)), 2)
    gene <- plotSCRAE(sce, features = "gene3")
    shown <- drawn_by(gene)
    counts <- SummarizedExperiment::assay(sce)["gene3", ]
    expect_equal(length(unique(shown$colour)), length(unique(counts)))
    sce$plate <- factor(seq_len(60) %% 25)
    expect_equal(length(unique(drawn_by(plotSCRAE(sce, "plate"))$colour)), 25)
    clustered <- ClusterSCRAE(sce, level = 2, verbose = FALSE, threads = 1)
    expect_equal(length(unique(drawn_by(plotSCRAE(clustered))$colour)), 2)
    expect_error(plotSCRAE(sce, reduction = "UMAP"), 'scater::runUMAP\\(object, dimred = "SCRAE"\\) adds it')
    expect_error(plotSCRAE(made_sce()), "holds no trained scRAE model")
    expect_error(plotSCRAE(made_counts()), "not an object of class 'dgCMatrix'")
})
