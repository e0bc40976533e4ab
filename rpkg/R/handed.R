# What a job hands to Python: numbers as plain little-endian files, the rest as JSON.
# The files' names end in the kind of number and its bytes: .i4, .f4, .f8.

# Entries that are looked at, or written, at once: what is made of them is small.
ENTRIES <- 2^20

# Up to here single precision holds every whole number.
LARGEST_SINGLE <- 2^24

#' Hand the cells of a job over
#'
#' R's compressed columns of genes x cells are Python's rows of cells x genes, so the
#' arrays of the matrix are written as they lie there. Counts take four bytes.
#' @param cells As from [cells_of_job()], or NULL.
#' @param folder The job's.
#' @noRd
save_cells <- function(cells, folder) {
    if (is.null(cells)) {
        return(invisible())
    }
    counts <- cells$counts
    arrays <- list(
        indptr = write_numbers(counts@p, folder, "cells.indptr", "i4"),
        indices = write_numbers(counts@i, folder, "cells.indices", "i4"),
        data = write_numbers(counts@x, folder, "cells.data",
            if (fits_single(counts@x)) "f4" else "f8"
        )
    )
    columns <- lapply(seq_along(cells$columns), function(i) {
        write_column(cells$columns[[i]], folder, paste0("cells.column", i))
    })
    names(columns) <- enc2utf8(as.character(names(cells$columns)))
    handed <- list(
        genes = I(enc2utf8(rownames(counts))), cells = I(enc2utf8(colnames(counts))),
        counts = arrays, columns = named_list(columns)
    )
    if (!is.null(cells$embedding)) {
        values <- as.double(cells$embedding)
        handed$embedding <- write_numbers(values, folder, "cells.embedding", "f8")
    }
    write_json(handed, file.path(folder, "cells.json"))
}

# Text as codes that count from 0 (-1: missing) and levels, numbers as they are.
write_column <- function(values, folder, name) {
    if (is.numeric(values)) {
        return(write_numbers(as.double(values), folder, name, "f8"))
    }
    levels <- unique(values[!is.na(values)])
    codes <- match(values, levels, 0L) - 1L
    c(
        write_numbers(codes, folder, name, "i4"),
        list(levels = I(enc2utf8(levels)))
    )
}

write_numbers <- function(values, folder, name, kind) {
    file <- paste0(name, ".", kind)
    size <- as.integer(substring(kind, 2L))
    connection <- file(file.path(folder, file), "wb")
    on.exit(close(connection))
    in_blocks(values, function(block, first) {
        writeBin(block, connection, size = size, endian = "little")
    })
    list(file = file)
}

fits_single <- function(values) {
    fits <- TRUE
    in_blocks(values, function(block, first) {
        fits <<- fits && all(block == trunc(block)) && all(abs(block) <= LARGEST_SINGLE)
    })
    fits
}

# Call a function with each block of a long vector, and where that begins.
in_blocks <- function(values, what) {
    n <- length(values)
    if (n <= ENTRIES) {
        what(values, 1)
        return(invisible())
    }
    for (first in seq(1, n, by = ENTRIES)) {
        what(values[seq(first, min(first + ENTRIES - 1, n))], first)
    }
}

write_json <- function(value, path) {
    # As bytes: in a locale without these letters writeLines() would spell them out.
    writeLines(enc2utf8(as.character(to_json(value))), path, useBytes = TRUE)
}
