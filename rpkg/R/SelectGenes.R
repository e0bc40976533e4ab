#' Select informative genes
#'
#' Ranks genes by how much they vary between cells, or by markers of groups of cells, and
#' returns the best. [RunSCRAE()] calls it for `features = "M3Drop"` and so on, so call it
#' yourself only to look at the genes or to use them elsewhere.
#'
#' @section Methods:
#' \describe{
#'   \item{`"HVG"`}{normalised dispersion within bins of the mean, as scanpy does
#'     it; `"seurat_v3"`: variance standardised by a trend on the mean. Both by
#'     the Python core, within the batches of `group.by.vars`.}
#'   \item{`"M3Drop"`}{genes with more zeros than a Michaelis-Menten curve
#'     expects, by the Bioconductor package M3Drop: those that pass its test, at
#'     most `n`.}
#'   \item{`"DANB"`}{genes with more zeros than a depth-adjusted negative
#'     binomial model expects, by M3Drop, too; the first `n`. The package needs
#'     dense copies of the counts. `"DANB_dispersion"` and `"DANB_variance"`:
#'     its two tests of the variance, by the core.}
#'   \item{`"SCMarker"`}{genes with two or more modes that are expressed together
#'     with or exclusive of others, by the package SCMarker: a set without an
#'     order, so `n` is not used (the core ranks the set and takes the first
#'     `n`). The package needs dense copies of the counts, and runs in an R
#'     process of its own, because SCMarker writes into the workspace.}
#' }
#'
#' @inheritParams RunSCRAE
#' @param method One of the methods below; capitals do not matter.
#' @param n Number of genes.
#' @param group.by.vars Names of columns of cell metadata. The first is the batch: genes
#'   are selected within each batch, and the ranks are combined.
#' @param meta.data data.frame with a row per cell, for `group.by.vars`.
#' @param engine `"native"`: the R package of the method; `"scrae"`: the Python
#'   core, which computes the same from sparse counts. NULL: native for M3Drop,
#'   DANB and SCMarker where the package is installed and its dense copies fit
#'   into memory, the core otherwise.
#' @param ... Native: further arguments of the method's function
#'   (`mt_threshold` of M3Drop; `geneK`, `cellK`, `width`, `cutoff`, `k`, `n` of
#'   SCMarker, the last written `n.partners`). Otherwise `threads`,
#'   `in.process`.
#' @return Names of genes, best first where the method ranks them.
#' @section Errors:
#' No gene passes the method. With `engine = "native"`: the R package of the method is
#' missing (the message says how to install it), or its dense copies of the counts
#' would not fit into memory.
#' @references Andrews TS, Hemberg M (2019) M3Drop: dropout-based feature
#'   selection for scRNASeq. Bioinformatics. Wang F and others (2019) SCMarker.
#'   PLoS Computational Biology.
#' @examples
#' counts <- matrix(rpois(50 * 200, rgamma(200, 1)), 200, 50)
#' rownames(counts) <- paste0("gene", 1:200)
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     head(SelectGenes(counts, "HVG", n = 20, verbose = FALSE))
#' }
#' if (requireNamespace("M3Drop", quietly = TRUE)) {
#'     head(SelectGenes(counts, "DANB", n = 20, verbose = FALSE))
#' }
#' @export
SelectGenes <- function(object, ...) {
    call <- check_arguments("SelectGenes", object, match.call(expand.dots = FALSE))
    if (!is.null(call)) {
        return(eval(call))
    }
    UseMethod("SelectGenes")
}

#' @rdname SelectGenes
#' @export
SelectGenes.default <- function(object, method = "HVG", n = 2000, engine = NULL,
    group.by.vars = NULL, meta.data = NULL, verbose = TRUE, ...) {
    source <- matrix_source(object)
    covariates <- read_covariates(
        table_of_cells(meta.data, source, "meta.data"), group.by.vars, "meta.data"
    )
    select(source, method, n, engine, covariates, verbose, ...)
}

#' @rdname SelectGenes
#' @export
SelectGenes.SingleCellExperiment <- function(object, method = "HVG", n = 2000,
    engine = NULL, assay.type = "counts", group.by.vars = NULL, altexp = NULL,
    verbose = TRUE, ...) {
    table <- SummarizedExperiment::colData(object)
    covariates <- read_covariates(table, group.by.vars, "colData(object)")
    source <- sce_source(object, assay.type, altexp)
    select(source, method, n, engine, covariates, verbose, ...)
}

#' @rdname SelectGenes
#' @export
SelectGenes.Seurat <- function(object, method = "HVG", n = 2000, engine = NULL,
    assay = NULL, layer = "counts", group.by.vars = NULL, verbose = TRUE, ...) {
    assay <- check_assay(object, assay)
    source <- seurat_source(object, assay, layer, verbose)
    covariates <- read_covariates(
        metadata_of(object, source), group.by.vars, "object@meta.data"
    )
    select(source, method, n, engine, covariates, verbose, ...)
}

select <- function(source, method, n, engine, covariates, verbose, ...) {
    at_least(n, 2, "n")
    method <- known_method(method)
    yes_or_no(verbose, "verbose")
    if (!is.null(engine)) {
        a_name(engine, "engine")
        engine <- tolower(engine)
    }
    if (is.null(engine)) engine <- default_engine(method, source, verbose)
    if (engine == "native") {
        of_method <- list(...)
        of_method <- of_method[setdiff(names(of_method), RUN_ARGUMENTS)]
        return(do.call(select_natively, c(
            list(source, method, n, covariates, verbose), of_method
        )))
    }
    if (engine != "scrae") {
        fail("engine is \"native\" or \"scrae\", not '", engine, "'")
    }
    how <- run_options(list(...), names(formals()), verbose)
    refuse_settings(how)
    run_job("select",
        list(method = tolower(method), n_top = n, batch_key = names(covariates)[1L]),
        read_counts(source), covariates, how, source$where
    )$genes
}

