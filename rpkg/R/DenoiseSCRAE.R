#' Denoise expression: expected counts without counting noise
#'
#' Adds denoised expression for the genes of the model: the means of the trained
#' decoder, which are the counts to be expected on average.
#'
#' Cells of a batch that the model was not trained on are decoded as if from the
#' average of the known batches, each with its share of the training cells, and a
#' warning says so. The same holds for new levels of the other columns of
#' `group.by.vars`.
#'
#' @inheritParams RunSCRAE
#' @param object The object that [RunSCRAE()] returned, or other cells with all
#'   the model's genes; for a matrix, raw counts.
#' @param model As in [PredictSCRAE()]; NULL: the model in `object`.
#' @param library.size `"common"` (every cell at the median library size of the
#'   training cells, so that cells can be compared), `"observed"` (each at its
#'   own), or a number.
#' @param batch Decode all cells as if they came from this level of the first of
#'   `group.by.vars`; NULL: each from its own.
#' @param cutoff Expected counts below this are stored as zero, which keeps the
#'   result sparse; 0 keeps everything, dense.
#' @param assay.name Name of the new assay. It cannot be `"scrae"` beside the
#'   reduction of that name: Seurat, 4 and 5, refuses an assay and a reduction of
#'   one name.
#' @param name Name of the new alternative experiment.
#' @param meta.data data.frame with a row per cell, where the model was trained
#'   with `group.by.vars`.
#' @param ... `device`, `threads`, `in.process` or `.options` as in [RunSCRAE()].
#' @return Seurat: the object with the assay `assay.name`, its `data` the expected
#'   counts. SingleCellExperiment: the object with an alternative experiment that
#'   holds them as the assay `"denoised"`. Matrix: a matrix of genes x cells.
#' @examples
#' counts <- matrix(rpois(40 * 30, 2), 30, 40)
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     embedding <- RunSCRAE(counts, features = "all", n.latent = 2,
#'         max.epochs = 2, verbose = FALSE)
#'     dim(DenoiseSCRAE(counts, model = embedding, verbose = FALSE))
#' }
#' @export
DenoiseSCRAE <- function(object, ...) {
    call <- check_arguments("DenoiseSCRAE", object, match.call(expand.dots = FALSE))
    if (!is.null(call)) {
        return(eval(call))
    }
    UseMethod("DenoiseSCRAE")
}

#' @rdname DenoiseSCRAE
#' @export
DenoiseSCRAE.default <- function(object, model, library.size = "common",
    batch = NULL, cutoff = 0.01, meta.data = NULL, verbose = TRUE, ...) {
    how <- run_options(list(...), names(formals()), verbose)
    source <- matrix_source(object)
    denoise(
        source, find_model(model), table_of_cells(meta.data, source, "meta.data"),
        "meta.data",
        library.size, batch, cutoff, how
    )
}

#' @rdname DenoiseSCRAE
#' @export
DenoiseSCRAE.SingleCellExperiment <- function(object, model = NULL,
    assay.type = "counts", altexp = NULL, library.size = "common", batch = NULL,
    cutoff = 0.01, name = "denoised", verbose = TRUE, ...) {
    how <- run_options(list(...), names(formals()), verbose)
    check_altexp_name(object, name)
    means <- denoise(
        sce_source(object, assay.type, altexp), find_model(model %||% object),
        SummarizedExperiment::colData(object), "colData(object)",
        library.size, batch, cutoff, how
    )
    colnames(means) <- colnames(object)
    SingleCellExperiment::altExp(object, name) <-
        SingleCellExperiment::SingleCellExperiment(
            list(denoised = means), metadata = list(scrae_denoised = TRUE)
        )
    object
}

#' @rdname DenoiseSCRAE
#' @export
DenoiseSCRAE.Seurat <- function(object, model = NULL, assay = NULL,
    layer = "counts", library.size = "common", batch = NULL, cutoff = 0.01,
    assay.name = "denoised", verbose = TRUE, ...) {
    how <- run_options(list(...), names(formals()), verbose)
    assay <- check_assay(object, assay)
    check_assay_name(object, assay.name)
    source <- seurat_source(object, assay, layer, verbose)
    means <- denoise(
        source, find_model(model %||% object), metadata_of(object, source),
        "object@meta.data",
        library.size, batch, cutoff, how
    )
    denoised <- SeuratObject::CreateAssayObject(data = means)
    methods::slot(denoised, "misc") <- list(scrae_denoised = TRUE)
    SeuratObject::Key(denoised) <- free_key(object, assay.name)
    # Seurat 5 would sum the counts of the new assay, and warns that it has none.
    withCallingHandlers(
        object[[assay.name]] <- denoised,
        warning = function(condition) {
            if (startsWith(conditionMessage(condition), "Layer counts isn")) {
                tryInvokeRestart("muffleWarning")
            }
        }
    )
    model <- if (!is.null(model)) in_short(find_model(model))
    SeuratObject::LogSeuratCommand(object)
}

denoise <- function(source, model, table, where, library_size, batch, cutoff,
    how) {
    refuse_settings(how)
    one_number(cutoff, "cutoff")
    library_size <- known_library_size(library_size)
    facts <- describe_model(model)
    known_batch(batch, facts)
    check_model_genes(source, facts$genes, every = TRUE)
    covariates <- model_covariates(facts, table, where, source)
    result <- run_job("denoise",
        list(
            device = how$device, library_size = library_size, batch = batch,
            cutoff = cutoff
        ),
        read_model_genes(source, facts$genes), covariates, how, source$where, model
    )
    means <- result$matrix
    if (is.matrix(means)) means <- t(means)
    dimnames(means) <- list(result$genes, source$cells)
    means
}

known_library_size <- function(size) {
    named <- is.character(size) && length(size) == 1L &&
        tolower(size) %in% c("common", "observed")
    numbered <- is.numeric(size) && length(size) == 1L && is.finite(size) && size > 0
    if (!named && !numbered) {
        refuse("library_size", list(value = size))
    }
    if (named) tolower(size) else size
}

# The level of the batch that cells are decoded as if from.
known_batch <- function(batch, facts) {
    if (is.null(batch)) {
        return(invisible())
    }
    one_value(batch, "batch")
    if (is.null(facts$batch_key)) {
        refuse("no_batches", list(batch = batch))
    }
    known <- facts$covariate_levels[[facts$batch_key]]
    if (!as.character(batch) %in% known) {
        refuse("unknown_batch", list(batch = batch, known = known))
    }
}
