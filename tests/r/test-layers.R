# Layers of Seurat v5 that hold some of the genes or of the cells (make test-r45 runs this).

skip_unless_installed("SeuratObject")
skip_if(utils::packageVersion("SeuratObject") < "5", "needs SeuratObject 5")

of_genes <- function(numbers) paste0("gene", numbers)

# Counts of genes 11 to 40 of 50 that the assay has, the genes in another order.
fewer_genes <- function() {
    counts <- made_counts(50)
    object <- SeuratObject::CreateSeuratObject(counts)
    object[["RNA"]]$data <- log1p(counts)
    suppressWarnings(object[["RNA"]]$counts <- NULL)
    SeuratObject::LayerData(object[["RNA"]], "counts") <- counts[40:11, ]
    object
}

# 180 cells, of which an assay "sketch" holds every third.
sketched <- function() {
    counts <- made_counts(30, 180)
    object <- SeuratObject::CreateSeuratObject(counts)
    object$donor <- rep(c("x", "y"), 90)
    object$score <- 1:180 / 10
    object$type <- rep(c("B", "T"), each = 90)
    object[["sketch"]] <- SeuratObject::CreateAssay5Object(counts = counts[, seq(3, 180, 3)])
    SeuratObject::DefaultAssay(object) <- "sketch"
    object
}

test_that("genes of a layer that lacks some are found by their names", {
    object <- fewer_genes()
    genes <- of_genes(20:35)
    expected <- quick(made_counts(50)[11:40, ], features = genes)
    embedded <- quick(object, features = genes)
    expect_identical(embedded[["scrae"]]@misc$genes, genes)
    expect_identical(
        unname(SeuratObject::Embeddings(embedded, "scrae")[, ]), unname(expected[, ])
    )
    expect_identical(quick(object, features = "all")[["scrae"]]@misc$genes, of_genes(11:40))
    expect_warning(
        embedded <- quick(object, features = of_genes(1:20)),
        "10 of 20 chosen genes are not in assay 'RNA', layer 'counts'"
    )
    expect_identical(embedded[["scrae"]]@misc$genes, of_genes(11:20))
    mapped <- suppressWarnings(
        PredictSCRAE(object, model = quick(made_counts(50), features = of_genes(5:30)), verbose = FALSE)
    )
    expect_equal(dim(mapped[["scrae"]]), c(60L, 3L))
})

test_that("a wrong value in one of several layers is named with its own gene and cell", {
    object <- merge(
        SeuratObject::CreateSeuratObject(made_counts()[, 1:30]),
        SeuratObject::CreateSeuratObject(made_counts()[30:1, 31:60])
    )
    layer <- SeuratObject::Layers(object, search = "counts")[2]
    counts <- SeuratObject::LayerData(object, layer)
    counts["gene7", "cell33"] <- 0.5
    SeuratObject::LayerData(object, layer) <- counts
    expect_error(RunSCRAE(object, features = "all"), "the first: 0.5, gene 'gene7', cell 'cell33'")
})

test_that("cells that are in several layers are refused", {
    object <- SeuratObject::CreateSeuratObject(made_counts())
    SeuratObject::LayerData(object, "counts.spliced") <- made_counts()
    SeuratObject::LayerData(object, "counts.unspliced") <- made_counts()
    suppressWarnings(object[["RNA"]]$counts <- NULL)
    expect_error(RunSCRAE(object), "are in several layers of assay 'RNA' \\('counts.spliced', 'counts.unspliced'\\)")
    embedded <- quick(object, layer = "counts.spliced", features = "all")
    expect_identical(unname(SeuratObject::Embeddings(embedded, "scrae")), unname(trained()[, ]))
})

