# Batches taken out, or types carried over to a query, by packages of R at their defaults: for batch_peers.py.
# Rscript batch_peers.R seurat_cca|seurat_rpca|seurat_transfer|fastmnn counts.mtx cells.csv seed answer.csv
# Seurat has to be 4.3 or newer; fastmnn needs the package batchelor.
# The counts are genes x cells, all of whose genes are used. cells.csv has a row for each cell: `batch`, and for
# seurat_transfer `known`, the type of a cell of the reference and "Unknown" for one of the query. answer.csv has the
# cells in their order: the coordinates of each, and for seurat_transfer its type in the first column.
suppressPackageStartupMessages(library(methods))

n_components <- 30
dims <- seq_len(n_components)

as_object <- function(counts) NormalizeData(CreateSeuratObject(counts), verbose = FALSE)

with_pca <- function(object, seed) {
    object <- ScaleData(object, features = rownames(object), verbose = FALSE)
    RunPCA(object, features = rownames(object), npcs = n_components, seed.use = seed, verbose = FALSE)
}

# What `try_with` gives for the first of ever smaller `k.weight` that there are anchors enough for, as the message of
# Seurat's own error advises.
with_fewer_anchors <- function(default, try_with) {
    for (k.weight in c(default, 50, 25, 10, 5)) {
        if (k.weight > default) next
        found <- tryCatch(try_with(k.weight), error = identity)
        if (!inherits(found, "error")) return(found)
    }
    stop(found)
}

# All cells as one object, integrated, with their components in the reduction "pca".
integrated <- function(counts, batch, reduction, seed) {
    sizes <- table(batch)
    smallest <- min(sizes)
    if (smallest <= n_components) {
        stop("the smallest of ", length(sizes), " batches has ", smallest, " cells, too few for ", n_components,
             " dimensions", call. = FALSE)
    }
    parts <- lapply(names(sizes), function(name) as_object(counts[, batch == name]))
    if (reduction == "rpca") parts <- lapply(parts, with_pca, seed = seed)
    anchors <- FindIntegrationAnchors(
        parts, anchor.features = rownames(counts), reduction = reduction, dims = dims, k.filter = min(200, smallest),
        verbose = FALSE
    )
    object <- with_fewer_anchors(
        min(100, smallest), function(k) IntegrateData(anchors, dims = dims, k.weight = k, verbose = FALSE)
    )
    DefaultAssay(object) <- "integrated"
    with_pca(object, seed)
}

coordinates <- function(object, reduction, cells) Embeddings(object, reduction)[cells, dims]

# Each takes named counts, a table of cells and a seed.
answers <- list(
    seurat_cca = function(counts, cells, seed) {
        coordinates(integrated(counts, cells$batch, "cca", seed), "pca", colnames(counts))
    },
    seurat_rpca = function(counts, cells, seed) {
        coordinates(integrated(counts, cells$batch, "rpca", seed), "pca", colnames(counts))
    },
    # A reference of several batches is integrated first, as in the vignette.
    seurat_transfer = function(counts, cells, seed) {
        of_query <- cells$known == "Unknown"
        batch <- cells$batch[!of_query]
        reference <- counts[, !of_query]
        reference <- if (length(unique(batch)) > 1) {
            integrated(reference, batch, "cca", seed)
        } else {
            with_pca(as_object(reference), seed)
        }
        reference$known <- cells[colnames(reference), "known"]
        query <- as_object(counts[, of_query])
        anchors <- FindTransferAnchors(
            reference, query, features = rownames(counts), reference.reduction = "pca", dims = dims,
            k.filter = min(200, sum(of_query), sum(!of_query)), verbose = FALSE
        )
        query <- with_fewer_anchors(100, function(k) {
            MapQuery(
                anchors, query, reference, refdata = list(known = "known"), reference.reduction = "pca",
                transferdata.args = list(k.weight = min(50, k)), integrateembeddings.args = list(k.weight = k),
                verbose = FALSE
            )
        })
        types <- setNames(cells$known, rownames(cells))
        types[colnames(query)] <- query$predicted.known
        found <- rbind(
            coordinates(reference, "pca", colnames(reference)), coordinates(query, "ref.pca", colnames(query))
        )
        data.frame(type = types, found[names(types), ], row.names = NULL)
    },
    # Log counts at one depth for all batches, then the 50 components that are the default; of all genes given.
    fastmnn = function(counts, cells, seed) {
        sce <- SingleCellExperiment::SingleCellExperiment(list(counts = counts))
        sce <- batchelor::multiBatchNorm(sce, batch = cells$batch)
        SingleCellExperiment::reducedDim(batchelor::fastMNN(sce, batch = cells$batch), "corrected")
    }
)

arguments <- commandArgs(TRUE)
package <- if (arguments[1] == "fastmnn") "batchelor" else "Seurat"
suppressPackageStartupMessages(library(package, character.only = TRUE))
counts <- as(Matrix::readMM(arguments[2]), "CsparseMatrix")
cells <- read.csv(arguments[3], colClasses = "character")
rownames(cells) <- paste0("cell", seq_len(nrow(cells)))
dimnames(counts) <- list(paste0("gene", seq_len(nrow(counts))), rownames(cells))
seed <- as.integer(arguments[4])
set.seed(seed)
found <- suppressWarnings(answers[[arguments[1]]](counts, cells, seed))
write.csv(found, arguments[5], row.names = FALSE)
