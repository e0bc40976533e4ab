# Folders of models, read and written from R beside others who do the same.

other_model <- local({
    embedding <- NULL
    function() {
        if (is.null(embedding)) {
            embedding <<- quick(made_counts(), features = "all", seed.use = 2)
        }
        embedding
    }
})

mapped <- function(model) {
    PredictSCRAE(made_counts(), model = model, verbose = FALSE, threads = 1)
}

# The folder of each, saved once, and what each answers.
saved <- local({
    found <- list()
    function(name) {
        if (is.null(found[[name]])) {
            model <- switch(name, one = trained(), other = other_model())
            folder <- tempfile(name)
            SaveSCRAE(model, folder)
            found[[name]] <<- list(folder = folder, mapped = mapped(model))
        }
        found[[name]]
    }
})

copy_of <- function(name) {
    folder <- tempfile("model")
    dir.create(folder)
    file.copy(list.files(saved(name)$folder, full.names = TRUE), folder)
    folder
}

test_that("a folder gives the model that was saved there", {
    folder <- saved("one")$folder
    expect_setequal(list.files(folder, all.files = TRUE, no.. = TRUE), c("scrae.json", "weights.safetensors"))
    expect_identical(mapped(folder), saved("one")$mapped)
})

test_that("a folder that somebody is saving into gives one model, whole", {
    folder <- copy_of("one")
    new <- saved("other")$folder
    on.exit(unlink(folder, recursive = TRUE))
    # As a save is when its list of files is in place, and the weights not yet.
    id <- jsonlite::read_json(file.path(new, "scrae.json"))$save_id
    file.copy(file.path(new, "weights.safetensors"), file.path(folder, paste0(".weights.safetensors.", id)))
    file.copy(file.path(new, "scrae.json"), file.path(folder, "scrae.json"), overwrite = TRUE)
    expect_identical(mapped(folder), saved("other")$mapped)
})

test_that("files of two models, and damaged ones, are refused", {
    folder <- copy_of("one")
    new <- copy_of("other")
    on.exit(unlink(c(folder, new), recursive = TRUE))
    weights <- file.path(new, "weights.safetensors")
    content <- readBin(weights, "raw", file.size(weights))
    at <- length(content) - 5L
    content[at] <- xor(content[at], as.raw(1))
    writeBin(content, weights)
    expect_error(SaveSCRAE(new, tempfile()), class = "scrae_damaged_file")
    file.copy(file.path(new, "scrae.json"), file.path(folder, "scrae.json"), overwrite = TRUE)
    expect_error(mapped(folder), class = "scrae_file_of_another_model")
    unlink(file.path(folder, "weights.safetensors"))
    system2("mkfifo", file.path(folder, "weights.safetensors"))
    expect_error(mapped(folder), class = "scrae_damaged_file")
    expect_error(mapped(tempdir()), "is not the folder of a scRAE model")
    expect_error(mapped(tempfile()), "there is no folder")
})

test_that("a model is not saved where another process writes, and what is of the one before goes", {
    folder <- copy_of("one")
    on.exit(unlink(folder, recursive = TRUE))
    lock <- file.path(folder, ".scrae.lock")
    owner <- list(process = Sys.getpid(), host = Sys.info()[["nodename"]])
    writeLines(jsonlite::toJSON(owner, auto_unbox = TRUE), lock)
    before <- readLines(file.path(folder, "scrae.json"), warn = FALSE)
    expect_error(SaveSCRAE(other_model(), folder), class = "scrae_other_writer")
    expect_identical(readLines(file.path(folder, "scrae.json"), warn = FALSE), before)
    unlink(lock)
    writeLines("of a training of before", file.path(folder, "training_state.safetensors"))
    SaveSCRAE(other_model(), folder)
    expect_false(file.exists(file.path(folder, "training_state.safetensors")))
    expect_equal(jsonlite::read_json(file.path(folder, "scrae.json"))$random_state, 2)
})

test_that("the folder to save into is one path, also a relative one", {
    expect_error(SaveSCRAE(trained(), c("a", "b")), "folder must be one value")
    place <- tempfile("place")
    dir.create(place)
    before <- setwd(place)
    on.exit({
        setwd(before)
        unlink(place, recursive = TRUE)
    })
    expect_equal(SaveSCRAE(trained(), "model"), normalizePath(file.path(place, "model")))
    expect_true(file.exists("model/weights.safetensors"))
    writeLines("", "file")
    expect_error(SaveSCRAE(trained(), "file"), class = "scrae_no_folder")
})
