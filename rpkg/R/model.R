# A trained model inside an R object: the files of its folder as raw vectors, so
# that it goes wherever the object goes, through saveRDS() too.

MODEL_FILES <- c("weights.safetensors", "scrae.json")
CHECKPOINT <- "training_state.safetensors" # what a training goes on from

# The model in a folder of the user's. Somebody may be saving there, so Python reads
# it, which knows what belongs together, and checks it.
read_model <- function(folder) {
    if (!dir.exists(folder)) {
        fail("there is no folder '", folder, "' with a scRAE model")
    }
    files <- c(MODEL_FILES, "training_state.safetensors")
    if (!any(file.exists(file.path(folder, files)))) {
        fail(
            "'", folder, "' is not the folder of a scRAE model: ",
            quoted(MODEL_FILES), " missing"
        )
    }
    run_job("read", list(model = normalizePath(folder)), how = QUIETLY)$model
}

# How Python is run for what takes no options.
QUIETLY <- list(in_process = FALSE, verbose = FALSE)

# The model that a job has left in its own folder.
model_of_job <- function(folder) {
    files <- file.path(folder, MODEL_FILES)
    content <- lapply(files, function(file) {
        readBin(file, "raw", file.size(file))
    })
    structure(stats::setNames(content, MODEL_FILES), class = "scrae_model")
}

# The other way round. Of a model on disk the weights are copied: Python compares
# their digest with the one in the description, which is the object's.
give_model_to_job <- function(model, folder) {
    usable(model)
    dir.create(folder)
    for (name in MODEL_FILES) {
        bytes <- unclass(model)[[name]]
        if (is.null(bytes)) {
            file.copy(file.path(model$folder, name), folder)
        } else {
            writeBin(bytes, file.path(folder, name))
        }
    }
    normalizePath(folder)
}

# Genes, batches, settings ... of a model, as Python described it.
describe_model <- function(model) {
    text <- rawToChar(unclass(model)[["scrae.json"]])
    Encoding(text) <- "UTF-8"
    # Not fromJSON(): that would take a text that is a URL for a place to look.
    tryCatch(
        jsonlite::parse_json(text, simplifyVector = TRUE, simplifyDataFrame = FALSE),
        error = function(condition) {
            refuse("damaged_file", list(file = "scrae.json"))
        }
    )
}

#' @export
print.scrae_model <- function(x, ...) {
    facts <- describe_model(x)
    size <- structure(sum(lengths(unclass(x)[MODEL_FILES])), class = "object_size")
    cat(sprintf(
        "scRAE model: %s genes, %d latent dimensions, trained on %s cells (%s)\n",
        count(facts$n_genes), facts$settings$n_latent,
        count(facts$summary$n_cells),
        if (is_on_disk(x)) x$folder else format(size, units = "auto")
    ))
    invisible(x)
}

# -- what a training leaves in the object --------------------------------------

# history (data.frame, one row per epoch), summary and parameters (lists), genes,
# model, columns (names of what was added for each cell), and warnings (what was
# warned of, in words), from the answer of the job "train".
new_fit <- function(result) {
    history <- as.data.frame(lapply(result$history, as.numeric))
    structure(
        list(
            history = history, summary = result$summary,
            parameters = result$parameters, genes = result$genes,
            model = result$model, columns = names(result$table),
            warnings = result$warnings
        ),
        class = "scrae_fit"
    )
}

# Names of the columns that an earlier training under this name has added.
earlier_columns <- function(object, name) {
    fits <- all_fits(object)
    columns <- unique(unlist(lapply(fits[names(fits) == name], `[[`, "columns")))
    if (length(columns)) paste0(name, "_", columns)
}

#' @export
print.scrae_fit <- function(x, ...) {
    cat(sprintf(
        "Trained in %d epochs (the best: %d), stopped by: %s\n",
        x$summary$epochs, x$summary$best_epoch, x$summary$stop_reason
    ))
    print(x$model)
    invisible(x)
}

