# How arguments are called. The rule, which tests/r/test-rule-of-names.R holds:
#
# 1. An argument is written as Seurat writes them: small letters, words parted by
#    dots (n.latent, group.by.vars). The names that Bioconductor has for a thing of its
#    own are kept where that thing is meant (subset_row), as are those that the
#    authors of a method of choosing genes gave (NATIVE_ARGUMENTS).
# 2. The core's name of the same thing is taken, too, by every function: n_latent is
#    n.latent, and where the word is another one, CORE_NAMES says which.
# 3. What is set rarely has no argument of its own: it is a setting, n.hidden (or
#    n_hidden), in `...` or in SCRAEOptions().

CORE_NAMES <- list(
    batch_key = c("group.by.vars", "batch.by"), continuous_covariate_keys = "vars.to.regress",
    genes = "features", groupby = "group.by", labels_key = "labels", n_top = c("n.features", "n"),
    n_neighbors = "k.param", n_runs = "n.runs", random_state = "seed.use", sample_key = "sample.by",
    unlabeled_category = "unlabeled"
)

OF_BIOCONDUCTOR <- "subset_row"

dotted <- function(names) gsub("_", ".", names, fixed = TRUE)

# Names of what is in the dots of a matched call, "" for those without.
names_in_dots <- function(call) names(call$...) %||% rep("", length(call$...))

#' The names that this package has for arguments
#'
#' @param given Names as they were typed, "" for those without.
#' @param known Names that the function takes.
#' @return `given`, with those of the core replaced.
#' @noRd
our_names <- function(given, known) {
    ours <- given
    for (i in which(nzchar(given) & !given %in% known)) {
        meant <- c(
            known[dotted(known) == dotted(given[i])],
            intersect(CORE_NAMES[[given[i]]], known)
        )
        if (length(meant)) ours[i] <- meant[1L]
    }
    twice <- ours[duplicated(ours) & nzchar(ours)]
    if (length(twice)) {
        typed <- unique(given[ours == twice[1L]])
        fail(
            "the argument '", typed[1L], "' is given twice",
            if (length(typed) > 1L) paste0(", also as '", typed[2L], "'")
        )
    }
    ours
}

#' The same call with our names of its arguments
#'
#' @param name Of the function to call.
#' @param call `match.call(expand.dots = FALSE)` of the function in hand.
#' @param ours Names of what is in its dots.
#' @return A call to be evaluated in that function, where nothing is evaluated anew;
#'   NULL where all names are ours.
#' @noRd
in_our_names <- function(name, call, ours) {
    if (identical(ours, names_in_dots(call))) {
        return(NULL)
    }
    matched <- setdiff(names(call)[-1L], "...")
    matched <- stats::setNames(lapply(matched, as.name), matched)
    further <- stats::setNames(lapply(paste0("..", seq_along(ours)), as.name), ours)
    as.call(c(as.name(name), matched, further))
}
