# Counts, and pairs of cells.
# For each code a function of its fields and of the place of the counts.

WORDS_OF_COUNTS <- list(
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
    }
)
