# The neighbour graph that clusterings of Seurat and igraph work on.

types_of_cells <- rep(c("B cell", "T cell", "NK cell"), c(80, 60, 40))

# An embedding in which three types lie apart, as it stands in an object.
three_groups <- function() {
    set.seed(4)
    centres <- matrix(stats::rnorm(3 * 5, sd = 8), 3, dimnames = list(unique(types_of_cells)))
    embedding <- centres[types_of_cells, ] + stats::rnorm(180 * 5)
    dimnames(embedding) <- list(paste0("cell", 1:180), paste0("scrae_", 1:5))
    embedding
}

with_embedding <- function() {
    sce <- made_sce(30, 180)
    SingleCellExperiment::reducedDim(sce, "SCRAE") <- three_groups()
    sce
}

seurat_with_embedding <- function() {
    skip_unless_installed("SeuratObject")
    object <- SeuratObject::CreateSeuratObject(made_counts(30, 180))
    object[["scrae"]] <- SeuratObject::CreateDimReducObject(three_groups(), key = "scrae_", assay = "RNA")
    object
}

connected <- function(object, ...) NeighborsSCRAE(object, ..., verbose = FALSE, threads = 1)

# Share of the neighbours of each pair of cells that both have.
shared_by_hand <- function(embedding, k) {
    near <- t(apply(as.matrix(stats::dist(embedding)), 1, function(apart) rank(apart, ties.method = "first") <= k)) * 1
    shared <- near %*% t(near)
    weight <- shared / (2 * k - shared)
    diag(weight) <- 0
    weight[weight < 1 / 15] <- 0
    unname(weight)
}

test_that("a matrix gives the graph of shared neighbours, by the square root of the number of cells or as asked", {
    embedding <- three_groups()
    graph <- connected(embedding, k.param = 9)
    expect_s4_class(graph, "dgCMatrix")
    expect_equal(dimnames(graph), list(rownames(embedding), rownames(embedding)))
    expect_equal(unname(as.matrix(graph)), shared_by_hand(embedding, 9))
    expect_identical(connected(embedding, n_neighbors = 9), graph)
    expect_equal(unname(as.matrix(connected(embedding))), shared_by_hand(embedding, 20))
    expect_message(NeighborsSCRAE(with_embedding(), threads = 1), "180 cells connected by 20 neighbours each")
})

test_that("a Seurat object gets a graph of its assay that FindClusters works on, and is otherwise the same", {
    before <- seurat_with_embedding()
    object <- connected(before)
    graph <- object[["scrae_snn"]]
    expect_s4_class(graph, "Graph")
    expect_equal(SeuratObject::DefaultAssay(graph), "RNA")
    expect_equal(unname(as.matrix(graph)), shared_by_hand(three_groups(), 20))
    expect_equal(rownames(graph), colnames(object))
    expect_equal(names(object@commands), "NeighborsSCRAE.RNA")
    expect_equal(object@commands[[1]]@params$seed.use, 42)
    cleaned <- object
    cleaned@graphs <- before@graphs
    cleaned@commands <- before@commands
    cleaned@misc <- before@misc
    expect_identical(cleaned, before)

    skip_unless_installed("Seurat")
    for (resolution in c(0.8, 1)) {
        # Seurat 5 tells of packages on attaching some of its own.
        found <- suppressMessages(
            Seurat::FindClusters(object, graph.name = "scrae_snn", resolution = resolution, verbose = FALSE)
        )
        clusters <- as.character(SeuratObject::Idents(found))
        expect_true(all(rowSums(table(clusters, types_of_cells) > 0) == 1))
        expect_true(paste0("scrae_snn_res.", resolution) %in% colnames(found[[]]))
    }
})

test_that("a SingleCellExperiment gets pairs that igraph takes and that follow the cells", {
    before <- with_embedding()
    sce <- connected(before)
    graph <- SingleCellExperiment::colPair(sce, "scrae_snn", asSparse = TRUE)
    expect_equal(as.matrix(graph), shared_by_hand(three_groups(), 20))
    part <- SingleCellExperiment::colPair(sce[, 21:100], "scrae_snn", asSparse = TRUE)
    expect_equal(as.matrix(part), as.matrix(graph)[21:100, 21:100])
    cleaned <- sce
    SingleCellExperiment::colPair(cleaned, "scrae_snn") <- NULL
    S4Vectors::metadata(cleaned) <- S4Vectors::metadata(before)
    expect_identical(cleaned, before)
    unnamed <- before
    colnames(unnamed) <- NULL
    expect_identical(
        SingleCellExperiment::colPair(connected(unnamed), "scrae_snn"), SingleCellExperiment::colPair(sce, "scrae_snn")
    )
    skip_unless_installed("igraph")
    edges <- igraph::graph_from_adjacency_matrix(graph, mode = "undirected", weighted = TRUE)
    clusters <- igraph::membership(igraph::cluster_louvain(edges))
    expect_true(all(rowSums(table(as.character(clusters), types_of_cells) > 0) == 1))
})

