# Groups compared by the donors that their cells are from: raw counts are summed over
# each donor's cells in each group, and the sums are compared as bulk samples are.
# scrae.tl.pseudobulk makes the same decisions.

CELLS_OF_PROFILE <- 10L # that a sum is made of
DONORS_OF_SIDE <- 2L
COUNTS_OF_GENE <- 10 # in as many profiles as the smaller side has

BULK_TESTS <- c("edgeR", "DESeq2", "pydeseq2")

known_bulk_test <- function(test.use) {
    if (is.null(test.use)) {
        there <- vapply(BULK_TESTS[1:2], requireNamespace, TRUE, quietly = TRUE)
        return(c(BULK_TESTS[1:2][there], "pydeseq2")[1L])
    }
    a_name(test.use, "test.use")
    test <- BULK_TESTS[tolower(BULK_TESTS) == tolower(test.use)]
    if (length(test) == 0L) one_of(test.use, BULK_TESTS, "test.use")
    if (test != "pydeseq2") {
        need_package(test, paste0("test.use = \"", test, "\""),
            paste0("BiocManager::install(\"", test, "\")")
        )
    }
    test
}

#' Compare groups by donors
#'
#' @param columns Named list of the columns `sample.by` and, where it is named,
#'   `batch.by`.
#' @param groups What [compared_groups()] gives.
#' @return data.frame as [FindMarkersSCRAE()] has it.
#' @noRd
compare_samples <- function(source, columns, groups, sample.by, batch.by, test.use, how) {
    test <- known_bulk_test(test.use)
    names <- groups$names %||% setdiff(sort(unique(groups$of_cell)), groups$reference)
    batch <- if (!is.null(batch.by)) columns[[batch.by]]
    sides <- lapply(stats::setNames(nm = names), function(name) {
        side <- ifelse(groups$of_cell == name, 1L, NA)
        of_reference <- groups$reference == "rest" | groups$of_cell == groups$reference
        side[is.na(side) & of_reference] <- 0L
        side
    })
    # What cannot be tested is known before a count is read.
    designs <- or_refusal(sides, function(side, name) {
        profiles_of(name, columns[[sample.by]], side, batch, sample.by, batch.by)
    })
    counts <- read_counts(source)
    tables <- or_refusal(designs$made, function(design, name) {
        tested <- test_profiles(counts, design, test, how)
        say(
            how$verbose, name, ": ", sum(design$side == 1L), " against ",
            sum(design$side == 0L), " samples",
            if (design$paired) ", in pairs", ", ", count(nrow(tested)), " of ",
            how_many(nrow(counts), "gene"), " (", test, ")"
        )
        cbind(group = name, tested)
    }, designs$refused, length(names))
    found <- do.call(rbind, unname(tables$made))
    rownames(found) <- NULL
    found
}

#' What can be made of each, and why the rest cannot
#'
#' @param each Named list, to each of which `make` is applied with its name.
#' @param refused Refusals of before.
#' @param last Number of all; then what was refused is said.
#' @noRd
or_refusal <- function(each, make, refused = list(), last = NULL) {
    made <- list()
    for (name in names(each)) {
        result <- tryCatch(make(each[[name]], name),
            scrae_untestable = function(refusal) refusal
        )
        if (inherits(result, "condition")) {
            refused[[name]] <- result
        } else {
            made[[name]] <- result
        }
    }
    if (length(made) == 0L) stop(refused[[1L]])
    if (!is.null(last) && length(refused) > 0L) {
        warning(
            left_out(names(refused), last, conditionMessage(refused[[1L]])),
            call. = FALSE
        )
    }
    list(made = made, refused = refused)
}

untestable <- function(code, fields) {
    refuse(code, fields, class = "scrae_untestable")
}

#' The profiles of donors on two sides
#'
#' @param name Of the group, for messages.
#' @param sample Donor of each cell.
#' @param side 1: a cell of the group, 0: one of its reference, NA: neither.
#' @param batch Batch of each cell, or NULL.
#' @return List of `profile` (its number for each cell, NA: none), and of `sample`,
#'   `side` and `batch` of each profile, and whether they are `paired`.
#' @noRd
profiles_of <- function(name, sample, side, batch, sample.by, batch.by) {
    key <- ifelse(is.na(side), NA, paste(side, sample))
    keys <- unique(key[!is.na(key)])
    first <- match(keys, key)
    n_cells <- tabulate(match(key, keys), length(keys))
    small <- n_cells < CELLS_OF_PROFILE
    if (any(small)) {
        warning(
            words_of("small_profiles_left_out", list(
                group = name, column = sample.by, n = sum(small),
                n_profiles = length(keys), names = sample[first][small],
                least = CELLS_OF_PROFILE
            )),
            call. = FALSE
        )
    }
    keys <- keys[!small]
    first <- first[!small]
    on <- lapply(0:1, function(one) unique(sample[first][side[first] == one]))
    both <- intersect(on[[1L]], on[[2L]])
    either <- union(on[[1L]], on[[2L]])
    if (min(lengths(on)) < DONORS_OF_SIDE) {
        untestable("few_samples", list(
            group = name, column = sample.by, n = length(on[[2L]]),
            n_reference = length(on[[1L]]), least = DONORS_OF_SIDE,
            least_cells = CELLS_OF_PROFILE
        ))
    }
    single <- sort(setdiff(either, both))
    if (length(both) && length(single)) {
        told <- list(
            group = name, column = sample.by, n = length(both),
            n_samples = length(either), names = sort(both)
        )
        if (length(both) < max(DONORS_OF_SIDE, length(single))) {
            untestable("some_samples_on_both_sides", told)
        }
        told$names <- single
        warning(words_of("unpaired_samples_left_out", told), call. = FALSE)
        paired <- sample[first] %in% both
        keys <- keys[paired]
        first <- first[paired]
    }
    design <- list(
        profile = match(key, keys), sample = sample[first], side = side[first],
        paired = length(both) > 0L
    )
    if (!is.null(batch)) {
        design$batch <- batches_of_profiles(name, design, sample, batch, sample.by, batch.by)
        of_donors <- unique(data.frame(design$sample, design$batch))
        # What differs between donors is taken out as it is.
        if (design$paired && !anyDuplicated(of_donors[[1L]])) design$batch <- NULL
    }
    model <- design_matrix(design)
    if (qr(model)$rank < ncol(model) || nrow(model) <= ncol(model)) {
        untestable("samples_confounded", list(group = name, column = batch.by))
    }
    design
}

