# Models that stay on disk: objects hold where they are.

size_of <- function(object) as.numeric(object.size(object))

test_that("every question works through a model on disk, and gives the same", {
    object <- quick(pbmc_small(), features = "all", max_epochs = 5)
    object$known <- ifelse(seq_len(80) %% 3 > 0, NA, as.character(object$letter.idents))
    folder <- tempfile("model")
    on.exit(unlink(folder, recursive = TRUE))
    light <- DetachSCRAE(object, folder)
    expect_setequal(list.files(folder), c("scrae.json", "weights.safetensors"))
    weights <- file.size(file.path(folder, "weights.safetensors"))
    expect_gt(size_of(object) - size_of(light), 0.9 * weights)
    file <- tempfile(fileext = ".rds")
    saveRDS(light, file)
    light <- readRDS(file)
    asked <- list(
        function(x) PredictSCRAE(pbmc_small(), model = x, verbose = FALSE, threads = 1)[["scrae"]]@cell.embeddings,
        function(x) FindOutliersSCRAE(x, verbose = FALSE, threads = 1)$scrae_outlier,
        function(x) LabelSCRAE(x, "known", verbose = FALSE, threads = 1)$scrae_label,
        function(x) plotSCRAEHistory(x)$data
    )
    for (ask in asked) expect_equal(ask(light), ask(object))
    expect_output(print(light[["scrae"]]@misc$model), "model: 230 genes.*/model")
    whole <- AttachSCRAE(light)
    unlink(folder, recursive = TRUE)
    expect_equal(asked[[2]](whole), asked[[2]](object))
    expect_equal(light[["scrae"]]@misc$history, object[["scrae"]]@misc$history)
})

test_that("a folder that moved or changed is refused at once, with what to type", {
    sce <- quick(made_sce(), features = "all")
    folder <- tempfile("model")
    light <- DetachSCRAE(sce, folder)
    outliers <- function(x) FindOutliersSCRAE(x, verbose = FALSE, threads = 1)$SCRAE_outlier
    expected <- outliers(light)
    expect_identical(DetachSCRAE(light, folder), light)
    other <- quick(made_sce(), features = "all", seed.use = 2)
    expect_error(DetachSCRAE(other, folder), "holds another model.*choose another folder", class = "scrae_another_model")

    moved <- tempfile("moved")
    file.rename(folder, moved)
    on.exit(unlink(c(folder, moved), recursive = TRUE))
    took <- system.time(
        expect_error(outliers(light), "is not there.*DetachSCRAE\\(object, \"its new place\"\\)", class = "scrae_model_gone")
    )
    expect_lt(took[["user.self"]] + took[["sys.self"]], 1)
    again <- DetachSCRAE(light, moved)
    expect_identical(outliers(again), expected)
    SaveSCRAE(other, folder)
    expect_error(outliers(light), "holds another model by now", class = "scrae_model_gone")
    expect_error(AttachSCRAE(light), class = "scrae_model_gone")

    weights <- file.path(moved, "weights.safetensors")
    content <- readBin(weights, "raw", file.size(weights))
    content[length(content) - 5L] <- xor(content[length(content) - 5L], as.raw(1))
    writeBin(content, weights)
    expect_error(outliers(again), class = "scrae_damaged_file")
    unlink(file.path(moved, "scrae.json"))
    expect_error(outliers(again), "holds no model any more", class = "scrae_model_gone")
})

test_that("a folder that SaveSCRAE() wrote is referred to, and a matrix keeps its model on disk, too", {
    embedding <- trained()
    folder <- SaveSCRAE(embedding, tempfile("model"))
    on.exit(unlink(folder, recursive = TRUE))
    before <- readLines(file.path(folder, "scrae.json"), warn = FALSE)
    light <- DetachSCRAE(embedding, folder)
    SaveSCRAE(light, folder)
    expect_identical(readLines(file.path(folder, "scrae.json"), warn = FALSE), before)
    expect_lt(size_of(light), size_of(embedding))
    map <- function(model) PredictSCRAE(made_counts(), model = model, verbose = FALSE, threads = 1)
    expect_equal(map(light), map(embedding))
    copy <- SaveSCRAE(light, tempfile("copy"))
    expect_equal(map(copy), map(embedding))
    expect_error(DetachSCRAE(folder, tempfile()), "give the object that RunSCRAE\\(\\) returned.*not a folder")
    expect_error(DetachSCRAE(made_counts(), tempfile()), "holds no trained scRAE model")
    expect_error(DetachSCRAE(embedding, c("a", "b")), "folder must be one value")
})

test_that("of several models each has its folder, and those of one object stay apart", {
    object <- quick(pbmc_small(), features = "all")
    object <- quick(object, features = "all", reduction.name = "second", reduction.key = "second_", seed.use = 2)
    folders <- file.path(tempfile("models"), c("scrae", "second"))
    on.exit(unlink(dirname(folders[1]), recursive = TRUE))
    light <- DetachSCRAE(DetachSCRAE(object, folders[1], name = "scrae"), folders[2])
    for (name in c("scrae", "second")) {
        expect_equal(light[[name]]@misc$model$folder, normalizePath(folders[match(name, c("scrae", "second"))]))
    }
    expect_error(DetachSCRAE(light, folders[1]), class = "scrae_another_model")
    again <- quick(light, features = "all", reduction.name = "second", reduction.key = "second_")
    expect_false(inherits(again[["second"]]@misc$model, "scrae_model_on_disk"))
    expect_true(inherits(again[["scrae"]]@misc$model, "scrae_model_on_disk"))
})