test_that("names are chosen, an earlier graph is replaced, and one of somebody else is not", {
    object <- connected(seurat_with_embedding())
    again <- connected(object, k.param = 9)
    expect_equal(unname(as.matrix(again[["scrae_snn"]])), shared_by_hand(three_groups(), 9))
    expect_true("mine" %in% names(connected(object, graph.name = "mine")@graphs))

    taken <- seurat_with_embedding()
    taken[["scrae_snn"]] <- object[["scrae_snn"]]
    expect_error(connected(taken), "graph.name = \"scrae_snn\": the object already contains a graph 'scrae_snn' that is not the work",
        class = "scrae_name_taken"
    )
    expect_error(connected(object, graph.name = "RNA"), "already contains an assay 'RNA'", class = "scrae_name_taken")
    expect_error(connected(object, graph.name = "scrae"), "already contains a reduction 'scrae'", class = "scrae_name_taken")
    expect_error(connected(object, graph.name = "nCount_RNA"), "a column 'nCount_RNA'", class = "scrae_name_taken")

    sce <- connected(with_embedding())
    expect_identical(connected(sce), sce)
    other <- with_embedding()
    SingleCellExperiment::colPair(other, "scrae_snn") <- SingleCellExperiment::colPair(sce, "scrae_snn")
    expect_error(connected(other), "pairs of cells 'scrae_snn' that is not the work of an earlier call.*colPair\\(object, \"scrae_snn\"\\) <- NULL",
        class = "scrae_name_taken"
    )
    named <- connected(other, graph.name = "mine")
    expect_equal(SingleCellExperiment::colPairNames(named), c("scrae_snn", "mine"))
    expect_message(
        scRAE:::outdated_clusters(sce, "SCRAE", TRUE), "the graph 'scrae_snn' is that of the embedding that was replaced"
    )
})

test_that("a reduction of some of the cells gives a graph of these (Seurat 5)", {
    skip_unless_installed("SeuratObject")
    skip_if(utils::packageVersion("SeuratObject") < "5", "Seurat 4 has all cells in every reduction")
    object <- SeuratObject::CreateSeuratObject(made_counts(30, 180))
    cells <- colnames(object)[c(1:50, 81:120, 141:170)]
    part <- SeuratObject::CreateAssay5Object(made_counts(30, 180)[, cells])
    SeuratObject::Key(part) <- "part_"
    object[["part"]] <- part
    object[["scrae"]] <- SeuratObject::CreateDimReducObject(three_groups()[cells, ], key = "scrae_", assay = "part")
    object <- connected(object)
    graph <- object[["scrae_snn"]]
    expect_equal(rownames(graph), cells)
    expect_equal(SeuratObject::DefaultAssay(graph), "part")
    expect_equal(unname(as.matrix(graph)), shared_by_hand(three_groups()[cells, ], 20))
})

test_that("what cannot be connected is refused before Python starts", {
    before <- options(scrae.python = "/nowhere/python")
    on.exit(options(before))
    sce <- with_embedding()
    expect_error(NeighborsSCRAE(made_sce()), "has no embedding 'SCRAE': call RunSCRAE\\(object\\) first$", class = "scrae_no_embedding")
    expect_error(NeighborsSCRAE(made_counts()), "NeighborsSCRAE\\(embedding\\)")
    expect_error(NeighborsSCRAE(sce, k.param = 1), "k.param must be a whole number of at least 2")
    expect_error(NeighborsSCRAE(sce, k = 9), "did you mean 'k.param'")
    expect_error(NeighborsSCRAE(sce, dims = 1:10), "all axes are computed")
    expect_error(NeighborsSCRAE(sce, graph.name = c("a", "b")), "graph.name must be one name")
    expect_error(NeighborsSCRAE(sce, seed.use = -1), "seed.use must be a whole number of at least 0")
    SingleCellExperiment::reducedDim(sce, "SCRAE")[7, 2] <- NA
    expect_error(NeighborsSCRAE(sce), "'SCRAE' has missing or infinite values in 1 of 180 cells", class = "scrae_embedding_not_finite")
    skip_unless_installed("SeuratObject")
    expect_error(NeighborsSCRAE(seurat_with_embedding(), reduction = "scra"), "has no embedding 'scra'")
})
