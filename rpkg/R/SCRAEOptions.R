#' Settings that are rarely changed, as one object
#'
#' Settings of the model and of how Python is run, checked when the object is made.
#' Every function of this package accepts it as `.options`. Functions that train a
#' model use all settings, and functions that ask a trained model use the last three.
#' Functions that train also accept each setting as an argument.
#'
#' @section Names of arguments:
#' Arguments are written as Seurat writes them, in small letters with dots between
#' words: `n.latent`, `group.by.vars`. Bioconductor's own names are kept
#' (`subset_row`). Every function also accepts the names of the Python package:
#' `n_latent`, `max_epochs`, `batch_key`, `random_state`, ...
#'
#' @param ... Of the model: `likelihood`, `n.hidden` (widths of the encoder's layers),
#'   `decoder.hidden`, `activation`, `normalisation`, `dropout.rate`, `mask.rate`,
#'   `contrast.weight`, `n.pcs`, `n.residual`, `smoothing`, `library`, `dispersion`,
#'   `learning.rate`, `weight.decay`, `batch.size`, `n.steps`, `early.stopping`,
#'   `patience`, `validation.size`, ..., and those of the regulariser: `n.clusters`, `weight`,
#'   `warmup.epochs`, ... `help("scRAE-presets")` says what each preset has. Of the
#'   run: `device` (`"auto"`, `"cpu"`, `"cuda"`), `threads` (of torch) and
#'   `in.process`.
#' @return List of class `scrae_options`, by the names of the Python package.
#' @seealso [RunSCRAE()]
#' @examples
#' small <- SCRAEOptions(n.hidden = c(64, 32), batch.size = 64, threads = 1)
#' small
#' counts <- matrix(rpois(40 * 30, 2), 30, 40)
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     embedding <- RunSCRAE(counts, features = "all", n.latent = 2, max.epochs = 2,
#'         .options = small, verbose = FALSE)
#' }
#' @export
SCRAEOptions <- function(...) {
    options <- list(...)
    names <- names(options) %||% rep("", length(options))
    if (any(names == "")) fail("every option needs a name: name = value")
    known <- c(RARE_SETTINGS, unlist(REGULARISER_OPTIONS, use.names = FALSE), OF_THE_RUN)
    names(options) <- our_names(names, unique(known))
    unknown <- setdiff(names(options), known)
    if (length(unknown)) {
        own <- dotted(unknown[1L]) %in% names(formals(RunSCRAE.Seurat))
        fail(
            "there is no option '", unknown[1L], "'",
            if (own) {
                paste0(": '", dotted(unknown[1L]), "' is an argument of its own")
            } else {
                paste0("; ", hint(dotted(unknown[1L]), dotted(unique(known))))
            },
            class = "scrae_unknown_argument"
        )
    }
    for (name in intersect(names(options), RARE_SETTINGS)) {
        options[name] <- list(known_setting(name, options[[name]]))
    }
    run_options(options[intersect(names(options), OF_THE_RUN)], character(), FALSE)
    structure(options, class = "scrae_options")
}

OF_THE_RUN <- c("device", "threads", "in.process")

# Arguments with those of an options object.
with_options <- function(dots, options) {
    if (is.null(options)) {
        return(dots)
    }
    if (!inherits(options, "scrae_options")) {
        fail(
            ".options takes what SCRAEOptions() returns, not ", class(options)[1L],
            class = "scrae_no_options"
        )
    }
    twice <- intersect(names(dots), names(options))
    if (length(twice)) {
        fail("the argument '", dotted(twice[1L]), "' is given twice, also in .options")
    }
    c(dots, unclass(options))
}

#' @export
print.scrae_options <- function(x, ...) {
    cat("scRAE options", if (length(x) == 0L) ": none", "\n", sep = "")
    for (name in names(x)) {
        value <- if (is.list(x[[name]])) "a list" else typed(x[[name]])
        cat("  ", dotted(name), " = ", value, "\n", sep = "")
    }
    invisible(x)
}
