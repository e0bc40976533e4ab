# Raw counts, wherever they are: found first, read later and only in part.

# Rows of the object that goes to Python which is no gene; it marks cells whose
# counts all lie in genes that stay behind. The same name stands in scrae.r.
OTHER_GENES <- "(other genes)"

BLOCK_ENTRIES <- 2e7 # entries of a block of an on-disk matrix, zeros included

#' Where raw counts are, before any of them is read
#'
#' @param parts List of matrices, genes x cells, in memory or on disk, which
#'   together hold every cell once (split layers of Seurat v5 are several).
#' @param genes,cells Names, or NULL where the matrix has none.
#' @param where How to call the place in messages: `assay 'RNA'`.
#' @param by_name Whether a part may have some of the genes and cells, in any
#'   order, so that its own names say what is what (layers of Seurat). Elsewhere
#'   there is one part, and it is positions that count.
#' @return A list with these, unique `names` for the genes, and whether the cells
#'   are `named` by the user.
#' @noRd
counts_source <- function(parts, genes, cells, where, by_name = FALSE) {
    named <- !is.null(cells)
    if (is.null(genes)) genes <- paste0("gene", seq_len(nrow(parts[[1L]])))
    if (is.null(cells)) cells <- paste0("cell", seq_len(ncol(parts[[1L]])))
    if (length(genes) < 2L || length(cells) < 2L) {
        fail(
            where, " has ", count(length(genes)), " gene(s) and ",
            count(length(cells)), " cell(s): an embedding needs 2 of each ",
            "or more"
        )
    }
    list(
        parts = parts, genes = genes, names = make.unique(genes, "."),
        cells = cells, where = where, by_name = by_name, named = named
    )
}

say_duplicates <- function(source, verbose) {
    repeated <- unique(source$genes[duplicated(source$genes)])
    if (length(repeated) > 0L) {
        say(
            verbose, count(length(repeated)), " gene name(s) stand more than ",
            "once in ", source$where, " (", quoted(repeated), "); scRAE ",
            "tells them apart as ", quoted(paste0(repeated[1L], c("", ".1")))
        )
    }
}

#' Counts of some genes in memory
#'
#' @param source A [counts_source()].
#' @param chosen Positions of genes; NULL: all.
#' @param block_entries Entries of a block of an on-disk matrix.
#' @return dgCMatrix, chosen genes x all cells, named by `source$names` and
#'   `source$cells`. Where a cell has counts in other genes only, a last row
#'   `OTHER_GENES` holds a 1 for it.
#' @noRd
read_counts <- function(source, chosen = NULL, block_entries = BLOCK_ENTRIES) {
    if (is.null(chosen)) chosen <- seq_along(source$genes)
    parts <- lapply(source$parts, read_part, source, chosen, block_entries)
    counts <- bind_cells(lapply(parts, `[[`, "counts"))
    totals <- unlist(lapply(parts, `[[`, "totals"))
    if (source$by_name && !identical(colnames(counts), source$cells)) {
        order <- match(source$cells, colnames(counts))
        counts <- counts[, order, drop = FALSE]
        totals <- totals[order]
    }
    dimnames(counts) <- list(source$names[chosen], source$cells)
    refuse_empty_cells(totals, source)
    elsewhere <- totals > 0 & colSums(as_modelled(counts, source)) == 0
    if (any(elsewhere)) {
        other <- sparseMatrix(
            i = rep(1L, sum(elsewhere)), j = which(elsewhere), x = 1,
            dims = c(1L, ncol(counts)),
            dimnames = list(OTHER_GENES, source$cells)
        )
        counts <- rbind(counts, other)
    }
    counts
}

