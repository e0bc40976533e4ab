# Columns of cell metadata and of features.
# For each code a function of its fields and of the place of the counts.

WORDS_OF_COLUMNS <- list(
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
            "' is named or not. To keep it in the embedding, name it in keep instead."
        )
    },
    keep_without_batch = function(f, where) {
        paste0(
            "keep = ", quoted(f$names), " says what a correction must not take out, but nothing is ",
            "corrected. Name the batches in group.by.vars, or leave keep out."
        )
    },
    kept_and_corrected = function(f, where) {
        paste0(
            ngettext(length(f$names), "column ", "columns "), quoted(f$names),
            ngettext(length(f$names), " is", " are"), " named in keep and to be corrected for. ",
            "What is taken out cannot be kept: choose one."
        )
    },
    kept_is_batch = function(f, where) {
        paste0(
            "each level of ", quoted(f$names), " has one level of ", quoted(f$batches), " alone. Nothing can ",
            "be taken out without it: name the samples within them in group.by.vars, or leave both out."
        )
    },
    kept_groups_of_one_batch = function(f, where) {
        paste0(
            count(f$n), " of ", how_many(f$n_groups, "level"), " of ", quoted(f$columns), " ",
            ngettext(f$n, "has", "have"), " one level of column '", f$batch, "' alone (", quoted(f$names),
            "). What sets that batch apart stays in the embedding, since nothing tells it from what is kept."
        )
    },
    small_kept_groups = function(f, where) {
        paste0(
            count(f$n), " of ", how_many(f$n_groups, "level"), " of ", quoted(f$columns), " ",
            ngettext(f$n, "has", "have"), " fewer than ", f$least, " cells (", quoted(f$names),
            "). What sets batches apart stays in these cells, since so few do not tell it from what sets types apart."
        )
    },
    cannot_keep = function(f, where) {
        paste0(
            "preset '", f$preset, "' as it is set cannot keep a difference. It does not correct the embedding ",
            "after training, or draws all batches together in training. Leave keep out, or train with the ",
            "default preset."
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
    }
)
