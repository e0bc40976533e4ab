# A model and other cells, its types, groups to compare, batches.
# For each code a function of its fields and of the place of the counts.

WORDS_OF_MODELS <- list(
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
        left_out(f$names, f$n_groups, words_of(f$why$code, f$why$fields, where), f$n)
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
    }
)