# Counts (of the chosen genes) and totals (of all genes) of one matrix; what is
# not in memory is read in blocks of cells.
read_part <- function(part, source, chosen, block_entries) {
    rows <- chosen
    genes <- source$genes
    cells <- source$cells
    if (source$by_name) {
        rows <- match(source$genes[chosen], rownames(part))
        genes <- rownames(part)
        cells <- colnames(part)
    }
    in_memory <- is.matrix(part) || is(part, "Matrix")
    step <- if (in_memory) {
        ncol(part)
    } else {
        max(1L, block_entries %/% nrow(part))
    }
    starts <- seq(1L, ncol(part), by = step)
    blocks <- lapply(starts, function(start) {
        columns <- seq(start, min(start + step - 1L, ncol(part)))
        block <- if (in_memory) part else part[, columns, drop = FALSE]
        block <- as_sparse(block)
        counts <- take_rows(block, rows)
        refuse_other_than_counts(counts, source, genes[rows], cells[columns])
        list(counts = counts, totals = colSums(as_modelled(block, source)))
    })
    list(
        counts = bind_cells(lapply(blocks, `[[`, "counts")),
        totals = unlist(lapply(blocks, `[[`, "totals"), use.names = FALSE)
    )
}

# One matrix of several; a single one is not copied.
bind_cells <- function(parts) {
    if (length(parts) == 1L) parts[[1L]] else do.call(cbind, parts)
}

# Counts as Python will have them, which rounds where that is asked for.
as_modelled <- function(counts, source) {
    if (isTRUE(source$rounded)) counts@x <- round(counts@x)
    counts
}

# Rows in the order asked for; NA gives a row of zeros.
take_rows <- function(block, rows) {
    if (identical(as.integer(rows), seq_len(nrow(block)))) {
        return(block)
    }
    if (!anyNA(rows)) {
        return(block[rows, , drop = FALSE])
    }
    taken <- sparseMatrix(
        i = which(!is.na(rows)), j = rows[!is.na(rows)], x = 1,
        dims = c(length(rows), nrow(block))
    ) %*% block
    as_sparse(taken)
}

# A general CsparseMatrix of doubles: the one form that crosses to Python safely.
as_sparse <- function(matrix) {
    if (is(matrix, "dgCMatrix")) {
        return(matrix)
    }
    if (!is(matrix, "Matrix") && !is.matrix(matrix)) {
        matrix <- if (is(matrix, "IterableMatrix")) { # BPCells
            as(matrix, "dgCMatrix")
        } else {
            as.matrix(matrix)
        }
    }
    as(as(as(matrix, "dMatrix"), "generalMatrix"), "CsparseMatrix")
}

# `genes` and `cells` are those of the rows and columns of `counts`.
refuse_other_than_counts <- function(counts, source, genes, cells) {
    right <- TRUE
    # In blocks: what is made of all entries would be larger than they are.
    in_blocks(counts@x, function(block, first) {
        right <<- right && is.null(what_no_count_is(block, source))
    })
    if (right) {
        return(invisible())
    }
    values <- counts@x
    what <- what_no_count_is(values, source)
    wrong <- NO_COUNTS[[what]](values)
    first <- which(wrong)[1L]
    cell <- cells[findInterval(first - 1L, counts@p)]
    fail(
        source$where, " does not hold raw counts: ", count(sum(wrong)), " of ",
        count(length(values)), " values are ", what, " (the first: ",
        format(values[first]), ", gene '",
        genes[counts@i[first] + 1L], "', cell '",
        cell, "'). scRAE models raw counts: give those, not ",
        "normalised, scaled or corrected values.",
        if (what == "not whole") paste0(" ", ESTIMATED),
        class = "scrae_counts_error"
    )
}

NO_COUNTS <- list(
    "not finite (NA or infinite)" = function(values) !is.finite(values),
    "negative" = function(values) values < 0,
    "not whole" = function(values) values != trunc(values)
)

# What some of the values are that no count is, the worst first, or NULL.
what_no_count_is <- function(values, source) {
    kinds <- if (isTRUE(source$rounded)) names(NO_COUNTS)[1:2] else names(NO_COUNTS)
    for (kind in kinds) {
        if (any(NO_COUNTS[[kind]](values))) {
            return(kind)
        }
    }
    NULL
}

refuse_empty_cells <- function(totals, source) {
    empty <- which(totals == 0)
    if (length(empty) > 0L) {
        fail(
            count(length(empty)), " of ", count(length(totals)), " cells in ",
            source$where, " have no count at all (", quoted(source$cells[empty]),
            "); drop them first: object <- object[, colSums(counts) > 0]",
            class = "scrae_counts_error"
        )
    }
}
