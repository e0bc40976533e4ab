# One call of RunSCRAE() with its defaults on a Seurat object, for benchmarks/scaling.py: seconds and memory as JSON.
# Rscript run_scrae.R counts.mtx threads epochs (genes x cells; 0 epochs: the default)
suppressPackageStartupMessages({
    library(scRAE)
    library(Seurat)
})
arguments <- commandArgs(TRUE)
epochs <- as.integer(arguments[3])
counts <- methods::as(Matrix::readMM(arguments[1]), "CsparseMatrix")
dimnames(counts) <- list(paste0("gene", seq_len(nrow(counts))), paste0("cell", seq_len(ncol(counts))))
object <- CreateSeuratObject(counts)
memory_mb <- function() {
    line <- grep("^RssAnon", readLines("/proc/self/status"), value = TRUE)
    as.numeric(gsub("[^0-9]", "", line)) / 2^10
}
before <- memory_mb()
seconds <- system.time(
    object <- RunSCRAE(object,
        max_epochs = if (epochs > 0) epochs, threads = as.integer(arguments[2]), verbose = FALSE
    )
)[["elapsed"]]
kept <- Misc(object[["scrae"]])
cat(jsonlite::toJSON(list(
    entries = length(counts@x), epochs_done = kept$summary$epochs, seconds = seconds, mapping = 0,
    training = sum(kept$history$seconds), cells_per_second = kept$summary$training_cells_per_second,
    memory_mb = memory_mb() - before
), auto_unbox = TRUE, digits = 10), "\n")
