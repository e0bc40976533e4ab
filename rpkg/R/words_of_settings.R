# Settings, and the choice of genes.
# For each code a function of its fields and of the place of the counts.

WORDS_OF_SETTINGS <- list(
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
    }
)
