# Clusters without a number of clusters, and the picture of them.

# Each call starts a process, so answers that several tests look at are asked for once.

# Three types of made cells, eight genes high in each, in two batches.
three_types <- function() {
    sce <- made_sce(40, 180)
    sce$type <- rep(c("B cell", "T cell", "NK cell"), c(80, 60, 40))
    counts <- as.matrix(SummarizedExperiment::assay(sce))
    set.seed(4)
    high <- outer(rep(unique(sce$type), each = 8), sce$type, "==")
    counts[17:40, ] <- stats::rpois(24 * 180, ifelse(high, 9, 1))
    SummarizedExperiment::assay(sce) <- methods::as(counts, "CsparseMatrix")
    sce
}

as_seurat <- function(sce) {
    skip_unless_installed("SeuratObject")
    SeuratObject::CreateSeuratObject(SummarizedExperiment::assay(sce),
        meta.data = as.data.frame(SummarizedExperiment::colData(sce))
    )
}

one_to_one <- function(clusters, types) {
    table <- table(as.character(clusters), types)
    all(rowSums(table > 0) == 1) && all(colSums(table > 0) == 1)
}

trained_sce <- local({
    sce <- NULL
    function() {
        if (is.null(sce)) sce <<- quick(three_types(), features = "all", max_epochs = 10)
        sce
    }
})

trained_seurat <- local({
    object <- NULL
    function() {
        if (is.null(object)) object <<- quick(as_seurat(three_types()), features = "all", max_epochs = 10)
        object
    }
})

clustered_sce <- local({
    sce <- NULL
    function() {
        if (is.null(sce)) sce <<- ClusterSCRAE(trained_sce(), verbose = FALSE, threads = 1)
        sce
    }
})

clustered_seurat <- local({
    object <- NULL
    function() {
        if (is.null(object)) object <<- ClusterSCRAE(trained_seurat(), verbose = FALSE, threads = 1)
        object
    }
})

test_that("what parts all types in the same way is told in R's words and joined", {
    set.seed(5)
    of_type <- rep(1:3, each = 120)
    treated <- rep(c(FALSE, TRUE), 180)
    means <- matrix(1, 40, 360)
    for (type in 1:3) means[10 * (type - 1) + 1:10, of_type == type] <- 12
    means[31:35, treated] <- 10
    counts <- matrix(stats::rpois(40 * 360, means), 40, 360)
    dimnames(counts) <- list(paste0("Gene", 1:40), paste0("Cell", 1:360))
    embedding <- stats::prcomp(t(log1p(counts)), rank. = 10)$x
    expect_warning(
        found <- ClusterSCRAE(counts, embedding, verbose = FALSE, threads = 1),
        "clusters 0, 1, 2 hold groups .* level = \"fine\" keeps them apart, and group.by.vars takes"
    )
    expect_true(one_to_one(found$clusters, of_type))
    factors <- attr(found, "scrae_clusters")$factors
    expect_equal(factors[c("factor", "clusters")], data.frame(factor = "1", clusters = "0, 1, 2"))
    expect_equal(factors$n_cells, 180)
    genes <- strsplit(unlist(factors[c("genes", "genes_other")]), ", ")
    expect_true(any(vapply(genes, setequal, TRUE, paste0("Gene", 31:35))))
})

test_that("a Seurat object gets clusters, confidence, identities and tables, and is otherwise the same", {
    before <- trained_seurat()
    object <- clustered_seurat()
    expect_true(one_to_one(object$scrae_clusters, object$type))
    expect_equal(levels(object$scrae_clusters), c("0", "1", "2"))
    expect_identical(SeuratObject::Idents(object), object$scrae_clusters)
    expect_true(all(object$scrae_cluster_confidence >= 0 & object$scrae_cluster_confidence <= 1))
    told <- SeuratObject::Misc(object, "scrae_clusters")
    expect_equal(names(told), c("clusters", "tree", "factors", "params"))
    expect_equal(told$clusters$cluster, levels(object$scrae_clusters))
    expect_equal(told$clusters$n_cells, as.vector(table(object$scrae_clusters)))
    expect_true(all(told$clusters$stability > 0.75 & told$clusters$separation > 1.25))
    of_genes <- strsplit(told$clusters$genes, ", ")
    expect_true(all(unlist(of_genes) %in% rownames(object)))
    expect_equal(sum(told$tree$kept_apart), 2)
    expect_true(all(grepl("is at least 1.25", told$tree$reason[told$tree$kept_apart])))
    expect_equal(told$params[c("level", "resolution", "seed.use")], list(level = "default", resolution = 1, seed.use = 42))

    expect_match(setdiff(names(object@commands), names(before@commands)), "^ClusterSCRAE")
    object@meta.data[c("scrae_clusters", "scrae_cluster_confidence")] <- NULL
    object@commands <- before@commands
    object@misc <- before@misc
    SeuratObject::Idents(object) <- SeuratObject::Idents(before)
    expect_identical(object, before)
})

