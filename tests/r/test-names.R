# Genes and cells are matched by their names, wherever counts, tables, layers and models meet.

test_that("rows of a table of cells are matched by name, whatever their order", {
    counts <- made_counts()
    cells <- data.frame(
        donor = rep(c("x", "y"), each = 30), score = 1:60 / 10, row.names = colnames(counts)
    )
    source <- scRAE:::matrix_source(counts)
    set.seed(1)
    shuffled <- cells[sample(60), ]
    for (table in list(cells, shuffled, S4Vectors::DataFrame(shuffled), as.matrix(shuffled))) {
        taken <- scRAE:::table_of_cells(table, source, "meta.data")
        expect_equal(unname(taken[, "donor"]), cells$donor)
    }
    # More cells than are asked for do no harm.
    part <- scRAE:::table_of_cells(shuffled, scRAE:::matrix_source(counts[, 21:40]), "meta.data")
    expect_equal(part$score, cells$score[21:40])
    in_order <- quick(counts, features = "all", meta.data = cells, group.by.vars = "donor", vars.to.regress = "score")
    expect_identical(
        quick(counts,
            features = "all", meta.data = shuffled, group.by.vars = "donor", vars.to.regress = "score"
        )[, ],
        in_order[, ]
    )
})

test_that("a table without names of cells is taken in the order of the cells", {
    counts <- made_counts()
    source <- scRAE:::matrix_source(counts)
    cells <- data.frame(donor = rep(c("x", "y"), each = 30), id = colnames(counts))
    expect_identical(scRAE:::table_of_cells(cells, source, "meta.data")$donor, cells$donor)
    expect_identical(scRAE:::table_of_cells(cells["donor"], source, "meta.data")$donor, cells$donor)
    # A column may have the names of the cells, too.
    set.seed(1)
    mixed <- cells[sample(60), ]
    expect_equal(scRAE:::table_of_cells(mixed, source, "meta.data")$id, colnames(counts))
    rownames(mixed) <- NULL
    expect_equal(scRAE:::table_of_cells(mixed, source, "meta.data")$id, colnames(counts))
    # The first cells of a longer table are no other order; a shuffled one may be any.
    longer <- rbind(cells, cells)["donor"]
    expect_equal(scRAE:::table_of_cells(longer[seq(1, 119, 2), , drop = FALSE], source, "meta.data")$donor, rep(cells$donor[seq(1, 59, 2)], 2))
    expect_error(
        scRAE:::table_of_cells(cells[60:1, "donor", drop = FALSE], source, "meta.data"),
        "rows of meta.data were put into another order \\(they are numbered 60, 59, 58",
        class = "scrae_other_cells"
    )
    unnamed <- counts
    colnames(unnamed) <- NULL
    rownames(cells) <- cells$id
    expect_identical(
        scRAE:::table_of_cells(cells, scRAE:::matrix_source(unnamed), "meta.data")$donor, cells$donor
    )
})

test_that("a table of other cells, or of too few, is refused", {
    counts <- made_counts()
    cells <- data.frame(donor = rep(c("x", "y"), each = 30), row.names = colnames(counts))
    other <- cells
    rownames(other) <- paste0("AAAC-", 1:60)
    refused <- function(...) expect_error(..., class = "scrae_other_cells")
    refused(
        RunSCRAE(counts, meta.data = other, group.by.vars = "donor"),
        "meta.data has no row for 60 of 60 cells of the matrix \\('cell1'.*in meta.data: 'AAAC-1'"
    )
    refused(
        RunSCRAE(counts, meta.data = cells[-7, , drop = FALSE], group.by.vars = "donor"),
        "no row for 1 of 60 cells of the matrix \\('cell7';"
    )
    refused(
        RunSCRAE(counts, meta.data = data.frame(donor = rep("x", 59)), group.by.vars = "donor"),
        "meta.data has 59 row\\(s\\); the matrix has 60 cells"
    )
    expect_error(
        RunSCRAE(counts, meta.data = list(donor = rep("x", 60)), group.by.vars = "donor"),
        "meta.data must be a data.frame with a row per cell, not list"
    )
    expect_error(RunSCRAE(counts, group.by.vars = "donor"), "give a data.frame with a row per cell as meta.data")
    twice <- cbind(cells, cells)
    expect_error(RunSCRAE(counts, meta.data = twice, group.by.vars = "donor"), "meta.data has 2 columns 'donor'")
    # The same wherever a table is taken.
    model <- quick(counts, features = "all", meta.data = cells, group.by.vars = "donor")
    refused(DenoiseSCRAE(counts, model, meta.data = other), "no row for 60 of 60")
    refused(FindOutliersSCRAE(counts, model, meta.data = other), "no row for 60 of 60")
    refused(
        FindOutliersSCRAE(counts, model, counts, meta.data = cells, reference.meta.data = other),
        "reference.meta.data has no row for 60 of 60"
    )
    refused(FindMarkersSCRAE(counts, "donor", model = model, meta.data = other), "no row for 60 of 60")
    refused(ClusterSCRAE(counts, model, meta.data = other), "no row for 60 of 60")
    refused(StabilitySCRAE(counts, meta.data = other, group.by.vars = "donor"), "no row for 60 of 60")
    refused(SelectGenes(counts, meta.data = other, group.by.vars = "donor"), "no row for 60 of 60")
    labels <- stats::setNames(rep("B cell", 60), rownames(other))
    refused(LabelSCRAE(counts, labels, trained()), "labels has no value for 60 of 60 cells")
})

test_that("named labels are matched to the cells", {
    source <- scRAE:::matrix_source(made_counts())
    labels <- stats::setNames(rep(c("B", "T"), each = 30), source$cells)
    rows <- scRAE:::rows_of_cells(rev(source$cells), 60L, source, "labels", "value")
    expect_identical(rev(labels)[rows], labels)
    expect_error(
        scRAE:::rows_of_cells(rep(source$cells, 2), 120L, source, "labels", "value"),
        "labels has more than one value for 60 cells"
    )
})

test_that("a named mask of genes means the genes that it names", {
    source <- scRAE:::matrix_source(made_counts())
    mask <- stats::setNames(source$names %in% c("gene3", "gene8", "gene20"), source$names)
    expect_equal(scRAE:::gene_positions(rev(mask), source), c(3L, 8L, 20L))
    expect_equal(scRAE:::gene_positions(mask[c(3, 8, 9)], source), c(3L, 8L))
})
