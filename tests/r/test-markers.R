# Groups of cells and groups of donors: what is compared, by which columns it is told, and what is left out.

# Cells of donors, 60 genes of which the first ten are three times as high in the treated; each gene of each donor has a
# level of its own.
donors <- function(design, n_cells = 20, change = 3, seed = 1) {
    set.seed(seed)
    means <- stats::rgamma(60, 2) + 0.5
    parts <- lapply(split(design, design$donor), function(rows) {
        level <- means * exp(stats::rnorm(60, sd = 0.4))
        lapply(rows$condition, function(condition) {
            high <- ifelse(seq_len(60) <= 10 & condition == "treated", change, 1)
            matrix(stats::rpois(60 * n_cells, level * high), 60)
        })
    })
    design <- design[order(design$donor), ]
    counts <- do.call(cbind, unlist(parts, recursive = FALSE, use.names = FALSE))
    cells <- design[rep(seq_len(nrow(design)), each = n_cells), ]
    dimnames(counts) <- list(paste0("gene", 1:60), paste0("cell", seq_len(ncol(counts))))
    rownames(cells) <- colnames(counts)
    list(counts = Matrix::Matrix(counts, sparse = TRUE), cells = cells)
}
one_side <- data.frame(donor = paste0("d", 1:8), condition = rep(c("control", "treated"), each = 4))
both_sides <- data.frame(donor = rep(paste0("d", 1:4), 2), condition = rep(c("control", "treated"), each = 4))

by_hand <- function(made, keys) {
    sapply(split(seq_len(ncol(made$counts)), keys), function(cells) Matrix::rowSums(made$counts[, cells]))
}

bulk <- function(made, ..., ident.1 = "treated") {
    FindMarkersSCRAE(made$counts, "condition", ident.1 = ident.1, sample.by = "donor", meta.data = made$cells,
        verbose = FALSE, ...
    )
}

trained_pbmc <- local({
    object <- NULL
    function() {
        if (is.null(object)) object <<- quick(pbmc_small())
        object
    }
})

test_that("groups are Idents() by default, and several of them are taken together", {
    object <- trained_pbmc()
    expect_equal(levels(SeuratObject::Idents(object)), c("0", "1", "2"))
    markers <- function(...) FindMarkersSCRAE(..., verbose = FALSE, threads = 1)
    found <- markers(object)
    expect_equal(unique(found$group), c("0", "1", "2"))
    object$written <- as.character(SeuratObject::Idents(object))
    expect_equal(markers(object, "written"), found)
    expect_equal(markers(object, ident.1 = 1)$p, found$p[found$group == "1"])
    together <- markers(object, ident.1 = c("1", "2"), ident.2 = 0)
    expect_equal(unique(together$group), "1 + 2")
    alone <- markers(object, ident.1 = "0", ident.2 = c("1", "2"))
    expect_equal(alone$log2fc[match(together$gene, alone$gene)], -together$log2fc, tolerance = 1e-6)
    cells <- colnames(object)[SeuratObject::Idents(object) == "0"]
    expect_equal(markers(object, ident.1 = cells)$p, found$p[found$group == "0"])
    expect_error(FindMarkersSCRAE(object, "1"), "'1' is one of Idents\\(object\\): ident.1 = \"1\"")
    expect_error(markers(object, ident.1 = "1", ident.2 = "1"), "group '1' is in ident.1 and in ident.2")
    expect_error(markers(object, ident.1 = "7"), "column 'ident' has no group '7'")
})

test_that("a SingleCellExperiment has its labels for groups, or its clusters", {
    sce <- quick(made_sce(), features = "all")
    expect_error(FindMarkersSCRAE(sce), "neither labels \\(colLabels\\(object\\)\\) nor clusters of ClusterSCRAE")
    clustered <- suppressWarnings(ClusterSCRAE(sce, level = 2, verbose = FALSE, threads = 1))
    expect_message(
        found <- FindMarkersSCRAE(clustered, threads = 1), "found on the same counts, so they differ by construction"
    )
    expect_equal(unique(found$group), levels(clustered$scrae_clusters))
    SingleCellExperiment::colLabels(clustered) <- clustered$batch
    expect_equal(unique(FindMarkersSCRAE(clustered, verbose = FALSE, threads = 1)$group), c("a", "b"))
})

