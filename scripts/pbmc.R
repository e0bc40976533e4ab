# Writes rpkg/inst/extdata/pbmc.rds, what PBMCExample() gives, from the data of the Python core:
# Rscript scripts/pbmc.R .venv/bin/python (from the top of the project). tests/r/test-cross-language.R compares the two.
python <- commandArgs(TRUE)[1]
lines <- paste(
    "import json; from scrae.datasets import pbmc; a = pbmc(); x = a.X.sorted_indices()",
    "print(json.dumps({'i': x.indices.tolist(), 'p': x.indptr.tolist(), 'x': x.data.astype(int).tolist(),",
    "'genes': a.var_names.tolist(), 'cells': a.obs_names.tolist(), 'cell_type': a.obs['cell_type'].astype(str).tolist()}))",
    sep = "\n"
)
told <- jsonlite::fromJSON(system2(python, c("-c", shQuote(lines)), stdout = TRUE))
pbmc <- list(
    i = told$i, p = told$p, x = told$x, names = list(told$genes, told$cells), cell_type = told$cell_type
)
dir.create("rpkg/inst/extdata", showWarnings = FALSE)
saveRDS(pbmc, "rpkg/inst/extdata/pbmc.rds", compress = "xz", version = 3)
cat(file.size("rpkg/inst/extdata/pbmc.rds") / 1000, "kB\n")
