# Which arguments a function takes, and what was meant by one that it does not.

RUN_ARGUMENTS <- c("device", "threads", "in.process", ".options") # in `...` everywhere
TRAINING <- c("RunSCRAE", "CrossValidateSCRAE", "StabilitySCRAE", "SCRAEIntegration")
OF_EMBEDDINGS <- c("ClusterSCRAE", "NeighborsSCRAE")
NATIVE_ARGUMENTS <- c(
    "mt_threshold", "geneK", "cellK", "width", "cutoff", "k", "n.partners"
)

# Names by which users of Seurat, harmony, scater and scanpy know an argument, and
# those that it may have here: the first that the function takes is meant.
OTHER_NAMES <- list(
    slot = c("layer", "assay.type"), layers = c("layer", "assay.type"),
    exprs_values = c("assay.type", "layer"), assay.type = "layer",
    assay = c("assay.type"), assay_name = c("assay.type", "assay"),
    layer = "assay.type", use.altexp = "altexp", use_altexp = "altexp",
    npcs = "n.latent", ncomponents = "n.latent", n_components = "n.latent",
    n_comps = "n.latent", ndims = "n.latent", ndim = "n.latent",
    n.dims = "n.latent", n_dims = "n.latent", latent_dim = "n.latent",
    d = "n.latent", rank = "n.latent",
    reduction = c("reduction.name", "name"), reduction.use = c("reduction.name", "name"),
    reduction.save = c("reduction.name", "name"), reduction_name = c("reduction.name", "name"),
    new.reduction = c("reduction.name", "name"),
    dimred = c("name", "reduction.name"), use_dimred = c("name", "reduction.name"),
    use.dimred = c("name", "reduction.name"), reducedDim = c("name", "reduction.name"),
    reduced.dim.name = c("name", "reduction.name"), reduction.name = c("name", "new.reduction"),
    name = c("reduction.name", "assay.name", "col.name"),
    key = "reduction.key", reduction.key = "key",
    n = c("n.features", "n"), nfeatures = c("n.features", "n"),
    n_features = c("n.features", "n"), ntop = c("n.features", "n"),
    n_top = c("n.features", "n"), n_top_genes = c("n.features", "n"),
    variable.features.n = c("n.features", "n"), n.features = "n",
    n_cells = "n", ncells = "n", n.cells = "n", size = "n",
    genes = c("features", "subset_row"), features.use = c("features", "subset_row"),
    genes.use = c("features", "subset_row"), subset.row = c("subset_row", "features"),
    subset_row = "features", hvg = c("features", "subset_row"),
    selection.method = c("features", "method"),
    group.by = c("group.by.vars", "batch.by"), split.by = c("group.by.vars", "batch.by"),
    group.by.vars = c("batch.by", "group.by"), vars_use = c("group.by.vars", "batch.by"),
    batch = c("group.by.vars", "batch.by"), batch_key = c("group.by.vars", "batch.by"),
    batch.by = "group.by.vars", batch_col = c("group.by.vars", "batch.by"),
    covariates = c("vars.to.regress", "group.by.vars"), latent.vars = c("vars.to.regress", "batch.by"),
    meta_data = "meta.data", metadata = "meta.data", meta = "meta.data",
    colData = "meta.data", cell.data = "meta.data",
    seed = "seed.use", random_state = "seed.use", random.seed = "seed.use",
    seed_use = "seed.use", random_seed = "seed.use",
    epochs = "max.epochs", n_epochs = "max.epochs", max.epochs = "max.epochs",
    max.iter = "max.epochs", maxit = "max.epochs", max_iter = "max.epochs",
    cores = "threads", ncores = "threads", n.cores = "threads", nthreads = "threads",
    n_jobs = "threads", num.threads = "threads", BPPARAM = "threads", nworkers = "threads",
    verbosity = "verbose", progress = "verbose", quiet = "verbose",
    reference = "model", ref = c("model", "reference"), query = "object",
    k = "k.param", knn = "k.param", n.neighbors = "k.param", num.neighbors = "k.param",
    cluster.name = "col.name", column = "col.name", colname = "col.name",
    cluster = "group.by", groups = "group.by", ident = "ident.1", type = "labels",
    label = "labels", labels.use = "labels", cell_type = "labels", refdata = "labels"
)