CORE_METHODS <- c("HVG", "seurat_v3", "DANB_dispersion", "DANB_variance")
NATIVE_METHODS <- c("M3Drop", "DANB", "SCMarker")
METHODS <- c(CORE_METHODS, NATIVE_METHODS)

known_method <- function(method, argument = "method") {
    a_name(method, argument)
    found <- match(in_small_letters(method), in_small_letters(METHODS))
    if (is.na(found)) {
        fail("there is no method '", method, "'; ", hint(method, METHODS))
    }
    METHODS[found]
}

#' Refuse what names no genes
#'
#' @param features As in [RunSCRAE()].
#' @noRd
check_features <- function(features, source) {
    if (is.null(features)) {
        return(invisible())
    }
    kinds <- "a method, names of genes, their positions, or a mask"
    if (!is.character(features) && !is.numeric(features) && !is.logical(features) &&
        !is.factor(features)) {
        fail("features takes ", kinds, ", not ", class(features)[1L], class = "scrae_no_genes")
    }
    if (length(features) == 0L) {
        fail(
            "features names no gene. It takes ", kinds, "; without it, genes are ",
            "selected",
            class = "scrae_no_genes"
        )
    }
    if (anyNA(features)) {
        fail(
            "features has ", how_many(sum(is.na(features)), "missing value"),
            " among ", count(length(features)),
            class = "scrae_no_genes"
        )
    }
    if (length(features) > 1L) {
        return(invisible())
    }
    if (is.numeric(features) && features > 0) {
        fail(
            "features = ", typed(features), " is the position of one gene. ",
            "n.features = ", typed(features), " sets how many genes are selected",
            class = "scrae_no_genes"
        )
    }
    if (is.logical(features)) {
        fail(
            "features = ", features, " is no mask of genes: one has a value for each ",
            "of ", how_many(length(source$genes), "gene"), ". features = \"all\" takes ",
            "all of them",
            class = "scrae_no_genes"
        )
    }
    if (!is.numeric(features) && !is.na(match_genes(as.character(features), source$names))) {
        fail(
            "features names one gene, '", features, "': an embedding needs 2 or more",
            class = "scrae_no_genes"
        )
    }
}

#' Which genes a training takes
#'
#' @return List of `positions` (of genes that are chosen now; NULL: all cross to
#'   Python) and `select` (what Python shall select; NULL: nothing).
#' @noRd
choose_genes <- function(features, source, n, covariates, how) {
    method <- NULL
    at_least(n, 2, "n.features")
    if (is.factor(features)) features <- as.character(features)
    if (is.character(features) && length(features) == 1L) {
        if (tolower(features) == "all") {
            return(list(positions = NULL, select = NULL))
        }
        if (is.na(match(in_small_letters(features), in_small_letters(METHODS)))) {
            fail(
                "features = \"", features, "\" is neither a method nor \"all\"; ",
                if (nzchar(capitals_of(features, source$names))) {
                    "an embedding needs two genes or more"
                } else {
                    hint(features, c(METHODS, "all"))
                },
                capitals_of(features, source$names),
                class = "scrae_no_genes"
            )
        }
        method <- known_method(features, "features")
        features <- method
        if (default_engine(method, source, how$verbose) == "native") {
            features <- select_natively(
                source, method, n, covariates, how$verbose
            )
        }
    } else if (is.null(features)) {
        method <- "HVG"
    }
    if (length(features) > 0L && !identical(features, method)) {
        positions <- gene_positions(features, source)
        if (length(positions) < 2L) {
            fail(
                "features chooses ", how_many(length(positions), "gene"), " of ",
                source$where, ": an embedding needs 2 or more",
                class = "scrae_no_genes"
            )
        }
        return(list(positions = positions))
    }
    list(select = list(method = tolower(method), n_top = n))
}

# Positions in the order of the object, each once.
gene_positions <- function(features, source) {
    n <- length(source$names)
    if (is.logical(features) && !anyNA(features) && !is.null(names(features))) {
        # By name: it may have been made from genes in another order.
        features <- names(features)[features]
    }
    if (is.logical(features)) {
        if (length(features) != n || anyNA(features)) {
            fail(
                "the mask of genes has ", count(length(features)), " entries; ",
                source$where, " has ", count(n), " genes"
            )
        }
        return(which(features))
    }
    if (is.numeric(features)) {
        # Below 0: all but these, as everywhere in R.
        whole <- !anyNA(features) && all(features == trunc(features))
        if (!whole || any(abs(features) < 1 | abs(features) > n) ||
            length(unique(sign(features))) > 1L) {
            fail("genes are positions from 1 to ", count(n), ", or all but some: from -1 to -", count(n))
        }
        return(seq_len(n)[sort(unique(as.integer(features)))])
    }
    positions <- match_genes(as.character(features), source$names)
    missing <- features[is.na(positions)]
    if (length(missing) == length(features)) {
        fail(
            "none of the ", count(length(features)), " chosen genes is in ",
            source$where, " (chosen: ", quoted(features), "; there: ",
            quoted(source$names), "): ", why_no_gene(features, source)
        )
    }
    if (length(missing) > 0L) {
        warning(count(length(missing)), " of ", count(length(features)),
            " chosen genes are not in ", source$where, " (", quoted(missing),
            "); going on without them", capitals_of(missing, source$names),
            call. = FALSE
        )
    }
    sort(unique(positions[!is.na(positions)]))
}
