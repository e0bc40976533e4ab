# Layers of Seurat v5, and Python inside the session: what Debian 12 cannot test
# (make test-r45 does).

skip_unless_installed("SeuratObject")
skip_if(utils::packageVersion("SeuratObject") < "5", "needs SeuratObject 5")

layered <- function() {
    object <- SeuratObject::CreateSeuratObject(made_counts())
    object$batch <- rep(c("a", "b"), 30)
    object
}

split_layered <- function() {
    object <- layered()
    object[["RNA"]] <- split(object[["RNA"]], f = object$batch)
    object
}

test_that("one layer and split layers give the bits of the matrix, cells in order", {
    expected <- trained()[, ]
    dimnames(expected) <- NULL
    whole <- quick(layered(), features = "all")
    expect_s4_class(whole[["RNA"]], "Assay5")
    embedding <- SeuratObject::Embeddings(whole, "scrae")
    expect_equal(rownames(embedding), colnames(made_counts()))
    expect_identical(unname(embedding), expected)
    parts <- split_layered()
    expect_setequal(SeuratObject::Layers(parts, search = "counts"), c("counts.a", "counts.b"))
    embedded <- quick(parts, features = "all")
    expect_identical(unname(SeuratObject::Embeddings(embedded, "scrae")), expected)
    expect_identical(embedded[["RNA"]], parts[["RNA"]])
})

test_that("a layer that lacks genes counts zero for them", {
    counts <- made_counts()
    object <- merge(
        SeuratObject::CreateSeuratObject(counts[, 1:30]),
        SeuratObject::CreateSeuratObject(counts[1:20, 31:60])
    )
    source <- scRAE:::seurat_source(object, "RNA", "counts", FALSE)
    read <- scRAE:::read_counts(source)
    counts[21:30, 31:60] <- 0
    expect_equal(as.matrix(read), as.matrix(counts))
})

# The made counts on disk, as Seurat users of BPCells have them.
on_disk <- function(folder, counts = made_counts()) {
    testthat::skip_if_not_installed("BPCells")
    BPCells::write_matrix_dir(BPCells::convert_matrix_type(counts, "uint32_t"), folder)
}

test_that("BPCells layers, one or split, give the bits of the matrix and stay on disk", {
    folder <- tempfile("bpcells")
    on.exit(unlink(folder, recursive = TRUE))
    counts <- on_disk(folder)
    expected <- unname(trained()[, ])
    expect_identical(unname(quick(counts, features = "all")[, ]), expected)
    object <- SeuratObject::CreateSeuratObject(counts)
    object$batch <- rep(c("a", "b"), 30)
    embedded <- quick(object, features = "all")
    expect_identical(unname(SeuratObject::Embeddings(embedded, "scrae")), expected)
    expect_s4_class(SeuratObject::LayerData(embedded, "counts"), "IterableMatrix")
    expect_identical(embedded[["RNA"]], object[["RNA"]])
    object[["RNA"]] <- split(object[["RNA"]], f = object$batch)
    parts <- quick(object, features = "all")
    expect_identical(unname(SeuratObject::Embeddings(parts, "scrae")), expected)
    expect_identical(parts[["RNA"]], object[["RNA"]])
})

test_that("a BPCells query is mapped, denoised and selected from as the matrix is", {
    folder <- tempfile("bpcells")
    on.exit(unlink(folder, recursive = TRUE))
    object <- SeuratObject::CreateSeuratObject(on_disk(folder))
    mapped <- PredictSCRAE(object, model = trained(), verbose = FALSE, threads = 1)
    expect_identical(
        unname(SeuratObject::Embeddings(mapped, "scrae")),
        unname(PredictSCRAE(made_counts(), model = trained(), verbose = FALSE, threads = 1))
    )
    denoised <- DenoiseSCRAE(object, model = trained(), verbose = FALSE)
    expect_identical(dim(denoised[["denoised"]]), c(30L, 60L))
    expect_identical(
        SelectGenes(object, n = 10, verbose = FALSE), SelectGenes(made_counts(), n = 10, verbose = FALSE)
    )
})

test_that("BPCells counts are read in blocks; the cell of a wrong value is named", {
    folder <- tempfile("bpcells")
    on.exit(unlink(folder, recursive = TRUE))
    source <- scRAE:::matrix_source(on_disk(folder))
    read <- scRAE:::read_counts(source, c(5L, 2L, 30L), block_entries = 30 * 7)
    expect_equal(as.matrix(read)[1:3, ], as.matrix(made_counts())[c(5, 2, 30), ])
    wrong <- source
    wrong$parts[[1]] <- wrong$parts[[1]] * 0.5
    expect_error(
        scRAE:::read_counts(wrong, block_entries = 30 * 7),
        "values are not whole", class = "scrae_counts_error"
    )
})