# The one batch of each profile.
batches_of_profiles <- function(name, design, sample, batch, sample.by, batch.by) {
    of_profile <- split(batch, factor(design$profile, seq_along(design$sample)))
    several <- vapply(of_profile, function(values) length(unique(values)) > 1L, TRUE)
    if (any(several)) {
        names <- sort(unique(design$sample[several]))
        untestable("several_batches_in_sample", list(
            group = name, column = batch.by, sample_column = sample.by,
            n = length(names), names = names
        ))
    }
    vapply(of_profile, `[[`, "", 1L, USE.NAMES = FALSE)
}

# A column for each term, the side last.
terms_of <- function(design) {
    terms <- list(
        sample = if (design$paired) factor(design$sample),
        batch = if (!is.null(design$batch)) factor(design$batch),
        side = factor(design$side, 0:1, c("reference", "group"))
    )
    as.data.frame(Filter(Negate(is.null), terms))
}

design_matrix <- function(design) stats::model.matrix(~., terms_of(design))

# A row for each gene that has enough counts to be tested, by p.
test_profiles <- function(counts, design, test, how) {
    cells <- which(!is.na(design$profile))
    which_profile <- sparseMatrix(
        i = cells, j = design$profile[cells], x = 1,
        dims = c(ncol(counts), length(design$side))
    )
    sums <- as.matrix(counts %*% which_profile)
    colnames(sums) <- paste0("p", seq_along(design$side))
    tested <- switch(test,
        edgeR = test_by_edger(sums, design),
        DESeq2 = test_by_deseq2(sums, design),
        test_by_pydeseq2(sums, design, how)
    )
    per_million <- t(t(sums) / pmax(colSums(sums), 1)) * 1e6
    seen <- counts
    seen@x <- as.double(seen@x > 0)
    for (one in 1:0) {
        prefix <- if (one == 1L) "" else "reference_"
        of_side <- design$side == one
        of_cells <- which(design$profile %in% which(of_side))
        tested[[paste0(prefix, "mean")]] <- rowMeans(
            per_million[tested$gene, of_side, drop = FALSE]
        )
        tested[[paste0(prefix, "detected")]] <- rowSums(
            seen[tested$gene, of_cells, drop = FALSE]
        ) / length(of_cells)
        tested[[paste0(prefix, "samples")]] <- sum(of_side)
    }
    both <- c(rbind(
        c("mean", "detected", "samples"),
        paste0("reference_", c("mean", "detected", "samples"))
    ))
    tested <- tested[c("gene", "log2fc", "p", "q", both)]
    tested[order(tested$p, -abs(tested$log2fc)), ]
}

# What edgeR's guide advises for a few samples: the quasi-likelihood F test.
test_by_edger <- function(sums, design) {
    model <- design_matrix(design)
    data <- edgeR::DGEList(sums)
    enough <- edgeR::filterByExpr(data, design = model)
    refuse_few_genes(enough)
    data <- edgeR::calcNormFactors(data[enough, , keep.lib.sizes = FALSE])
    data <- edgeR::estimateDisp(data, model)
    found <- edgeR::glmQLFTest(edgeR::glmQLFit(data, model), coef = ncol(model))$table
    data.frame(
        gene = rownames(found), log2fc = found$logFC, p = found$PValue,
        q = stats::p.adjust(found$PValue, "BH")
    )
}

test_by_deseq2 <- function(sums, design) {
    enough <- with_enough_counts(sums, design)
    terms <- terms_of(design)
    # It says that counts are whole numbers, and which trend it takes.
    data <- suppressMessages(DESeq2::DESeq(
        DESeq2::DESeqDataSetFromMatrix(
            sums[enough, ], terms, stats::reformulate(names(terms))
        ),
        quiet = TRUE
    ))
    found <- DESeq2::results(data, contrast = c("side", "group", "reference"))
    data.frame(
        gene = rownames(found), log2fc = found$log2FoldChange, p = found$pvalue,
        q = found$padj
    )
}

test_by_pydeseq2 <- function(sums, design, how) {
    enough <- with_enough_counts(sums, design)
    columns <- list(sample = design$sample, side = as.character(design$side))
    if (!is.null(design$batch)) columns$batch <- design$batch
    tryCatch(
        run_job("pseudobulk", list(paired = design$paired),
            as_sparse(sums[enough, ]), columns, how
        )$table,
        scrae_missing_package = function(condition) {
            fail(
                "donors are compared by edgeR, DESeq2 or Python's pydeseq2, and none of ",
                "them is installed: BiocManager::install(\"edgeR\")",
                class = "scrae_missing_package"
            )
        }
    )
}

with_enough_counts <- function(sums, design) {
    enough <- rowSums(sums >= COUNTS_OF_GENE) >= min(table(design$side))
    refuse_few_genes(enough)
    enough
}

refuse_few_genes <- function(enough) {
    if (sum(enough) < 2L) {
        untestable("too_few_genes_to_compare", list(
            n = sum(enough), n_genes = length(enough), least = COUNTS_OF_GENE
        ))
    }
}