test_that("Seurat's columns are those of FindMarkers() and FindAllMarkers()", {
    skip_unless_installed("Seurat")
    object <- trained_pbmc()
    one <- FindMarkersSCRAE(object, ident.1 = "0", ident.2 = "1", format = "Seurat", verbose = FALSE, threads = 1)
    theirs <- Seurat::FindMarkers(object, "0", "1", verbose = FALSE, logfc.threshold = 0, min.pct = 0)
    expect_equal(names(one), names(theirs))
    expect_equal(names(one), c("p_val", "avg_log2FC", "pct.1", "pct.2", "p_val_adj"))
    shared <- intersect(rownames(one), rownames(theirs))
    expect_setequal(rownames(one), object[["scrae"]]@misc$genes)
    expect_equal(one[shared, c("pct.1", "pct.2")], theirs[shared, c("pct.1", "pct.2")])
    expect_equal(one$p_val_adj, stats::p.adjust(one$p_val, "bonferroni", n = nrow(object)))
    plain <- FindMarkersSCRAE(object, ident.1 = "0", ident.2 = "1", verbose = FALSE, threads = 1)
    expect_equal(one$avg_log2FC, plain$log2fc)
    expect_equal(rownames(one), plain$gene)
    all <- FindMarkersSCRAE(object, format = "seurat", verbose = FALSE, threads = 1)
    expect_equal(names(all), c(names(one), "cluster", "gene"))
    expect_equal(levels(all$cluster), c("0", "1", "2"))
    expect_false(anyDuplicated(rownames(all)) > 0)
    expect_error(FindMarkersSCRAE(object, format = "scanpy"), "format = \"scanpy\" is not known. Choose one of")
})

test_that("groups that are too small are left out with a warning, and nothing is compared where none is left", {
    object <- trained_pbmc()
    object$few <- rep(c("one", "two", "three", "four"), c(3, 7, 30, 40))
    expect_warning(
        found <- FindMarkersSCRAE(object, "few", verbose = FALSE, threads = 1),
        "2 of 4 groups cannot be compared and are left out \\('one', 'two'\\). The first: group 'one': 3 cells"
    )
    expect_equal(unique(found$group), c("four", "three"))
    expect_error(
        FindMarkersSCRAE(object, "few", ident.1 = "one", verbose = FALSE, threads = 1), "group 'one': 3 cells",
        class = "scrae_small_group"
    )
})

test_that("donors are compared by edgeR as its guide has it, on counts summed by hand", {
    skip_unless_installed("edgeR")
    for (design in list(one_side, both_sides)) {
        made <- donors(design)
        keys <- paste(made$cells$donor, made$cells$condition)
        sums <- by_hand(made, keys)
        about <- unique(data.frame(keys, made$cells))
        about <- about[match(colnames(sums), about$keys), ]
        model <- if (anyDuplicated(about$donor)) {
            stats::model.matrix(~ donor + condition, about)
        } else {
            stats::model.matrix(~condition, about)
        }
        data <- edgeR::DGEList(sums)
        data <- data[edgeR::filterByExpr(data, model), , keep.lib.sizes = FALSE]
        data <- edgeR::estimateDisp(edgeR::calcNormFactors(data), model)
        theirs <- edgeR::topTags(edgeR::glmQLFTest(edgeR::glmQLFit(data, model)), n = Inf)$table
        ours <- bulk(made, test.use = "edgeR")
        expect_setequal(ours$gene, rownames(theirs))
        theirs <- theirs[ours$gene, ]
        expect_equal(ours$log2fc, theirs$logFC, tolerance = 1e-6)
        expect_equal(ours$p, theirs$PValue, tolerance = 1e-6)
        expect_equal(ours$q, theirs$FDR, tolerance = 1e-6)
        expect_lt(stats::median(ours$q[match(paste0("gene", 1:10), ours$gene)]), 0.1)
        expect_equal(unique(ours$samples), 4)
        of_treated <- made$cells$condition == "treated"
        expect_equal(ours$detected, unname(Matrix::rowMeans(made$counts[ours$gene, of_treated] > 0)))
        per_million <- t(t(sums) / colSums(sums)) * 1e6
        expect_equal(ours$mean, unname(rowMeans(per_million[ours$gene, about$condition == "treated"])))
    }
})

test_that("donors are compared by DESeq2 on counts summed by hand", {
    skip_unless_installed("DESeq2")
    made <- donors(both_sides)
    sums <- by_hand(made, paste(made$cells$donor, made$cells$condition))
    about <- data.frame(do.call(rbind, strsplit(colnames(sums), " ")), stringsAsFactors = TRUE)
    data <- suppressMessages(DESeq2::DESeq(DESeq2::DESeqDataSetFromMatrix(sums, about, ~ X1 + X2)))
    theirs <- as.data.frame(DESeq2::results(data, contrast = c("X2", "treated", "control")))
    ours <- bulk(made, test.use = "DESeq2", format = "Seurat")
    expect_equal(names(ours), c("p_val", "avg_log2FC", "pct.1", "pct.2", "p_val_adj"))
    expect_setequal(rownames(ours), rownames(theirs))
    expect_equal(ours$avg_log2FC, theirs[rownames(ours), "log2FoldChange"], tolerance = 1e-4)
    expect_equal(ours$p_val, theirs[rownames(ours), "pvalue"], tolerance = 1e-3)
})

test_that("between alike donors a test of cells finds genes, and that of donors holds its level", {
    skip_unless_installed("edgeR")
    p <- lapply(1:8, function(seed) {
        made <- donors(one_side, change = 1, n_cells = 40, seed = seed)
        treated <- made$cells$condition == "treated"
        logs <- log1p(as.matrix(made$counts))
        list(
            donors = bulk(made)$p,
            cells = apply(logs, 1, function(gene) stats::wilcox.test(gene[treated], gene[!treated], exact = FALSE)$p.value)
        )
    })
    of_donors <- unlist(lapply(p, `[[`, "donors"))
    expect_gt(mean(unlist(lapply(p, `[[`, "cells")) < 0.05), 0.4)
    expect_lt(mean(of_donors < 0.05), 0.09)
    expect_gt(stats::ks.test(of_donors, "punif")$p.value, 0.001)
})

