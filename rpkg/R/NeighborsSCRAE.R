#' Neighbour graph for clustering with Seurat or igraph
#'
#' Two cells are connected by the neighbours that they share in the embedding
#' (Jaccard index, from 1/15 to 1). Seurat's `FindNeighbors()` does the same with 20
#' neighbours, however many cells there are. Here the number of neighbours grows with
#' the square root of the number of cells, so that the default resolution of
#' `FindClusters()`, or a resolution of 1, gives about as many clusters as there are
#' types. The same embedding and seed give the same graph in R and in Python
#' (`scrae.tl.neighbors`).
#'
#' @section What is added:
#' Seurat: the `Graph` `scrae_snn`, of the assay that the reduction was computed on, or
#' another one as `graph.name` says. Cluster the cells by it with
#' `FindClusters(object, graph.name = "scrae_snn")`. For a UMAP, Seurat needs no graph:
#' `RunUMAP(object, reduction = "scrae", dims = 1:30)`.
#'
#' SingleCellExperiment: `colPair(object, "scrae_snn")`, pairs of cells with the weight
#' `x`, which follow the cells when some are taken. `colPair(object, "scrae_snn",
#' asSparse = TRUE)` is the matrix that igraph takes (see the example).
#'
#' A graph of that name that is not the work of an earlier call is not replaced.
#'
#' @inheritParams RunSCRAE
#' @param object The object that [RunSCRAE()] returned; for a matrix, the embedding
#'   itself, cells x axes.
#' @param k.param Number of neighbours of each cell, itself among them; NULL: the
#'   square root of the number of cells, from 20 to 100. More neighbours give fewer
#'   clusters.
#' @param assay Assay that the graph belongs to; NULL: the one that the reduction was
#'   computed on.
#' @param reduction.name Name of the reduction that has the embedding.
#' @param name Name of the entry of `reducedDims()` that has the embedding.
#' @param graph.name Name of the graph; NULL: `reduction.name`, or `name` in small
#'   letters, with `_snn`.
#' @param seed.use Seed. It matters above 50,000 cells: the neighbours of each are then
#'   looked for among the 16,000 cells or more of the nearest groups.
#' @param ... `threads`, `in.process` as in [RunSCRAE()].
#' @return The object with the graph. Matrix: the graph, a `dgCMatrix`, cells x cells.
#' @seealso [ClusterSCRAE()], which needs no resolution
#' @examples
#' counts <- matrix(rpois(40 * 30, 2), 30, 40)
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     embedding <- RunSCRAE(counts, features = "all", n.latent = 2,
#'         max.epochs = 2, verbose = FALSE)
#'     graph <- NeighborsSCRAE(embedding, verbose = FALSE)
#'     if (requireNamespace("igraph", quietly = TRUE)) {
#'         graph <- igraph::graph_from_adjacency_matrix(graph,
#'             mode = "undirected", weighted = TRUE
#'         )
#'         table(igraph::membership(igraph::cluster_louvain(graph)))
#'     }
#' }
#' @export
NeighborsSCRAE <- function(object, ...) {
    call <- check_arguments("NeighborsSCRAE", object, match.call(expand.dots = FALSE))
    if (!is.null(call)) {
        return(eval(call))
    }
    UseMethod("NeighborsSCRAE")
}

#' @rdname NeighborsSCRAE
#' @export
NeighborsSCRAE.default <- function(object, k.param = NULL, seed.use = 42,
    verbose = TRUE, ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    if (!is.matrix(object) || !is.numeric(object)) {
        fail(
            "neighbours are looked for in an embedding: embedding <- ",
            "RunSCRAE(counts), then NeighborsSCRAE(embedding)"
        )
    }
    graph <- connect_cells(object, "the embedding", k.param, seed.use, how)$graph
    with_cells(graph, rownames(object))
}

#' @rdname NeighborsSCRAE
#' @export
NeighborsSCRAE.SingleCellExperiment <- function(object, k.param = NULL,
    name = "SCRAE", graph.name = NULL, seed.use = 42, verbose = TRUE, ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    a_name(name, "name")
    known <- SingleCellExperiment::reducedDimNames(object)
    if (!name %in% known) refuse_missing_embedding(name, "name", known)
    graph.name <- graph.name %||% paste0(tolower(name), "_snn")
    check_pair_name(object, graph.name)
    found <- connect_cells(
        as.matrix(SingleCellExperiment::reducedDim(object, name)),
        paste0("the embedding '", name, "'"), k.param, seed.use, how
    )
    SingleCellExperiment::colPair(object, graph.name) <- found$graph
    say(verbose, told_of_graph(found, paste0("colPair(object, \"", graph.name, "\")")))
    note_made(object, MADE_GRAPHS, graph.name)
}

#' @rdname NeighborsSCRAE
#' @export
NeighborsSCRAE.Seurat <- function(object, k.param = NULL, assay = NULL,
    reduction.name = "scrae", graph.name = NULL, seed.use = 42, verbose = TRUE,
    ...) {
    seed.use <- known_seed(seed.use)
    how <- run_options(list(...), names(formals()), verbose)
    known_reductions(object, reduction.name)
    graph.name <- graph.name %||% paste0(reduction.name, "_snn")
    check_graph_name(object, graph.name)
    reduction <- object[[reduction.name]]
    # By this name it goes into Seurat's log of commands.
    assay <- check_assay(object, assay %||% methods::slot(reduction, "assay.used"))
    found <- connect_cells(
        SeuratObject::Embeddings(reduction),
        paste0("the embedding '", reduction.name, "'"), k.param, seed.use, how
    )
    graph <- SeuratObject::as.Graph(with_cells(found$graph, rownames(reduction)))
    SeuratObject::DefaultAssay(graph) <- assay
    object[[graph.name]] <- graph
    say(verbose, told_of_graph(
        found, paste0("FindClusters(object, graph.name = \"", graph.name, "\")")
    ))
    object <- note_made(object, MADE_GRAPHS, graph.name)
    SeuratObject::LogSeuratCommand(object)
}

# `graph`, a dgCMatrix without names, and `k`, the number of neighbours.
connect_cells <- function(embedding, called, k.param, seed.use, how) {
    refuse_settings(how)
    if (!is.null(k.param)) at_least(k.param, 2, "k.param")
    refuse_not_finite(embedding, called)
    storage.mode(embedding) <- "double"
    result <- run_job("neighbors",
        list(n_neighbors = k.param, random_state = seed.use),
        how = how, where = called,
        embedding = unname(embedding[, , drop = FALSE])
    )
    list(graph = result$matrix, k = result$n_neighbors)
}

with_cells <- function(graph, cells) {
    if (!is.null(cells)) dimnames(graph) <- list(cells, cells)
    graph
}

told_of_graph <- function(found, where) {
    paste0(
        how_many(nrow(found$graph), "cell"), " connected by ", found$k,
        " neighbours each: ", where
    )
}