AXES_LATER <- paste0(
    "all axes are computed, and the functions that follow choose among them: ",
    "FindNeighbors(object, reduction = \"scrae\", dims = 1:30)"
)
NEIGHBOURS <- paste0(
    "the number of neighbours is not set. ClusterSCRAE(object, level = ) takes ",
    "\"broad\", \"default\", \"fine\" or a number of clusters; ",
    "NeighborsSCRAE(object, k.param = ) makes a graph"
)
ALL_GENES <- paste0(
    "the table has a row for every gene of the model; take rows of it: ",
    "subset(table, q < 0.05 & log2fc > 0.5)"
)

# Arguments that have no counterpart.
NO_COUNTERPART <- c(
    dims = AXES_LATER, dims.use = AXES_LATER, pc.use = AXES_LATER, pcs.use = AXES_LATER,
    pcs = AXES_LATER, n_pcs_use = AXES_LATER,
    k = NEIGHBOURS, k.param = NEIGHBOURS, n_neighbors = NEIGHBOURS, n.neighbors = NEIGHBOURS,
    knn = NEIGHBOURS, graph.name = NEIGHBOURS, algorithm = NEIGHBOURS,
    logfc.threshold = ALL_GENES, min.pct = ALL_GENES, only.pos = ALL_GENES,
    test.use = ALL_GENES,
    scale = "raw counts are modelled, which are not scaled",
    center = "raw counts are modelled, which are not centred",
    weight.by.var = "there are no singular values to weigh the axes by",
    approx = "there is nothing approximate about the axes",
    assay = "the counts are given themselves",
    resolution = "ClusterSCRAE(object, resolution = ) takes it"
)

#' Refuse objects and arguments that a function does not take
#'
#' Called by the generic, before R matches names in part: `group.by` is not taken for
#' `group.by.vars`, nor `n` for one of several.
#' @param generic Its name.
#' @param object What it is called on.
#' @param call `match.call(expand.dots = FALSE)` of it.
#' @return The call of its method by our names where others were given, or NULL.
#' @noRd
check_arguments <- function(generic, object, call) {
    refuse_other_objects(object)
    method <- paste0(generic, ".", kind_of(object))
    if (!exists(method, mode = "function")) method <- paste0(generic, ".default")
    formals <- names(formals(get(method, mode = "function")))
    in_our_names(method, call, known_names(generic, names_in_dots(call), formals))
}

kind_of <- function(object) {
    kinds <- c("Seurat", "SingleCellExperiment", "SummarizedExperiment")
    c(kinds[vapply(kinds, function(kind) is(object, kind), TRUE)], "default")[1L]
}

# The same for a function that is no generic. `typed`: the call as it was typed,
# before names were matched in part.
check_typed <- function(name, typed, call, formals) {
    known_names(name, names(typed), formals)
    in_our_names(name, call, known_names(name, names_in_dots(call), formals))
}

# Our names of what was given; an error where there is none.
known_names <- function(name, given, formals) {
    formals <- setdiff(formals, "...")
    known <- c(
        formals, RUN_ARGUMENTS,
        if (name %in% TRAINING) c(RARE_SETTINGS, unlist(REGULARISER_OPTIONS)),
        if (name == "SelectGenes") NATIVE_ARGUMENTS,
        # What is read is a reduction, as FindNeighbors() of Seurat has it.
        if (name %in% OF_EMBEDDINGS && "reduction.name" %in% formals) "reduction"
    )
    ours <- our_names(given, known)
    for (argument in setdiff(ours, c("", known))) {
        refuse_argument(name, argument, setdiff(c(formals, RUN_ARGUMENTS), "object"))
    }
    ours
}

