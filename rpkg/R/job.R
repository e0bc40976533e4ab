# A job for Python: a folder with what it needs, and the answer that it leaves.

#' Have Python do something
#'
#' @param action Name of a job of `scrae.r`: "train", "map", "label", ...
#' @param arguments Named list of plain values.
#' @param counts dgCMatrix, genes x cells, or NULL where none are needed.
#' @param covariates Named list of character vectors, one entry per cell.
#' @param how [run_options()].
#' @param where How to call the place of the counts in messages.
#' @param model A `scrae_model` that Python shall find in `arguments$model`.
#' @param embedding Matrix of numbers, cells x axes, with the counts or alone.
#' @return What Python wrote into result.json, arrays and tables read in; where it
#'   left a trained model, that as `model`; and as `warnings` what was warned of.
#' @noRd
run_job <- function(action, arguments, counts = NULL, covariates = list(), how,
    where = "the counts", model = NULL, embedding = NULL) {
    folder <- tempfile("scrae-")
    dir.create(folder)
    on.exit(unlink(folder, recursive = TRUE))
    if (!is.null(model)) {
        arguments$model <- give_model_to_job(model, file.path(folder, "given"))
    }
    job <- list(
        action = action, threads = how$threads,
        arguments = Filter(Negate(is.null), arguments)
    )
    write_json(job, file.path(folder, "job.json"))
    if (how$in_process) {
        warned <- run_in_session(
            folder, cells_of_job(counts, covariates, embedding), where
        )
    } else {
        # A new one loads its packages while the counts are taken out of the object.
        worker <- take_worker()
        on.exit(leave_worker(worker), add = TRUE, after = FALSE)
        save_cells(cells_of_job(counts, covariates, embedding), folder)
        large <- length(counts) > LARGE
        rm(counts)
        if (large) gc() # the worker has them now
        warned <- do_job(worker, folder, how, where)
    }
    c(read_result(folder), list(warnings = warned))
}

# Entries, zeros included, from which on it is worth collecting garbage.
LARGE <- 1e7

# Only what the model needs, in classes that R has without Bioconductor: to load
# SingleCellExperiment takes seconds.
cells_of_job <- function(counts, covariates, embedding = NULL) {
    if (is.null(counts) && !is.null(embedding)) counts <- no_counts(nrow(embedding))
    if (!is.null(counts)) {
        c(
            list(counts = counts, columns = named_list(covariates)),
            if (!is.null(embedding)) list(embedding = embedding)
        )
    }
}

# Of cells of which the embedding says all.
no_counts <- function(n_cells) {
    sparseMatrix(
        i = integer(), j = integer(), x = numeric(), dims = c(1L, n_cells),
        dimnames = list("none", as.character(seq_len(n_cells)))
    )
}

to_json <- function(value) {
    jsonlite::toJSON(whole_as_integer(value),
        auto_unbox = TRUE, digits = NA, null = "null"
    )
}

# 1e5 would otherwise be written as "1e+05", which Python reads as 100000.0.
whole_as_integer <- function(value) {
    if (is.list(value)) {
        return(lapply(value, whole_as_integer))
    }
    whole <- is.double(value) && all(is.finite(value)) &&
        all(value == trunc(value)) && all(abs(value) < .Machine$integer.max)
    if (whole) as.integer(value) else value
}

# What an answer may hold beside a `table`.
TABLES <- c("clusters", "tree", "factors", "measures", "groups", "findings")

read_result <- function(folder) {
    result <- jsonlite::read_json(file.path(folder, "result.json"),
        simplifyVector = TRUE, simplifyDataFrame = FALSE
    )
    for (name in intersect(c("embedding", "matrix"), names(result))) {
        result[[name]] <- read_array(folder, result[[name]])
    }
    for (name in intersect(c(TABLES, "table"), names(result))) {
        columns <- lapply(result[[name]], read_column_of_table, folder = folder)
        result[[name]] <- as.data.frame(columns, optional = TRUE)
    }
    if (dir.exists(file.path(folder, "model"))) {
        result$model <- model_of_job(file.path(folder, "model"))
    }
    result
}

# Little-endian numbers, cells x something, as scrae.r writes them. Single
# precision fits into R's doubles, so no bit is lost.
read_array <- function(folder, array) {
    shape <- array$shape
    if (is.null(array$sparse)) {
        values <- read_numbers(folder, array$file, prod(shape))
        return(matrix(values, shape[1L], shape[2L], byrow = TRUE))
    }
    # Rows of cells, compressed, are R's compressed columns of genes x cells.
    parts <- array$sparse
    methods::new("dgCMatrix",
        p = read_numbers(folder, parts$indptr$file, shape[1L] + 1),
        i = read_numbers(folder, parts$indices$file, parts$indices$shape),
        x = read_numbers(folder, parts$data$file, parts$data$shape),
        Dim = c(shape[2L], shape[1L])
    )
}

# Numbers; or text, as codes that count from 0 and levels.
read_column_of_table <- function(column, folder) {
    values <- read_numbers(folder, column$file, column$shape)
    if (is.null(column$levels)) {
        return(values)
    }
    if (column$factor) {
        return(factor(column$levels[values + 1L], column$levels))
    }
    column$levels[values + 1L]
}

# The file's name ends in the kind of number and its bytes: .i4, .f4, .f8.
read_numbers <- function(folder, file, n) {
    kind <- if (grepl("\\.i[0-9]$", file)) "integer" else "numeric"
    size <- as.integer(substring(file, nchar(file)))
    readBin(file.path(folder, file), kind, n, size = size, endian = "little")
}
