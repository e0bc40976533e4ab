# What Python tells of errors and warnings, in words of R. It comes with a code and
# fields (scrae._errors); the words here speak of columns, assays and arguments by
# the names that R users know. tests/python/test_errors.py compares the codes.

#' Say what went wrong in a job
#'
#' The same for both doors to Python: a process of its own, or the session's.
#' @param events Lists as `scrae.r.events` describes warnings and errors.
#' @param where How to call the place of the counts.
#' @return The warnings in words, which are passed on as well; an error is an R error of the classes
#'   `scrae_<code>`, Python's, `scrae_python_error` and `scrae_error`.
#' @noRd
pass_on <- function(events, where) {
    kind <- vapply(events, `[[`, "", "event")
    warnings <- lapply(events[kind == "warning"], in_words, where = where)
    for (words in unique(warnings)) warning(words, call. = FALSE)
    for (event in events[kind == "error"]) {
        fail(in_words(event, where),
            class = c(
                paste0("scrae_", event$code), event$kinds, "scrae_python_error"
            )
        )
    }
    invisible(as.character(unique(warnings)))
}

in_words <- function(event, where) {
    words <- WORDS[[event$code]]
    if (is.null(words)) {
        return(paste0(
            "Python says something that this version of scRAE has no words of ",
            "its own for (", event$kinds[1L], "): ", event$text
        ))
    }
    fields <- event$fields
    said <- words(fields, where)
    if (!is.null(fields$batch_column)) {
        said <- paste0(
            "in the cells with '", fields$batch, "' in column '",
            fields$batch_column, "': ", said
        )
    }
    said
}

# Arguments that have another name in R.
R_NAMES <- c(
    genes = "features", n_top = "n.features", n_runs = "n.runs",
    unknown_rate = "unknown.rate", unlabeled_category = "unlabeled",
    library_size = "library.size", random_state = "seed.use"
)

argument <- function(name) {
    known <- name %in% names(R_NAMES)
    name[known] <- R_NAMES[name[known]]
    gsub("_", ".", name, fixed = TRUE)
}

# A value as a user would type it.
typed <- function(value) {
    if (length(value) == 0L) {
        return("NULL")
    }
    value <- unlist(value)
    words <- if (is.character(value)) {
        paste0("\"", value, "\"")
    } else {
        format(value, trim = TRUE)
    }
    if (length(words) == 1L) words else paste0("c(", paste(words, collapse = ", "), ")")
}

# "1 cell", "1,200 cells"
how_many <- function(n, one, many = paste0(one, "s")) {
    paste(count(n), ngettext(n, one, many))
}

# "2 of 30 cells"
share_of <- function(n, total, one, many = paste0(one, "s")) {
    paste(count(n), "of", how_many(total, one, many))
}

# `names`: some of the `n` groups.
left_out <- function(names, n_groups, why, n = length(names)) {
    paste0(
        share_of(n, n_groups, "group"), " cannot be compared and ",
        ngettext(n, "is", "are"), " left out (", quoted(names), "). The first: ", why
    )
}

# What a setting takes, by Python's name of it.
KINDS <- c(
    str = "a name", bool = "TRUE or FALSE", int = "one number",
    float = "one number"
)

number_of_python <- function(text) {
    special <- c(nan = "NA", inf = "Inf", "-inf" = "-Inf")
    if (text %in% names(special)) special[[text]] else text
}

RAW_COUNTS <- paste0(
    "scRAE models raw counts: give those, not normalised, scaled or corrected ",
    "values."
)

ESTIMATED <- paste0(
    "Estimated counts (SoupX, DecontX, CellBender, RSEM, salmon, alevin) can be ",
    "rounded: RunSCRAE(object, round.counts = TRUE)."
)