test_that("a layer of which a subset has one cell, which SeuratObject before 5.4 cannot read, is read", {
    object <- SeuratObject::CreateSeuratObject(made_counts())
    object$donor <- rep(c("z", "x", "y"), c(2, 28, 30))
    object[["RNA"]] <- split(object[["RNA"]], f = object$donor)
    read_as_it_is <- function(part) {
        read <- scRAE:::read_counts(scRAE:::seurat_source(part, "RNA", "counts", FALSE))
        expect_equal(as.matrix(read), as.matrix(made_counts()[, -1]))
        expect_equal(dim(quick(part, features = "all")[["scrae"]]), c(59L, 3L))
    }
    part <- object[, -1]
    assay <- part[["RNA"]]
    layer <- methods::slot(assay, "layers")$counts.z
    expect_identical(is.null(dim(layer)), utils::packageVersion("SeuratObject") < "5.4")
    read_as_it_is(part)
    # As earlier versions leave it, whichever reads it now.
    methods::slot(assay, "layers")$counts.z <- as.numeric(as.matrix(layer))
    methods::slot(part, "assays")$RNA <- assay
    expect_null(dim(methods::slot(part[["RNA"]], "layers")$counts.z))
    read_as_it_is(part)
})

test_that("an assay of some cells gives an embedding of these cells, with their metadata", {
    object <- sketched()
    cells <- colnames(object[["sketch"]])
    expect_message(
        embedded <- quick(object, features = "all", group.by.vars = "donor", vars.to.regress = "score", verbose = TRUE),
        "120 of 180 cells of the object have no counts in assay 'sketch', layer 'counts'"
    )
    expect_identical(SeuratObject::Cells(embedded[["scrae"]]), cells)
    expected <- quick(SeuratObject::LayerData(object[["sketch"]], "counts"),
        features = "all", group.by.vars = "donor", vars.to.regress = "score", meta.data = object[[]]
    )
    expect_identical(unname(SeuratObject::Embeddings(embedded, "scrae")), unname(expected[, ]))
    facts <- scRAE:::describe_model(embedded[["scrae"]]@misc$model)
    expect_equal(facts$covariate_scales$score[1], mean(seq(3, 180, 3) / 10))

    scored <- FindOutliersSCRAE(embedded, verbose = FALSE)
    expect_identical(colnames(scored)[!is.na(scored$scrae_outlier)], cells)
    labelled <- LabelSCRAE(embedded, "type", verbose = FALSE)
    expect_identical(colnames(labelled)[!is.na(labelled$scrae_label)], cells)
    clustered <- ClusterSCRAE(embedded, verbose = FALSE)
    expect_identical(colnames(clustered)[!is.na(clustered$scrae_clusters)], cells)
    expect_identical(
        as.character(SeuratObject::Idents(clustered)), as.character(clustered$scrae_clusters)
    )
    denoised <- DenoiseSCRAE(embedded, verbose = FALSE)
    expect_identical(colnames(denoised[["denoised"]]), cells)
    whole <- PredictSCRAE(embedded,
        model = embedded, assay = "RNA", reduction.name = "whole", reduction.key = "whole_", verbose = FALSE
    )
    expect_equal(
        unname(SeuratObject::Embeddings(whole, "whole")[cells, ]),
        unname(SeuratObject::Embeddings(embedded, "scrae")), tolerance = 1e-4
    )
    markers <- FindMarkersSCRAE(embedded, "type", verbose = FALSE)
    expect_setequal(markers$group, c("B", "T"))
    skip_unless_installed("patchwork")
    drawn <- plotClustersSCRAE(clustered)
    expect_equal(nrow(ggplot2::layer_data(drawn[[1]], 1)), 60L)
})

test_that("a split sketch, and one layer of several, are embedded with the cells that they have", {
    object <- sketched()
    object[["sketch"]] <- split(object[["sketch"]], f = object$donor[colnames(object[["sketch"]])])
    embedded <- quick(object, features = "all")
    expect_identical(SeuratObject::Cells(embedded[["scrae"]]), colnames(object[["sketch"]]))
    expect_identical(
        SeuratObject::Embeddings(embedded, "scrae"),
        SeuratObject::Embeddings(quick(sketched(), features = "all"), "scrae")
    )
    one <- quick(object, features = "all", layer = "counts.x")
    expect_identical(
        SeuratObject::Cells(one[["scrae"]]),
        intersect(colnames(object[["sketch"]]), colnames(object)[object$donor == "x"])
    )
    expect_equal(sum(!is.na(ClusterSCRAE(one, verbose = FALSE)$scrae_clusters)), 30L)
})
