# Pairs of cells that belong together, or that do not.

must <- data.frame(one = c("cell1", "cell3"), other = c("cell2", "cell4"))
cannot <- cbind("cell1", "cell3")

test_that("pairs are drawn together and apart, and are matched by name", {
    counts <- made_counts()
    free <- quick(counts, features = "all")
    held <- quick(counts, features = "all", must.link = must, cannot.link = cannot)
    expect_false(identical(as.vector(free), as.vector(held)))
    expect_true(all(c("must_link", "cannot_link") %in% names(attr(held, "scrae")$history)))
    by_core_names <- quick(counts, features = "all", must_link = as.matrix(must), cannot_link = cannot)
    expect_identical(as.vector(by_core_names), as.vector(held))
    unnamed <- counts
    dimnames(unnamed) <- list(NULL, NULL)
    numbered <- quick(unnamed, features = "all", must.link = cbind(c(1, 3), c(2, 4)), cannot.link = cbind(1, 3))
    expect_identical(as.vector(numbered), as.vector(held))
})

test_that("pairs that cannot be meant are refused", {
    counts <- made_counts()
    refused <- function(..., class) {
        expect_error(quick(counts, features = "all", ...), class = paste0("scrae_", class))
    }
    refused(must.link = "cell1", class = "no_pairs")
    refused(must.link = cbind(must, 1), class = "no_pairs")
    refused(cannot.link = cbind("cell1", "Cell2"), class = "unknown_cells")
    refused(cannot.link = cbind(1, 2), class = "unknown_cells")
    refused(cannot.link = cbind("cell1", "cell1"), class = "paired_with_itself")
    refused(must.link = must, cannot.link = cbind("cell2", "cell1"), class = "contradicting_pairs")
    colnames(counts)[2] <- "cell1"
    refused(must.link = cbind("cell1", "cell3"), class = "repeated_cells")
})