test_that("a SingleCellExperiment gets columns and tables, and is otherwise the same", {
    before <- trained_sce()
    sce <- clustered_sce()
    expect_true(one_to_one(sce$scrae_clusters, sce$type))
    expect_s3_class(sce$scrae_clusters, "factor")
    expect_equal(names(S4Vectors::metadata(sce)$scrae_clusters), c("clusters", "tree", "factors", "params"))
    # The same counts, genes and seed as in the Seurat object.
    object <- clustered_seurat()
    expect_identical(sce$scrae_clusters, unname(object$scrae_clusters))
    expect_identical(sce$scrae_cluster_confidence, unname(object$scrae_cluster_confidence))
    expect_identical(
        S4Vectors::metadata(sce)$scrae_clusters$clusters, SeuratObject::Misc(object, "scrae_clusters")$clusters
    )
    SummarizedExperiment::colData(sce)[c("scrae_clusters", "scrae_cluster_confidence")] <- NULL
    S4Vectors::metadata(sce)$scrae_clusters <- NULL
    expect_identical(sce, before)
})

test_that("a matrix and its embedding give a table of the same clusters", {
    sce <- three_types()
    counts <- SummarizedExperiment::assay(sce)
    embedding <- quick(counts, features = "all", max_epochs = 10)
    found <- ClusterSCRAE(counts, embedding, verbose = FALSE, threads = 1)
    expected <- clustered_sce()
    expect_equal(names(found), c("clusters", "confidence"))
    expect_equal(rownames(found), colnames(counts))
    expect_identical(found$clusters, expected$scrae_clusters)
    expect_identical(found$confidence, expected$scrae_cluster_confidence)
    expect_equal(attr(found, "scrae_clusters")$tree, S4Vectors::metadata(expected)$scrae_clusters$tree)
    expect_error(ClusterSCRAE(counts), "embedding <- RunSCRAE(counts), then ClusterSCRAE(counts, embedding)", fixed = TRUE)
    expect_error(ClusterSCRAE(counts[, 180:1], embedding), "not those of the matrix in the same order.*'cell1', there 'cell180'")
    expect_error(ClusterSCRAE(counts[, -1], embedding), "the embedding has 180 cells, and the matrix has 179")
    embedding[3:4, 2] <- c(NA, Inf)
    expect_error(ClusterSCRAE(counts, embedding), "missing or infinite values in 2 of 180 cells")
})

test_that("levels are nested, numbers of clusters are kept, and a resolution has an effect", {
    sce <- trained_sce()
    clusters <- function(...) ClusterSCRAE(sce, ..., verbose = FALSE, threads = 1)$scrae_clusters
    fine <- clusters(level = "fine", resolution = 4)
    expect_gt(nlevels(fine), 3)
    expect_true(all(rowSums(table(fine, clustered_sce()$scrae_clusters) > 0) == 1))
    expect_equal(nlevels(clusters(resolution = 0.01)), 1L)
    expect_error(clusters(level = 170), "level = 170 asks for more clusters than there are.*fall into [0-9]+ groups",
        class = "scrae_too_many_clusters"
    )
})

