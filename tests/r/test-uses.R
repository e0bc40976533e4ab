# What a trained model answers: types from partial labels, outliers, genes that differ between groups, reports.

# 80 real cells with clusters "A" and "B" of which every third is known.
labelled_pbmc <- function() {
    object <- pbmc_small()
    known <- as.character(object$letter.idents)
    known[seq_along(known) %% 3 > 0] <- NA
    object$known <- known
    object$replicate <- rep(c("r1", "r2"), 40)
    object
}

# Two types of made cells that differ in ten genes, five higher in each, in two batches.
typed_sce <- function() {
    sce <- made_sce(30, 100)
    sce$type <- rep(c("T cell", "B cell"), each = 50)
    counts <- as.matrix(SummarizedExperiment::assay(sce))
    set.seed(4)
    high <- outer(1:10 <= 5, 1:100 <= 50, "==")
    counts[21:30, ] <- stats::rpois(1000, ifelse(high, 12, 1))
    SummarizedExperiment::assay(sce) <- methods::as(counts, "CsparseMatrix")
    sce
}

only_new_columns <- function(after, before, columns) {
    expect_setequal(setdiff(colnames(after), colnames(before)), columns)
    expect_identical(after[colnames(before)], before)
}

test_that("a Seurat object is labelled, keeps its classifier through saveRDS, and labels a query", {
    object <- quick(labelled_pbmc(), max_epochs = 20)
    labelled <- LabelSCRAE(object, "known", verbose = FALSE, threads = 1)
    columns <- c("scrae_label", "scrae_label_probability", "scrae_familiarity")
    only_new_columns(labelled[[]], object[[]], columns)
    expect_identical(labelled[["RNA"]], object[["RNA"]])
    expect_identical(SeuratObject::Embeddings(labelled, "scrae"), SeuratObject::Embeddings(object, "scrae"))
    expect_s3_class(labelled$scrae_label, "factor")
    expect_equal(levels(labelled$scrae_label), c("A", "B", "Unknown"))
    expect_gt(mean(as.character(labelled$scrae_label) == as.character(labelled$letter.idents)), 0.8)
    expect_true(all(labelled$scrae_label_probability >= 0.5 & labelled$scrae_label_probability <= 1))
    expect_match(setdiff(names(labelled@commands), names(object@commands)), "^LabelSCRAE(\\.RNA)?$")
    expect_equal(labelled[["scrae"]]@misc$history, object[["scrae"]]@misc$history)

    file <- tempfile(fileext = ".rds")
    on.exit(unlink(file))
    saveRDS(labelled, file)
    query <- pbmc_small()[, 11:40]
    mapped <- PredictSCRAE(query, model = readRDS(file), verbose = FALSE, threads = 1, reduction.name = "ref",
        reduction.key = "ref_", unknown.rate = 0
    )
    only_new_columns(mapped[[]], query[[]], sub("scrae", "ref", columns))
    expect_true(all(mapped$ref_label != "Unknown"))
    expect_equal(mapped$ref_familiarity, labelled$scrae_familiarity[11:40], tolerance = 1e-6)
    expect_equal(mapped$ref_label_probability, labelled$scrae_label_probability[11:40], tolerance = 1e-5)
    # The reduction's key is the beginning of the column's name: Seurat finds the column all the same.
    skip_unless_installed("Seurat")
    drawn <- Seurat::DimPlot(labelled, reduction = "scrae", group.by = "scrae_label")[[1]]$data
    expect_equal(as.character(drawn[colnames(labelled), "scrae_label"]), as.character(labelled$scrae_label))
    expect_equal(as.matrix(drawn[1:2]), SeuratObject::Embeddings(labelled, "scrae")[rownames(drawn), 1:2])
})