# For each code a function of its fields and of the place of the counts.
WORDS <- list(
    # -- pairs of cells --------------------------------------------------------
    no_pairs = function(f, where) {
        paste0(
            argument(f$name), " must be a data.frame or a matrix of two columns, ",
            "a pair of cells in each row."
        )
    },
    unknown_cells = function(f, where) {
        paste0(
            how_many(f$n, "cell"), " in ", argument(f$name), ngettext(f$n, " is", " are"),
            " not among the ", count(f$n_cells), " to train on: ", quoted(f$names), "."
        )
    },
    repeated_cells = function(f, where) {
        paste0(
            how_many(f$n, "name"), " in ", argument(f$name), ngettext(f$n, " is that", " are those"),
            " of several cells (", quoted(f$names), "). Give every cell a name of its own first."
        )
    },
    paired_with_itself = function(f, where) {
        paste0(
            how_many(f$n, "pair"), " in ", argument(f$name), ngettext(f$n, " is", " are"),
            " of a cell and itself: ", quoted(f$names), "."
        )
    },
    contradicting_pairs = function(f, where) {
        paste0(
            how_many(f$n, "pair"), " of cannot.link ", ngettext(f$n, "is", "are"),
            " of cells that must.link ties together, also by way of other cells: ",
            quoted(f$names), "."
        )
    },
    # -- counts ----------------------------------------------------------------
    no_matrix = function(f, where) paste0("there are no values in ", where, "."),
    no_table = function(f, where) {
        paste0(where, " is no table of genes and cells.")
    },
    no_anndata = function(f, where) {
        paste0(where, " is ", f$given, ". Cells with names are needed.")
    },
    several_modalities = function(f, where) {
        paste0(where, " holds ", quoted(f$names), ". Give one of them.")
    },
    genes_without_order = function(f, where) {
        "the features have no order. Give a vector of names."
    },
    no_cells_or_genes = function(f, where) {
        paste0(
            where, " is empty: it has ", how_many(f$n_genes, "gene"), " and ",
            how_many(f$n_cells, "cell"), "."
        )
    },
    no_numbers_in_matrix = function(f, where) {
        paste0(where, " does not hold numbers. ", RAW_COUNTS)
    },
    not_counts = function(f, where) {
        paste0(
            where, " does not hold raw counts: ", count(f$n), " of ",
            how_many(f$n_entries, "value"), " that are not zero ",
            ngettext(f$n, "is ", "are "), sub("NaN", "NA", f$kind, fixed = TRUE),
            " (the first: ", number_of_python(f$value), ", gene '", f$gene, "', cell '", f$cell,
            "'). ", RAW_COUNTS,
            if (f$kind == "fractional") paste0(" ", ESTIMATED)
        )
    },
    damaged_matrix = function(f, where) {
        paste0(
            where, " is damaged: ", f$fault, ". Read it anew from its source."
        )
    },
    rounded_counts = function(f, where) {
        paste0(
            count(f$n), " of ", how_many(f$n_entries, "value"), " that are not ",
            "zero in ", where, ngettext(f$n, " was", " were"), " rounded to whole ",
            "counts, by ", format(f$largest, digits = 3), " at most"
        )
    },
    all_zero = function(f, where) {
        paste0(
            "all counts in ", where, " are zero: none of ",
            how_many(f$n_cells, "cell"), " has any."
        )
    },
    empty_cells = function(f, where) {
        paste0(
            share_of(f$n, f$n_cells, "cell"), " in ", where,
            ngettext(f$n, " has", " have"), " no count at all. Drop them first: ",
            "object <- object[, colSums(counts) > 0]"
        )
    },
    one_cell = function(f, where) {
        paste0(
            where, " has one cell. An embedding relates cells to each other: it ",
            "needs 2 or more."
        )
    },
    one_gene = function(f, where) {
        paste0(
            "one gene of ", where, " was chosen. An embedding needs 2 or more."
        )
    },
    no_counts_of_chosen_genes = function(f, where) {
        paste0("the chosen genes have no count in ", where, ".")
    },
    too_many_dimensions = function(f, where) {
        paste0(
            "n.latent = ", f$n_latent, " asks for more dimensions than there are ",
            "genes (", f$n_genes, "). Use n.latent = ", f$fewer,
            " or less, or more genes."
        )
    },
    cells_without_modelled_genes = function(f, where) {
        paste0(
            share_of(f$n, f$n_cells, "cell"), ngettext(f$n, " has", " have"),
            " no count in the ", how_many(f$n_genes, "modelled gene"), ", so ",
            "that the embedding cannot tell them apart. Choose more genes, or ",
            "leave out cells with few counts."
        )
    },
    repeated_genes = function(f, where) {
        paste0(
            how_many(f$n, "gene name"), ngettext(f$n, " stands", " stand"),
            " more than once in ", where, " (", quoted(f$names),
            "). Make them unique first: make.unique()."
        )
    },

    # -- columns of cell metadata ----------------------------------------------
    no_name = function(f, where) {
        paste0("a column is named by text, not by ", typed(f$value), ".")
    },
    repeated_column = function(f, where) {
        paste0(
            "there are ", how_many(f$n, "column"), " '", f$column, "'. Leave one, ",
            "or rename them."
        )
    },
    neither_yes_nor_no = function(f, where) {
        paste0(
            "column '", f$column, "' says neither yes nor no for ",
            share_of(f$n, f$n_genes, "gene"), " (", quoted(f$names), ")."
        )
    },
    no_feature_types = function(f, where) {
        paste0(
            "types of features are asked for, and there is no column ",
            quoted(f$names), " that says what is what."
        )
    },
    no_feature_of_type = function(f, where) {
        paste0(
            "none of ", how_many(f$n_features, "feature"), " is of the type asked ",
            "for. Column '", f$column, "' has ", quoted(f$names), "."
        )
    },
    other_features_left_out = function(f, where) {
        paste0(
            share_of(f$n, f$n_features, "feature"), ngettext(f$n, " is", " are"),
            " not gene expression (", quoted(f$names), ") and ",
            ngettext(f$n, "is", "are"), " left out"
        )
    },
    unknown_column = function(f, where) {
        paste0("there is no column '", f$column, "'; ", hint(f$column, f$known))
    },
    missing_values = function(f, where) {
        paste0(
            "column '", f$column, "' has no value in ",
            share_of(f$n, f$n_cells, "cell"), ". Give them a level of their own, ",
            "or drop those cells."
        )
    },
    no_numbers = function(f, where) {
        paste0(
            "column '", f$column, "' does not hold numbers. Name it in ",
            "group.by.vars, not in vars.to.regress."
        )
    },
    not_finite = function(f, where) {
        paste0(
            "column '", f$column, "' has no finite value in ",
            share_of(f$n, f$n_cells, "cell"), ". Fill them, or drop those cells."
        )
    },
    single_cell_levels = function(f, where) {
        paste0(
            how_many(f$n, "level"), " of column '", f$column, "' ",
            ngettext(f$n, "has", "have"), " a single cell (", quoted(f$names),
            "). The effect of a level cannot be distinguished from its only cell. ",
            "Merge such levels, or drop the cells."
        )
    },
    constant_column = function(f, where) {
        paste0(
            "column '", f$column, "' is ", format(f$value), " in all ",
            how_many(f$n_cells, "cell"), ". There is nothing to correct for: ",
            "leave it out."
        )
    },
    categorical_and_continuous = function(f, where) {
        paste0(
            ngettext(length(f$names), "column ", "columns "), quoted(f$names),
            ngettext(length(f$names), " is", " are"), " named in group.by.vars ",
            "and in vars.to.regress. Choose one."
        )
    },
    new_levels = function(f, where) {
        paste0(
            "column '", f$column, "' has ", how_many(f$n, "level"), " that the ",
            "model was not trained on (", quoted(f$names), "). Their cells are decoded ",
            "as if from the average of the ", count(f$n_known), " known levels."
        )
    },
    new_batches_mapped = function(f, where) {
        paste0(
            "column '", f$column, "' has ", how_many(f$n, "batch", "batches"), " that the ",
            "model was not trained on (", quoted(f$names), "). Their ",
            how_many(f$n_cells, "cell"), ngettext(f$n_cells, " is", " are"),
            " placed as the training cells that are most like them. What sets the ",
            "new batches apart is not taken out; group.by.vars = \"", f$column,
            "\" takes it out."
        )
    },
    nested_covariate = function(f, where) {
        paste0(
            "column '", f$column, "' has one value in each level of column '", f$batch, "' (",
            quoted(f$names), "). Their effects cannot be told apart: what sets the values of '",
            f$column, "' apart is taken out with '", f$batch, "', whether '", f$column,
            "' is named or not. To keep it in the embedding, leave both out."
        )
    },
    genes_of_some_files = function(f, where) {
        paste0(
            how_many(f$n, "gene is", "genes are"), " in every file. Genes that other files lack are left out of ",
            quoted(f$names), "."
        )
    },
    new_batches_unlike = function(f, where) {
        paste0(
            how_many(f$n, "batch", "batches"), " of column '", f$column, "' ",
            ngettext(f$n, "has", "have"), " fewer than ", f$least, " cells, or hardly any ",
            "that is like a training cell (", quoted(f$names), "). What sets ",
            ngettext(f$n, "it", "them"), " apart is not taken out."
        )
    },
    new_batches_apart = function(f, where) {
        paste0(
            how_many(f$n, "batch", "batches"), " of column '", f$column, "' ",
            ngettext(f$n, "is", "are"), " unlike the training cells (", quoted(f$names),
            "). The training cells around the cells of '", f$furthest, "' describe their ",
            "counts worse than the average of that batch does, by ",
            format(f$nats, digits = 2), " nats per molecule. Their types may not be those ",
            "of the training; an embedding that is trained on all cells tells."
        )
    },
    answer_too_large = function(f, where) {
        paste0(
            "the result has ", count(f$n), " values above zero, and a sparse matrix of R holds ",
            count(f$most), " at most: ask for some of the cells at a time"
        )
    },
    no_landmarks = function(f, where) {
        paste0(
            "the model (preset '", f$preset, "') keeps no training cells that a new batch ",
            "could be compared with: leave group.by.vars out, or train with the default preset"
        )
    },

    # -- a model and other cells -----------------------------------------------
    genes_missing = function(f, where) {
        paste0(
            count(f$n), " of the model's ", how_many(f$n_genes, "gene"),
            ngettext(f$n, " is", " are"), " not in ", where, " (", quoted(f$names),
            "), and all are needed here. PredictSCRAE() and LabelSCRAE() take cells ",
            "that lack some."
        )
    },
    shared_difference = function(f, where) {
        named <- function(genes) if (nzchar(genes)) genes else "none"
        paste0(
            if (grepl(",", f$clusters, fixed = TRUE)) {
                paste0("clusters ", f$clusters, " hold")
            } else {
                paste0("cluster ", f$clusters, " holds")
            },
            " groups of cells that differ in the same way (genes that are higher ",
            "in one group: ", named(f$genes), "; in the other: ",
            named(f$genes_other), "): a batch, a treatment or a state of the ",
            "cells, which are no types. They were joined; level = \"fine\" keeps ",
            "them apart, and group.by.vars takes a batch out."
        )
    },
    missing_genes_are_zero = function(f, where) {
        paste0(
            count(f$n), " of the model's ", how_many(f$n_genes, "gene"),
            ngettext(f$n, " is", " are"), " not in ", where, " (", quoted(f$names),
            "); ", ngettext(f$n, "it counts", "they count"), " as zero"
        )
    },
    no_gene_shared = function(f, where) {
        paste0(
            "none of the model's ", how_many(f$n_genes, "gene"), " is in ", where,
            " (in the model: '", f$of_model, "', there: '", f$of_query,
            "'). Are they symbols on one side and Ensembl ids on the other?"
        )
    },
    no_batches = function(f, where) {
        paste0(
            "batch = \"", f$batch, "\": the model was trained without ",
            "group.by.vars, so it knows no batches."
        )
    },
    unknown_batch = function(f, where) {
        paste0("the model has no batch '", f$batch, "'; ", hint(f$batch, f$known))
    },
    too_few_types = function(f, where) {
        found <- if (f$n_labelled == 0L) {
            "no labelled cell"
        } else {
            paste0(
                "one type only ('", f$types, "', ",
                how_many(f$n_labelled, "cell"), ")"
            )
        }
        paste0(
            "column '", f$column, "' has ", found, ". To tell types apart, two or ",
            "more must be labelled. Cells with '", f$unlabeled, "' or nothing ",
            "there count as not labelled: is that what unlabeled should be?"
        )
    },
    types_of_one_cell = function(f, where) {
        paste0(
            share_of(f$n, f$n_types, "type"), ngettext(f$n, " has", " have"),
            " a single labelled cell (", quoted(f$names), "): it cannot be tested how well ",
            ngettext(f$n, "it is", "they are"), " recognised"
        )
    },
    too_few_to_score = function(f, where) {
        paste0(
            how_many(f$n, "cell"), " to compare with: ", f$least, " or more are ",
            "needed."
        )
    },
    unknown_group = function(f, where) {
        paste0(
            "column '", f$column, "' has no group '", f$group, "'; ",
            hint(f$group, f$known)
        )
    },
    small_group = function(f, where) {
        paste0(
            if (is.null(f$group)) {
                "the other cells together"
            } else {
                paste0("group '", f$group, "'")
            },
            ": ", how_many(f$n, "cell"), ". For a comparison ", f$least,
            " or more are needed."
        )
    },
    no_batch_shared = function(f, where) {
        paste0(
            "group '", f$group, "' and ", if (is.null(f$reference)) {
                "the other cells"
            } else {
                paste0("group '", f$reference, "'")
            },
            " have no level of column '", f$column, "' in common. What differs ",
            "between them cannot be told from what differs between those levels. ",
            "Leave batch.by out to compare them all the same."
        )
    },
    groups_left_out = function(f, where) {
        left_out(f$names, f$n_groups, WORDS[[f$why$code]](f$why$fields, where), f$n)
    },
    small_profiles_left_out = function(f, where) {
        paste0(
            "group '", f$group, "': ", share_of(f$n, f$n_profiles, "sample"),
            " of column '", f$column, "' ", ngettext(f$n, "has", "have"),
            " fewer than ", f$least, " cells on one side and ",
            ngettext(f$n, "is", "are"), " left out there (", quoted(f$names), ")"
        )
    },
    few_samples = function(f, where) {
        paste0(
            "group '", f$group, "': ", how_many(f$n, "sample"), " of column '",
            f$column, "' against ", count(f$n_reference), ". On either side ",
            f$least, " or more with ", f$least_cells, " or more cells each are ",
            "needed, because a difference is compared with the spread between samples."
        )
    },
    some_samples_on_both_sides = function(f, where) {
        paste0(
            "group '", f$group, "': ", share_of(f$n, f$n_samples, "sample"),
            " of column '", f$column, "' ", ngettext(f$n, "is", "are"),
            " on both sides (", quoted(f$names), "), the others on one: they are ",
            "neither pairs nor independent. Leave out the cells that these samples have on ",
            "one side."
        )
    },
    unpaired_samples_left_out = function(f, where) {
        paste0(
            "group '", f$group, "': ", share_of(f$n, f$n_samples, "sample"),
            " of column '", f$column, "' ", ngettext(f$n, "is", "are"),
            " on both sides and compared as pairs; the others are left out, because they ",
            "are on one side only (", quoted(f$names), ")"
        )
    },
    several_batches_in_sample = function(f, where) {
        paste0(
            "group '", f$group, "': ", how_many(f$n, "sample"), " of column '",
            f$sample_column, "' ", ngettext(f$n, "has", "have"),
            " cells of several batches of column '", f$column, "' (",
            quoted(f$names), "). Leave batch.by out, or name samples that are of ",
            "one batch each."
        )
    },
    samples_confounded = function(f, where) {
        paste0(
            "group '", f$group, "': what differs between it and its reference cannot ",
            "be told from what differs between samples",
            if (!is.null(f$column)) {
                paste0(
                    " of column '", f$column, "', or there are too few samples for so ",
                    "many levels. Leave batch.by out to compare them all the same"
                )
            },
            "."
        )
    },
    too_few_genes_to_compare = function(f, where) {
        paste0(
            share_of(f$n, f$n_genes, "gene"), ngettext(f$n, " has", " have"),
            " enough counts in enough samples to be compared: two or more are ",
            "needed. Are these raw counts of all genes?"
        )
    },
    library_size = function(f, where) {
        paste0(
            "library.size is \"common\", \"observed\" or a number above 0, not ",
            typed(f$value), "."
        )
    },
    prior_with_like = function(f, where) {
        paste0(
            "cells from the prior cannot be made to resemble others: give like or ",
            "codes = \"prior\", not both."
        )
    },
    draws_no_counts = function(f, where) {
        paste0(
            "this model describes transformed counts (target = \"", f$kind,
            "\"), from which no counts can be drawn. Train it with ",
            "target = \"counts\"."
        )
    },
    no_density = function(f, where) {
        paste0(
            "this model does not know how its cells are spread: it was trained ",
            "without scikit-learn, or by an older version. Train it anew, or ",
            "draw with codes = \"prior\"."
        )
    },
    too_few_to_be_like = function(f, where) {
        paste0(
            "like has ", how_many(f$n, "cell"), ". ", f$least, " or more are needed to ",
            "draw cells that resemble them."
        )
    },
    too_few_to_tell_apart = function(f, where) {
        paste0(
            how_many(f$n_real, "real cell"), " and ",
            how_many(f$n_synthetic, "synthetic cell"), ": ", f$least, " or more ",
            "of each are needed."
        )
    },
    cells_without_molecules = function(f, where) {
        paste0(
            share_of(f$n, f$n_cells, "cell"), ngettext(f$n, " has", " have"),
            " no molecule on one side of the split. They have too few counts in ",
            "these genes: leave them out, or take more genes."
        )
    },
    explains_no_counts = function(f, where) {
        paste0(
            "a model with likelihood = \"none\", as of preset = \"contrastive_sc\", has an ",
            "embedding and knows nothing of counts. Train with the default preset for ",
            "this question."
        )
    },
    other_target = function(f, where) {
        paste0(
            "likelihood = \"", f$likelihood, "\" explains target = \"", f$target,
            "\" alone, not \"", f$value, "\"."
        )
    },
    nothing_to_learn = function(f, where) {
        paste0(
            "with likelihood = \"", f$likelihood, "\" nothing is reconstructed: ",
            "contrast.weight and mask.rate must be positive and early.stopping FALSE."
        )
    },
    no_prior = function(f, where) {
        paste0(
            "regulariser \"", f$regulariser, "\" has no prior to draw from. Train ",
            "with the default preset to draw new cells, or leave out ",
            "codes = \"prior\"."
        )
    },
    makes_no_clusters = function(f, where) {
        paste0(
            "regulariser \"", f$regulariser, "\" makes no clusters. Cluster the ",
            "embedding, with Leiden for example."
        )
    },
    no_clusters_yet = function(f, where) {
        paste0(
            "training ended before the ", how_many(f$pretraining_epochs, "epoch"),
            " of pre-training had passed, so there are no clusters yet. Train for ",
            "more epochs, or with a smaller pretraining.epochs."
        )
    },
    one_level = function(f, where) {
        paste0(
            "column '", f$column, "' has the same value in all cells: there is nothing ",
            "to compare"
        )
    },
    too_few_cells_for_report = function(f, where) {
        paste0(how_many(f$n, "cell"), " are too few: 30 or more are needed")
    },
    no_embedding = function(f, where) {
        paste0("there is no embedding '", f$name, "'. Call RunSCRAE(object) first.")
    },
    embedding_not_finite = function(f, where) {
        paste0(
            "the embedding '", f$name, "' has missing or infinite values. Call ",
            "RunSCRAE(object) again, or drop those cells."
        )
    },
    too_many_clusters = function(f, where) {
        paste0(
            "level = ", f$n, " asks for more clusters than there are: the cells ",
            "fall into ", how_many(f$most, "group"), " at most. Use level = ",
            f$most, " or less."
        )
    },
    more_clusters_than_cells = function(f, where) {
        paste0(
            "n.clusters = ", f$n_clusters, ": there are ",
            how_many(f$n_cells, "cell"), " to train on."
        )
    },

    # -- settings --------------------------------------------------------------
    unknown_setting = function(f, where) {
        paste0("there is no argument '", f$name, "'; ", hint(f$name, f$known))
    },
    unknown_option = function(f, where) {
        paste0("\"", f$of, "\" has no option '", f$name, "'; ", hint(f$name, f$known))
    },
    not_one_of = function(f, where) {
        paste0(
            argument(f$name), " = ", typed(f$value), " is not known. Choose one of ",
            paste0("\"", f$known, "\"", collapse = ", "), "."
        )
    },
    other_kind = function(f, where) {
        paste0(
            argument(f$name), " must be ", KINDS[[f$kind]], ", not ",
            typed(f$value), "."
        )
    },
    no_whole_number = function(f, where) {
        paste0(
            argument(f$name), " must be a whole number of at least ", f$least,
            ", not ", typed(f$value), "."
        )
    },
    below_least = function(f, where) {
        paste0(
            argument(f$name), " must be at least ", f$least, ", not ",
            typed(f$value), "."
        )
    },
    not_within = function(f, where) {
        paste0(
            argument(f$name), " must be at least ", f$low, " and below ", f$high,
            ", not ", typed(f$value), "."
        )
    },
    not_between = function(f, where) {
        paste0(
            argument(f$name), " must be between ", f$low, " and ", f$high, ", not ",
            typed(f$value), "."
        )
    },
    not_positive = function(f, where) {
        paste0(argument(f$name), " must be above 0, not ", typed(f$value), ".")
    },
    negative = function(f, where) {
        values <- vapply(f$values, typed, "")
        wrong <- which(unlist(f$values) < 0)
        paste0(
            paste(f$names[wrong], collapse = " and "), " must not be negative, ",
            "not ", paste(values[wrong], collapse = " and "), "."
        )
    },
    no_widths = function(f, where) {
        paste0(
            argument(f$name), " must be the width of a layer or several, whole ",
            "numbers of at least 1, not ", typed(f$value), "."
        )
    },
    clustering_options = function(f, where) {
        paste0(
            "pretraining.epochs must be at least 0, check.every at least 1 and ",
            "tolerance at least 0 and below 1, not ", typed(f$pretraining_epochs),
            ", ", typed(f$check_every), " and ", typed(f$tolerance), "."
        )
    },
    scaled_target = function(f, where) {
        paste0(
            "target = \"scaled\" has negative values, which likelihood = \"",
            f$likelihood, "\" does not. Use likelihood = \"mse\"."
        )
    },
    unknown_device = function(f, where) {
        paste0(
            "device = ", typed(f$device), " is not known. Use \"auto\", \"cpu\" or ",
            "\"cuda\"."
        )
    },
    no_double_precision = function(f, where) {
        paste0(
            "device = ", typed(f$device), " is not supported: the likelihood of counts ",
            "is computed in double precision, which Apple's GPUs do not have. Use ",
            "device = \"cpu\"."
        )
    },
    no_cuda = function(f, where) {
        paste0(
            "device = \"", f$device, "\": torch ", f$torch, " finds no CUDA ",
            "device. Use device = \"cpu\"."
        )
    },

    gpu_too_small = function(f, where) {
        paste0(
            "The counts take ", signif(f$needed / 1e9, 3), " GB of memory, and ",
            signif(f$free / 1e9, 3), " GB are free on ", f$device, ". Use ",
            "device = \"cpu\", or fewer genes."
        )
    },

    # -- the choice of genes ---------------------------------------------------
    too_few_genes_seen = function(f, where) {
        paste0(
            share_of(f$n, f$n_genes, "gene"), ngettext(f$n, " is", " are"),
            " seen in ", count(f$least), " or more of ",
            how_many(f$n_cells, "cell"), ": too few to choose from. Take more ",
            "cells or features = \"all\", and look whether rows are genes and ",
            "columns are cells."
        )
    },
    too_little_in_batch = function(f, where) {
        paste0(
            how_many(f$n_cells, "cell"), " and ", how_many(f$n_genes, "gene"),
            " are too few. Leave this batch out, or merge it with another."
        )
    },
    too_few_genes_pass = function(f, where) {
        paste0(
            "method \"", f$method, "\" finds ", how_many(f$n, "gene"),
            ": too few to train on. Use another method."
        )
    },
    fewer_genes_than_asked = function(f, where) {
        paste0(
            "method \"", f$method, "\" finds ", how_many(f$n, "gene"), ", fewer ",
            "than the ", count(f$n_asked), " asked for; all of them are taken"
        )
    },
    no_dropouts = function(f, where) {
        paste0(
            "M3Drop looks at zeros, and ", share_of(f$n, f$n_genes, "gene"),
            ngettext(f$n, " has", " have"), " one in any of ",
            how_many(f$n_cells, "cell"), ". Use method \"HVG\", or keep all genes ",
            "and cells of the experiment."
        )
    },
    too_few_genes_vary = function(f, where) {
        paste0(
            "DANB needs genes that vary more than Poisson counts; ",
            share_of(f$n, f$n_genes, "gene"), ngettext(f$n, " does", " do"),
            " in ", how_many(f$n_cells, "cell"), ". Use method \"M3Drop\" or ",
            "\"HVG\", or more cells."
        )
    },
    no_gene_varies = function(f, where) {
        paste0(
            "none of ", how_many(f$n_genes, "gene"), " differs between the ",
            how_many(f$n_cells, "cell"), " of ", where, ". Are they copies of one cell?"
        )
    },
    no_marker = function(f, where) {
        paste0(
            "SCMarker finds no marker. Of ", how_many(f$n_genes, "gene"), " ",
            count(f$expressed), " have a count of ", format(f$least), " or more in ",
            "more than ", f$in_cells, " of ", how_many(f$cells, "cell"), "; ",
            count(f$multimodal), " of these have two peaks or more; ",
            count(f$compared), " of these are not in nearly all cells; none has a ",
            "partner in more than ", f$shared_cells, " cells. Use another method."
        )
    },
    reads_not_umis = function(f, where) {
        paste0(
            "SCMarker: half of the counts that are not zero are ",
            format(f$typical), " or more, so these look like reads, not UMIs. ",
            "Then nearly every gene has several peaks: use another method."
        )
    },
    no_trend = function(f, where) {
        paste0(
            "method \"seurat_v3\" could not fit the trend of variance on mean: too ",
            "many genes have the same few counts. Use method \"HVG\", or fewer ",
            "batches."
        )
    },

    # -- training, folders, Python itself --------------------------------------
    diverged = function(f, where) {
        paste0(
            "training failed in epoch ", f$epoch, ": a loss was no longer finite, ",
            "also after the learning rates had been halved ", f$retries, " times. ",
            "Try a smaller learning.rate, and look for cells with extreme counts."
        )
    },
    going_back = function(f, where) {
        paste0(
            "a loss was no longer finite in epoch ", f$epoch, "; training went on ",
            "from epoch ", f$good_epoch, " with half the learning rates"
        )
    },
    no_checkpoint = function(f, where) {
        paste0(
            "no checkpoint could be written into '", f$path, "' (", f$reason,
            "); training went on"
        )
    },
    not_written = function(f, where) {
        paste0("'", f$path, "' could not be written: ", f$reason, ".")
    },
    model_put_elsewhere = function(f, where) {
        paste0(
            "'", f$path, "' could not be written: ", f$reason, ". The trained model ",
            "was put into '", f$place, "' instead; PredictSCRAE(object, model = \"",
            f$place, "\") uses it."
        )
    },
    not_replaced = function(f, where) {
        paste0(
            "'", f$path, "' exists and is not replaced, because it is not a file of ",
            "cells that Python's anndata wrote. Choose another name, or move it away."
        )
    },
    no_room = function(f, where) {
        paste0(
            "there is no room for '", f$path, "': it takes ",
            signif(f$needed / 1e9, 3), " GB or more, and ",
            signif(f$free / 1e9, 3), " GB are free. Make room, or ",
            "choose another disk."
        )
    },
    no_folder = function(f, where) {
        paste0("'", f$path, "' is a file. A model is saved as a folder.")
    },
    another_model = function(f, where) {
        paste0(
            "'", f$path, "' holds a model that was trained on other data or with ",
            "other settings. Choose another folder, or replace that model with ",
            "overwrite = TRUE."
        )
    },
    other_writer = function(f, where) {
        paste0(
            "process ", f$process, " on ", f$host, " is writing into '", f$path,
            "'. Wait for it, or choose another folder. If it does not run any more, ",
            "delete the file ", f$file, " in that folder."
        )
    },
    writer_died = function(f, where) {
        paste0(
            "process ", f$process, " ended without finishing what it was writing ",
            "into '", f$path, "'; this one takes over"
        )
    },
    missing_file = function(f, where) {
        paste0(
            "the file ", f$file, " of this model is missing. Copy the whole folder, ",
            "save the model again, or train it anew."
        )
    },
    file_of_another_model = function(f, where) {
        paste0(
            "the file ", f$file, " of this model does not belong to the others: it ",
            "is of another training or another save. Copy the whole folder again, ",
            "save the model again, or train it anew."
        )
    },
    column_of_user = function(f, where) {
        paste0(
            "column '", f$column, "' exists and is not the work of an earlier ",
            "call: clusters of this one would replace it. Rename that column."
        )
    },
    weights_do_not_fit = function(f, where) {
        paste0(
            "the weights of this model do not fit its settings: its files are not ",
            "of one model. Save it again, or train it anew."
        )
    },
    damaged_file = function(f, where) {
        paste0(
            "the file ", f$file, " of this model is damaged or cut short. Save ",
            "the model again, or train it anew."
        )
    },
    format_version = function(f, where) {
        paste0(
            "the file ", f$file, " of this model has format version ",
            typed(f$version), ". This version of scRAE reads ",
            paste(f$known, collapse = " and "), ". Read it with the version of ",
            "scRAE that wrote it, or train the model anew."
        )
    },
    resume_of_other_data = function(f, where) {
        paste0(
            "these are not the cells, genes and columns that the training started ",
            "with. Use resume = FALSE to train anew."
        )
    },
    resume_of_other_settings = function(f, where) {
        paste0(
            "settings or seed are not those that the training started with. Give ",
            "the same again, or use resume = FALSE to train anew."
        )
    },
    no_bridge = function(f, where) {
        paste0(
            "Python cannot talk to R: rpy2 or anndata2ri is missing, or was built ",
            "for another R. InstallSCRAE() makes a Python that can; SCRAEStatus() ",
            "says more."
        )
    },
    missing_package = function(f, where) {
        paste0(
            "Python lacks the package ", f$package, ". InstallSCRAE() makes a ",
            "Python that has what scRAE needs."
        )
    },
    unknown_job = function(f, where) {
        paste0(
            "Python has an older version of scRAE, which does not know '",
            f$action, "'. Install scRAE again."
        )
    },
    memory = function(f, where) {
        paste0(
            "there is not enough memory. Use fewer cells or genes, or a machine ",
            "with more."
        )
    },
    interrupted = function(f, where) {
        "stopped before there was anything to keep; the object is as it was"
    }
)
