# A model that stays on disk: the object holds its description and its place, and each
# question takes the weights from there.

#' Keep the trained model of an object on disk
#'
#' `DetachSCRAE()` writes the model into a folder and keeps only its place in the
#' object, so that objects with several models stay small. Every function that asks
#' the model reads it from there. `AttachSCRAE()` takes the model back into the
#' object, for example before you give the object to somebody else. History, settings
#' and summary of the training stay in the object.
#'
#' @section A folder that moved or changed:
#' The object knows the model by its description, which lists the digests of its
#' files. If the folder is missing or holds another model, every function that asks
#' the model stops with an error. If the folder has moved, `object <-
#' DetachSCRAE(object, "its new place")` tells the object, and writes nothing.
#'
#' @param object A Seurat object, a SingleCellExperiment or an embedding that
#'   [RunSCRAE()] returned.
#' @param folder Folder to write to, made where it is missing. A folder that already
#'   holds this model is left as it is; a folder with another model is refused.
#' @param name Name of the reduction; NULL: the one that was trained last.
#' @return The object.
#' @seealso [SaveSCRAE()] writes a folder and leaves the object as it is.
#' @examples
#' counts <- matrix(rpois(40 * 30, 2), 30, 40)
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     embedding <- RunSCRAE(counts, features = "all", n.latent = 2,
#'         max.epochs = 2, verbose = FALSE)
#'     small <- DetachSCRAE(embedding, tempfile("model"))
#'     print(c(object.size(embedding), object.size(small)))
#'     mapped <- PredictSCRAE(counts, model = small, verbose = FALSE)
#'     whole <- AttachSCRAE(small)
#' }
#' @export
DetachSCRAE <- function(object, folder, name = NULL) {
    one_value(folder, "folder")
    refuse_all_but_objects(object)
    name <- fit_name(object, name)
    model <- fit_if_any(object, name)$model
    if (!holds(folder, model)) {
        there <- file.path(folder, DESCRIPTION)
        if (file.exists(there) && !same_training(read_bytes(there), model)) {
            fail(
                "'", folder, "' holds another model, which this one would replace, ",
                "and an object may look for it there: choose another folder",
                class = "scrae_another_model"
            )
        }
        if (!file.exists(there)) save_model(usable(model), folder)
    }
    with_model(object, name, model_on_disk(folder))
}

#' @rdname DetachSCRAE
#' @export
AttachSCRAE <- function(object, name = NULL) {
    refuse_all_but_objects(object)
    name <- fit_name(object, name)
    model <- usable(fit_if_any(object, name)$model)
    if (is_on_disk(model)) model <- read_model(model$folder)
    with_model(object, name, model)
}

refuse_all_but_objects <- function(object) {
    if (is.character(object) || inherits(object, c("scrae_model", "scrae_fit"))) {
        fail(
            "give the object that RunSCRAE() returned, in which the model is, not ",
            if (is.character(object)) "a folder" else "the model alone"
        )
    }
}

DESCRIPTION <- "scrae.json"

# What an object holds of a model on disk. A trained model, too, in all that is asked
# of its description.
model_on_disk <- function(folder) {
    structure(
        stats::setNames(
            list(read_bytes(file.path(folder, DESCRIPTION)), normalizePath(folder)),
            c(DESCRIPTION, "folder")
        ),
        class = c("scrae_model_on_disk", "scrae_model")
    )
}

is_on_disk <- function(model) inherits(model, "scrae_model_on_disk")

read_bytes <- function(file) readBin(file, "raw", file.size(file))

# Whether the model of a folder is this one, to the same save.
holds <- function(folder, model) {
    file <- file.path(folder, DESCRIPTION)
    file.exists(file) && identical(read_bytes(file), unclass(model)[[DESCRIPTION]])
}

# Whether a description is that of another save of this model.
same_training <- function(description, model) {
    facts <- lapply(list(description, unclass(model)[[DESCRIPTION]]), function(bytes) {
        facts <- tryCatch(jsonlite::parse_json(rawToChar(bytes)), error = function(condition) NULL)
        facts[setdiff(names(facts), c("save_id", "files", "digest"))]
    })
    length(facts[[1L]]) > 0L && identical(facts[[1L]], facts[[2L]])
}

#' The model itself, or an error that says where it is not
#'
#' Before anything is started for a question to it.
#' @noRd
usable <- function(model) {
    if (!is_on_disk(model)) {
        return(model)
    }
    folder <- model$folder
    if (!dir.exists(folder)) {
        fail(
            "the model of this object is on disk, and its folder '", folder, "' is ",
            "not there. Where it has moved: object <- DetachSCRAE(object, \"its new ",
            "place\"); where it is lost, call RunSCRAE(object) again",
            class = "scrae_model_gone"
        )
    }
    if (!holds(folder, model)) {
        what <- if (file.exists(file.path(folder, DESCRIPTION))) {
            "holds another model by now"
        } else {
            "holds no model any more"
        }
        fail(
            "the model of this object is on disk, and its folder '", folder, "' ", what,
            ". Where it has moved: object <- DetachSCRAE(object, \"its new place\"); ",
            "where it is lost, call RunSCRAE(object) again",
            class = "scrae_model_gone"
        )
    }
    model
}

# The object with this in place of the model of that name.
with_model <- function(object, name, model) {
    fit <- fit_if_any(object, name)
    fit$model <- model
    if (inherits(object, "Seurat")) {
        methods::slot(object@reductions[[name]], "misc") <- unclass(fit)
    } else if (is(object, "SummarizedExperiment")) {
        object <- set_metadata(object, name, fit)
    } else {
        attr(object, "scrae") <- fit
    }
    object
}