test_that("what cannot be clustered is refused before Python starts", {
    # There is no Python at all.
    before <- options(scrae.python = "/nowhere/python")
    on.exit(options(before))
    of_user <- as_seurat(three_types())
    expect_error(ClusterSCRAE(of_user), "has no embedding 'scrae': call RunSCRAE\\(object\\) first$", class = "scrae_no_embedding")
    sce <- three_types()
    expect_error(ClusterSCRAE(sce), "has no embedding 'SCRAE': call RunSCRAE\\(object\\) first$")
    SingleCellExperiment::reducedDim(sce, "PCA") <- matrix(0, 180, 2)
    expect_error(ClusterSCRAE(sce), "or name another with name \\(there are: 'PCA'\\)")
    expect_error(ClusterSCRAE(methods::as(sce, "SummarizedExperiment")), "no place for an embedding")
    expect_error(ClusterSCRAE(1:3), "not an object of class 'integer'")

    sce <- trained_sce()
    object <- trained_seurat()
    expect_error(ClusterSCRAE(object, level = "finest"), "level must be \"broad\", \"default\", \"fine\" or a number")
    expect_error(ClusterSCRAE(object, level = 0), "a whole number of at least 1, not 0")
    expect_error(ClusterSCRAE(object, level = 2.5), "not 2.5")
    expect_error(ClusterSCRAE(sce, level = c("broad", "fine")), "level must be")
    expect_error(ClusterSCRAE(sce, resolution = 0), "resolution must be above 0, not 0")
    expect_error(ClusterSCRAE(sce, resolution = "high"), "resolution must be one number")
    expect_error(ClusterSCRAE(sce, rare = "yes"), "rare must be TRUE or FALSE")
    expect_error(ClusterSCRAE(sce, seed.use = -1), "seed.use must be a whole number of at least 0")
    expect_error(ClusterSCRAE(sce, group.by.vars = "bach"), "no column 'bach'; did you mean 'batch'")
    expect_error(ClusterSCRAE(sce, group.by.vars = c("batch", "type")), "group.by.vars takes the name of one column")
    expect_error(ClusterSCRAE(object, reduction = "scra"), "has no embedding 'scra'")
    expect_error(ClusterSCRAE(sce, levle = "fine"), "did you mean 'level'")
    expect_error(ClusterSCRAE(sce, n_latent = 3), "there is no argument 'n_latent'")

    object$scrae_clusters <- "mine"
    expect_error(ClusterSCRAE(object), "column 'scrae_clusters' of object@meta.data exists and is not the work",
        class = "scrae_column_of_user"
    )
    sce$scrae_cluster_confidence <- 1
    expect_error(ClusterSCRAE(sce), "column 'scrae_cluster_confidence' of colData\\(object\\) exists")
})

test_that("clusters of an earlier call, and of a model that clusters, are replaced", {
    again <- expect_silent(ClusterSCRAE(clustered_seurat(), level = 2, verbose = FALSE, threads = 1))
    expect_equal(nlevels(again$scrae_clusters), 2L)
    expect_equal(SeuratObject::Misc(again, "scrae_clusters")$params$level, 2)
    own <- quick(as_seurat(three_types()), features = "all", preset = "scdeepcluster", n_clusters = 5,
        pretraining_epochs = 1
    )
    expect_false("scrae_cluster_confidence" %in% names(own[[]]))
    own <- ClusterSCRAE(own, level = 2, verbose = FALSE, threads = 1)
    expect_equal(nlevels(own$scrae_clusters), 2L)
})

test_that("the batch of the training is the batch of the clusters, unless another is named", {
    sce <- quick(three_types(), features = "all", group.by.vars = "batch")
    clustered <- ClusterSCRAE(sce, verbose = FALSE, threads = 1)
    expect_equal(S4Vectors::metadata(clustered)$scrae_clusters$params$group.by.vars, "batch")
    expect_equal(S4Vectors::metadata(clustered)$scrae_clusters$clusters$batch, rep("", nlevels(clustered$scrae_clusters)))
    sce$batch <- NULL
    expect_error(ClusterSCRAE(sce, verbose = FALSE), "trained with batches in column 'batch', which colData\\(object\\) does not have")
    sce$plate <- ifelse(sce$type == "T cell", "a", "b")
    other <- ClusterSCRAE(sce, group.by.vars = "plate", verbose = FALSE, threads = 1)
    expect_true("a" %in% S4Vectors::metadata(other)$scrae_clusters$clusters$batch)
})

