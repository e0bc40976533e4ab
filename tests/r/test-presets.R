# Every model of the field by name, from R.

presets <- c(
    "default", "reference", "ae", "dca", "aae", "wae", "wae_mmd", "beta_vae", "beta_vsc", "scvi", "scvae", "scvae_gm",
    "dr_a", "saucie", "scdeepcluster", "sczidesk", "scdcc", "contrastive_sc", "vasc"
)

test_that("every preset trains from R", {
    counts <- made_counts()
    # Each starts a worker, which loads torch and R: all of them only where they are asked for.
    all <- nzchar(Sys.getenv("SCRAE_ALL_PRESETS"))
    for (preset in if (all) presets else c("beta_vsc", "scvi", "saucie", "scdeepcluster")) {
        # Without pre-training those that cluster have clusters after one epoch.
        clusters <- preset %in% c("scdeepcluster", "sczidesk", "scdcc")
        embedding <- do.call(quick, c(
            list(counts, features = "all", preset = preset, max_epochs = 1),
            if (clusters) list(n_clusters = 3, pretraining_epochs = 0)
        ))
        expect_equal(is.null(attr(embedding, "clusters")), !clusters, info = preset)
        expect_equal(dim(embedding), c(ncol(counts), 3), info = preset)
        expect_true(all(is.finite(embedding)), info = preset)
        expect_equal(attr(embedding, "scrae")$parameters$preset, preset)
    }
})

test_that("the list of presets here is that of Python", {
    expect_error(
        quick(made_counts(), features = "all", preset = "scvi-tools"),
        paste0("preset = \"scvi-tools\" is not known. Choose one of ", paste0("\"", presets, "\"", collapse = ", ")),
        fixed = TRUE
    )
})

test_that("a preset brings its own number of dimensions and its options can be set", {
    skip_if(!nzchar(Sys.getenv("SCRAE_TEST_PYTHON")) && !SCRAEStatus(verbose = FALSE)$ready, "no Python")
    embedding <- RunSCRAE(made_counts(), features = "all", preset = "beta_vae",
        weight = 4, n_hidden = 8, max_epochs = 1, threads = 1, verbose = FALSE
    )
    expect_equal(ncol(embedding), 6)
    expect_equal(attr(embedding, "scrae")$parameters$regulariser_options$weight, 4)
})
