# Runs the tests of this folder with the scRAE that is installed first on the
# library path. Warnings count as failures.
filter <- Sys.getenv("SCRAE_FILTER")
testthat::test_dir("tests/r",
    filter = if (nzchar(filter)) filter, package = "scRAE",
    load_package = "installed", stop_on_warning = TRUE,
    reporter = testthat::MultiReporter$new(list(
        testthat::SummaryReporter$new(), testthat::FailReporter$new()
    ))
)
