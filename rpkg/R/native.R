# Gene selection by the R packages M3Drop and SCMarker, each handed the form of
# the counts that it takes.

PACKAGES <- c(M3Drop = "M3Drop", DANB = "M3Drop", SCMarker = "SCMarker")
DENSE_COPIES <- c(M3Drop = 0, DANB = 3, SCMarker = 5)

# The package itself where it is there and its dense copies fit into memory, the
# core's own implementation otherwise.
default_engine <- function(method, source, verbose) {
    if (!method %in% NATIVE_METHODS) {
        return("scrae")
    }
    package <- PACKAGES[[method]]
    if (!requireNamespace(package, quietly = TRUE)) {
        say(verbose, "the package ", package, " is not installed: ", method,
            " as scRAE computes it"
        )
        return("scrae")
    }
    memory <- memory_for(method, c(length(source$genes), length(source$cells)))
    if (memory$fits) {
        return("native")
    }
    say(verbose, "the package ", package, " would need ", memory$needed,
        " GiB of memory: ", method, " as scRAE computes it, sparse"
    )
    "scrae"
}

select_natively <- function(source, method, n, covariates, verbose, ...) {
    if (!method %in% NATIVE_METHODS) {
        fail("no R package selects by '", method, "': use engine = \"scrae\"")
    }
    package <- PACKAGES[[method]]
    need_package(package, paste0("engine = \"native\" of ", method), paste0(
        switch(package,
            M3Drop = "BiocManager::install(\"M3Drop\")",
            SCMarker = "remotes::install_github(\"KChen-lab/SCMarker\")"
        ),
        "; or use engine = \"scrae\", which needs no package"
    ))
    if (length(covariates) > 0L) {
        say(verbose, method, " knows no batches: genes are selected over all cells")
    }
    say(verbose, "selecting genes with ", method)
    counts <- drop0(as_modelled(read_counts(source), source))
    counts <- counts[rownames(counts) != OTHER_GENES, , drop = FALSE]
    counts <- counts[rowSums(counts) > 0, , drop = FALSE]
    genes <- switch(method,
        M3Drop = select_m3drop(counts, n, ...),
        DANB = select_danb(counts, n, ...),
        SCMarker = select_scmarker(counts, ...)
    )
    if (length(genes) < 2L) {
        fail(
            method, " selects ", length(genes), " gene(s) of ",
            count(nrow(counts)), " in ", count(ncol(counts)), " cells: too few ",
            "to embed. Loosen it (see ?SelectGenes) or choose \"HVG\"."
        )
    }
    genes
}

select_m3drop <- function(counts, n, mt_threshold = 0.05) {
    quietly({
        normalised <- M3Drop::M3DropConvertData(counts, is.counts = TRUE)
        # A sparse matrix: with a dense one the function fails since R 4.2.
        table <- M3Drop::M3DropFeatureSelection(
            as_sparse(normalised),
            mt_method = "fdr", mt_threshold = mt_threshold,
            suppress.plot = TRUE
        )
    })
    table <- table[order(table$p.value, -table$effect.size), ]
    utils::head(as.character(table$Gene), n)
}

select_danb <- function(counts, n) {
    refuse_dense_copies(counts, "DANB")
    quietly({
        # Dense: with a sparse matrix the same fit takes a hundred times longer.
        fit <- M3Drop::NBumiFitModel(as.matrix(counts))
        table <- M3Drop::NBumiFeatureSelectionCombinedDrop(
            fit,
            ntop = min(n, nrow(counts)), suppress.plot = TRUE
        )
    })
    as.character(table$Gene)
}

select_scmarker <- function(counts, geneK = 10, cellK = 10, width = 1,
    cutoff = 2, k = 300, n.partners = 30) {
    need_package("callr", "SCMarker", 'install.packages("callr")')
    refuse_dense_copies(counts, "SCMarker")
    arguments <- list(as.matrix(counts), geneK, cellK, width, cutoff, k, n.partners)
    callr::r(run_scmarker, arguments, libpath = .libPaths())
}

# SCMarker finds its list of genes to exclude only when attached, and loads it
# into the workspace: this runs in a process of its own.
run_scmarker <- function(counts, gene_k, cell_k, width, cutoff, k, n) {
    attachNamespace("SCMarker")
    found <- SCMarker::ModalFilter(counts, gene_k, cell_k,
        width = width, cutoff = cutoff
    )
    if (NROW(found$newdata) < 2L || is.null(dim(found$newdata))) {
        return(rownames(found$newdata))
    }
    found <- SCMarker::GeneFilter(found)
    # With one gene it stops with "subscript out of bounds".
    if (nrow(found$geneSumm) < 2L) {
        return(found$geneSumm$gene)
    }
    SCMarker::getMarker(found, k = k, n = n)$marker
}

# Both packages print as they go.
quietly <- function(code) {
    utils::capture.output(suppressMessages(code))
    invisible()
}

# GiB that the dense copies of a method take, and that are free; do they fit?
memory_for <- function(method, dims) {
    needed <- DENSE_COPIES[[method]] * 8 * prod(dims) / 2^30
    free <- free_gigabytes()
    list(
        needed = round(needed), free = round(free),
        fits = is.na(free) || needed <= free
    )
}

refuse_dense_copies <- function(counts, method) {
    memory <- memory_for(method, dim(counts))
    if (!memory$fits) {
        fail(
            method, " needs ", DENSE_COPIES[[method]], " dense copies of the ",
            "counts, about ", memory$needed, " GiB, and ", memory$free,
            " GiB are free: use engine = \"scrae\", which stays sparse",
            class = "scrae_memory_error"
        )
    }
}

# Where the system tells; NA elsewhere.
free_gigabytes <- function() {
    if (!file.exists("/proc/meminfo")) {
        return(NA_real_)
    }
    lines <- readLines("/proc/meminfo")
    line <- grep("^MemAvailable:", lines, value = TRUE)
    if (length(line)) as.numeric(gsub("[^0-9]", "", line)) / 2^20 else NA_real_
}