test_that("outliers are scored and groups compared in a Seurat object, with its batches", {
    object <- quick(labelled_pbmc(), group.by.vars = "replicate")
    scored <- FindOutliersSCRAE(object, verbose = FALSE, threads = 1)
    only_new_columns(scored[[]], object[[]], "scrae_outlier")
    expect_lt(abs(stats::median(scored$scrae_outlier)), 0.5)
    part <- FindOutliersSCRAE(object[, 1:9], reference = object, verbose = FALSE, threads = 1)
    expect_equal(part$scrae_outlier, scored$scrae_outlier[1:9], tolerance = 1e-4)
    expect_error(FindOutliersSCRAE(object, reference = made_sce()), "reference must be a Seurat object.*not SingleCell")
    reference <- object
    reference$replicate <- NULL
    expect_error(FindOutliersSCRAE(object, reference = reference), "reference@meta.data has no column 'replicate'")
    genes <- FindMarkersSCRAE(object, "letter.idents", ident.1 = "B", batch.by = "replicate", verbose = FALSE,
        threads = 1
    )
    expect_s3_class(genes, "data.frame")
    expect_equal(names(genes), c(
        "group", "gene", "log2fc", "log2fc_error", "p", "q", "model_p", "counts_p", "counts_log2fc", "mean",
        "reference_mean", "detected", "reference_detected"
    ))
    expect_setequal(genes$gene, object[["scrae"]]@misc$genes)
    expect_equal(unique(genes$group), "B")
    expect_false(is.unsorted(genes$p))
    expect_error(
        FindMarkersSCRAE(object, "letter.idents", ident.1 = "C", verbose = FALSE),
        "column 'letter.idents' has no group 'C'"
    )
    expect_error(FindMarkersSCRAE(object, "letter.ident"), "did you mean 'letter.idents'")
    expect_error(FindMarkersSCRAE(object, c("groups", "replicate")), "group.by takes the name of one column")
})

test_that("a SingleCellExperiment is labelled, scored and compared; nothing else changes", {
    sce <- quick(typed_sce(), features = "all", max_epochs = 60)
    sce$known <- factor(ifelse(seq_len(100) %% 4 == 0, sce$type, "none"))
    labelled <- LabelSCRAE(sce, "known", unlabeled = "none", unknown.rate = 0, verbose = FALSE, threads = 1)
    expect_equal(mean(labelled$SCRAE_label == sce$type), 1)
    columns <- paste0("SCRAE_", c("label", "label_probability", "familiarity"))
    scored <- FindOutliersSCRAE(labelled, name = "strange", verbose = FALSE, threads = 1)
    expect_equal(length(scored$strange), 100L)
    part <- FindOutliersSCRAE(labelled[, 1:9], reference = labelled, verbose = FALSE, threads = 1)
    expect_equal(part$SCRAE_outlier, scored$strange[1:9], tolerance = 1e-4)
    SummarizedExperiment::colData(scored)[c(columns, "strange")] <- NULL
    S4Vectors::metadata(scored) <- S4Vectors::metadata(sce)
    expect_identical(scored, sce)
    genes <- FindMarkersSCRAE(labelled, "type", ident.1 = "T cell", ident.2 = "B cell", verbose = FALSE, threads = 1)
    differ <- genes[match(paste0("gene", 21:30), genes$gene), ]
    expect_true(all(differ$q < 0.01))
    expect_equal(sign(differ$log2fc), rep(c(1, -1), each = 5))
    expect_error(LabelSCRAE(sce, "knwn", verbose = FALSE), "no column 'knwn'; did you mean 'known'")
    expect_error(LabelSCRAE(sce, sce$known, verbose = FALSE), "labels takes the name of one column")
    expect_error(LabelSCRAE(typed_sce(), "type"), "call RunSCRAE\\(object\\) first")
    expect_error(LabelSCRAE(sce, "known", name = "PCA"), "no scRAE model is stored as 'PCA'")
})

