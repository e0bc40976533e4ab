# Training, folders, and Python itself.
# For each code a function of its fields and of the place of the counts.

WORDS_OF_RUNS <- list(
    diverged = function(f, where) {
        paste0(
            "training failed in epoch ", f$epoch, ": a loss was no longer finite, ",
            "also after the learning rates had been halved ", f$retries, " times. ",
            "Try a smaller learning.rate, and look for cells with extreme counts."
        )
    },
    going_back = function(f, where) {
        paste0(
            "a loss was no longer finite in epoch ", f$epoch, "; training went on ",
            "from epoch ", f$good_epoch, " with half the learning rates"
        )
    },
    no_checkpoint = function(f, where) {
        paste0(
            "no checkpoint could be written into '", f$path, "' (", f$reason,
            "); training went on"
        )
    },
    not_written = function(f, where) {
        paste0("'", f$path, "' could not be written: ", f$reason, ".")
    },
    model_put_elsewhere = function(f, where) {
        paste0(
            "'", f$path, "' could not be written: ", f$reason, ". The trained model ",
            "was put into '", f$place, "' instead; PredictSCRAE(object, model = \"",
            f$place, "\") uses it."
        )
    },
    not_replaced = function(f, where) {
        paste0(
            "'", f$path, "' exists and is not replaced, because it is not a file of ",
            "cells that Python's anndata wrote. Choose another name, or move it away."
        )
    },
    no_room = function(f, where) {
        paste0(
            "there is no room for '", f$path, "': it takes ",
            signif(f$needed / 1e9, 3), " GB or more, and ",
            signif(f$free / 1e9, 3), " GB are free. Make room, or ",
            "choose another disk."
        )
    },
    no_folder = function(f, where) {
        paste0("'", f$path, "' is a file. A model is saved as a folder.")
    },
    another_model = function(f, where) {
        paste0(
            "'", f$path, "' holds a model that was trained on other data or with ",
            "other settings. Choose another folder, or replace that model with ",
            "overwrite = TRUE."
        )
    },
    other_writer = function(f, where) {
        paste0(
            "process ", f$process, " on ", f$host, " is writing into '", f$path,
            "'. Wait for it, or choose another folder. If it does not run any more, ",
            "delete the file ", f$file, " in that folder."
        )
    },
    writer_died = function(f, where) {
        paste0(
            "process ", f$process, " ended without finishing what it was writing ",
            "into '", f$path, "'; this one takes over"
        )
    },
    missing_file = function(f, where) {
        paste0(
            "the file ", f$file, " of this model is missing. Copy the whole folder, ",
            "save the model again, or train it anew."
        )
    },
    file_of_another_model = function(f, where) {
        paste0(
            "the file ", f$file, " of this model does not belong to the others: it ",
            "is of another training or another save. Copy the whole folder again, ",
            "save the model again, or train it anew."
        )
    },
    column_of_user = function(f, where) {
        paste0(
            "column '", f$column, "' exists and is not the work of an earlier ",
            "call: clusters of this one would replace it. Rename that column."
        )
    },
    weights_do_not_fit = function(f, where) {
        paste0(
            "the weights of this model do not fit its settings: its files are not ",
            "of one model. Save it again, or train it anew."
        )
    },
    damaged_file = function(f, where) {
        paste0(
            "the file ", f$file, " of this model is damaged or cut short. Save ",
            "the model again, or train it anew."
        )
    },
    format_version = function(f, where) {
        paste0(
            "the file ", f$file, " of this model has format version ",
            typed(f$version), ". This version of scRAE reads ",
            paste(f$known, collapse = " and "), ". Read it with the version of ",
            "scRAE that wrote it, or train the model anew."
        )
    },
    resume_of_other_data = function(f, where) {
        paste0(
            "these are not the cells, genes and columns that the training started ",
            "with. Use resume = FALSE to train anew."
        )
    },
    resume_of_other_settings = function(f, where) {
        paste0(
            "settings or seed are not those that the training started with. Give ",
            "the same again, or use resume = FALSE to train anew."
        )
    },
    no_bridge = function(f, where) {
        paste0(
            "Python cannot talk to R: rpy2 or anndata2ri is missing, or was built ",
            "for another R. InstallSCRAE() makes a Python that can; SCRAEStatus() ",
            "says more."
        )
    },
    missing_package = function(f, where) {
        paste0(
            "Python lacks the package ", f$package, ". InstallSCRAE() makes a ",
            "Python that has what scRAE needs."
        )
    },
    unknown_job = function(f, where) {
        paste0(
            "Python has an older version of scRAE, which does not know '",
            f$action, "'. Install scRAE again."
        )
    },
    memory = function(f, where) {
        paste0(
            "there is not enough memory. Use fewer cells or genes, or a machine ",
            "with more."
        )
    },
    interrupted = function(f, where) {
        "stopped before there was anything to keep; the object is as it was"
    }
)
