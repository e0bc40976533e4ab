# What the R side costs: RunSCRAE() on a large sparse matrix, its time and memory beside those of the training itself.
# Run by `make bench-r`. Cells, genes and the share of entries that are not zero can be given: r_overhead.R 50000 20000 0.05
suppressPackageStartupMessages(library(scRAE))
arguments <- as.numeric(commandArgs(TRUE))
n_cells <- if (length(arguments) > 0) arguments[1] else 50000
n_genes <- if (length(arguments) > 1) arguments[2] else 20000
density <- if (length(arguments) > 2) arguments[3] else 0.05
epochs <- 2 # enough for the time of one
default_epochs <- min(400, max(10, round(1000 * 128 / n_cells))) # scrae.autoencoder.settings.epochs_for

set.seed(1)
per_cell <- round(n_genes * density)
counts <- methods::new("dgCMatrix",
    i = unlist(lapply(seq_len(n_cells), function(cell) sort(sample.int(n_genes, per_cell)) - 1L)),
    p = as.integer(seq(0, by = per_cell, length.out = n_cells + 1)),
    x = as.numeric(1 + rpois(n_cells * per_cell, 0.4)), Dim = as.integer(c(n_genes, n_cells))
)
dimnames(counts) <- list(paste0("gene", seq_len(n_genes)), paste0("cell", seq_len(n_cells)))

peak_gib <- function() {
    line <- grep("^VmHWM", readLines("/proc/self/status"), value = TRUE)
    as.numeric(gsub("[^0-9]", "", line)) / 2^20
}
invisible(loadNamespace("SingleCellExperiment"))
before <- peak_gib()
elapsed <- system.time(
    embedding <- RunSCRAE(counts,
        features = paste0("gene", 1:2000), max_epochs = epochs,
        threads = 1, verbose = FALSE
    )
)[["elapsed"]]
history <- attr(embedding, "scrae")$history
fit <- attr(embedding, "scrae")$summary$seconds
default_run <- mean(history$seconds) * default_epochs
cat(sprintf("counts: %d genes x %d cells, %.0f million entries, %.2f GiB sparse, %.1f GiB were it dense\n",
    n_genes, n_cells, length(counts@x) / 1e6, as.numeric(object.size(counts)) / 2^30, 8 * n_genes * n_cells / 2^30
))
cat(sprintf("outside training: %.1f s; a default training (%d epochs): about %.0f s; share %.1f %%\n",
    elapsed - fit, default_epochs, default_run, 100 * (elapsed - fit) / default_run
))
cat(sprintf("peak memory of the R session: %.2f GiB (before the call %.2f GiB)\n", peak_gib(), before))
