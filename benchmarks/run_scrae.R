# One call of RunSCRAE() with its defaults on a Seurat object, for benchmarks/scaling.py: seconds as JSON.
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
invisible(gc())
Sys.sleep(1) # so that what is held before the call is seen
called <- as.numeric(Sys.time())
seconds <- system.time(
    object <- RunSCRAE(object,
        max_epochs = if (epochs > 0) epochs, threads = as.integer(arguments[2]), verbose = FALSE
    )
)[["elapsed"]]
kept <- Misc(object[["scrae"]])
cat(jsonlite::toJSON(list(
    entries = length(counts@x), epochs_done = kept$summary$epochs, seconds = seconds, mapping = 0,
    training = sum(kept$history$seconds), cells_per_second = kept$summary$training_cells_per_second,
    called = called
), auto_unbox = TRUE, digits = 10), "\n")