test_that("a BPCells object that was saved is read in a session that has not loaded BPCells", {
    skip_unless_installed("callr")
    folder <- tempfile("bpcells")
    on.exit(unlink(folder, recursive = TRUE))
    file <- tempfile(fileext = ".rds")
    on.exit(unlink(file), add = TRUE)
    saveRDS(SeuratObject::CreateSeuratObject(on_disk(folder)), file)
    total <- callr::r(function(file) {
        object <- readRDS(file)
        source <- scRAE:::seurat_source(object, "RNA", "counts", FALSE)
        sum(scRAE:::read_counts(source))
    }, list(file))
    expect_equal(total, sum(made_counts()))
})

test_that("an object without counts lists its layers", {
    object <- layered()
    # Seurat itself warns that it finds no counts.
    suppressWarnings(
        object[["RNA"]] <- SeuratObject::CreateAssay5Object(data = log1p(made_counts()))
    )
    expect_error(RunSCRAE(object), "assay 'RNA' has no 'counts' \\(it has 'data'\\)")
})

# Split, normalised, with principal components: as IntegrateLayers() wants it.
ready_to_integrate <- function(object = split_layered()) {
    skip_unless_installed("Seurat")
    object <- Seurat::NormalizeData(object, verbose = FALSE)
    # Its trend of few cells is rough, of which it warns.
    object <- suppressWarnings(Seurat::FindVariableFeatures(object, verbose = FALSE, nfeatures = 20))
    object <- Seurat::ScaleData(object, verbose = FALSE)
    suppressWarnings(Seurat::RunPCA(object, npcs = 5, verbose = FALSE))
}

integrate <- function(object, ...) {
    Seurat::IntegrateLayers(object,
        method = SCRAEIntegration, orig.reduction = "pca",
        new.reduction = "integrated.scrae", verbose = FALSE, n_latent = 3,
        n_hidden = 8, batch_size = 16, max_epochs = 2, threads = 1, ...
    )
}

test_that("IntegrateLayers takes scRAE as a method, and its batches are found again", {
    object <- ready_to_integrate()
    integrated <- integrate(object)
    reduction <- integrated[["integrated.scrae"]]
    expect_equal(dim(reduction), c(60L, 3L))
    facts <- scRAE:::describe_model(reduction@misc$model)
    expect_equal(facts$covariate_levels, list(layer = c("a", "b")))
    expect_equal(integrated[["RNA"]], object[["RNA"]])
    # The same as to name the column.
    whole <- layered()
    SeuratObject::VariableFeatures(whole) <- reduction@misc$genes
    by_column <- quick(whole, group.by.vars = "batch")
    expect_identical(unname(reduction@cell.embeddings), unname(by_column[["scrae"]]@cell.embeddings))
    joined <- integrated
    joined[["RNA"]] <- SeuratObject::JoinLayers(joined[["RNA"]])
    expected <- DenoiseSCRAE(by_column, verbose = FALSE, threads = 1)[["denoised"]]
    for (asked in list(integrated, joined)) {
        clustered <- ClusterSCRAE(asked, reduction.name = "integrated.scrae", verbose = FALSE, threads = 1)
        expect_equal(SeuratObject::Misc(clustered, "integrated.scrae_clusters")$params$group.by.vars, "layer")
        denoised <- DenoiseSCRAE(asked, verbose = FALSE, threads = 1)[["denoised"]]
        expect_identical(SeuratObject::GetAssayData(denoised), SeuratObject::GetAssayData(expected))
    }
    scored <- FindOutliersSCRAE(joined, verbose = FALSE, threads = 1)
    expect_false(anyNA(scored$scrae_outlier))
    joined$type <- rep(c("x", "y"), each = 30)
    markers <- FindMarkersSCRAE(joined, "type", batch.by = "layer", verbose = FALSE, threads = 1)
    expect_setequal(markers$group, c("x", "y"))
})