test_that("objects need no model to compare their donors, and groups are found as without them", {
    skip_unless_installed("edgeR", "SeuratObject")
    made <- donors(both_sides)
    expected <- bulk(made)
    object <- SeuratObject::CreateSeuratObject(made$counts, meta.data = made$cells)
    SeuratObject::Idents(object) <- "condition"
    expect_equal(
        FindMarkersSCRAE(object, ident.1 = "treated", sample.by = "donor", verbose = FALSE), expected,
        ignore_attr = TRUE
    )
    sce <- SingleCellExperiment::SingleCellExperiment(list(counts = made$counts), colData = made$cells)
    expect_message(
        found <- FindMarkersSCRAE(sce, "condition", ident.1 = "treated", sample.by = "donor"),
        "4 against 4 samples, in pairs, 60 of 60 genes \\(edgeR\\)"
    )
    expect_equal(found, expected, ignore_attr = TRUE)
    each <- FindMarkersSCRAE(sce, "condition", sample.by = "donor", verbose = FALSE)
    expect_equal(unique(each$group), c("control", "treated"))
    expect_error(FindMarkersSCRAE(sce, "condition", ident.1 = "treated"), "holds no trained scRAE model")
    expect_error(FindMarkersSCRAE(made$counts, "condition", meta.data = made$cells), "compared by a trained model")
    expect_error(
        FindMarkersSCRAE(sce, "condition", test.use = "edgeR", verbose = FALSE), "test.use says how donors are compared"
    )
    expect_error(bulk(made, test.use = "t"), "test.use = \"t\" is not known")
})

test_that("designs that cannot be tested are refused, before counts are read", {
    skip_unless_installed("edgeR")
    few <- donors(one_side[c(1:4, 5), ])
    expect_error(bulk(few), "'treated': 1 sample of column 'donor' against 4. On either side 2 or more",
        class = "scrae_few_samples"
    )
    mixed <- donors(rbind(one_side, data.frame(donor = "d1", condition = "treated")))
    expect_error(bulk(mixed), "1 of 8 samples of column 'donor' is on both sides \\('d1'\\)")
    made <- donors(rbind(both_sides, data.frame(donor = "x", condition = "control")))
    expect_warning(found <- bulk(made), "4 of 5 samples of column 'donor' are on both sides and compared as pairs.*'x'")
    expect_equal(unique(found$reference_samples), 4)
    made <- donors(one_side)
    made$cells$run <- made$cells$condition
    expect_error(bulk(made, batch.by = "run"), "cannot be told from what differs between samples of column 'run'")
    made$cells$run <- rep(c("p", "q"), 80)
    expect_error(bulk(made, batch.by = "run"), "8 samples of column 'donor' have cells of several batches of column 'run'")
    made$cells$run <- ifelse(made$cells$donor %in% paste0("d", c(1, 2, 5, 6)), "p", "q")
    expect_false(isTRUE(all.equal(bulk(made, batch.by = "run")$p, bulk(made)$p)))
    made$cells$donor[1:15] <- "other"
    expect_warning(bulk(made), "1 of 9 samples of column 'donor' has fewer than 10 cells.*'d1'")
    made <- donors(one_side)
    made$counts[-1, ] <- 0
    made$counts[1, ] <- 5
    expect_error(bulk(made), "1 of 60 genes has enough counts in enough samples", class = "scrae_too_few_genes_to_compare")
})

test_that("donors are compared by pydeseq2 where Python has it, and otherwise it is said what to install", {
    made <- donors(both_sides)
    found <- tryCatch(bulk(made, test.use = "pydeseq2"), scrae_missing_package = identity)
    if (inherits(found, "condition")) {
        return(expect_match(conditionMessage(found), "none of them is installed: BiocManager::install\\(\"edgeR\"\\)"))
    }
    expect_equal(names(found), names(bulk(made, test.use = "edgeR")))
    skip_unless_installed("DESeq2")
    theirs <- bulk(made, test.use = "DESeq2")
    expect_setequal(found$gene, theirs$gene)
    expect_equal(found$log2fc, theirs$log2fc[match(found$gene, theirs$gene)], tolerance = 0.02)
    expect_gt(stats::cor(log(found$p), log(theirs$p[match(found$gene, theirs$gene)])), 0.95)
})

test_that("groups that have too few donors are left out of a comparison of each", {
    skip_unless_installed("edgeR")
    made <- donors(rbind(both_sides, data.frame(donor = "d1", condition = "rare")))
    expect_warning(
        found <- bulk(made, ident.1 = NULL),
        "1 of 3 groups cannot be compared and is left out \\('rare'\\). The first: group 'rare': 1 sample"
    )
    expect_equal(unique(found$group), c("control", "treated"))
})