#' Save the trained model of an object in a folder
#'
#' `RunSCRAE()` keeps the trained model inside the object: with the reduction of a
#' Seurat object (`object[["scrae"]]@misc`), in the `metadata()` of a
#' SingleCellExperiment, or as the attribute `"scrae"` of a matrix. It is saved and
#' loaded with the object. `SaveSCRAE()` writes it into a folder, which Python
#' (`scrae.SCRAE.load(folder)`) and [PredictSCRAE()] read. An earlier model in the
#' folder is replaced only when the new one is complete, and one process at a time
#' writes there.
#'
#' @param object A Seurat object, a SingleCellExperiment or an embedding that
#'   [RunSCRAE()] returned.
#' @param folder Folder to write to; made where it is missing.
#' @param name Name of the reduction; NULL: the one that has a model.
#' @return The folder, invisibly. In it `weights.safetensors` and `scrae.json`.
#' @seealso [DetachSCRAE()], which leaves the model on disk alone; [RunSCRAE()] with
#'   `model.dir` for a folder with checkpoints.
#' @examples
#' counts <- matrix(rpois(40 * 30, 2), 30, 40)
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     embedding <- RunSCRAE(counts, features = "all", n.latent = 2,
#'         max.epochs = 2, verbose = FALSE)
#'     folder <- SaveSCRAE(embedding, tempfile("model"))
#'     list.files(folder)
#' }
#' @export
SaveSCRAE <- function(object, folder, name = NULL) {
    one_value(folder, "folder")
    model <- find_model(object, name)
    # A model on disk whose folder this is would only get another number of its save.
    if (!(is_on_disk(model) && holds(folder, model))) save_model(model, folder)
    invisible(normalizePath(folder))
}

save_model <- function(model, folder) {
    run_job("save", list(folder = absolute(folder)), how = QUIETLY, model = model)
}

# The model in whatever the user has: a folder, an object, an embedding.
find_model <- function(object, name = NULL) {
    if (inherits(object, "scrae_model")) {
        return(usable(object))
    }
    if (is.character(object) && length(object) == 1L) {
        return(read_model(object))
    }
    usable(find_fit(object, name)$model)
}

find_fit <- function(object, name = NULL) {
    if (inherits(object, "scrae_fit")) {
        return(object)
    }
    fit_if_any(object, fit_name(object, name))
}

#' The fit of this name, or NULL
#'
#' An object that was put together of several (`cbind()`) may hold several models
#' of one name. None of them is that of all cells.
#' @noRd
fit_if_any <- function(object, name) {
    fits <- all_fits(object)
    fits <- unname(fits[names(fits) == name])
    models <- unique(lapply(fits, `[[`, "model"))
    if (length(models) > 1L) {
        fits <- fits[match(models, lapply(fits, `[[`, "model"))]
        refuse_several_models(object, name, fits)
    }
    if (length(fits)) fits[[1L]]
}

refuse_several_models <- function(object, name, fits) {
    n_cells <- vapply(fits, function(fit) as.numeric(fit$summary$n_cells), 0)
    ends <- cumsum(n_cells)
    of_cells <- if (ends[length(ends)] == ncol(object)) {
        paste0("cells ", count(ends - n_cells + 1), " to ", count(ends))
    } else {
        how_many_each(n_cells)
    }
    fail(
        "the object was put together of several and holds ", length(fits),
        " models '", name, "' that were trained apart (on ",
        paste(of_cells, collapse = ", on "), "): their embeddings are not of one ",
        "space, and no model is that of all cells. Call RunSCRAE(object) on all ",
        "cells together, or work on the cells of one model, with ",
        "metadata(object)[names(metadata(object)) == \"", name, "\"] set to that one",
        class = "scrae_several_models"
    )
}

how_many_each <- function(n_cells) vapply(n_cells, how_many, "", one = "cell")

# Where the fit that is meant is stored: the newest, or the one of this name.
fit_name <- function(object, name = NULL) {
    if (!is.null(name)) a_name(name, "name")
    known <- unique(names(all_fits(object)))
    if (length(known) == 0L) {
        fail(
            "this ", class(object)[1L], " holds no trained scRAE model: call ",
            "RunSCRAE(object) first",
            if (has_our_embedding(object)) {
                paste0(
                    ". It has an embedding of scRAE, but a model does not go with ",
                    "it through PredictSCRAE(), merge(), as.SingleCellExperiment() ",
                    "and as.Seurat(): give what the training returned as model, or ",
                    "the folder that SaveSCRAE() wrote"
                )
            } else {
                paste0(
                    " (cells that were mapped with PredictSCRAE have an embedding ",
                    "but no model: give the object it came from)"
                )
            }
        )
    }
    if (is.null(name)) {
        return(known[length(known)])
    }
    if (!name %in% known) {
        fail("no scRAE model is stored as '", name, "'; ", hint(name, known))
    }
    name
}

# Whether there is an embedding that looks like ours.
has_our_embedding <- function(object) {
    embeddings <- if (inherits(object, "Seurat")) {
        lapply(seurat_reductions(object), methods::slot, "cell.embeddings")
    } else if (is(object, "SingleCellExperiment")) {
        lapply(SingleCellExperiment::reducedDims(object), identity)
    } else {
        list(object)
    }
    any(vapply(embeddings, named_by_us, TRUE))
}

# What a log of commands keeps of a model or of cells that were given: a word, for
# the thing itself may be as large as the object.
in_short <- function(given) {
    if (is.null(given) || is.character(given)) {
        return(given)
    }
    if (inherits(given, "scrae_model")) {
        return(paste0("a model of ", count(describe_model(given)$n_genes), " genes"))
    }
    paste0("a ", class(given)[1L], " of ", count(ncol(given)), " cells")
}

# Every fit of an object by the name of its embedding, the newest last.
all_fits <- function(object) {
    if (inherits(object, "Seurat")) {
        return(seurat_fits(object))
    }
    stored <- if (is(object, "SummarizedExperiment")) {
        S4Vectors::metadata(object)
    } else {
        list(scrae = attr(object, "scrae"))
    }
    Filter(function(entry) inherits(entry, "scrae_fit"), as.list(stored))
}