test_that("the column of the layers is the one that says the same, or is asked for", {
    levels <- c("a.1", "b", "na")
    source <- list(parts = list(1), cells = paste0("cell", 1:3))
    find <- function(table) scRAE:::with_layers(table, levels, source)$layer
    expect_equal(find(data.frame(other = 1:3, donor = c("a 1", "b", NA))), c("a.1", "b", "na"))
    expect_equal(find(data.frame(donor = c("b", "b", "b"), again = factor("b"))), rep("b", 3))
    expect_null(find(data.frame(donor = c("a.1", "b", "c"))))
    # A column "layer" that means something else, as in the cortex.
    expect_equal(find(data.frame(layer = c("L1", "L2", "L4"), donor = c("b", "a.1", "b"))), c("b", "a.1", "b"))
    expect_error(
        find(data.frame(donor = c("b", "b", "na"), chip = c("b", "na", "b"))),
        "columns 'donor', 'chip' say different things"
    )
    facts <- list(covariate_levels = list(layer = levels))
    expect_error(
        scRAE:::model_covariates(facts, data.frame(x = 1:3), "object@meta.data", source),
        "trained with layers as batches \\('a.1', 'b', 'na'\\), and no column of object@meta.data"
    )
})

test_that("layers that are named are integrated, and batches that are no layers are refused", {
    object <- SeuratObject::CreateSeuratObject(made_counts())
    object$batch <- rep(c("a", "b", "c"), 20)
    object[["RNA"]] <- split(object[["RNA"]], f = object$batch)
    object <- ready_to_integrate(object)
    integrated <- integrate(object, layers = c("counts.a", "counts.c"))
    reduction <- integrated[["integrated.scrae"]]
    expect_identical(SeuratObject::Cells(reduction), colnames(object)[object$batch != "b"])
    expect_equal(scRAE:::describe_model(reduction@misc$model)$covariate_levels, list(layer = c("a", "c")))
    parts <- list(counts.a = 1, counts.b = 2)
    expect_equal(scRAE:::meant_layers(parts, c("data.a", "data.b")), parts)
    expect_equal(scRAE:::meant_layers(parts, "data"), parts)
    expect_equal(scRAE:::meant_layers(parts, "b"), parts[2])
    expect_error(scRAE:::meant_layers(parts, "data.d"), "no layer of counts goes with 'data.d'")
    expect_error(integrate(object, layers = "counts.a"), "one layer of counts, so there is nothing to integrate")
    expect_error(integrate(object, group.by = "batch"), "the layers of counts are the batches. Split them by the column")
    expect_error(integrate(object, npcs = 5), "no argument 'npcs'; did you mean 'n.latent'")
    expect_error(
        SCRAEIntegration(layered()[["RNA"]], verbose = FALSE),
        "one layer of counts, so there is nothing to integrate"
    )
})

test_that("raw counts are found where an assay of SCTransform stands, split or whole", {
    skip_unless_installed("Seurat")
    object <- suppressWarnings(Seurat::SCTransform(pbmc_small(), verbose = FALSE))
    object <- suppressWarnings(Seurat::RunPCA(object, npcs = 5, verbose = FALSE))
    expect_error(integrate(object), "DefaultAssay\\(object\\) <- \"RNA\"", class = "scrae_counts_error")
    features <- rownames(object[["SCT"]])
    expected <- quick(object, assay = "RNA", features = features)
    suppressWarnings(object[["SCT"]] <- split(object[["SCT"]], f = object$groups))
    expect_s4_class(object[["SCT"]], "Assay5")
    expect_message(
        embedded <- quick(object, features = features, verbose = TRUE), "using the raw counts of assay 'RNA'"
    )
    expect_identical(embedded[["scrae"]]@cell.embeddings, expected[["scrae"]]@cell.embeddings)
    expect_error(
        SCRAEIntegration(object[["SCT"]], assay = "SCT", verbose = FALSE),
        "holds counts that SCTransform\\(\\) has corrected"
    )
})

test_that("inside the session Python gives what the worker gives, again and again", {
    skip_unless_installed("reticulate", "callr")
    skip_if(utils::packageVersion("reticulate") < "1.31", "needs reticulate 1.31")
    expected <- trained()[, ]
    inside <- callr::r(function(counts, python) {
        options(scrae.python = python)
        run <- function() {
            scRAE::RunSCRAE(counts, features = "all", n_latent = 3, n_hidden = 8,
                batch_size = 16, max_epochs = 2, threads = 1, verbose = FALSE,
                in_process = TRUE
            )[, ]
        }
        first <- run()
        invisible(gc())
        list(first = first, second = run(), left = ls(scRAE:::session_job))
    }, list(made_counts(), getOption("scrae.python")))
    expect_equal(inside$first, expected, tolerance = 1e-4)
    expect_identical(inside$second, inside$first)
    expect_equal(inside$left, character())
})