test_that("another embedding and cells without names can be clustered", {
    sce <- trained_sce()
    SingleCellExperiment::reducedDim(sce, "copy") <- SingleCellExperiment::reducedDim(sce, "SCRAE")
    colnames(sce) <- NULL
    found <- ClusterSCRAE(sce, name = "copy", verbose = FALSE, threads = 1)
    expect_true(one_to_one(found$copy_clusters, sce$type))
    object <- as_seurat(three_types())
    query <- PredictSCRAE(object, model = trained_seurat(), verbose = FALSE, threads = 1)
    mapped <- ClusterSCRAE(query, col.name = "types", verbose = FALSE, threads = 1)
    expect_true(one_to_one(mapped$types, object$type))
    expect_setequal(setdiff(names(mapped[[]]), names(query[[]])), c("types", "type_confidence"))
    expect_equal(SeuratObject::Misc(mapped, "types")$params$embedding, "scrae")
    expect_error(ClusterSCRAE(mapped, col.name = c("a", "b")), "col.name takes the name of one column")
})

test_that("clusters are drawn: cells, tree and stability", {
    skip_unless_installed("patchwork")
    object <- clustered_seurat()
    drawn <- plotClustersSCRAE(object)
    expect_s3_class(drawn, "patchwork")
    cells <- ggplot2::layer_data(drawn[[1]], 1)
    expect_equal(cbind(cells$x, cells$y), unname(SeuratObject::Embeddings(object, "scrae")[, 1:2]))
    expect_equal(length(unique(cells$colour)), 3L)
    names <- ggplot2::layer_data(drawn[[1]], 3)
    expect_equal(as.character(names$label), levels(object$scrae_clusters))
    expect_equal(names$x[1], stats::median(cells$x[object$scrae_clusters == "0"]))
    told <- SeuratObject::Misc(object, "scrae_clusters")
    bars <- ggplot2::layer_data(drawn[[3]], 1)
    expect_equal(bars$x[order(abs(bars$y))], told$clusters$stability)
    expect_equal(unique(bars$fill[order(abs(bars$y))]), unique(cells$colour[match(levels(object$scrae_clusters), object$scrae_clusters)]))

    sce <- clustered_sce()
    SingleCellExperiment::reducedDim(sce, "UMAP") <- matrix(seq_len(360), 180)
    umap <- plotClustersSCRAE(sce)[[1]]
    expect_equal(ggplot2::layer_data(umap, 1)$x, seq_len(180))
    expect_equal(umap$labels[c("x", "y", "title")], list(x = "UMAP 1", y = "UMAP 2", title = "3 clusters of 180 cells"))
    expect_equal(plotClustersSCRAE(sce, reduction = "SCRAE")[[1]]$labels$x, "SCRAE_1")
    # One cluster has no tree.
    one <- S4Vectors::metadata(sce)$scrae_clusters
    one$clusters <- one$clusters[1, ]
    one$tree$kept_apart <- FALSE
    S4Vectors::metadata(sce)$scrae_clusters <- one
    sce$scrae_clusters <- factor(rep("0", 180))
    grDevices::pdf(NULL) # otherwise R opens a file for the sizes of letters
    expect_silent(ggplot2::ggplotGrob(plotClustersSCRAE(sce)[[2]]))
    grDevices::dev.off()

    expect_error(plotClustersSCRAE(trained_sce()), "no clusters: call ClusterSCRAE\\(object\\) first")
    expect_error(plotClustersSCRAE(object, "scrae_cluster"), "no clusters 'scrae_cluster'; did you mean 'scrae_clusters'")
    expect_error(plotClustersSCRAE(object, reduction = "tsne"), "no reduction 'tsne'")
    expect_error(plotClustersSCRAE(made_counts()), "not an object of class 'dgCMatrix'")
})

test_that("the tree is drawn as its joins say", {
    joins <- data.frame(node = c(20, 18), left = c(18, 3), right = c(9, 5), n_left = c(30, 10), n_right = c(50, 20),
        height = c(11, 2)
    )
    # Cluster 9 is larger than 18, and 5 than 3: rows 1, 2 and 3. Heights end at 8.
    expect_equal(scRAE:::tree_lines(joins), data.frame(
        x = c(0, 0, 2, 0, 2, 8), y = c(2, 3, 2, 1, 2.5, 1), xend = c(2, 2, 2, 8, 8, 8), yend = c(2, 3, 3, 1, 2.5, 2.5)
    ))
})