test_that("labels, outliers and groups of a matrix are those that Python gives", {
    sce <- typed_sce()
    counts <- SummarizedExperiment::assay(sce)
    # Genes that are not modelled count in the totals of cells.
    embedding <- quick(counts, features = rownames(counts)[6:30], max_epochs = 5)
    known <- ifelse(seq_len(100) %% 3 == 0, sce$type, NA)
    labels <- LabelSCRAE(counts, known, model = embedding, verbose = FALSE, threads = 1)
    outliers <- FindOutliersSCRAE(counts, model = embedding, verbose = FALSE, threads = 1)
    # Other genes of the reference stand in another order, and one is missing.
    beside <- FindOutliersSCRAE(counts[, 1:20], model = embedding, reference = counts[c(6:30, 4:1), 21:100],
        verbose = FALSE, threads = 1
    )
    cells <- data.frame(type = sce$type, batch = sce$batch)
    genes <- FindMarkersSCRAE(counts, "type", batch.by = "batch", model = embedding, meta.data = cells,
        verbose = FALSE, threads = 1
    )
    folder <- tempfile("uses")
    dir.create(folder)
    on.exit(unlink(folder, recursive = TRUE))
    SaveSCRAE(embedding, file.path(folder, "model"))
    Matrix::writeMM(counts, file.path(folder, "counts.mtx"))
    utils::write.csv(
        data.frame(gene = rownames(counts)), file.path(folder, "genes.csv"), row.names = FALSE
    )
    utils::write.csv(
        data.frame(cell = colnames(counts), known = ifelse(is.na(known), "Unknown", known), cells),
        file.path(folder, "cells.csv"), row.names = FALSE
    )
    python("
import sys, anndata, pandas as pd, scipy.io, torch, scrae
torch.set_num_threads(1)
folder = sys.argv[1]
obs, var = (pd.read_csv(f'{folder}/{name}.csv', index_col=0, dtype=str) for name in ('cells', 'genes'))
adata = anndata.AnnData(scipy.io.mmread(f'{folder}/counts.mtx').T.tocsr().astype('float32'), obs=obs, var=var)
model = scrae.SCRAE.load(f'{folder}/model', verbose=False, device='cpu').fit_labels(adata, 'known')
model.predict(adata, return_probabilities=True).to_csv(f'{folder}/labels.csv')
scrae.tl.outliers(adata, model).to_csv(f'{folder}/outliers.csv')
reference = adata[20:, adata.var_names != 'gene5']
scrae.tl.outliers(adata[:20], model, reference=reference).to_csv(f'{folder}/beside.csv')
scrae.tl.differential_expression(adata, model, 'type', batch_key='batch').to_csv(f'{folder}/de.csv', index=False)
", folder)
    read <- function(name) utils::read.csv(file.path(folder, name), check.names = FALSE)
    expected <- read("labels.csv")
    expect_equal(rownames(labels), colnames(counts))
    expect_equal(labels$label_probability, pmax(expected[["B cell"]], expected[["T cell"]]), tolerance = 1e-12)
    expect_equal(labels$familiarity, expected$conformal_p_value, tolerance = 1e-12)
    expect_equal(outliers, read("outliers.csv")[-1], tolerance = 1e-12, ignore_attr = TRUE)
    expect_equal(beside, read("beside.csv")[-1], tolerance = 1e-12, ignore_attr = TRUE)
    expect_equal(rownames(beside), colnames(counts)[1:20])
    expect_equal(genes, read("de.csv"), tolerance = 1e-12)

    mapped <- PredictSCRAE(counts[, 31:70], model = labels, verbose = FALSE, threads = 1)
    expect_equal(attr(mapped, "labels")$label, labels$label[31:70])
    expect_error(LabelSCRAE(counts, known[-1], model = embedding), "labels has 99 value\\(s\\); the matrix has 100 cells")
    expect_error(
        LabelSCRAE(counts, rep("same", 100), model = embedding, verbose = FALSE),
        "column 'labels' has one type only.*is that what unlabeled should be"
    )
})

test_that("a model with batches asks for them", {
    embedding <- quick(made_counts(), features = "all", meta.data = data.frame(donor = rep(c("x", "y"), 30)),
        group.by.vars = "donor"
    )
    expect_error(FindOutliersSCRAE(made_counts(), model = embedding), "trained with 'donor': give a data.frame")
})

test_that("synthetic cells are reported on, and denoising is cross-validated", {
    report <- SampleReportSCRAE(made_counts(), model = trained(), verbose = FALSE, threads = 1)
    expect_equal(report$measure, c(
        "mean", "variance", "zero_fraction", "correlation", "library_size", "classifier_auc"
    ))
    expect_true(all(is.finite(report$value) & report$value <= 1))
    object <- pbmc_small()
    scores <- CrossValidateSCRAE(object, n_latent = 3, n_hidden = 8, max_epochs = 2, verbose = FALSE, threads = 1)
    expect_equal(scores$predictor, c("denoised", "counts", "mean"))
    expect_equal(scores$poisson[2], Inf)
    expect_true(all(is.finite(scores$squared_error) & abs(scores$correlation) <= 1))
})

# Three types of made cells from two donors, who differ in ten genes by so much.
donors_sce <- function(level) {
    set.seed(7)
    type <- rep(1:3, each = 60)
    donor <- rep(1:2, 90)
    mean <- matrix(1, 60, 180)
    for (i in 1:3) mean[8 * i + 1:8, type == i] <- 8
    for (i in 1:2) mean[40 + 5 * i + 1:5, donor == i] <- level
    counts <- matrix(as.numeric(rpois(60 * 180, mean)), 60, 180,
        dimnames = list(paste0("gene", 1:60), paste0("cell", 1:180))
    )
    SingleCellExperiment::SingleCellExperiment(list(counts = methods::as(counts, "CsparseMatrix")),
        colData = S4Vectors::DataFrame(
            type = paste0("type", type), donor = c("x", "y")[donor], dealt = rep(c("a", "a", "b", "b"), 45),
            condition = c("control", "treated")[donor]
        )
    )
}

test_that("batches are found before a training, in every kind of object the same, and nothing is changed", {
    skip_unless_installed("SingleCellExperiment")
    sce <- donors_sce(4)
    report <- BatchReportSCRAE(sce, "donor", keep = "condition", verbose = FALSE, threads = 1)
    expect_equal(report$findings$finding, c("batches", "nested"))
    expect_match(report$findings$text[1L], 'call RunSCRAE\\(object, group.by.vars = "donor"\\)')
    expect_match(report$findings$text[2L], "has one level of 'condition' alone")
    expect_equal(report$measures$measure, c(
        "variance", "variance_within", "mixing", "kbet", "connectivity", "groups_kept", "condition_within"
    ))
    expect_true(all(is.na(report$measures$after)))
    expect_equal(sum(report$groups$n_cells), 180)
    counts <- SingleCellExperiment::counts(sce)
    cells <- as.data.frame(SummarizedExperiment::colData(sce))
    object <- SeuratObject::CreateSeuratObject(counts, meta.data = cells)
    before <- object
    of_seurat <- BatchReportSCRAE(object, "donor", keep = "condition", verbose = FALSE, threads = 1)
    expect_identical(object, before)
    of_matrix <- BatchReportSCRAE(counts, "donor", keep = "condition", meta.data = cells, verbose = FALSE, threads = 1)
    expect_equal(of_seurat, report)
    expect_equal(of_matrix, report)
    expect_output(print(report), "Batches in 'donor'\n.*mixing")

    dealt <- BatchReportSCRAE(sce, "dealt", group.by = "type", verbose = FALSE, threads = 1)
    expect_equal(dealt$findings$finding, "no_batches")
    expect_equal(dealt$groups$group, paste0("type", 1:3))
    expect_error(BatchReportSCRAE(sce, "donr"), "has no column 'donr'; did you mean 'donor'")
    expect_error(BatchReportSCRAE(sce, "donor", keep = 1), "keep takes names of columns")
    sce$one <- "same"
    expect_error(BatchReportSCRAE(sce, "one"), "'one' has the same value in all cells")
})

test_that("an embedding is judged beside what was there before", {
    skip_unless_installed("SingleCellExperiment")
    sce <- donors_sce(4)
    trained <- quick(sce, features = "all", group.by.vars = "donor", max_epochs = 20)
    report <- BatchReportSCRAE(trained, "donor", verbose = FALSE, threads = 1)
    expect_true(all(is.finite(report$measures$after)))
    expect_gt(report$measures$after[3L], report$measures$before[3L])
    expect_false("batches_not_named" %in% report$findings$finding)
    untold <- quick(sce, features = "all", max_epochs = 20)
    expect_equal(
        BatchReportSCRAE(untold, "donor", group.by = "type", verbose = FALSE, threads = 1)$findings$finding[1L],
        "batches_not_named"
    )
})

test_that("stability is the agreement of clusterings, by seed", {
    agreement <- StabilitySCRAE(made_sce(), n.runs = 2, features = "HVG", n.features = 20, group.by.vars = "batch",
        seed.use = 7, n_latent = 3, n_hidden = 8, max_epochs = 2, verbose = FALSE, threads = 1
    )
    expect_equal(dimnames(agreement), list(c("7", "8"), c("7", "8")))
    expect_equal(unname(diag(agreement)), c(1, 1))
    expect_equal(agreement[1, 2], agreement[2, 1])
    expect_error(StabilitySCRAE(made_sce(), n.runs = 1), "n.runs must be a whole number of at least 2")
})

test_that("models that cluster while they train leave their clusters", {
    clustering <- function(object, ...) {
        quick(object, ..., features = "all", preset = "scdeepcluster", n_clusters = 3, pretraining_epochs = 1)
    }
    object <- clustering(pbmc_small())
    expect_equal(levels(object$scrae_clusters), as.character(seq_along(unique(object$scrae_clusters)) - 1))
    expect_false(anyNA(object$scrae_clusters))
    object$scrae_other <- 1
    again <- quick(object, features = "all")
    expect_setequal(setdiff(colnames(object[[]]), colnames(again[[]])), "scrae_clusters")
    sce <- clustering(made_sce(), name = "DEC")
    expect_s3_class(sce$DEC_clusters, "factor")
    expect_null(quick(sce, features = "all", name = "DEC")$DEC_clusters)
    sce$SCRAE_clusters <- "mine"
    expect_equal(unique(quick(sce, features = "all")$SCRAE_clusters), "mine")
    expect_equal(length(attr(clustering(made_counts()), "clusters")), 60L)
    expect_warning(
        early <- quick(made_counts(), features = "all", preset = "scdeepcluster"), "there are no clusters yet"
    )
    expect_null(attr(early, "clusters"))
})
