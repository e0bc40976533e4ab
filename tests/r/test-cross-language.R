# The same counts, genes, seed and threads give the same bits from R and Python.

from_python <- "
import sys, json
import numpy as np, pandas as pd, scipy.io, torch, anndata, scrae
folder, keys, keep = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
torch.set_num_threads(1)
counts = scipy.io.mmread(folder + '/counts.mtx').T.tocsr().astype('float32')
genes = open(folder + '/genes.txt').read().split('\\n')[:-1]
obs = pd.read_csv(folder + '/cells.csv', dtype=str).set_index('cell')
adata = anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=genes))
chosen = [line for line in open(folder + '/chosen.txt').read().split('\\n') if line]
model = scrae.SCRAE(random_state=11, n_latent=5, n_hidden=(32, 16), verbose=False, device='cpu')
model.fit(adata, genes=chosen or None, max_epochs=3, batch_key=keys or None, keep=keep or ())
model.embed().astype('<f4').tofile(folder + '/embedding.f4')
"

python_embedding <- function(counts, cells, chosen, batch_key = "", keep = "") {
    folder <- tempfile("cross")
    dir.create(folder)
    on.exit(unlink(folder, recursive = TRUE))
    Matrix::writeMM(counts, file.path(folder, "counts.mtx"))
    writeLines(rownames(counts), file.path(folder, "genes.txt"))
    writeLines(as.character(chosen), file.path(folder, "chosen.txt"))
    utils::write.csv(cells, file.path(folder, "cells.csv"), row.names = FALSE)
    python(
        from_python, folder, jsonlite::toJSON(batch_key, auto_unbox = TRUE),
        jsonlite::toJSON(keep, auto_unbox = TRUE)
    )
    numbers <- readBin(file.path(folder, "embedding.f4"), "numeric", ncol(counts) * 5,
        size = 4, endian = "little"
    )
    matrix(numbers, ncol = 5, byrow = TRUE)
}

like_python <- function(object, ...) {
    RunSCRAE(object, ...,
        n_latent = 5, n_hidden = c(32, 16), max_epochs = 3, seed.use = 11,
        threads = 1, device = "cpu", verbose = FALSE
    )
}

test_that("a Seurat object gives what Python gives", {
    object <- pbmc_small()
    counts <- raw_counts(object)
    chosen <- rownames(object)[rownames(object) %in% SeuratObject::VariableFeatures(object)]
    cells <- data.frame(cell = colnames(object), groups = object$groups)
    expect_identical(
        unname(like_python(object, group.by.vars = "groups")[["scrae"]]@cell.embeddings),
        python_embedding(counts, cells, chosen, "groups")
    )
})

test_that("what is kept beside the batches is what Python keeps", {
    object <- pbmc_small()
    object$donor <- rep(c("x", "y"), 40)
    counts <- raw_counts(object)
    chosen <- rownames(object)[rownames(object) %in% SeuratObject::VariableFeatures(object)]
    cells <- data.frame(cell = colnames(object), donor = object$donor, groups = object$groups)
    expect_identical(
        unname(like_python(object, group.by.vars = "donor", keep = "groups")[["scrae"]]@cell.embeddings),
        python_embedding(counts, cells, chosen, "donor", "groups")
    )
})