refuse_argument <- function(name, argument, known) {
    meant <- intersect(OTHER_NAMES[[argument]], known)
    begun <- known[startsWith(known, argument)]
    settings <- if (name %in% TRAINING) {
        dotted(c(RARE_SETTINGS, unlist(REGULARISER_OPTIONS, use.names = FALSE)))
    }
    fail(
        "there is no argument '", argument, "'",
        if (length(meant)) {
            paste0("; did you mean '", meant[1L], "'?")
        } else if (argument %in% names(NO_COUNTERPART)) {
            paste0(": ", NO_COUNTERPART[[argument]])
        } else if (length(begun)) {
            paste0("; did you mean '", begun[1L], "'? Names of arguments are not cut short")
        } else {
            paste0("; ", near_or_all(argument, known, settings))
        },
        class = "scrae_unknown_argument"
    )
}

# Our own arguments come before the settings of the model.
near_or_all <- function(argument, known, settings) {
    distance <- utils::adist(argument, known, ignore.case = TRUE)[1L, ]
    if (min(distance) <= min(2L, nchar(argument) - 1L)) {
        return(paste0("did you mean '", known[which.min(distance)], "'?"))
    }
    near <- hint(argument, c(known, settings))
    if (startsWith(near, "did you")) near else hint(argument, known)
}

#' How Python is run, and the settings that go to it as they are
#'
#' What `...` of RunSCRAE() and its relatives may hold.
#' @param dots The list of further arguments.
#' @param formals Names of the arguments of the function that the user called,
#'   to find the one that was meant.
#' @param verbose TRUE or FALSE.
#' @return List of `threads`, `in.process`, `device`, `verbose`, `settings`, and the
#'   names of the settings that were `given` outside of a [SCRAEOptions()].
#' @noRd
run_options <- function(dots, formals, verbose) {
    names(dots) <- names(dots) %||% rep("", length(dots))
    options <- dots$.options
    dots$.options <- NULL
    given <- setdiff(names(dots), RUN_ARGUMENTS)
    dots <- with_options(dots, options)
    if (any(names(dots) == "")) {
        fail("every argument after the first needs a name: name = value")
    }
    yes_or_no(verbose, "verbose")
    if (!is.null(dots$threads)) at_least(dots$threads, 1, "threads")
    if (!is.null(dots$in.process)) yes_or_no(dots$in.process, "in.process")
    list(
        threads = dots$threads, in_process = isTRUE(dots$in.process),
        device = known_device(dots$device), verbose = verbose,
        settings = dots[setdiff(names(dots), RUN_ARGUMENTS)], given = given
    )
}

known_device <- function(device) {
    if (is.null(device)) {
        return(NULL)
    }
    a_name(device, "device")
    if (!grepl("^(auto|cpu|cuda(:[0-9]+)?)$", tolower(device))) {
        refuse("unknown_device", list(device = device))
    }
    tolower(device)
}

# Where no model is trained, no setting of a model is taken; those of an options
# object are for other calls.
refuse_settings <- function(how) {
    if (length(how$given) > 0L) {
        refuse_argument("", how$given[1L], RUN_ARGUMENTS)
    }
}

# -- values ----------------------------------------------------------------------

at_least <- function(value, least, name) {
    right <- is.numeric(value) && length(value) == 1L && is.finite(value) &&
        value == trunc(value) && value >= least
    if (!right) {
        fail(name, " must be a whole number of at least ", least)
    }
}

#' The seed to use
#'
#' NULL is what Seurat's users know: no fixed seed. One is drawn from R's random
#' numbers then, so that it can be told afterwards.
#' @noRd
known_seed <- function(seed) {
    if (is.null(seed)) {
        return(sample.int(.Machine$integer.max, 1L))
    }
    at_least(seed, 0, "seed.use")
    if (seed > .Machine$integer.max) {
        fail(
            "seed.use must be a whole number of at least 0 and at most ",
            count(.Machine$integer.max)
        )
    }
    seed
}

# Here, and not in Python, which would be asked with several values or with text.
one_number <- function(value, name) {
    right <- is.numeric(value) && length(value) == 1L && is.finite(value)
    if (!right) fail(name, " must be one number")
}

yes_or_no <- function(value, name) {
    if (!is.logical(value) || length(value) != 1L || is.na(value)) {
        fail(name, " must be TRUE or FALSE")
    }
}

one_value <- function(value, name) {
    if (!is.atomic(value) || length(value) != 1L || is.na(value)) {
        fail(name, " must be one value")
    }
}

`%||%` <- function(value, otherwise) if (is.null(value)) otherwise else value
