# Clusters of a data set by another package at its defaults, which is told no number: for benchmarks/cluster_peers.py.
# Rscript cluster_peers.R seurat|seurat30|sctransform|scran|sc3|scshc|choir counts.mtx seed
# The counts are genes x cells. The last line printed is JSON: the clusters, and how many seconds of the processor had
# gone before the package's own steps began. cluster_peers_python.py does the same for packages of Python.
suppressPackageStartupMessages(library(methods))

seurat <- function(counts, n_components) {
    object <- Seurat::CreateSeuratObject(counts) |>
        Seurat::NormalizeData() |>
        Seurat::FindVariableFeatures(nfeatures = 2000) |>
        Seurat::ScaleData() |>
        Seurat::RunPCA() |>
        Seurat::FindNeighbors(dims = seq_len(n_components)) |>
        Seurat::FindClusters()
    Seurat::Idents(object)
}

as_sce <- function(counts) SingleCellExperiment::SingleCellExperiment(list(counts = counts))

# Each takes the counts, named and sparse, and a seed, and gives a cluster for each cell.
peers <- list(
    seurat = function(counts, seed) seurat(counts, 10),
    seurat30 = function(counts, seed) seurat(counts, 30),
    # The steps of its vignette, in place of NormalizeData, FindVariableFeatures and ScaleData.
    sctransform = function(counts, seed) {
        object <- Seurat::CreateSeuratObject(counts) |>
            Seurat::SCTransform(verbose = FALSE) |>
            Seurat::RunPCA() |>
            Seurat::FindNeighbors(dims = seq_len(30)) |>
            Seurat::FindClusters()
        Seurat::Idents(object)
    },
    # The steps of the package's vignette.
    scran = function(counts, seed) {
        set.seed(seed)
        sce <- as_sce(counts)
        sce <- scran::computeSumFactors(sce, cluster = scran::quickCluster(sce))
        sce <- scuttle::logNormCounts(sce)
        sce <- scran::fixedPCA(sce, subset.row = scran::getTopHVGs(scran::modelGeneVar(sce), prop = 0.1))
        scran::clusterCells(sce, use.dimred = "PCA")
    },
    # No number is given, so that SC3 takes its own estimate; its seed is 1 unless said otherwise.
    sc3 = function(counts, seed) {
        sce <- scuttle::logNormCounts(as_sce(as.matrix(counts)))
        SummarizedExperiment::rowData(sce)$feature_symbol <- rownames(sce)
        sce <- SC3::sc3(sce, k_estimator = TRUE, n_cores = 1, rand_seed = seed + 1)
        k <- S4Vectors::metadata(sce)$sc3$k_estimation
        sce[[paste0("sc3_", k, "_clusters")]]
    },
    scshc = function(counts, seed) {
        set.seed(seed)
        scSHC::scSHC(counts, num_features = min(2500, nrow(counts)), parallel = FALSE)[[1]]
    },
    choir = function(counts, seed) {
        object <- Seurat::NormalizeData(Seurat::CreateSeuratObject(counts))
        object <- CHOIR::CHOIR(object, n_cores = 1, random_seed = seed + 1, verbose = FALSE)
        object$CHOIR_clusters_0.05
    }
)

arguments <- commandArgs(TRUE)
cluster <- peers[[arguments[1]]]
# Loaded before the clock starts; some find methods of others on the search path alone.
needed <- list(
    seurat = "Seurat", seurat30 = "Seurat", sctransform = c("Seurat", "sctransform"), scran = "scran",
    sc3 = c("SingleCellExperiment", "SC3"), scshc = "scSHC", choir = c("Seurat", "CHOIR")
)
for (package in needed[[arguments[1]]]) suppressPackageStartupMessages(library(package, character.only = TRUE))
counts <- as(Matrix::readMM(arguments[2]), "CsparseMatrix")
dimnames(counts) <- list(paste0("gene", seq_len(nrow(counts))), paste0("cell", seq_len(ncol(counts))))
before <- sum(proc.time()[c("user.self", "sys.self")])
found <- as.character(cluster(counts, as.integer(arguments[3])))
cat("\n", jsonlite::toJSON(list(before = jsonlite::unbox(before), clusters = found)), "\n", sep = "")