test_that("a matrix and a SingleCellExperiment of real counts give what Python gives", {
    data <- Sys.getenv("SCRAE_DATA", testthat::test_path("..", "..", "..", "shared", "data"))
    file <- file.path(data, "zheng_pbmc68k_700.h5ad")
    skip_if_not(file.exists(file), paste("no", file, "(not part of a clone; set SCRAE_DATA)"))
    folder <- tempfile("shared")
    dir.create(folder)
    on.exit(unlink(folder, recursive = TRUE))
    python("
import sys, anndata, scipy.io, scipy.sparse
adata = anndata.read_h5ad(sys.argv[1])
scipy.io.mmwrite(sys.argv[2] + '/counts.mtx', scipy.sparse.coo_matrix(adata.X.T).astype(int))
open(sys.argv[2] + '/genes.txt', 'w').write('\\n'.join(adata.var_names) + '\\n')
open(sys.argv[2] + '/cells.txt', 'w').write('\\n'.join(adata.obs_names) + '\\n')
", file, folder)
    counts <- methods::as(Matrix::readMM(file.path(folder, "counts.mtx")), "CsparseMatrix")
    dimnames(counts) <- list(
        readLines(file.path(folder, "genes.txt")), readLines(file.path(folder, "cells.txt"))
    )
    cells <- data.frame(cell = colnames(counts))
    expected <- python_embedding(counts, cells, character())
    expect_identical(like_python(counts, features = "all")[, ], expected, ignore_attr = TRUE)
    sce <- SingleCellExperiment::SingleCellExperiment(list(counts = counts))
    expect_identical(
        unname(SingleCellExperiment::reducedDim(like_python(sce, features = "all"), "SCRAE")), expected
    )
})

test_that("PBMCExample is what Python has, and needs no Python", {
    lines <- "
import json, numpy as np, scrae
adata = scrae.datasets.pbmc()
dense = np.asarray(adata.X.todense(), dtype=int)
print(json.dumps([adata.var_names.tolist(), adata.obs_names.tolist(), adata.obs['cell_type'].tolist(), dense.tolist()]))
"
    told <- jsonlite::fromJSON(python(lines)$stdout)
    before <- options(scrae.python = "/nowhere/python")
    on.exit(options(before))
    sce <- PBMCExample()
    counts <- SummarizedExperiment::assay(sce, "counts")
    expect_true(methods::validObject(counts))
    expect_equal(dimnames(counts), told[1:2])
    expect_equal(sce$cell_type, told[[3]])
    expect_equal(unname(as.matrix(counts)), t(told[[4]]))
})

test_that("clusters are those that Python finds", {
    sce <- PBMCExample()
    sce$lane <- rep(c("x", "y"), length.out = ncol(sce))
    sce <- like_python(sce, features = "all", group.by.vars = "lane")
    sce <- ClusterSCRAE(sce, level = "fine", resolution = 1.5, rare = TRUE, seed.use = 7, verbose = FALSE, threads = 1)
    told <- S4Vectors::metadata(sce)$scrae_clusters
    folder <- tempfile("clusters")
    dir.create(folder)
    on.exit(unlink(folder, recursive = TRUE))
    python("
import sys, numpy as np, torch, scrae
torch.set_num_threads(1)
adata = scrae.datasets.pbmc()
adata.obs['lane'] = np.resize(['x', 'y'], adata.n_obs)
scrae.tl.scrae(adata, genes='all', batch_key='lane', random_state=11, n_latent=5, n_hidden=(32, 16), max_epochs=3,
    device='cpu', verbose=False)
scrae.tl.cluster(adata, level='fine', resolution=1.5, rare=True, random_state=7)
columns = ['scrae_clusters', 'scrae_cluster_confidence']
adata.obs[columns].to_csv(sys.argv[1] + '/cells.csv')
adata.uns['scrae_clusters']['clusters'].to_csv(sys.argv[1] + '/clusters.csv')
adata.uns['scrae_clusters']['tree'].to_csv(sys.argv[1] + '/tree.csv', index=False)
", folder)
    read <- function(name) utils::read.csv(file.path(folder, name), na.strings = NULL)
    cells <- read("cells.csv")
    expect_gt(nlevels(sce$scrae_clusters), 3)
    expect_equal(as.character(sce$scrae_clusters), as.character(cells$scrae_clusters))
    expect_equal(sce$scrae_cluster_confidence, cells$scrae_cluster_confidence, tolerance = 1e-12)
    clusters <- read("clusters.csv")
    for (column in c("n_cells", "stability", "separation", "genes", "found_by")) {
        expect_equal(told$clusters[[column]], clusters[[column]], tolerance = 1e-12)
    }
    expect_equal(told$clusters$nearest, as.character(clusters$nearest))
    tree <- read("tree.csv")
    tree$kept_apart <- tree$kept_apart == "True"
    expect_equal(told$tree, tree, tolerance = 1e-12)
})

test_that("the neighbour graph is the one that Python writes into an h5ad file", {
    sce <- NeighborsSCRAE(like_python(PBMCExample(), features = "all"), verbose = FALSE, threads = 1)
    folder <- tempfile("graph")
    dir.create(folder)
    on.exit(unlink(folder, recursive = TRUE))
    python("
import sys, anndata, torch, scrae
torch.set_num_threads(1)
adata = scrae.datasets.pbmc()
scrae.tl.scrae(adata, genes='all', random_state=11, n_latent=5, n_hidden=(32, 16), max_epochs=3, device='cpu',
    verbose=False)
scrae.tl.neighbors(adata)
adata.write_h5ad(sys.argv[1] + '/cells.h5ad')
graph = anndata.read_h5ad(sys.argv[1] + '/cells.h5ad').obsp['connectivities'].tocsc()
graph.sort_indices()
graph.indptr.astype('<i4').tofile(sys.argv[1] + '/p')
graph.indices.astype('<i4').tofile(sys.argv[1] + '/i')
graph.data.astype('<f8').tofile(sys.argv[1] + '/x')
", folder)
    read <- function(name, kind, size) {
        readBin(file.path(folder, name), kind, file.size(file.path(folder, name)) / size, size = size, endian = "little")
    }
    graph <- SingleCellExperiment::colPair(sce, "scrae_snn", asSparse = TRUE)
    graph <- methods::as(graph, "CsparseMatrix") # a dgTMatrix in SingleCellExperiment 1.34
    expect_identical(graph@p, read("p", "integer", 4))
    expect_identical(graph@i, read("i", "integer", 4))
    expect_identical(graph@x, read("x", "numeric", 8))
})

test_that("new batches are placed as Python places them", {
    folder <- tempfile("batches")
    dir.create(folder)
    on.exit(unlink(folder, recursive = TRUE))
    counts <- raw_counts(pbmc_small())
    model <- file.path(folder, "model")
    like_python(counts, features = "all", model.dir = model)
    query <- counts
    query[seq(1, nrow(query), 2), ] <- 3 * query[seq(1, nrow(query), 2), ]
    batches <- data.frame(donor = rep("z", ncol(query)))
    found <- suppressWarnings(PredictSCRAE(query,
        model = model, group.by.vars = "donor", meta.data = batches, threads = 1, verbose = FALSE
    ))
    Matrix::writeMM(query, file.path(folder, "counts.mtx"))
    writeLines(rownames(query), file.path(folder, "genes.txt"))
    python("
import sys, warnings, scipy.io, torch, anndata, pandas, scrae
torch.set_num_threads(1)
warnings.simplefilter('ignore')
counts = scipy.io.mmread(sys.argv[1] + '/counts.mtx').T.tocsr().astype('float32')
genes = open(sys.argv[1] + '/genes.txt').read().split('\\n')[:-1]
adata = anndata.AnnData(counts, var=pandas.DataFrame(index=genes))
adata.obs['donor'] = 'z'
model = scrae.SCRAE.load(sys.argv[1] + '/model', device='cpu')
model.map(adata, batch_key='donor').astype('<f4').tofile(sys.argv[1] + '/embedding.f4')
", folder)
    expected <- readBin(file.path(folder, "embedding.f4"), "numeric", length(found), size = 4, endian = "little")
    expect_identical(unname(found[, ]), matrix(expected, nrow = ncol(query), byrow = TRUE))
})
